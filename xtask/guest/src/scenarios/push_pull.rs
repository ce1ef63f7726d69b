// SPDX-License-Identifier: GPL-2.0-only
//! P4: imbalance between last-level caches, and between nodes. Tasks that wait are pulled by idle CPUs without any push; running tasks are pushed,
//! but only after the configured number of failed rounds: with a very high number they stay, with the default they spread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, set_affinity};

/// So many failures that no running task is pushed in the time of a scenario.
const NEVER: &str = "all:push-failures=1000";

/// Waiting tasks are pulled at once; wide for slow emulation.
const PULL_DEADLINE: Duration = Duration::from_secs(3);

/// A level's interval is some milliseconds and few failures are needed.
const PUSH_DEADLINE: Duration = Duration::from_secs(10);

/// How long hogs that nobody pushes are watched, many times what a push takes.
const STAY: Duration = Duration::from_millis(500);

/// A hog that has to wait for a kernel thread may be pulled by an idle CPU: that is no push, and in one of so many tries, on one
/// cache or another, it does not come to it.
const STAY_TRIES: usize = 12;

/// For the same reason hogs may have spread before anybody had to be pushed; not in all of so many tries.
const PUSH_TRIES: usize = 8;

pub fn run(context: &mut Context) -> Result<()> {
    let llcs: Vec<Cpus> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    if llcs.len() < 2 || llcs[0].len() < 2 {
        return Err(Skipped("needs two last-level caches of two CPUs".into()).into());
    }
    // This process is a real-time one: where it ran, a hog would have to go elsewhere, which is not what is measured here.
    let aside = *llcs[llcs.len() - 1].last().context("a cache without CPUs")?;
    set_affinity(Pid::from_raw(0), &Cpus::from([aside]))?;
    let mut scheduler = Scheduler::start(context, &["--level", NEVER])?;
    pulled(context, &scheduler, &llcs)?;
    stay(context, &scheduler, &llcs)?;
    scheduler.require_on(context)?;
    scheduler.stop(context)?;

    let mut scheduler = Scheduler::start(context, &[])?;
    let nodes = nodes()?;
    let mut arrived = 0;
    for _ in 0..PUSH_TRIES {
        pushed(context, "cache", &llcs)?;
        if nodes.len() > 1 {
            pushed(context, "node", &nodes)?;
        }
        arrived = scheduler.stats(context)?.counter("push_arrived")?;
        if arrived > 0 {
            break;
        }
    }
    scheduler.require_on(context)?;
    let stats = scheduler.stats(context)?;
    for counter in ["push_imbalance", "push_arrived", "push_run_p50_us"] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    context.require(arrived > 0, || "the hogs spread each time, but the scheduler counts no push".into());
    scheduler.stop(context)
}

/// Twice as many hogs as the first cache has CPUs: the waiting half is pulled.
fn pulled(context: &mut Context, scheduler: &Scheduler, llcs: &[Cpus]) -> Result<()> {
    let jobs = vec![Job::spinner().on(&llcs[0]); 2 * llcs[0].len()];
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_secs(1));
    let before = scheduler.stats(context)?.counter("push_arrived")?;
    pool.set_affinity(&evidence::online()?)?;
    let begin = Instant::now();
    let alone = context.wait_for(PULL_DEADLINE, Duration::from_millis(5), |_| {
        let cpus: Cpus = pool.cpus()?.into_iter().collect();
        Ok((cpus.len() == jobs.len()).then(|| begin.elapsed()))
    })?;
    match alone {
        Some(after) => context.figure("pulled_after_ms", after.as_secs_f64() * 1000.0),
        None => context.require_measured(false, || {
            format!("{PULL_DEADLINE:?} after the release hogs still wait in one cache beside idle CPUs")
        }),
    }
    let arrived = scheduler.stats(context)?.counter("push_arrived")? - before;
    context.figure("pushes_while_pulling", arrived as f64);
    context.require(arrived == 0, || format!("{arrived} running tasks were pushed where pulling was enough"));
    pool.stop(context);
    Ok(())
}

/// As many hogs as the first cache has CPUs: nobody waits, so without pushes they stay.
fn stay(context: &mut Context, scheduler: &Scheduler, llcs: &[Cpus]) -> Result<()> {
    let mut left = 0;
    for number in 0..STAY_TRIES {
        // CPU 0 has more kernel threads than others, and on the last cache this process runs.
        let others = 1.max(llcs.len() - 2);
        let crowded = &llcs[1 + number % others..];
        let pool = one_per_cpu(context, crowded)?;
        pool.set_affinity(&evidence::online()?)?;
        context.sleep(STAY);
        left = pool.cpus()?.iter().filter(|cpu| !crowded[0].contains(cpu)).count();
        pool.stop(context);
        if left == 0 {
            break;
        }
    }
    context.figure("left_without_pushes", left as f64);
    context.require(left == 0, || {
        format!("{left} running hogs left their cache each time although pushes need 1000 failed rounds")
    });
    let pushes = scheduler.stats(context)?.counter("push_arrived")?;
    context.require(pushes == 0, || {
        format!("{pushes} pushes are counted although they need 1000 failed rounds")
    });
    Ok(())
}

/// CPUs of each node.
fn nodes() -> Result<Vec<Cpus>> {
    let mut nodes: BTreeMap<u32, Cpus> = BTreeMap::new();
    for llc in evidence::llcs()? {
        nodes.entry(llc.node).or_default().extend(llc.cpus);
    }
    Ok(nodes.into_values().collect())
}

/// A hog on each CPU of the first group, the others idle: some of them have to be pushed.
fn pushed(context: &mut Context, what: &str, groups: &[Cpus]) -> Result<()> {
    let pool = one_per_cpu(context, groups)?;
    pool.set_affinity(&evidence::online()?)?;
    let begin = Instant::now();
    let spread = context.wait_for(PUSH_DEADLINE, Duration::from_millis(5), |_| {
        let used =
            evidence::count_per_domain(groups, &pool.cpus()?).iter().filter(|hogs| **hogs > 0.0).count();
        Ok((used >= 2).then(|| begin.elapsed()))
    })?;
    match spread {
        Some(after) => {
            context.figure(&format!("pushed_to_{what}_after_ms"), after.as_secs_f64() * 1000.0);
        }
        None => context.require_measured(false, || {
            format!("{PUSH_DEADLINE:?} after the release all hogs are still in one {what}")
        }),
    }
    pool.stop(context);
    Ok(())
}

fn one_per_cpu(context: &mut Context, groups: &[Cpus]) -> Result<Pool> {
    let jobs: Vec<Job> = groups[0].iter().map(|&cpu| Job::spinner().on(&Cpus::from([cpu]))).collect();
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_millis(500));
    Ok(pool)
}
