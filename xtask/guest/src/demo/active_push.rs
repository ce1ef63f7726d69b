// SPDX-License-Identifier: GPL-2.0-only
//! active-push: what happens to running tasks when there is a better CPU for them. (a) Four hogs share two cores of two threads
//! and are set free: how long until there is one per core, and how often stopper threads are woken for it. (b) A real-time
//! task takes the CPU of a running hog while others idle: how long the hog waits. (c) How late a real-time task wakes beside
//! hogs that are driven from core to core. The same under the kernel's scheduler and under active-push, in one boot; (c) also
//! under active-push without any push.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{length_seconds, row};
use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::figures;
use crate::protocol::{KERNEL_PHASE, LiveRow, Record, TableRow};
use crate::scenarios::push_latency::{self, Lateness};
use crate::scenarios::{push_rescue, push_spread};
use crate::scheduler::Scheduler;

/// Share of a phase for the rounds of (a) and of (b) each; (c) takes its own time.
const SHARE: f64 = 0.45;

/// Fewest rounds of a kind.
const FEWEST: usize = 3;

/// A hog that lost its CPU must run again well before the real-time task is gone.
const WAIT: Duration = Duration::from_millis(120);

const COLUMNS: [&str; 3] = ["what happens", "round", "ms"];

/// What one phase gave.
#[derive(Default)]
struct Phase {
    spread_ms: Vec<f64>,
    spread_rounds: usize,
    left_again: usize,
    stopper_wakes: usize,
    wait_ms: Vec<f64>,
    rescue_rounds: usize,
    late: Option<Lateness>,
}

pub fn run(context: &mut Context) -> Result<()> {
    let cores = push_spread::cores()?;
    if cores.len() < 4 || cores.iter().any(|core| core.len() != 2) {
        return Err(Skipped("needs 4 cores of 2 threads, such as --topology 1n1l4c2t".into()).into());
    }
    let seconds = length_seconds(context);
    context.step(format!("the kernel's scheduler, {seconds:.0} s"));
    let kernel = Stage::new(KERNEL_PHASE, &cores).phase(context, seconds)?;
    let name = context.plan.scheduler.clone();
    let mut scheduler = Scheduler::start(context, &[])?;
    context.step(format!("{name}, {seconds:.0} s"));
    let tested = Stage::new(&name, &cores).phase(context, seconds)?;
    scheduler.require_on(context)?;
    scheduler.stop(context)?;
    let mut without = Scheduler::start(context, &["--no-push"])?;
    context.step(format!("{name} without pushes, for comparison"));
    let mut stage = Stage::new(&name, &cores);
    stage.latency(context)?;
    without.require_on(context)?;
    context.send(&Record::Table { rows: rows(&kernel, &tested, stage.results.late) });
    require(context, &kernel, &tested);
    without.stop(context)
}

fn require(context: &mut Context, kernel: &Phase, tested: &Phase) {
    context.figure("one_per_core_median_ms", median(&tested.spread_ms));
    context.figure("one_per_core_median_ms_kernel", median(&kernel.spread_ms));
    context.figure("wait_median_ms", median(&tested.wait_ms));
    context.figure("wait_median_ms_kernel", median(&kernel.wait_ms));
    context.figure("stopper_wakes", tested.stopper_wakes as f64);
    let missing = tested.spread_rounds - tested.spread_ms.len();
    context.require_measured(missing == 0, || {
        format!("in {missing} of {} rounds the hogs never had a core each", tested.spread_rounds)
    });
    let longest = figures::bounds(&tested.wait_ms).map_or(f64::INFINITY, |(_, longest)| longest);
    context.require_measured(longest <= WAIT.as_secs_f64() * 1000.0, || {
        format!("a hog waited {longest:.0} ms for a real-time task although CPUs were idle, bound {WAIT:?}")
    });
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rows(kernel: &Phase, tested: &Phase, without_pushes: Option<Lateness>) -> Vec<TableRow> {
    let both = |metric: &str, value: fn(&Phase) -> String| row(metric, value(kernel), value(tested));
    vec![
        both("4 hogs on 2 cores set free: one per core after (ms, median / slowest)", |phase| {
            summary_ms(&phase.spread_ms)
        }),
        both("  rounds in which it came to that", |phase| {
            format!("{} of {}", phase.spread_ms.len(), phase.spread_rounds)
        }),
        both("  rounds in which a hog went back to a shared core", |phase| phase.left_again.to_string()),
        both("  stopper threads woken, but for the affinity calls' own", |phase| {
            phase.stopper_wakes.to_string()
        }),
        both("hog whose CPU a FIFO task takes: wait (ms, median / longest)", |phase| {
            summary_ms(&phase.wait_ms)
        }),
        both("  times the FIFO task met the hog on its CPU", |phase| {
            format!("{} of {}", phase.wait_ms.len(), phase.rescue_rounds)
        }),
        both("FIFO task waking beside moving hogs: late (us, p50 / p99 / longest)", |phase| late(phase.late)),
        row("  the same without pushes (--no-push)", "-".to_owned(), late(without_pushes)),
    ]
}

fn summary_ms(values: &[f64]) -> String {
    match figures::bounds(values) {
        Some((_, longest)) => format!("{:.1} / {longest:.1}", median(values)),
        None => "-".to_owned(),
    }
}

fn late(lateness: Option<Lateness>) -> String {
    lateness.map_or("-".to_owned(), |late| {
        format!("{:.0} / {:.0} / {:.0}", late.median_us, late.p99_us, late.longest_us)
    })
}

/// One phase under way.
struct Stage<'a> {
    name: &'a str,
    cores: &'a [Cpus],
    begin: Instant,
    rows: Vec<LiveRow>,
    results: Phase,
}

impl<'a> Stage<'a> {
    fn new(name: &'a str, cores: &'a [Cpus]) -> Self {
        Self { name, cores, begin: Instant::now(), rows: Vec::new(), results: Phase::default() }
    }

    fn phase(mut self, context: &mut Context, seconds: f64) -> Result<Phase> {
        let length = Duration::from_secs_f64(seconds * SHARE);
        self.spread(context, length)?;
        self.rescue(context, length)?;
        self.latency(context)?;
        Ok(self.results)
    }

    fn spread(&mut self, context: &mut Context, length: Duration) -> Result<()> {
        let begin = Instant::now();
        for number in 1.. {
            if number > FEWEST && begin.elapsed() > length {
                break;
            }
            let round = push_spread::measure(context, self.name, self.cores, 1)?;
            self.results.spread_rounds += 1;
            self.results.left_again += round.left_again;
            self.results.stopper_wakes += round.wakes.iter().sum::<usize>();
            let ms = round.after_ms.first().copied();
            self.results.spread_ms.extend(ms);
            self.show(context, "4 hogs on 2 cores set free: one per core after", number, ms);
        }
        Ok(())
    }

    fn rescue(&mut self, context: &mut Context, length: Duration) -> Result<()> {
        let begin = Instant::now();
        for number in 1.. {
            if number > FEWEST && begin.elapsed() > length {
                break;
            }
            let round = push_rescue::measure(context, 1)?;
            self.results.rescue_rounds += round.tries;
            let ms = round.waits.first().map(|wait| wait.as_secs_f64() * 1000.0);
            self.results.wait_ms.extend(ms);
            self.show(context, "a FIFO task takes a hog's CPU: the hog waits", number, ms);
        }
        Ok(())
    }

    fn latency(&mut self, context: &mut Context) -> Result<()> {
        let late = push_latency::measure(context, self.cores)?;
        self.results.late = Some(late);
        let ms = Some(late.median_us / 1000.0);
        self.show(context, "a FIFO task wakes beside moving hogs: half of the times later than", 1, ms);
        Ok(())
    }

    /// Adds a line to the view; the newest ones stay.
    fn show(&mut self, context: &Context, what: &str, number: usize, ms: Option<f64>) {
        const LINES: usize = 12;
        /// The longest bar, ms.
        const WIDEST: f64 = 200.0;
        let text = ms.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        let cells = vec![what.to_owned(), number.to_string(), text.clone()];
        self.rows.push(LiveRow { cells, bar: ms.unwrap_or(0.0) / WIDEST });
        let surplus = self.rows.len().saturating_sub(LINES);
        self.rows.drain(..surplus);
        context.send(&Record::Live {
            phase: self.name.to_owned(),
            at_seconds: figures::rounded(self.begin.elapsed().as_secs_f64()),
            note: String::new(),
            brief: format!("{what} {text} ms (round {number})"),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            rows: self.rows.clone(),
        });
    }
}
