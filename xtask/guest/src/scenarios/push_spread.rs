// SPDX-License-Identifier: GPL-2.0-only
//! P1: 4 hogs share 2 SMT cores, then their affinity is widened. One hog per core in time, and the kernel's stopper threads
//! run no more often than changes of affinity alone make them. The kernel's own scheduler is measured in the same boot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::push_trace::{SwitchTrace, stopper_switches};
use crate::context::{Context, Skipped};
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, set_affinity};

const ROUNDS: usize = 5;

/// One hog per core after this time at the latest (14 to 84 ms where it was tried).
const DEADLINE: Duration = Duration::from_secs(3);

/// How long the hogs are watched once they are spread.
const STEADY: Duration = Duration::from_millis(700);

const LOOK: Duration = Duration::from_millis(2);

/// Stopper switches that may come from elsewhere during a round.
const STRAY_SWITCHES: usize = 1;

#[derive(Default)]
struct Measured {
    after_ms: Vec<f64>,
    stoppers: Vec<f64>,
    stoppers_of_affinity: Vec<f64>,
    not_spread: usize,
    left_again: usize,
}

pub fn run(context: &mut Context) -> Result<()> {
    let cores = cores()?;
    if cores.len() < 4 || cores.iter().any(|core| core.len() != 2) {
        return Err(Skipped("needs 4 cores of 2 threads".into()).into());
    }
    context.step("under the kernel's scheduler");
    let kernel = measure(context, &cores)?;
    show(context, "kernel", &kernel);
    let mut scheduler = Scheduler::start(context, &[])?;
    let pushed = measure(context, &cores)?;
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
    let bound = pushed.stoppers_of_affinity.iter().copied().fold(0.0, f64::max) as usize + STRAY_SWITCHES;
    let most = pushed.stoppers.iter().copied().fold(0.0, f64::max) as usize;
    context.require(most <= bound, || {
        format!("stopper threads ran {most} times in a round, changes of affinity alone make {bound}")
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
    context.figure(&format!("{who}_stopper_switches"), measured.stoppers.iter().sum());
    context
        .figure(&format!("{who}_stopper_switches_of_affinity"), measured.stoppers_of_affinity.iter().sum());
}

/// Threads of each core, online ones.
fn cores() -> Result<Vec<Cpus>> {
    let mut cores: BTreeMap<usize, Cpus> = BTreeMap::new();
    for cpu in evidence::online()? {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let threads = cpulist::parse(&text).with_context(|| format!("{path} is not a CPU list"))?;
        cores.insert(*threads.first().context("a core without threads")?, threads);
    }
    Ok(cores.into_values().collect())
}

fn measure(context: &mut Context, cores: &[Cpus]) -> Result<Measured> {
    let shared: Cpus = cores[0].union(&cores[1]).copied().collect();
    let mut measured = Measured::default();
    for _ in 0..ROUNDS {
        let jobs: Vec<Job> = shared.iter().map(|&cpu| Job::spinner().on(&Cpus::from([cpu]))).collect();
        let pool = Pool::start(&jobs)?;
        context.sleep(Duration::from_millis(300));
        let outside = pool.cpus()?.iter().filter(|cpu| !shared.contains(cpu)).count();
        ensure!(outside == 0, "{outside} hogs are outside the cores they are bound to");
        measured.stoppers_of_affinity.push(affinity_alone(context, &pool, cores)?);
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
        let (switches, _) = trace.finish()?;
        measured.stoppers.push(stopper_switches(&switches) as f64);
        pool.stop();
    }
    Ok(measured)
}

/// Stopper switches while each hog's affinity changes in a way that moves nobody: from its CPU to its whole core.
fn affinity_alone(context: &mut Context, pool: &Pool, cores: &[Cpus]) -> Result<f64> {
    let trace = SwitchTrace::start(&[])?;
    for (&pid, cpu) in pool.pids().iter().zip(pool.cpus()?) {
        let core = cores.iter().find(|core| core.contains(&cpu)).context("a CPU without core")?;
        set_affinity(pid, core)?;
    }
    context.sleep(STEADY);
    Ok(stopper_switches(&trace.finish()?.0) as f64)
}

fn cores_used(cores: &[Cpus], cpus: &[usize]) -> usize {
    let core = |cpu: &usize| cores.iter().position(|core| core.contains(cpu));
    cpus.iter().filter_map(core).collect::<BTreeSet<usize>>().len()
}
