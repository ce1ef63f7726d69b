// SPDX-License-Identifier: GPL-2.0-only
//! C6: a cell that had every cache loses all but one while tasks bound to each cache wait in its queues. All of them go on
//! running, where their affinity lets them.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::cell_shrinks::{ARGUMENTS, configure};
use super::tenants;
use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

/// Tasks bound to each cache, for each of its CPUs: some of them always wait.
const PER_CPU: usize = 2;

pub fn run(context: &mut Context) -> Result<()> {
    let caches: Vec<Cpus> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    let cpus = evidence::online()?.len();
    if caches.len() < 2 {
        return Err(Skipped("this machine has one cache".into()).into());
    }
    let parent = tenants::parent(&[])?;
    let (shrinking, waiting) = (parent.child("shrinking", &[])?, parent.child("waiting", &[])?);
    // One CPU is left for the other cell, and one for everything else.
    let most = cpus - 2;
    configure(most)?;
    let mut scheduler = Scheduler::start(context, &ARGUMENTS)?;
    let mut bound = Vec::new();
    for cache in &caches {
        bound.push(tenants::load(&shrinking, &vec![Job::spinner().on(cache); PER_CPU * cache.len()])?);
    }
    let wide = tenants::settle(context, &mut scheduler, "the cell has all CPUs but two", |stats| {
        Ok(tenants::find(stats, "shrinking")?.is_some_and(|tenant| tenant.cpus.len() == most))
    })?;
    if wide.is_none() {
        return scheduler.stop(context);
    }
    context.step("the cell loses its caches");
    let hogs = tenants::load(&waiting, &vec![Job::spinner(); cpus])?;
    configure(caches[0].len())?;
    scheduler.signal(Signal::SIGHUP)?;
    let narrow =
        tenants::settle(context, &mut scheduler, "the cell has one cache's worth of CPUs", |stats| {
            Ok(tenants::find(stats, "shrinking")?.is_some_and(|tenant| tenant.cpus.len() == caches[0].len()))
        })?;
    if let Some(stats) = narrow {
        tenants::require_consistent(context, &stats)?;
        let kept = tenants::find(&stats, "shrinking")?.map(|tenant| tenant.cpus).unwrap_or_default();
        let lost = caches.iter().filter(|cache| cache.is_disjoint(&kept)).count();
        context.figure("caches_lost", lost as f64);
        context.require(lost > 0, || format!("the cell still has a CPU of every cache: {kept:?}"));
    }
    let mut stuck = hogs.wait_for_progress(context)?;
    for pool in &bound {
        stuck += pool.wait_for_progress(context)?;
    }
    context.require(stuck == 0, || format!("{stuck} tasks stand still after the cell lost their cache"));
    let outside = count_outside(&bound, &caches)?;
    context.require(outside == 0, || format!("{outside} tasks are outside of their affinity"));
    let last = scheduler.stats(context)?;
    for counter in ["drained", "violations"] {
        context.figure(counter, last.counter(counter)? as f64);
    }
    scheduler.stop(context)
}

fn count_outside(bound: &[Pool], caches: &[Cpus]) -> Result<usize> {
    let mut outside = 0;
    for (pool, cache) in bound.iter().zip(caches) {
        outside += pool.cpus()?.iter().filter(|cpu| !cache.contains(cpu)).count();
    }
    Ok(outside)
}
