// SPDX-License-Identifier: GPL-2.0-only
//! P1: 4 hogs share 2 SMT cores, then their affinity is widened. One hog per core in time, and the kernel's stopper threads
//! are never woken for it: changes of affinity aside, which wake some themselves. The kernel's own scheduler is measured in the same boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::push_trace::{QuietWatchdog, SwitchTrace, Waker, stopper_switches, stopper_wakers};
use crate::context::{Context, Skipped};
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const ROUNDS: usize = 5;

/// One hog per core after this time at the latest (14 to 84 ms where it was tried).
const DEADLINE: Duration = Duration::from_secs(3);

/// How long the hogs are watched once they are spread.
const STEADY: Duration = Duration::from_millis(700);

const LOOK: Duration = Duration::from_millis(2);

/// What the rounds gave.
#[derive(Default)]
pub struct Measured {
    /// Time until there was one hog per core, in the rounds in which that came about, ms.
    pub after_ms: Vec<f64>,
    /// Wake-ups of stopper threads in each round, but for those of changes of affinity.
    pub wakes: Vec<usize>,
    /// Those of changes of affinity, by the process that makes them or by the kernel's rescuers of work queues.
    pub wakes_of_affinity: usize,
    /// How often a stopper thread got a CPU.
    pub switches: usize,
    /// Rounds in which the hogs never had a core each.
    pub not_spread: usize,
    /// Rounds in which they had and one went back to a shared core.
    pub left_again: usize,
}

pub fn run(context: &mut Context) -> Result<()> {
    let cores = cores()?;
    if cores.len() < 4 || cores.iter().any(|core| core.len() != 2) {
        return Err(Skipped("needs 4 cores of 2 threads".into()).into());
    }
    context.step("under the kernel's scheduler");
    let kernel = measure(context, "kernel", &cores, ROUNDS)?;
    show(context, "kernel", &kernel);
    let mut scheduler = Scheduler::start(context, &[])?;
    let pushed = measure(context, "push", &cores, ROUNDS)?;
    show(context, "push", &pushed);
    scheduler.require_on(context)?;
    let stats = scheduler.stats(context)?;
    for counter in [
        "push_spread",
        "push_arrived",
        "push_collision",
        "push_run_p50_us",
        "push_run_p99_us",
        "stale_target_busy",
        "stale_expired",
        "stale_other_task",
        "stale_slept",
        "stale_affinity",
        "stale_migration_disabled",
        "stale_target_offline",
    ] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    context.require_measured(pushed.not_spread == 0, || {
        format!(
            "in {} of {ROUNDS} rounds the hogs were not one per core after {DEADLINE:?}",
            pushed.not_spread
        )
    });
    context.require_measured(pushed.left_again == 0, || {
        format!("in {} of {ROUNDS} rounds a hog went back to a shared core", pushed.left_again)
    });
    let wakes: usize = pushed.wakes.iter().sum();
    context.require(wakes == 0, || {
        format!("stopper threads were woken {wakes} times beside the changes of affinity themselves")
    });
    let arrived = stats.counter("push_arrived")?;
    context.require(arrived > 0, || "the hogs spread, but the scheduler counts no push".into());
    scheduler.stop(context)
}

fn show(context: &mut Context, who: &str, measured: &Measured) {
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (_, slowest) = figures::bounds(&measured.after_ms).unwrap_or((f64::NAN, f64::NAN));
    context.figure(&format!("{who}_one_per_core_median_ms"), median(&measured.after_ms));
    context.figure(&format!("{who}_one_per_core_slowest_ms"), slowest);
    context.figure(&format!("{who}_not_spread_rounds"), measured.not_spread as f64);
    context.figure(&format!("{who}_stopper_wakes"), measured.wakes.iter().sum::<usize>() as f64);
    context.figure(&format!("{who}_stopper_wakes_of_affinity"), measured.wakes_of_affinity as f64);
    context.figure(&format!("{who}_stopper_switches"), measured.switches as f64);
}

/// Threads of each core, online ones.
///
/// # Errors
/// /sys cannot be read.
pub fn cores() -> Result<Vec<Cpus>> {
    let mut cores: BTreeMap<usize, Cpus> = BTreeMap::new();
    for cpu in evidence::online()? {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let threads = cpulist::parse(&text).with_context(|| format!("{path} is not a CPU list"))?;
        cores.insert(*threads.first().context("a core without threads")?, threads);
    }
    Ok(cores.into_values().collect())
}

/// Lets hogs share two cores, sets them free and watches them, `rounds` times, under whatever schedules now. `cores` are at
/// least four of two threads; `who` names files that are kept.
///
/// # Errors
/// The hogs or the trace fail.
pub fn measure(context: &mut Context, who: &str, cores: &[Cpus], rounds: usize) -> Result<Measured> {
    let _quiet = QuietWatchdog::start()?;
    let shared: Cpus = cores[0].union(&cores[1]).copied().collect();
    let mut measured = Measured::default();
    for round in 0..rounds {
        let jobs: Vec<Job> = shared.iter().map(|&cpu| Job::spinner().on(&Cpus::from([cpu]))).collect();
        let pool = Pool::start(&jobs)?;
        context.sleep(Duration::from_millis(300));
        let outside = pool.cpus()?.iter().filter(|cpu| !shared.contains(cpu)).count();
        ensure!(outside == 0, "{outside} hogs are outside the cores they are bound to");
        let trace = SwitchTrace::start(&[])?;
        pool.set_affinity(&evidence::online()?)?;
        let begin = Instant::now();
        let spread = context.wait_for(DEADLINE, LOOK, |_| {
            Ok((cores_used(cores, &pool.cpus()?) == jobs.len()).then(|| begin.elapsed()))
        })?;
        match spread {
            Some(after) => measured.after_ms.push(after.as_secs_f64() * 1000.0),
            None => measured.not_spread += 1,
        }
        context.sleep(STEADY);
        if spread.is_some() && cores_used(cores, &pool.cpus()?) < jobs.len() {
            measured.left_again += 1;
        }
        let (switches, text) = trace.finish()?;
        measured.switches += stopper_switches(&switches);
        let caller = std::process::id().cast_signed();
        let (changes, others): (Vec<Waker>, Vec<Waker>) =
            stopper_wakers(&text).into_iter().partition(|waker| waker.changes_affinity(caller));
        measured.wakes_of_affinity += changes.len();
        if !others.is_empty() {
            let wakes: Vec<&str> = text.lines().filter(|line| line.contains(": sched_waking: ")).collect();
            context.keep_file(&format!("{who}-{round}-stoppers.trace"), &wakes.join("\n"));
        }
        measured.wakes.push(others.len());
        pool.stop(context);
    }
    Ok(measured)
}

fn cores_used(cores: &[Cpus], cpus: &[usize]) -> usize {
    let core = |cpu: &usize| cores.iter().position(|core| core.contains(cpu));
    cpus.iter().filter_map(core).collect::<BTreeSet<usize>>().len()
}
