// SPDX-License-Identifier: GPL-2.0-only
//! C8: the scheduler attaches, three times, while tasks fork, exit and move between tenants: the kernel hands it tasks that are
//! about to end or on their way to another cgroup. It attaches each time, and in the end counts exactly those who stayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use super::tenants;
use crate::context::Context;
use crate::scheduler::Scheduler;
use crate::sys::{self, SharedCounters};
use crate::workers::Job;

const ATTACHMENTS: usize = 3;

const TENANTS: [&str; 3] = ["a", "b", "c"];

const CHURNERS: usize = 4;

/// Between a move and the next; without any the verifier would hardly get a CPU.
const PAUSE: Duration = Duration::from_millis(2);

/// Tasks that stay in the first tenant.
const STAYING: usize = 3;

/// Time for the storm to be met by an attached scheduler.
const LOOK: Duration = Duration::from_secs(2);

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&[])?;
    let groups = TENANTS.map(|name| parent.child(name, &[]));
    let groups = groups.into_iter().collect::<Result<Vec<_>>>()?;
    let procs: Vec<PathBuf> = groups.iter().map(|group| group.path().join("cgroup.procs")).collect();
    let staying = tenants::load(&groups[0], &vec![Job::sleeper(Duration::from_millis(20)); STAYING])?;
    let moves = SharedCounters::new(CHURNERS)?;
    let mut churners = Vec::new();
    for index in 0..CHURNERS {
        churners.push(sys::fork(|| churn(&procs, &moves, index))?);
    }
    let count = || -> u64 { (0..CHURNERS).map(|index| moves.get(index).load(Ordering::Relaxed)).sum() };
    for attachment in 1..ATTACHMENTS {
        let before = count();
        let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
        let during = count() - before;
        context.figure(&format!("moves_while_attaching_{attachment}"), during as f64);
        context.require_measured(during > 0, || "nobody moved while it attached: nothing was tried".into());
        context.sleep(LOOK);
        scheduler.require_on(context)?;
        scheduler.stop(context)?;
    }
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    context.sleep(LOOK);
    for pid in churners {
        kill(pid, Signal::SIGKILL).with_context(|| format!("cannot end {pid}"))?;
        waitpid(pid, None).with_context(|| format!("cannot reap {pid}"))?;
    }
    context.figure("moves", count() as f64);
    context.step("the storm is over");
    tenants::settle(context, &mut scheduler, "those who stayed are counted, and nobody else", |stats| {
        let mut right = true;
        for (index, name) in TENANTS.iter().enumerate() {
            let expected = if index == 0 { STAYING as u64 } else { 0 };
            right &= tenants::find(stats, name)?.is_some_and(|tenant| tenant.nr_tasks == expected);
        }
        Ok(right)
    })?;
    let stuck = staying.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} of those who stayed stand still"));
    scheduler.stop(context)
}

/// Moves on to the next tenant, forks there, and leaves before the child has ended; for ever.
fn churn(procs: &[PathBuf], moves: &SharedCounters, index: usize) {
    sys::name_and_follow_parent("churner");
    for turn in index.. {
        let child = sys::fork(|| thread::sleep(PAUSE));
        if enter(&procs[turn % procs.len()]).is_err() {
            return;
        }
        moves.get(index).fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
        if let Ok(child) = child {
            let _reaped = waitpid(child, None);
        }
    }
}

fn enter(procs: &Path) -> std::io::Result<()> {
    fs::write(procs, std::process::id().to_string())
}
