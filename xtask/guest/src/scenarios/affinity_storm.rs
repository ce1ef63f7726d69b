// SPDX-License-Identifier: GPL-2.0-only
//! 12: random affinity changes at full load for 60 s. No task is ever seen outside its mask, and the scheduler lives.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::unistd::Pid;

use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{self, Job, Pool, TURN};

const LENGTH: Duration = Duration::from_secs(60);

/// One task gets a new mask this often; emulation does not carry much more.
const PAUSE: Duration = Duration::from_millis(20);

/// All tasks are looked at after this many changes.
const CHANGES_PER_LOOK: usize = 8;

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let all: Cpus = cpus.iter().copied().collect();
    let mut scheduler = Scheduler::start(context, &[])?;
    let mut jobs = vec![Job::spinner(); 2 * cpus.len()];
    jobs.extend(vec![Job::sleeper(Duration::from_millis(5)); cpus.len() / 2]);
    let pool = Pool::start(&jobs)?;
    let mut masks = vec![all; jobs.len()];
    let begin = Instant::now();
    let (mut changes, mut looks, mut outside) = (0usize, 0usize, Vec::new());
    while begin.elapsed() < LENGTH && outside.len() < 5 {
        let index = context.random.below(jobs.len());
        let mask = random_mask(context, &cpus);
        workers::set_affinity(pool.pids()[index], &mask)?;
        masks[index] = mask;
        changes += 1;
        outside.extend(look(context, pool.pids()[index], &masks[index])?);
        if changes.is_multiple_of(CHANGES_PER_LOOK) {
            for (&pid, mask) in pool.pids().iter().zip(&masks) {
                outside.extend(look(context, pid, mask)?);
            }
            looks += 1;
            scheduler.require_on(context)?;
        }
        context.sleep(PAUSE);
    }
    context.figure("affinity_changes", changes as f64);
    context.figure("looks_at_all", looks as f64);
    for text in outside {
        context.fail(text);
    }
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} workers stood still for {TURN:?} after the storm"));
    pool.stop(context);
    scheduler.stop(context)
}

/// A random set of CPUs, never empty.
pub(super) fn random_mask(context: &mut Context, cpus: &[usize]) -> Cpus {
    let first = cpus[context.random.below(cpus.len())];
    let rest = context.random.next();
    let mut mask: Cpus =
        cpus.iter().enumerate().filter(|(bit, _)| rest >> (bit % 64) & 1 == 1).map(|(_, &cpu)| cpu).collect();
    mask.insert(first);
    mask
}

/// What is to be said of a task outside its mask.
fn look(context: &mut Context, pid: Pid, mask: &Cpus) -> Result<Option<String>> {
    let misplaced = workers::misplaced(context, pid, |cpu| mask.contains(&cpu))?;
    Ok(misplaced
        .map(|cpu| format!("a runnable task is on CPU {cpu}, outside its mask {}", cpulist::format(mask))))
}
