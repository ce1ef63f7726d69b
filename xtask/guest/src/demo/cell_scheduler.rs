// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler: two tenants on one machine, `web` with two threads that run and sleep and `batch` with four hogs a CPU. Half
//! of a phase both are at work (isolation); then `web` sleeps for a quarter and its CPUs lie idle (lending); then it comes back.
//! The same under the kernel's scheduler and under cell-scheduler, without the cpu controller.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{length_seconds, row};
use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::figures;
use crate::protocol::{KERNEL_PHASE, LiveRow, Record, TableRow};
use crate::scenarios::tenants;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const WEB_THREADS: usize = 2;

/// How long a thread of `web` sleeps each time.
const WEB_SLEEP: Duration = Duration::from_millis(5);

const HOGS_PER_CPU: usize = 4;

/// `web` must do this much of its work under the kernel's scheduler, and wait at most so much of its wait there.
const WORK: f64 = 1.3;
const WAIT: f64 = 0.7;

/// CPUs that may be idle while `web` sleeps: `batch` wants them all.
const IDLE: f64 = 0.5;

/// Before anything counts: for the load to begin and the cells to follow it.
const WARM_UP: Duration = Duration::from_secs(4);

const SAMPLE: Duration = Duration::from_millis(100);

const COLUMNS: [&str; 6] =
    ["tenant", "cell's CPUs (said)", "CPUs used", "wait a run (ms)", "wakes/s", "on web's CPUs (%)"];

/// What `web` and `batch` do at a moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    web_wakes: f64,
    web_runs: f64,
    web_wait_ns: f64,
    web_seconds: f64,
    batch_seconds: f64,
    /// Idle time of all CPUs.
    idle_seconds: f64,
}

/// What passed over a stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    seconds: f64,
    passed: Reading,
    /// Share of the looks at which a hog of `batch` was on a CPU of `web`'s cell.
    on_webs_cpus: f64,
}

impl Stretch {
    fn wait_ms(&self) -> f64 {
        self.passed.web_wait_ns / self.passed.web_runs.max(1.0) / 1e6
    }

    fn wakes_per_second(&self) -> f64 {
        self.passed.web_wakes / self.seconds.max(1e-3)
    }

    fn idle_cpus(&self) -> f64 {
        self.passed.idle_seconds / self.seconds.max(1e-3)
    }

    fn batch_cpus(&self) -> f64 {
        self.passed.batch_seconds / self.seconds.max(1e-3)
    }
}

/// What one phase gave.
struct Phase {
    together: Stretch,
    asleep: Stretch,
    back: Stretch,
    cpu_time_ratio: f64,
}

pub fn run(context: &mut Context) -> Result<()> {
    let seconds = length_seconds(context);
    let parent = tenants::parent(&[])?;
    let groups = [parent.child("web", &[])?, parent.child("batch", &[])?];
    let load = || -> Result<(Pool, Pool)> {
        let hogs = HOGS_PER_CPU * evidence::online()?.len();
        let batch = tenants::load(&groups[1], &vec![Job::spinner(); hogs])?;
        Ok((tenants::load(&groups[0], &vec![Job::sleeper(WEB_SLEEP); WEB_THREADS])?, batch))
    };
    context.step(format!("the kernel's scheduler, {seconds:.0} s"));
    let (web, batch) = load()?;
    let kernel = Stage { web: &web, batch: &batch, name: KERNEL_PHASE, scheduler: None, begin: None }
        .phase(context, seconds)?;
    drop((web, batch));
    let name = context.plan.scheduler.clone();
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    context.step(format!("{name}, {seconds:.0} s"));
    let (web, batch) = load()?;
    let stage = Stage { web: &web, batch: &batch, name: &name, scheduler: Some(&mut scheduler), begin: None };
    let tested = stage.phase(context, seconds)?;
    context.send(&Record::Table { rows: rows(&kernel, &tested) });
    require(context, &kernel, &tested);
    drop((web, batch));
    scheduler.stop(context)
}

fn require(context: &mut Context, kernel: &Phase, tested: &Phase) {
    let work = tested.together.wakes_per_second() / kernel.together.wakes_per_second().max(1e-3);
    let wait = tested.together.wait_ms() / kernel.together.wait_ms().max(1e-3);
    let idle = tested.asleep.idle_cpus();
    for (name, figure) in [("work_of_kernel", work), ("wait_of_kernel", wait), ("idle_cpus_web_asleep", idle)]
    {
        context.figure(name, figure);
    }
    context.require_measured(work >= WORK, || {
        format!("web did {work:.2} of its work under the kernel's scheduler, bound {WORK}")
    });
    context.require_measured(wait <= WAIT, || {
        format!("web waited {wait:.2} of its wait under the kernel's scheduler, bound {WAIT}")
    });
    context.require_measured(idle <= IDLE, || {
        format!("{idle:.2} CPUs were idle beside waiting hogs while web slept, bound {IDLE}")
    });
    context.require(tested.asleep.on_webs_cpus > 0.0, || {
        "batch never ran on a CPU of the sleeping web: nothing was lent".into()
    });
}

fn rows(kernel: &Phase, tested: &Phase) -> Vec<TableRow> {
    let both = |metric: &str, value: fn(&Phase) -> f64, digits: usize| {
        row(metric, format!("{:.digits$}", value(kernel)), format!("{:.digits$}", value(tested)))
    };
    vec![
        both("both at work: wake-ups of web served per second", |phase| phase.together.wakes_per_second(), 0),
        both("both at work: wait of web for each run (ms)", |phase| phase.together.wait_ms(), 2),
        both("both at work: CPUs used by batch", |phase| phase.together.batch_cpus(), 2),
        both("web asleep: CPUs used by batch", |phase| phase.asleep.batch_cpus(), 2),
        both("web asleep: CPUs idle", |phase| phase.asleep.idle_cpus(), 2),
        row(
            "web asleep: looks with batch on web's CPUs (%)",
            "-".to_owned(),
            format!("{:.0}", tested.asleep.on_webs_cpus * 100.0),
        ),
        both("web back: wake-ups of web served per second", |phase| phase.back.wakes_per_second(), 0),
        both("web back: wait of web for each run (ms)", |phase| phase.back.wait_ms(), 2),
        both("CPU time of batch's hogs, max/min", |phase| phase.cpu_time_ratio, 2),
    ]
}

/// One phase under way.
struct Stage<'a> {
    web: &'a Pool,
    batch: &'a Pool,
    name: &'a str,
    scheduler: Option<&'a mut Scheduler>,
    /// When it began, once it has.
    begin: Option<Instant>,
}

impl Stage<'_> {
    fn phase(mut self, context: &mut Context, seconds: f64) -> Result<Phase> {
        context.sleep(WARM_UP);
        self.begin = Some(Instant::now());
        let before = self.batch.cpu_seconds()?;
        let part = |share: f64| Duration::from_secs_f64(seconds * share);
        let together = self.stretch(context, "both at work", part(0.5))?;
        self.web.pause()?;
        let asleep = self.stretch(context, "web sleeps", part(0.25))?;
        self.web.resume()?;
        let back = self.stretch(context, "web is back", part(0.25))?;
        let had: Vec<f64> =
            self.batch.cpu_seconds()?.iter().zip(&before).map(|(after, before)| after - before).collect();
        let cpu_time_ratio = figures::max_over_min(&had).unwrap_or(f64::INFINITY);
        Ok(Phase { together, asleep, back, cpu_time_ratio })
    }

    /// Looks on for `length`, and shows it every second.
    fn stretch(&mut self, context: &mut Context, what: &str, length: Duration) -> Result<Stretch> {
        let first = self.reading()?;
        let begin = Instant::now();
        let (mut looks, mut seen) = (0u64, 0u64);
        let mut before = (first, begin);
        while begin.elapsed() < length {
            let cells = self.cells(context)?;
            let (mut second_looks, mut second_seen) = (0u64, 0u64);
            while before.1.elapsed() < Duration::from_secs(1) {
                context.sleep(SAMPLE);
                let on_webs = self.batch.cpus()?.iter().any(|cpu| cells.0.contains(cpu));
                second_looks += 1;
                second_seen += u64::from(on_webs);
            }
            looks += second_looks;
            seen += second_seen;
            let now = (self.reading()?, Instant::now());
            let second = between(before, now, second_seen as f64 / second_looks.max(1) as f64);
            before = now;
            context.send(&self.live(what, &second, &cells));
        }
        Ok(between((first, begin), before, seen as f64 / looks.max(1) as f64))
    }

    fn reading(&self) -> Result<Reading> {
        let mut reading = Reading::default();
        for &pid in self.web.pids() {
            let (wait_ns, runs) = evidence::waited(pid)?;
            reading.web_wait_ns += wait_ns as f64;
            reading.web_runs += runs as f64;
        }
        reading.web_wakes = self.web.progress().iter().sum::<u64>() as f64;
        reading.web_seconds = self.web.cpu_seconds()?.iter().sum();
        reading.idle_seconds = evidence::cpu_times()?.iter().map(|time| time.idle).sum();
        reading.batch_seconds = self.batch.cpu_seconds()?.iter().sum();
        Ok(reading)
    }

    /// CPUs of the cells of `web` and of `batch`; none without a scheduler that has cells.
    fn cells(&mut self, context: &mut Context) -> Result<(Cpus, Cpus)> {
        let Some(scheduler) = &mut self.scheduler else { return Ok(Default::default()) };
        scheduler.require_on(context)?;
        // There are none before the first round.
        let Ok(stats) = scheduler.stats(context) else { return Ok(Default::default()) };
        let cpus = |name: &str| -> Result<Cpus> {
            Ok(tenants::find(&stats, name)?.map(|tenant| tenant.cpus).unwrap_or_default())
        };
        Ok((cpus("web")?, cpus("batch")?))
    }

    fn live(&self, what: &str, second: &Stretch, cells: &(Cpus, Cpus)) -> Record {
        let cell = |cpus: &Cpus| {
            if cpus.is_empty() { "-".to_owned() } else { cpulist::format(cpus) }
        };
        let web_cpus = second.passed.web_seconds / second.seconds.max(1e-3);
        let lent =
            if cells.0.is_empty() { "-".to_owned() } else { format!("{:.0}", second.on_webs_cpus * 100.0) };
        let (wait, wakes) = match second.passed.web_runs {
            0.0 => ("-".to_owned(), "0".to_owned()),
            _ => (format!("{:.2}", second.wait_ms()), format!("{:.0}", second.wakes_per_second())),
        };
        let brief = format!(
            "web: {web_cpus:.2} CPUs, {wakes} wakes/s, wait {wait} ms  batch: {:.2} CPUs, on web's {lent} %",
            second.batch_cpus()
        );
        let dash = || "-".to_owned();
        let web = vec!["web".to_owned(), cell(&cells.0), format!("{web_cpus:.2}"), wait, wakes, dash()];
        let batch = vec![
            "batch".to_owned(),
            cell(&cells.1),
            format!("{:.2}", second.batch_cpus()),
            dash(),
            dash(),
            lent,
        ];
        let all = (web_cpus + second.batch_cpus()).max(1e-3);
        Record::Live {
            phase: self.name.to_owned(),
            at_seconds: figures::rounded(self.begin.map_or(0.0, |begin| begin.elapsed().as_secs_f64())),
            note: what.to_owned(),
            brief,
            columns: COLUMNS.map(str::to_owned).to_vec(),
            rows: vec![
                LiveRow { cells: web, bar: web_cpus / all },
                LiveRow { cells: batch, bar: second.batch_cpus() / all },
            ],
        }
    }
}

fn between(before: (Reading, Instant), after: (Reading, Instant), on_webs_cpus: f64) -> Stretch {
    let passed = Reading {
        web_wakes: after.0.web_wakes - before.0.web_wakes,
        web_runs: after.0.web_runs - before.0.web_runs,
        web_wait_ns: after.0.web_wait_ns - before.0.web_wait_ns,
        web_seconds: after.0.web_seconds - before.0.web_seconds,
        batch_seconds: after.0.batch_seconds - before.0.batch_seconds,
        idle_seconds: after.0.idle_seconds - before.0.idle_seconds,
    };
    Stretch { seconds: (after.1 - before.1).as_secs_f64(), passed, on_webs_cpus }
}
