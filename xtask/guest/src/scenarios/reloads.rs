// SPDX-License-Identifier: GPL-2.0-only
//! 2: 20 reloads in a row beside a load. The kernel counts 20 attachments, and no BPF map or program is left behind.
//!
//! The load sleeps most of the time: where one host core emulates every CPU, each hog would take as much of it as the
//! verifier, and there is a lot to verify.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::sys::{self, BpfObjects};
use crate::workers::{Job, Pool, TURN};

const RELOADS: u64 = 20;

/// The kernel frees programs and maps in the background.
const FREED: Duration = Duration::from_secs(60);

/// Counts that stand this long have settled.
const STANDS: Duration = Duration::from_secs(3);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    let (before, kernel_before) = (settled(context)?, evidence::sched_ext()?);
    let pool = Pool::start(&vec![Job::sleeper(Duration::from_millis(50)); cpus])?;
    let mut loaded = before;
    for reload in 1..=RELOADS {
        let scheduler = Scheduler::start(context, &[])?;
        loaded = objects()?;
        // It requires one attachment, status 0 and the kernel's scheduler back each time.
        scheduler.stop(context)?;
        if reload % 5 == 0 {
            context.step(format!("{reload} reloads"));
        }
    }
    let attached = evidence::sched_ext()?.enable_seq - kernel_before.enable_seq;
    context.require(attached == RELOADS, || format!("enable_seq rose by {attached}, expected {RELOADS}"));
    context.figure("programs_loaded", loaded.programs as f64 - before.programs as f64);
    context.figure("maps_loaded", loaded.maps as f64 - before.maps as f64);
    context.require(loaded.programs > before.programs && loaded.maps > before.maps, || {
        format!("no BPF programs or maps are seen while it is attached ({before:?}, {loaded:?}): nothing was counted")
    });
    let mut after = loaded;
    let freed = context.wait_for(FREED, Duration::from_millis(200), |_| {
        after = objects()?;
        Ok(left(before, after).is_none().then_some(()))
    })?;
    context.require(freed.is_some(), || {
        format!("{} after {RELOADS} reloads", left(before, after).unwrap_or_default())
    });
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} workers stood still for {TURN:?} after the reloads"));
    pool.stop(context);
    Ok(())
}

fn objects() -> Result<BpfObjects> {
    sys::bpf_objects().context("cannot count BPF programs and maps")
}

/// What the kernel holds when it has freed what scenarios before this one left: the counts that stand for a while.
fn settled(context: &mut Context) -> Result<BpfObjects> {
    let (mut last, mut since) = (objects()?, Instant::now());
    context.wait_for(FREED, Duration::from_millis(200), |_| {
        let now = objects()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok((since.elapsed() >= STANDS).then_some(()))
    })?;
    Ok(last)
}

/// What there is more of than before; None when nothing is.
fn left(before: BpfObjects, after: BpfObjects) -> Option<String> {
    let more = |after: usize, before: usize| after.saturating_sub(before);
    let (programs, maps) = (more(after.programs, before.programs), more(after.maps, before.maps));
    (programs + maps > 0).then(|| format!("{programs} BPF programs and {maps} maps are left"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_apart() {
        let objects = |programs, maps| BpfObjects { programs, maps };
        assert_eq!(left(objects(3, 4), objects(3, 4)), None);
        assert_eq!(left(objects(3, 4), objects(2, 1)), None);
        assert_eq!(left(objects(3, 4), objects(23, 5)).unwrap(), "20 BPF programs and 1 maps are left");
        assert!(left(objects(3, 4), objects(3, 5)).is_some());
    }
}
