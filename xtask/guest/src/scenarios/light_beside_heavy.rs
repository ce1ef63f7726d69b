// SPDX-License-Identifier: GPL-2.0-only
//! 27: nice 19 beside nice -20 on one CPU. By their weights the light one is due once in 8668 slices, 43 s or more, and the kernel's
//! watchdog ends a scheduler that lets a task wait for 30 s. So it has to get a slice sooner than that, and hardly more.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

/// In each stretch of this length the light one has to run: it is to wait for about 10 s.
const STRETCH: Duration = Duration::from_secs(20);

/// Together longer than the watchdog's patience, which is looked at every 15 s.
const STRETCHES: usize = 3;

/// The most it may get, of all: a weight is still a weight.
const MOST: f64 = 0.05;

pub fn run(context: &mut Context) -> Result<()> {
    let mut scheduler = Scheduler::start(context, &[])?;
    let one: Cpus = evidence::online()?.into_iter().take(1).collect();
    let pool = Pool::start(&[Job::spinner().nice(-20).on(&one), Job::spinner().nice(19).on(&one)])?;
    // Its first slice may be due at once.
    context.sleep(Duration::from_secs(2));
    let begin = pool.cpu_seconds()?;
    let mut before = begin.clone();
    for stretch in 1..=STRETCHES {
        context.sleep(STRETCH);
        let had = pool.cpu_seconds()?;
        let light = had[1] - before[1];
        context.figure(&format!("light_cpu_seconds_{stretch}"), light);
        context.require_measured(light > 0.0, || format!("the task of nice 19 did not run for {STRETCH:?}"));
        before = had;
    }
    let (heavy, light) = (before[0] - begin[0], before[1] - begin[1]);
    context.require_measured(light <= MOST * (heavy + light), || {
        format!("nice 19 got {light:.2} s beside {heavy:.2} s of nice -20, bound {MOST} of both")
    });
    scheduler.require_on(context)?;
    scheduler.stop(context)
}
