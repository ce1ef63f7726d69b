// SPDX-License-Identifier: GPL-2.0-only
//! C3: the cpusets of the tenants cover all CPUs, hogs fill them, and a SCHED_IDLE task lives outside of every tenant. The
//! scheduler neither ends nor stalls, the tenants keep to their cpusets, and the outsider runs.

use std::time::Duration;

use anyhow::Result;

use super::tenants;
use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Policy, Pool};

/// Longer than the scheduler's own watchdog.
const LENGTH: Duration = Duration::from_secs(40);

const LOOK: Duration = Duration::from_millis(200);

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&["cpuset"])?;
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let halves: Vec<Cpus> =
        cpus.chunks(cpus.len().div_ceil(2)).map(|half| half.iter().copied().collect()).collect();
    let mut groups = Vec::new();
    for (index, half) in halves.iter().enumerate() {
        let group = parent.child(&format!("half{index}"), &["cpuset"])?;
        group.set("cpuset.cpus", &cpulist::format(half))?;
        groups.push(group);
    }
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    let outsider = Pool::start(&[Job::spinner().policy(Policy::Idle)])?;
    let mut pools = Vec::new();
    for (group, half) in groups.iter().zip(&halves) {
        pools.push(tenants::load(group, &vec![Job::spinner(); 2 * half.len()])?);
    }
    context.sleep(Duration::from_secs(2));
    let before = outsider.progress()[0];
    let hogs_before: u64 = pools.iter().flat_map(Pool::progress).sum();
    let mut outside = 0;
    let looks = LENGTH.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        context.sleep(LOOK);
        for (pool, half) in pools.iter().zip(&halves) {
            outside += pool.cpus()?.iter().filter(|cpu| !half.contains(cpu)).count();
        }
        scheduler.require_on(context)?;
    }
    let stats = scheduler.stats(context)?;
    tenants::require_consistent(context, &stats)?;
    let ran = outsider.progress()[0] - before;
    let hogs: u64 = pools.iter().flat_map(Pool::progress).sum::<u64>() - hogs_before;
    context.figure("outsider_of_work", ran as f64 / (ran + hogs).max(1) as f64);
    context.require(ran > 0, || {
        format!("the SCHED_IDLE task outside of the tenants stood still for {LENGTH:?}")
    });
    context.require(outside == 0, || format!("{outside} samples show a hog outside of its cpuset"));
    context.text_figure("cells", tenants::shown(&stats));
    scheduler.stop(context)
}
