// SPDX-License-Identifier: GPL-2.0-only
//! The program: arguments, log, and the order of a start.

use std::process::ExitCode;

use active_push::NAME;
use active_push::daemon;
use active_push::dry_run;
use active_push::machine::Machine;
use active_push::options::Options;
use active_push::stats::Metrics;
use anyhow::Result;
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
    if options.dry_run {
        let topology = match &options.topology {
            Some(source) => {
                Topology::source(source).map_err(|error| runtime::exit::UsageError(error.to_string()))?
            }
            None => Topology::live()?,
        };
        let machine = Machine::new(topology, options)?;
        print!("{}", dry_run::report(&machine, options));
        return Ok(());
    }
    daemon::schedule(options)
}
