// SPDX-License-Identifier: GPL-2.0-only
//! C2: a cell of four CPUs with one spinner on each shrinks to one CPU while another cell waits for the rest. The spinners
//! leave the CPUs that their cell has lost, although each was alone on its own, and do not come back.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::tenants;
use crate::context::{Context, Skipped};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::Job;

const CONFIG: &str = "/tmp/cells.toml";

/// CPUs of the cell before.
const BEFORE: usize = 4;

/// Four spinners on one CPU all had a turn there in this time; one that stays where it was never leaves.
const LEFT: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_millis(50);

const LOOKS: usize = 40;

/// Writes a configuration in which cell `shrinking` has exactly `cpus` CPUs and nobody lends or borrows.
pub fn configure(cpus: usize) -> Result<()> {
    let text = format!(
        "[[cell]]\nname = \"shrinking\"\ncgroups = [\"tenants/shrinking\"]\nmin_cpus = {cpus}\nmax_cpus = {cpus}\n\
         lend = false\nborrow = false\n\n\
         [[cell]]\nname = \"waiting\"\ncgroups = [\"tenants/waiting\"]\nlend = false\nborrow = false\n"
    );
    fs::write(CONFIG, text).with_context(|| format!("cannot write {CONFIG}"))
}

/// Options that go with [`configure`].
pub const ARGUMENTS: [&str; 6] = ["--config", CONFIG, "--rebalance-interval", "0.25", "--cool-down", "0.5"];

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    if cpus <= BEFORE {
        return Err(Skipped(format!("this machine has {cpus} CPUs, the cell would have all of them")).into());
    }
    let parent = tenants::parent(&[])?;
    let (shrinking, waiting) = (parent.child("shrinking", &[])?, parent.child("waiting", &[])?);
    configure(BEFORE)?;
    let mut scheduler = Scheduler::start(context, &ARGUMENTS)?;
    let spinners = tenants::load(&shrinking, &vec![Job::spinner(); BEFORE])?;
    let hogs = tenants::load(&waiting, &vec![Job::spinner(); 2 * cpus])?;
    let settled =
        tenants::settle(context, &mut scheduler, "the cell has four CPUs with a spinner on each", |stats| {
            let Some(tenant) = tenants::find(stats, "shrinking")? else { return Ok(false) };
            let places: crate::cpulist::Cpus = spinners.cpus()?.into_iter().collect();
            Ok(tenant.cpus.len() == BEFORE && places == tenant.cpus)
        })?;
    if settled.is_none() {
        return scheduler.stop(context);
    }
    context.step("the cell shrinks");
    configure(1)?;
    scheduler.signal(Signal::SIGHUP)?;
    let shrunk = tenants::settle(context, &mut scheduler, "the cell has one CPU", |stats| {
        Ok(tenants::find(stats, "shrinking")?.is_some_and(|tenant| tenant.cpus.len() == 1))
    })?;
    let Some(stats) = shrunk else { return scheduler.stop(context) };
    tenants::require_consistent(context, &stats)?;
    let left = tenants::find(&stats, "shrinking")?.map(|tenant| tenant.cpus).unwrap_or_default();
    let begin = std::time::Instant::now();
    let gone = context.wait_for(LEFT, LOOK, |_| {
        Ok(spinners.cpus()?.iter().all(|cpu| left.contains(cpu)).then(|| begin.elapsed()))
    })?;
    context.require_measured(gone.is_some(), || {
        let places = spinners.cpus().unwrap_or_default();
        format!("after {LEFT:?} the spinners are on CPUs {places:?}, the cell has {left:?}")
    });
    if let Some(after) = gone {
        context.figure("left_after_seconds", after.as_secs_f64());
    }
    let mut outside = 0;
    for _ in 0..LOOKS {
        context.sleep(LOOK);
        outside += spinners.cpus()?.iter().filter(|cpu| !left.contains(cpu)).count();
    }
    context.require(gone.is_none() || outside == 0, || {
        format!("{outside} samples show a spinner outside again")
    });
    let stuck = spinners.wait_for_progress(context)? + hogs.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} workers stand still"));
    scheduler.stop(context)
}
