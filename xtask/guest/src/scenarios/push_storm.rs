// SPDX-License-Identifier: GPL-2.0-only
//! P3: pushes lose their footing: hogs are re-pinned, killed and replaced, targets are taken by real-time tasks and go
//! offline. Whatever happens, nobody is lost: at the end every hog runs, and none outside its mask.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Policy, Pool, TURN, set_affinity};

/// Changes between two of a CPU's going offline and coming back.
const CHANGES_PER_CYCLE: usize = 150;

const CYCLES: u64 = 2;

const BETWEEN: Duration = Duration::from_millis(8);

/// A restart in place after hotplug; slow under emulation beside load.
const BACK: Duration = Duration::from_secs(120);

/// Bounded migrations: per hog and second at the end, when nothing disturbs any more.
const MOVES_PER_SECOND: f64 = 20.0;

const STEADY: Duration = Duration::from_secs(2);

pub fn run(context: &mut Context) -> Result<()> {
    let online: Vec<usize> = evidence::online()?.into_iter().collect();
    if online.len() < 4 {
        return Err(Skipped("needs 4 CPUs".into()).into());
    }
    // Often only one of the cores' threads is busy: that is where running tasks are pushed.
    let hogs = online.len() / 2 + 1;
    let mut scheduler = Scheduler::start(context, &[])?;
    let mut pools: Vec<Pool> = (0..hogs).map(|_| Pool::start(&[Job::spinner()])).collect::<Result<_>>()?;
    let mut thief: Option<Pool> = None;
    for cycle in 1..=CYCLES {
        for _ in 0..CHANGES_PER_CYCLE {
            change(context, &online, &mut pools, &mut thief)?;
            context.sleep(BETWEEN);
        }
        scheduler.require_alive()?;
        thief = None;
        let cpu = online[1 + context.random.below(online.len() - 1)];
        context.step(format!("cycle {cycle}: CPU {cpu} off and on"));
        if fs::exists(switch(cpu)).unwrap_or(false) {
            off_and_on(context, &mut scheduler, &pools, cpu)?;
        }
    }
    let all: Cpus = online.iter().copied().collect();
    for pool in &pools {
        pool.set_affinity(&all)?;
    }
    for pool in &pools {
        let stuck = pool.wait_for_progress(context)?;
        context.require(stuck == 0, || format!("hog {} stood still for {TURN:?}", pool.pids()[0]));
    }
    measure_steady(context, &pools)?;
    let stats = scheduler.stats(context)?;
    for counter in [
        "push_arrived",
        "push_collision",
        "stale_slept",
        "stale_other_task",
        "stale_affinity",
        "stale_target_busy",
        "stale_expired",
        "rescued",
        "helped",
        "wake_evaded",
    ] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    // A storm in which nobody was pushed shows nothing.
    let arrived = stats.counter("push_arrived")?;
    context.require_measured(arrived > 0, || "no push arrived in the whole storm".to_owned());
    drop(pools);
    // Each of the two switches of a cycle may restart it once; a second try after a race doubles that.
    scheduler.stop_after(context, 1..=1 + 4 * CYCLES)
}

fn switch(cpu: usize) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/online")
}

/// One disturbance.
fn change(
    context: &mut Context,
    online: &[usize],
    pools: &mut [Pool],
    thief: &mut Option<Pool>,
) -> Result<()> {
    let index = context.random.below(pools.len());
    let place = context.random.below(online.len());
    // Always two CPUs: a hog that may use only the one which the real-time hog has cannot run, and so cannot even be killed,
    // before the kernel has a server for sched_ext (7.0), whatever the scheduler does. This scenario would wait for it for ever.
    let other = (place + 1 + context.random.below(online.len() - 1)) % online.len();
    let (cpu, other) = (online[place], online[other]);
    match context.random.below(8) {
        // Narrow: two CPUs; then all again, which is when pushes begin.
        0 | 1 => set_affinity(pools[index].pids()[0], &Cpus::from([cpu, other]))?,
        2..=4 => set_affinity(pools[index].pids()[0], &online.iter().copied().collect())?,
        5 => {
            pools[index] = Pool::start(&[Job::spinner().on(&Cpus::from([cpu, other]))])?;
        }
        6 => {
            // One at a time: each takes the CPU that it is bound to for good.
            *thief = None;
            *thief = Some(Pool::start(&[Job::spinner().on(&Cpus::from([cpu])).policy(Policy::Fifo)])?);
        }
        _ => *thief = None,
    }
    Ok(())
}

fn off_and_on(context: &mut Context, scheduler: &mut Scheduler, pools: &[Pool], cpu: usize) -> Result<()> {
    for state in ["0", "1"] {
        // A hog that may use only CPUs that go off gets others from the kernel: not what is tested here.
        for pool in pools {
            pool.set_affinity(&evidence::online()?)?;
        }
        fs::write(switch(cpu), state).with_context(|| format!("cannot switch CPU {cpu}"))?;
        context.sleep(Duration::from_millis(500));
        let back = context.wait_for(BACK, Duration::from_millis(100), |context| {
            scheduler.require_alive()?;
            Ok(scheduler.is_on(context)?.then_some(()))
        })?;
        context.require(back.is_some(), || format!("not attached {BACK:?} after CPU {cpu} was switched"));
    }
    Ok(())
}

/// Fewer hogs than CPUs and nothing disturbs them: each has a CPU, and they stay where they are.
fn measure_steady(context: &mut Context, pools: &[Pool]) -> Result<()> {
    context.sleep(Duration::from_secs(1));
    let before: Vec<f64> = pools.iter().map(|pool| Ok(pool.cpu_seconds()?[0])).collect::<Result<_>>()?;
    let (begin, mut moves) = (Instant::now(), 0);
    let places =
        |pools: &[Pool]| -> Result<Vec<usize>> { pools.iter().map(|pool| Ok(pool.cpus()?[0])).collect() };
    let mut last = places(pools)?;
    while begin.elapsed() < STEADY {
        context.sleep(Duration::from_millis(5));
        let now = places(pools)?;
        moves += now.iter().zip(&last).filter(|(now, last)| now != last).count();
        last = now;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let least = pools
        .iter()
        .zip(&before)
        .map(|(pool, before)| Ok((pool.cpu_seconds()?[0] - before) / seconds))
        .collect::<Result<Vec<f64>>>()?
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let rate = moves as f64 / seconds / pools.len() as f64;
    context.figure("least_share", least);
    context.figure("moves_per_hog_second", rate);
    context.require_measured(least >= 0.3, || {
        format!("with fewer hogs than CPUs one had {:.0} % of a CPU, bound 30 %", least * 100.0)
    });
    context.require_measured(rate <= MOVES_PER_SECOND, || {
        format!("a hog changed its CPU {rate:.1} times a second, bound {MOVES_PER_SECOND}")
    });
    Ok(())
}
