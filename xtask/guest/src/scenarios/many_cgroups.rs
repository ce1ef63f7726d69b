// SPDX-License-Identifier: GPL-2.0-only
//! C4: three tenants a CPU, each with a hog: some have to share a cell, and all of them run. One is deleted and made again
//! under the same path. Then all but two go, and the two have cells of their own again.

use anyhow::{Context as _, Result};

use super::tenants;
use crate::cgroups::Group;
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const TENANTS_PER_CPU: usize = 3;

struct Occupied {
    name: String,
    group: Group,
    pool: Pool,
}

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&[])?;
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &tenants::BRISK)?;
    let mut all = Vec::new();
    for index in 0..TENANTS_PER_CPU * cpus {
        all.push(occupy(&parent, format!("t{index}"))?);
    }
    context.step(format!("{} tenants on {cpus} CPUs", all.len()));
    let names: Vec<String> = all.iter().map(|tenant| tenant.name.clone()).collect();
    let crowded =
        tenants::settle(context, &mut scheduler, "every tenant is known, and some share a cell", |stats| {
            let mut merged = 0;
            for name in &names {
                match tenants::find(stats, name)? {
                    Some(tenant) if tenant.nr_tasks > 0 => merged += usize::from(tenant.merged),
                    _ => return Ok(false),
                }
            }
            Ok(merged > 1)
        })?;
    if let Some(stats) = &crowded {
        tenants::require_consistent(context, stats)?;
        context.figure("merges", stats.counter("merges")? as f64);
    }
    let stuck: usize = require_running(context, &all)?;
    context.require(stuck == 0, || format!("{stuck} of {} tenants stood still", all.len()));

    context.step("one is made again under the same path");
    let gone = all.pop().context("there are tenants")?;
    drop(gone.pool);
    remove(context, &gone.group)?;
    all.push(occupy(&parent, gone.name)?);
    let stuck = require_running(context, &all)?;
    context.require(stuck == 0, || format!("{stuck} tenants stood still after one was made again"));
    let again = names.last().cloned().unwrap_or_default();
    tenants::settle(
        context,
        &mut scheduler,
        "the tenant that was made again is known with its task",
        |stats| Ok(tenants::find(stats, &again)?.is_some_and(|tenant| tenant.nr_tasks == 1)),
    )?;

    context.step("all but two go");
    for tenant in all.split_off(2) {
        drop(tenant.pool);
        remove(context, &tenant.group)?;
    }
    let alone = tenants::settle(
        context,
        &mut scheduler,
        "two tenants have a cell each, and the others are gone",
        |stats| {
            let (first, second) = (tenants::find(stats, &names[0])?, tenants::find(stats, &names[1])?);
            let gone = names[2..].iter().all(|name| matches!(tenants::find(stats, name), Ok(None)));
            Ok(
                gone && matches!((first, second), (Some(a), Some(b)) if !a.merged && !b.merged && a.cell != b.cell)
            )
        },
    )?;
    if let Some(stats) = &alone {
        tenants::require_consistent(context, stats)?;
        context.figure("splits", stats.counter("splits")? as f64);
        context.require(stats.counter("members_refused")? == 0, || "some tenants were refused".into());
    }
    scheduler.stop(context)
}

fn occupy(parent: &Group, name: String) -> Result<Occupied> {
    let group = parent.child(&name, &[])?;
    let pool = tenants::load(&group, &[Job::spinner()])?;
    Ok(Occupied { name, group, pool })
}

/// How many of the tenants do not advance any more.
fn require_running(context: &mut Context, tenants: &[Occupied]) -> Result<usize> {
    let mut stuck = 0;
    for tenant in tenants {
        stuck += tenant.pool.wait_for_progress(context)?;
    }
    Ok(stuck)
}

/// A group can be removed a moment after its last process is reaped.
pub fn remove(context: &mut Context, group: &Group) -> Result<()> {
    let removed = context.wait_for(tenants::SETTLED, std::time::Duration::from_millis(20), |_| {
        Ok(std::fs::remove_dir(group.path()).is_ok().then_some(()))
    })?;
    removed.with_context(|| format!("cannot remove {}", group.path().display()))
}
