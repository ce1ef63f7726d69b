// SPDX-License-Identifier: GPL-2.0-only
//! C7: 200 cgroups are made and removed again under load, each with a task in it. At every look each CPU is in one cell,
//! sequence numbers only rise, and in the end nothing is left of them.

use std::time::Duration;

use anyhow::Result;

use super::many_cgroups::remove;
use super::tenants;
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::Job;

const CYCLES: usize = 200;

/// A look at the statistics after so many cycles.
const LOOK_EVERY: usize = 10;

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&[])?;
    let base = parent.child("base", &[])?;
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    let cpus = evidence::online()?.len();
    let pool = tenants::load(&base, &vec![Job::spinner(); cpus])?;
    let known = tenants::settle(context, &mut scheduler, "the tenant that stays is known", |stats| {
        Ok(tenants::find(stats, "base")?.is_some_and(|tenant| tenant.nr_tasks > 0))
    })?;
    let Some(first) = known else { return scheduler.stop(context) };
    let (members, tasks) = (first.counter("nr_members")?, first.counter("nr_tasks")?);
    let mut sequence = first.counter("sequence")?;
    context.step(format!("{CYCLES} cgroups come and go"));
    for cycle in 0..CYCLES {
        let group = parent.child(&format!("short{cycle}"), &[])?;
        let short = tenants::load(&group, &[Job::spinner()])?;
        context.sleep(Duration::from_millis(10));
        drop(short);
        remove(context, &group)?;
        if cycle % LOOK_EVERY == 0 {
            scheduler.require_on(context)?;
            let stats = scheduler.stats(context)?;
            tenants::require_consistent(context, &stats)?;
            let now = stats.counter("sequence")?;
            context.require(now >= sequence, || format!("sequence number {now} came after {sequence}"));
            sequence = now;
        }
    }
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} hogs of the tenant that stayed stand still"));
    let left =
        tenants::settle(context, &mut scheduler, "nothing is left of the cgroups that went", |stats| {
            // Daemons and threads of the kernel come and go as well.
            Ok(stats.counter("nr_members")? == members && stats.counter("nr_tasks")? <= tasks + 16)
        })?;
    if let Some(stats) = left {
        context.figure("reconfigurations", stats.counter("reconfigurations")? as f64);
        context.require(stats.counter("rounds_failed")? == 0, || "rounds of the daemon failed".into());
    }
    scheduler.stop(context)
}
