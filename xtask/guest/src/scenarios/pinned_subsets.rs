// SPDX-License-Identifier: GPL-2.0-only
//! 24: 500 spinners, each bound to its own random set of CPUs, so that most of what waits in a shared queue may not run on
//! the CPU that looks into it. Everybody gets its turn, and the scheduler still unloads promptly.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::affinity_storm::random_mask;
use crate::context::{Context, Skipped};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const SPINNERS: usize = 500;

/// 60 spinners share a CPU: a turn each takes about a second, and much longer on a slow machine.
const TURN: Duration = Duration::from_secs(90);

const UNLOAD: Duration = Duration::from_secs(10);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    if cpus.len() < 2 {
        return Err(Skipped("this machine has one CPU".into()).into());
    }
    let mut scheduler = Scheduler::start(context, &[])?;
    let jobs: Vec<Job> =
        (0..SPINNERS).map(|_| Job::spinner().on(&random_mask(context, &cpus))).collect();
    let pool = Pool::start(&jobs)?;
    context.step(format!("{SPINNERS} spinners run"));
    for round in 1..=2 {
        let begin = Instant::now();
        let stuck = pool.wait_for_progress(context, TURN)?;
        context.figure(&format!("turn_{round}_seconds"), begin.elapsed().as_secs_f64());
        context.require(stuck == 0, || format!("{stuck} of {SPINNERS} spinners had no turn in {TURN:?}"));
        scheduler.require_on(context)?;
    }
    let begin = Instant::now();
    scheduler.stop(context)?;
    let unload = begin.elapsed();
    context.require_measured(unload <= UNLOAD, || {
        format!("unloading beside {SPINNERS} spinners took {:.1} s, bound {UNLOAD:?}", unload.as_secs_f64())
    });
    pool.stop();
    Ok(())
}
