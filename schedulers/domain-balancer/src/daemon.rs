// SPDX-License-Identifier: GPL-2.0-only
//! The daemon: attachment after attachment until it is told to end, in the live world.

use std::io::{self, Stdout};

use anyhow::{Context, Result};
use balancer::Explanation;
use runtime::daemon::{Daemon, Live};
use runtime::host::With;
use runtime::stats::Printer;
use topology::Topology;

use crate::NAME;
use crate::cgroups::{self, CgroupDir};
use crate::cost::ExplainForm;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{self, Host, Totals};
use crate::stats::Metrics;

/// Attaches and balances until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps the scheduler from starting, and an error by which the kernel ended it; see [`runtime::exit`].
pub fn schedule(options: &Options) -> Result<()> {
    let mut daemon = Daemon::install(NAME, &options.common)?;
    // A bad mask is an error of the operator whatever this kernel can do, so it is told first.
    let mut machine = Machine::new(live_topology()?, &options.domains, options.max_cpus_per_domain)?;
    daemon.prepare()?;
    let mut totals = Totals::default();
    let mut printer = Printer::new(io::stdout());
    loop {
        let ending = kernel::with_scheduler(&kernel::setup(&machine, options)?, |object| {
            let cpus = machine.topology.online().len();
            daemon.attached::<Metrics>(&format!("{} domains, {cpus} CPUs", machine.domains.len()))?;
            let explaining = Explaining { form: options.explain, printer: &mut printer };
            let mut host = With { host: &mut daemon.live, more: explaining };
            Ok(run::run(object, &machine, options, &mut host, &mut totals)?)
        })?;
        if !daemon.goes_on(&ending)? {
            return Ok(());
        }
        totals.restarts += 1;
        // Masks that were right before a CPU came or went are fitted to the machine as it is now.
        let topology = live_topology()?;
        let domains = options.domains.adapted(&topology);
        machine = Machine::new(topology, &domains, options.max_cpus_per_domain)?;
    }
}

fn live_topology() -> Result<Topology> {
    Topology::live().context("cannot read the topology of this machine")
}

/// Where decisions are told, and how.
struct Explaining<'a> {
    form: Option<ExplainForm>,
    printer: &'a mut Printer<Stdout>,
}

impl Host for With<'_, Live, Explaining<'_>> {
    fn cgroups(&mut self) -> Vec<CgroupDir> {
        cgroups::live()
    }

    fn explain(&mut self, explanation: &Explanation) {
        let form = self.more.form;
        self.more.printer.print(|out| match form {
            Some(ExplainForm::Json) => {
                serde_json::to_writer(&mut *out, explanation)?;
                writeln!(out)
            }
            _ => writeln!(out, "{explanation}"),
        });
    }
}
