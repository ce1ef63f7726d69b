// SPDX-License-Identifier: GPL-2.0-only
//! The daemon: attachment after attachment until it is told to end, in the live world.

use std::time::Duration;

use anyhow::{Context, Result};
use runtime::daemon::{Daemon, Live};
use runtime::signals::Wake;
use topology::Topology;

use crate::NAME;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{self, Host, Totals};
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
            daemon.attached(&format!("{cpus} CPUs, levels {levels}"), &Metrics::meta())?;
            let mut host = LiveHost { live: &mut daemon.live };
            Ok(run::run(object, &machine, &mut host, &mut totals)?)
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

struct LiveHost<'a> {
    live: &'a mut Live,
}

impl Host for LiveHost<'_> {
    fn now_ns(&self) -> u64 {
        self.live.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.live.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        self.live.cpu_busy_pct()
    }

    fn wants_metrics(&self) -> bool {
        self.live.wants_metrics()
    }

    fn publish(&mut self, metrics: &Metrics) {
        self.live.publish(metrics, Metrics::write);
    }
}
