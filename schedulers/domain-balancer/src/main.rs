// SPDX-License-Identifier: GPL-2.0-only
//! The program: arguments, log, and the order of a start.

use std::process::ExitCode;

use anyhow::Result;
use domain_balancer::NAME;
use domain_balancer::daemon;
use domain_balancer::dry_run;
use domain_balancer::machine::Machine;
use domain_balancer::options::Options;
use domain_balancer::stats::Metrics;
use runtime::{logging, program};
use topology::Topology;

fn main() -> ExitCode {
    let options: Options = match program::options(NAME) {
        Ok(options) => options,
        Err(status) => return status,
    };
    logging::init(options.common.verbose);
    program::end(NAME, dispatch(&options))
}

fn dispatch(options: &Options) -> Result<()> {
    let version = options.version.then_some(env!("CARGO_PKG_VERSION"));
    if program::answered::<Metrics>(NAME, version, &options.common)? {
        return Ok(());
    }
    options.check()?;
    if options.dry_run {
        let topology = match &options.topology {
            Some(source) => {
                Topology::source(source).map_err(|error| runtime::exit::UsageError(error.to_string()))?
            }
            None => Topology::live()?,
        };
        let machine = Machine::new(topology, &options.domains, options.max_cpus_per_domain)?;
        print!("{}", dry_run::report(&machine, options));
        return Ok(());
    }
    daemon::schedule(options)
}
