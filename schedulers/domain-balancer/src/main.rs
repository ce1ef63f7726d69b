// SPDX-License-Identifier: GPL-2.0-only
//! The program: arguments, log, and the order of a start.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use domain_balancer::NAME;
use domain_balancer::daemon;
use domain_balancer::dry_run;
use domain_balancer::machine::Machine;
use domain_balancer::options::Options;
use domain_balancer::stats::Metrics;
use runtime::exit::{one_line, status_of};
use runtime::{args, logging, stats};
use topology::Topology;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    logging::init(options.common.verbose);
    match dispatch(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {}", one_line(error.as_ref()));
            ExitCode::from(status_of(error.as_ref()))
        }
    }
}

fn dispatch(options: &Options) -> Result<()> {
    if options.version {
        println!("{NAME} {}", args::version_text(env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    if options.common.help_stats {
        print!("{}", stats::describe(&Metrics::meta())?);
        return Ok(());
    }
    if let Some(interval) = options.common.monitor {
        return daemon::monitor(options, interval);
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

/// Help goes to standard output as it is; an error is one line like every other.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    eprintln!("{NAME}: {}", args::usage_line(error));
    ExitCode::from(runtime::exit::USAGE)
}
