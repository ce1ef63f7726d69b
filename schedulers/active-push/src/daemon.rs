// SPDX-License-Identifier: GPL-2.0-only
//! The daemon: attachment after attachment until it is told to end, in the live world.

use anyhow::{Context, Result};
use runtime::daemon::Daemon;
use topology::Topology;

use crate::NAME;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{self, Totals};
use crate::stats::Metrics;

/// Attaches and reports until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps the scheduler from starting, and an error by which the kernel ended it; see [`runtime::exit`].
pub fn schedule(options: &Options) -> Result<()> {
    let mut daemon = Daemon::install(NAME, &options.common)?;
    // A wrong option is an error of the operator whatever this kernel can do, so it is told first.
    let mut machine = live_machine(options)?;
    daemon.prepare()?;
    let mut totals = Totals::default();
    loop {
        let ending = kernel::with_scheduler(&kernel::setup(&machine, options)?, |object| {
            let cpus = machine.topology.online().len();
            let levels = machine.levels.iter().map(|level| level.name.as_str()).collect::<Vec<_>>().join(" ");
            let levels = if levels.is_empty() { "none" } else { &levels };
            daemon.attached::<Metrics>(&format!("{cpus} CPUs, levels {levels}"))?;
            Ok(run::run(object, &machine, &mut daemon.live, &mut totals)?)
        })?;
        if !daemon.goes_on(&ending)? {
            return Ok(());
        }
        totals.restarts += 1;
        machine = live_machine(options)?;
    }
}

fn live_machine(options: &Options) -> Result<Machine> {
    Machine::new(Topology::live().context("cannot read the topology of this machine")?, options)
}
