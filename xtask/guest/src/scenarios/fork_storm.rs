// SPDX-License-Identifier: GPL-2.0-only
//! 15: 5000 tasks are forked, every fourth executes a program, all exit. All are reaped, and the scheduler forgets them:
//! its number of tasks is back at the baseline.

use std::ffi::CString;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, execv};

use crate::context::Context;
use crate::evidence;
use crate::profile;
use crate::scheduler::Scheduler;
use crate::sys::{self, SharedCounters};

const TASKS: usize = 5000;

/// Executing a program is what takes the time under emulation.
const TASKS_PER_EXEC: usize = 4;

const DEADLINE: Duration = Duration::from_secs(400);

/// The longest that a moment is waited for in which no task begins or ends.
const QUIET: Duration = Duration::from_secs(60);

/// Tasks that may begin or end between the kernel's count and the scheduler's. A leak of the storm's tasks would be
/// hundreds of times that.
const TOLERANCE: i64 = 8;

pub fn run(context: &mut Context) -> Result<()> {
    let parents = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, profile::of(context)?.brisk)?;
    scheduler.stats_when(context, DEADLINE, |_| true)?;
    let before = Tasks::read_quiet(context, &scheduler)?;
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
    require_baseline(context, &scheduler, before)?;
    scheduler.stop(context)
}

/// The scheduler's number of tasks must have changed by as much as the kernel's (which starts threads of its own).
fn require_baseline(context: &mut Context, scheduler: &Scheduler, before: Tasks) -> Result<()> {
    let mut now = before;
    let settled = context.wait_for(Duration::from_secs(60), Duration::from_millis(500), |context| {
        now = Tasks::read(context, scheduler)?;
        Ok((now.unknown_to_kernel(&before).abs() <= TOLERANCE).then_some(()))
    })?;
    context.figure("tasks_before", before.scheduler as f64);
    context.figure("tasks_after", now.scheduler as f64);
    context.require(settled.is_some(), || {
        format!(
            "the scheduler's tasks went from {} to {}, the kernel's from {} to {} (tolerance {TOLERANCE})",
            before.scheduler, now.scheduler, before.kernel, now.kernel
        )
    });
    Ok(())
}

/// Number of tasks on both sides.
#[derive(Clone, Copy)]
struct Tasks {
    scheduler: i64,
    kernel: i64,
}

impl Tasks {
    fn read(context: &mut Context, scheduler: &Scheduler) -> Result<Self> {
        let known = scheduler.stats(context)?.counter("nr_tasks")?;
        Ok(Self { scheduler: i64::try_from(known)?, kernel: evidence::kernel_tasks()? })
    }

    /// The two numbers of one moment: the kernel's was the same before and after the scheduler's, which may
    /// take a while. Where the kernel's tasks never rest, those that were read last.
    fn read_quiet(context: &mut Context, scheduler: &Scheduler) -> Result<Self> {
        let mut tasks = None;
        context.wait_for(QUIET, Duration::from_millis(500), |context| {
            let kernel_before = evidence::kernel_tasks()?;
            let now = Self::read(context, scheduler)?;
            tasks = Some(now);
            Ok((now.kernel == kernel_before).then_some(()))
        })?;
        tasks.context("nobody counted the tasks")
    }

    fn unknown_to_kernel(&self, before: &Self) -> i64 {
        (self.scheduler - before.scheduler) - (self.kernel - before.kernel)
    }
}

fn reap(pid: Pid) -> Result<()> {
    waitpid(pid, None).with_context(|| format!("cannot reap {pid}"))?;
    Ok(())
}

/// One parent: forks `tasks` children one after the other, every fourth one executes this program's `exit`.
fn storm(tasks: usize, reaped: &SharedCounters, index: usize) {
    sys::name_and_follow_parent("storm");
    for task in 0..tasks {
        let child = sys::fork(|| {
            if task % TASKS_PER_EXEC == 0 {
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
