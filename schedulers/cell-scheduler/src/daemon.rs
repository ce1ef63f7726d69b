// SPDX-License-Identifier: GPL-2.0-only
//! The daemon: attachment after attachment until it is told to end, in the live world.

use anyhow::{Context, Result};
use runtime::daemon::{Daemon, Live};
use runtime::host::With;
use topology::Topology;

use crate::NAME;
use crate::finder::Finder;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{self, Host, Running};
use crate::stats::Metrics;
use crate::tenants::Found;
use crate::weigher::TreeNode;

/// Attaches and schedules until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps the scheduler from starting, and an error by which the kernel ended it; see [`runtime::exit`].
pub fn schedule(options: &Options) -> Result<()> {
    let mut daemon = Daemon::install(NAME, &options.common)?;
    // A bad path, pattern or file is an error of the operator whatever this kernel can do, so it is told first.
    let mut finder = Finder::new(options)?;
    finder.reload_on(daemon.live.signals().on_hangup().context("cannot handle signals")?);
    let mut machine = live_machine(options)?;
    daemon.prepare()?;
    let mut running = Running::default();
    loop {
        let ending = kernel::with_scheduler(&kernel::setup(&machine, options)?, |object| {
            let cpus = machine.topology.online().len();
            let blocks = machine.blocks.len();
            daemon.attached::<Metrics>(&format!("{cpus} CPUs, {blocks} caches"))?;
            let mut host = With { host: &mut daemon.live, more: &mut finder };
            Ok(run::run(object, &machine, options, &mut host, &mut running)?)
        })?;
        if !daemon.goes_on(&ending)? {
            return Ok(());
        }
        running.restarts += 1;
        machine = live_machine(options)?;
    }
}

fn live_machine(options: &Options) -> Result<Machine> {
    let topology = Topology::live().context("cannot read the topology of this machine")?;
    Machine::new(topology, options.max_cpus_per_queue)
}

impl Host for With<'_, Live, &mut Finder> {
    fn reload(&mut self) -> Result<(), String> {
        self.more.reload()
    }

    fn look(&mut self, due: bool) -> Result<Option<Found>, String> {
        self.more.look(due)
    }

    fn tree(&mut self) -> Vec<TreeNode> {
        self.more.tree()
    }
}
