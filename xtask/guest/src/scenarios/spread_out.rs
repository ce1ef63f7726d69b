// SPDX-License-Identifier: GPL-2.0-only
//! 20: 8 hogs begin in the first last-level cache and are then free to go: within 30 s every cache is used.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const HOGS: usize = 8;

const DEADLINE: Duration = Duration::from_secs(30);

pub fn run(context: &mut Context) -> Result<()> {
    let llcs: Vec<_> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    let mut scheduler = Scheduler::start(context, &[])?;
    let pool = Pool::start(&vec![Job::spinner().on(&llcs[0]); HOGS])?;
    context.sleep(Duration::from_secs(1));
    let outside = pool.cpus()?.iter().filter(|cpu| !llcs[0].contains(cpu)).count();
    context.require(outside == 0, || format!("{outside} hogs are outside the cache they are bound to"));
    pool.set_affinity(&evidence::online()?)?;
    let begin = Instant::now();
    let mut last = Vec::new();
    let used = context.wait_for(DEADLINE, Duration::from_millis(50), |_| {
        last = evidence::count_per_domain(&llcs, &pool.cpus()?);
        Ok(last.iter().all(|&hogs| hogs > 0.0).then(|| begin.elapsed()))
    })?;
    match used {
        Some(after) => context.figure("all_used_after_seconds", after.as_secs_f64()),
        None => context.require_measured(false, || {
            format!("{DEADLINE:?} after the release the hogs per cache are {last:?}")
        }),
    }
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}
