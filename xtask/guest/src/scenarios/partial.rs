// SPDX-License-Identifier: GPL-2.0-only
//! 22: with `--partial` only tasks of policy SCHED_EXT are the scheduler's: the kernel says of every task in the system whose
//! it is, before and after tasks change their policy. Without the option every ordinary task is the scheduler's, so that the
//! question has two answers.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::sys;
use crate::workers::{Job, Policy, Pool};

const LOOK: Duration = Duration::from_millis(500);

/// Tasks that a failure names.
const SHOWN: usize = 3;

pub fn run(context: &mut Context) -> Result<()> {
    let online = evidence::online()?;
    if online.len() < 2 {
        return Err(Skipped("needs a CPU for tasks of each policy".into()).into());
    }
    // Ordinary tasks run before those of SCHED_EXT, so each kind has CPUs of its own.
    let (ordinary, ext): (Cpus, Cpus) = online.iter().partition(|&&cpu| cpu % 2 == 0);
    let mut scheduler = Scheduler::start(context, &["--partial"])?;
    let others = Pool::start(&vec![Job::spinner().on(&ordinary); ordinary.len()])?;
    let exts = Pool::start(&vec![Job::spinner().on(&ext).policy(Policy::Ext); 2 * ext.len()])?;
    watch(context, &mut scheduler, "at first")?;
    require_progress(context, &[&others, &exts])?;
    // Two change sides while they are runnable.
    sys::set_policy_of(exts.pids()[0], libc::SCHED_OTHER, 0).context("cannot become SCHED_OTHER")?;
    sys::set_policy_of(others.pids()[0], sys::SCHED_EXT, 0).context("cannot become SCHED_EXT")?;
    others.set_affinity(&online)?;
    exts.set_affinity(&online)?;
    watch(context, &mut scheduler, "after a change of policy")?;
    scheduler.stop(context)?;
    drop((others, exts));
    let scheduler = Scheduler::start(context, &[])?;
    let pool = Pool::start(&[Job::spinner()])?;
    context.sleep(LOOK);
    context.require(is_ext(pool.pids()[0])? == Some(true), || {
        "without --partial an ordinary task is not the scheduler's".into()
    });
    scheduler.stop(context)
}

fn require_progress(context: &mut Context, pools: &[&Pool]) -> Result<()> {
    for pool in pools {
        let stuck = pool.wait_for_progress(context)?;
        context.require_measured(stuck == 0, || format!("{stuck} workers do not advance"));
    }
    Ok(())
}

/// Looks at every task again and again for a quarter of T.
fn watch(context: &mut Context, scheduler: &mut Scheduler, when: &str) -> Result<()> {
    context.sleep(LOOK);
    let (mut looked_at, mut exts, mut wrong) = (0usize, 0usize, BTreeSet::new());
    for _ in 0..(context.base_time / 4).as_millis() / LOOK.as_millis() {
        for pid in pids()? {
            // One that has ended meanwhile is nobody's.
            let (Some(policy), Some(ext)) = (policy(pid), is_ext(pid)?) else { continue };
            looked_at += 1;
            exts += usize::from(ext);
            if (policy == sys::SCHED_EXT) != ext {
                wrong.insert(format!("{} of policy {policy}", name(pid)));
            }
        }
        context.sleep(LOOK);
        scheduler.require_on(context)?;
    }
    context.figure(&format!("tasks_looked_at_{}", when.replace(' ', "_")), looked_at as f64);
    context.require(wrong.is_empty(), || {
        let some: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
        format!("{when}: {} tasks are on the wrong side, such as {}", wrong.len(), some.join(", "))
    });
    context.require(exts > 0, || format!("{when}: no task was the scheduler's: nothing was shown"));
    Ok(())
}

fn pids() -> Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc").context("cannot list /proc")?.flatten();
    Ok(entries.filter_map(|entry| Some(Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))).collect())
}

fn policy(pid: Pid) -> Option<i32> {
    evidence::parse_policy(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether the kernel's sched_ext class has the task; None when the task is gone.
fn is_ext(pid: Pid) -> Result<Option<bool>> {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/sched")) else { return Ok(None) };
    if text.is_empty() {
        return Ok(None);
    }
    evidence::parse_ext_enabled(&text).map(Some).context("/proc/PID/sched does not say whose a task is")
}

fn name(pid: Pid) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{}[{pid}]", comm.trim())
}
