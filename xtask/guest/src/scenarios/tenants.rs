// SPDX-License-Identifier: GPL-2.0-only
//! Tenants for the scenarios of cell-scheduler: cgroups below one parent, load in them, and what the statistics say of
//! the cells.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cgroups::{self, Group};
use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::stats_client::Stats;
use crate::workers::{Job, Pool};

/// The parent whose children are cells.
pub const PARENT: &str = "/sys/fs/cgroup/tenants";

/// Options for a loop that follows changes within a second or two.
pub const BRISK: [&str; 6] =
    ["--cell-parent-cgroup", PARENT, "--rebalance-interval", "0.25", "--cool-down", "0.5"];

/// A change of cells must show in this time: several rounds of a daemon that competes with the load.
pub const SETTLED: Duration = Duration::from_secs(60);

const LOOK: Duration = Duration::from_millis(250);

/// Makes the parent, with `controllers` for its children.
pub fn parent(controllers: &[&str]) -> Result<Group> {
    cgroups::remove_all();
    let name = Path::new(PARENT).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // A controller has to be handed down from the root first.
    Group::new(name, controllers)
}

/// Load inside a cgroup.
pub fn load(group: &Group, jobs: &[Job]) -> Result<Pool> {
    let pool = Pool::start(jobs)?;
    group.add(pool.pids())?;
    Ok(pool)
}

/// What the statistics say of one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Number of its cell.
    pub cell: u64,
    /// Whether others live there, too.
    pub merged: bool,
    /// CPUs of that cell.
    pub cpus: Cpus,
    /// Its tasks.
    pub nr_tasks: u64,
}

/// The tenant called `name`; None while the scheduler does not know it.
pub fn find(stats: &Stats, name: &str) -> Result<Option<Tenant>> {
    let members = stats.0["members"].as_object().context("the statistics hold no members")?;
    let suffix = format!("/{name}");
    let Some((_, member)) = members.iter().find(|(path, _)| *path == name || path.ends_with(&suffix)) else {
        return Ok(None);
    };
    let number = |field: &str| {
        member[field].as_u64().with_context(|| format!("the statistics hold no {field} of tenant {name}"))
    };
    let cpus = member["cpus"].as_str().and_then(cpulist::parse).context("a member without CPUs")?;
    Ok(Some(Tenant {
        cell: number("cell")?,
        merged: number("merged")? != 0,
        cpus,
        nr_tasks: number("nr_tasks")?,
    }))
}

/// Waits until `holds` is true of fresh statistics; fails the scenario when it never is.
pub fn settle(
    context: &mut Context,
    scheduler: &mut Scheduler,
    what: &str,
    mut holds: impl FnMut(&Stats) -> Result<bool>,
) -> Result<Option<Stats>> {
    let mut last = String::new();
    let found = context.wait_for(SETTLED, LOOK, |context| {
        scheduler.require_on(context)?;
        match scheduler.stats(context) {
            Ok(stats) => {
                last = shown(&stats);
                Ok(holds(&stats)?.then_some(stats))
            }
            Err(error) => {
                // There are none before the first round, and a busy daemon answers late.
                last = format!("{error:#}");
                Ok(None)
            }
        }
    })?;
    context.require_measured(found.is_some(), || format!("{what}: not so after {SETTLED:?}; cells: {last}"));
    Ok(found)
}

/// Fails the scenario unless every online CPU is in exactly one cell of this answer.
pub fn require_consistent(context: &mut Context, stats: &Stats) -> Result<()> {
    let cells = stats.0["cells"].as_object().context("the statistics hold no cells")?;
    let mut all = Cpus::new();
    for (id, cell) in cells {
        let cpus = cell["cpus"].as_str().and_then(cpulist::parse).context("a cell without CPUs")?;
        let twice: Vec<usize> = cpus.intersection(&all).copied().collect();
        context.require(twice.is_empty(), || format!("CPUs {twice:?} are in cell {id} and in another one"));
        all.extend(cpus);
    }
    let online = evidence::online()?;
    context.require(all == online, || {
        format!("the cells hold CPUs {}, online are {}", cpulist::format(&all), cpulist::format(&online))
    });
    Ok(())
}

/// The cells in one line, for messages.
pub fn shown(stats: &Stats) -> String {
    let text = |cell: &Value, field: &str| cell[field].as_str().unwrap_or("?").to_owned();
    let cells = stats.0["cells"].as_object().into_iter().flatten();
    let lines = cells.map(|(id, cell)| format!("{id}: {} ({})", text(cell, "cpus"), text(cell, "members")));
    lines.collect::<Vec<_>>().join("; ")
}
