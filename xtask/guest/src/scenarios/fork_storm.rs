// SPDX-License-Identifier: GPL-2.0-only
//! 15: 5000 tasks are forked, half of them execute a program, all exit. All are reaped, and the scheduler forgets them:
//! its number of tasks is back at the baseline.

use std::ffi::CString;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, execv};

use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::sys::{self, SharedCounters};

const TASKS: usize = 5000;

const DEADLINE: Duration = Duration::from_secs(120);

/// Kernel threads come and go by themselves; a leak of the storm's tasks would be hundreds of times that.
const TOLERANCE: u64 = 16;

pub fn run(context: &mut Context) -> Result<()> {
    let parents = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &["--interval", "1"])?;
    let baseline = scheduler.stats_when(context, DEADLINE, |_| true)?.counter("nr_tasks")?;
    let reaped = SharedCounters::new(parents)?;
    let begin = Instant::now();
    let mut processes = Vec::new();
    for parent in 0..parents {
        let tasks = TASKS / parents + usize::from(parent < TASKS % parents);
        processes.push(sys::fork(|| storm(tasks, &reaped, parent))?);
    }
    let count = || -> u64 { (0..parents).map(|parent| reaped.get(parent).load(Ordering::Relaxed)).sum() };
    let done = context
        .wait_for(DEADLINE, Duration::from_millis(200), |_| Ok((count() == TASKS as u64).then_some(())))?;
    context.figure("tasks_reaped", count() as f64);
    context
        .require_measured(done.is_some(), || format!("{} of {TASKS} tasks reaped in {DEADLINE:?}", count()));
    scheduler.require_on(context)?;
    if done.is_some() {
        context.figure("storm_seconds", begin.elapsed().as_secs_f64());
        processes.into_iter().try_for_each(reap)?;
    }
    require_baseline(context, &scheduler, baseline)?;
    scheduler.stop(context)
}

fn require_baseline(context: &mut Context, scheduler: &Scheduler, baseline: u64) -> Result<()> {
    let near = |tasks: u64| tasks.abs_diff(baseline) <= TOLERANCE;
    let settled = scheduler
        .stats_when(context, Duration::from_secs(20), |stats| stats.counter("nr_tasks").is_ok_and(near));
    let now = match settled {
        Ok(stats) => stats.counter("nr_tasks")?,
        Err(_) => scheduler.stats(context)?.counter("nr_tasks")?,
    };
    context.figure("tasks_before", baseline as f64);
    context.figure("tasks_after", now as f64);
    context.require(near(now), || {
        format!(
            "the scheduler knew {baseline} tasks before the storm and {now} after it (tolerance {TOLERANCE})"
        )
    });
    Ok(())
}

fn reap(pid: Pid) -> Result<()> {
    waitpid(pid, None).with_context(|| format!("cannot reap {pid}"))?;
    Ok(())
}

/// One parent: forks `tasks` children one after the other, every second one executes this program's `exit`.
fn storm(tasks: usize, reaped: &SharedCounters, index: usize) {
    sys::name_and_follow_parent("storm");
    for task in 0..tasks {
        let child = sys::fork(|| {
            if task % 2 == 0 {
                execute_exit();
            }
        });
        // A fork that fails, or a child with another status, is one task less: the count shows it.
        let Ok(child) = child else { return };
        if waitpid(child, None) == Ok(WaitStatus::Exited(child, 0)) {
            reaped.get(index).fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn execute_exit() {
    let arguments = ["guest", "exit"].map(|text| CString::new(text).unwrap_or_default());
    // It returns only when it failed; status 1 tells the parent.
    let _failed = execv(c"/proc/self/exe", &arguments);
    sys::exit_now(1);
}
