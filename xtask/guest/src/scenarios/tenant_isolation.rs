// SPDX-License-Identifier: GPL-2.0-only
//! C1: a tenant of two threads that run and sleep, beside a tenant of four hogs a CPU, without the cpu controller. The
//! same load first under the kernel's scheduler, in the same boot: the small tenant must do more and wait less, and the hogs
//! must keep at least half of what they had.
//!
//! A turn is mostly CPU time, of which the kernel's scheduler gives each thread a fourth. Were it mostly sleep, the lateness of
//! emulated timers would be most of a turn under any scheduler, and no scheduler could do 1.3 times the work.

use std::time::Duration;

use anyhow::Result;

use super::tenants;
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const HOGS_PER_CPU: usize = 4;

/// One turn of a thread of the small tenant: CPU time, then sleep.
const RUN: Duration = Duration::from_millis(30);
const SLEEP: Duration = Duration::from_millis(5);

/// Work of the small tenant against the kernel's scheduler.
const WORK: f64 = 1.3;

/// Its wait for each time it ran, against the kernel's scheduler.
const WAIT: f64 = 0.7;

/// CPU time of the hogs against the kernel's scheduler.
const HOGS: f64 = 0.5;

/// For cells to follow the demand, and for the load to have begun.
const WARM_UP: Duration = Duration::from_secs(5);

/// What one phase gave.
struct Phase {
    work: f64,
    wait_ms: f64,
    hog_seconds: f64,
}

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&[])?;
    let (small, large) = (parent.child("small", &[])?, parent.child("large", &[])?);
    let cpus = evidence::online()?.len();
    let phase = |context: &mut Context| -> Result<Phase> {
        let hogs = tenants::load(&large, &vec![Job::spinner(); HOGS_PER_CPU * cpus])?;
        let pool = tenants::load(&small, &vec![Job::periodic(RUN, SLEEP); 2])?;
        context.sleep(WARM_UP);
        let before = reading(&pool, &hogs)?;
        context.sleep(context.base_time);
        let after = reading(&pool, &hogs)?;
        let runs = (after.runs - before.runs).max(1.0);
        Ok(Phase {
            work: after.work - before.work,
            wait_ms: (after.wait_ns - before.wait_ns) / runs / 1e6,
            hog_seconds: after.hog_seconds - before.hog_seconds,
        })
    };
    context.step("the kernel's scheduler");
    let kernel = phase(context)?;
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    context.step("cell-scheduler");
    let cells = phase(context)?;
    scheduler.require_on(context)?;
    let ratios = [
        ("work", cells.work / kernel.work.max(1.0)),
        ("wait", cells.wait_ms / kernel.wait_ms.max(1e-3)),
        ("hogs", cells.hog_seconds / kernel.hog_seconds.max(1e-3)),
    ];
    for (name, ratio) in ratios {
        context.figure(&format!("{name}_of_kernel"), ratio);
    }
    context.figure("wait_ms", cells.wait_ms);
    context.figure("wait_ms_kernel", kernel.wait_ms);
    let [work, wait, hogs] = ratios.map(|(_, ratio)| ratio);
    context.require_measured(work >= WORK, || {
        format!("the small tenant did {work:.2} of its work under the kernel's scheduler, bound {WORK}")
    });
    context.require_measured(wait <= WAIT, || {
        format!("the small tenant waited {wait:.2} of its wait under the kernel's scheduler, bound {WAIT}")
    });
    context.require_measured(hogs >= HOGS, || {
        format!("the hogs got {hogs:.2} of their CPU time under the kernel's scheduler, bound {HOGS}")
    });
    scheduler.stop(context)
}

struct Reading {
    work: f64,
    wait_ns: f64,
    runs: f64,
    hog_seconds: f64,
}

fn reading(small: &Pool, hogs: &Pool) -> Result<Reading> {
    let mut reading = Reading { work: 0.0, wait_ns: 0.0, runs: 0.0, hog_seconds: 0.0 };
    for &pid in small.pids() {
        let (wait_ns, runs) = evidence::waited(pid)?;
        reading.wait_ns += wait_ns as f64;
        reading.runs += runs as f64;
    }
    reading.work = small.progress().iter().sum::<u64>() as f64;
    reading.hog_seconds = hogs.cpu_seconds()?.iter().sum();
    Ok(reading)
}
