// SPDX-License-Identifier: GPL-2.0-only
//! 24: 500 tasks, each bound to its own random set of CPUs, so that most of what waits in a shared queue may not run on
//! the CPU that looks into it. Everybody gets its turn, and the scheduler still unloads: on hardware
//! in a moment, where one host core emulates every CPU in up to half a minute; the figure `detach_seconds` tells.
//!
//! One in ten spins and the others sleep in between: the queues are long all the time, and a machine that emulates every
//! CPU on one host core still ends.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::affinity_storm::random_mask;
use crate::context::{Context, Skipped};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, TURN};

const TASKS: usize = 500;

const TASKS_PER_SPINNER: usize = 10;

/// A detach that hangs never ends; this one competes with the 500.
const DETACHED: Duration = Duration::from_secs(120);

const SLEEP: Duration = Duration::from_millis(200);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    if cpus.len() < 2 {
        return Err(Skipped("this machine has one CPU".into()).into());
    }
    let mut scheduler = Scheduler::start(context, &[])?;
    let kind = |index: usize| match index % TASKS_PER_SPINNER {
        0 => Job::spinner(),
        _ => Job::sleeper(SLEEP),
    };
    let jobs: Vec<Job> = (0..TASKS).map(|index| kind(index).on(&random_mask(context, &cpus))).collect();
    let pool = Pool::start(&jobs)?;
    context.step(format!("{TASKS} tasks run"));
    for round in 1..=2 {
        let begin = Instant::now();
        let stuck = pool.wait_for_progress(context)?;
        context.figure(&format!("turn_{round}_seconds"), begin.elapsed().as_secs_f64());
        context.require(stuck == 0, || format!("{stuck} of {TASKS} tasks had no turn in {TURN:?}"));
        scheduler.require_on(context)?;
    }
    scheduler.stop_within(context, DETACHED)?;
    pool.stop(context);
    Ok(())
}
