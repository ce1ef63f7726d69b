// SPDX-License-Identifier: GPL-2.0-only
//! The daemon: the order of a start, attachment after attachment until it is told to end, and the monitor.

use std::io::{self, Stdout};
use std::time::Duration;

use anyhow::{Context, Result};
use balancer::Explanation;
use runtime::clock::{Clock, MonotonicClock, Periodic};
use runtime::exit::KernelExit;
use runtime::preflight::{self, Roots};
use runtime::report::report_exit;
use runtime::signals::{Shutdown, Wake};
use runtime::stats::{Feed, Printer, StatsServer, StatsSocket};
use runtime::{priority, privileges, stats};
use topology::Topology;
use tracing::warn;

use crate::NAME;
use crate::cost::ExplainForm;
use crate::cpu_time::CpuTime;
use crate::kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{self, Ending, Host, Totals};
use crate::stats::Metrics;

/// Attaches and balances until SIGINT or SIGTERM.
///
/// # Errors
/// What keeps the scheduler from starting, and an error by which the kernel ended it; see [`runtime::exit`].
pub fn schedule(options: &Options) -> Result<()> {
    let shutdown = Shutdown::install().context("cannot handle signals")?;
    // A bad mask is an error of the operator whatever this kernel can do, so it is told first.
    let mut machine = Machine::new(live_topology()?, &options.domains, options.max_cpus_per_domain)?;
    preflight::check(&Roots::default())?;
    priority::raise();
    let mut socket = Some(StatsSocket::bind(&options.common.socket_path(NAME))?);
    let mut host = LiveHost::new(shutdown, options);
    let mut server: Option<StatsServer> = None;
    let mut totals = Totals::default();
    loop {
        let ending = kernel::with_scheduler(&machine, options, |object| {
            eprintln!(
                "{NAME} attached: {} domains, {} CPUs",
                machine.domains.len(),
                machine.topology.online().len()
            );
            if let Some(socket) = socket.take() {
                drop_privileges();
                server = Some(socket.serve(host.feed.clone(), &Metrics::meta())?);
            }
            Ok(run::run(object, &machine, options, &mut host, &mut totals)?)
        })?;
        match ending {
            Ending::Shutdown => break,
            Ending::Kernel(record) => {
                report_exit(&record);
                if !record.should_restart() {
                    return if record.exit_status() == runtime::exit::OK {
                        Ok(())
                    } else {
                        Err(KernelExit(record).into())
                    };
                }
            }
        }
        totals.restarts += 1;
        // Masks that were right before a CPU came or went are fitted to the machine as it is now.
        let topology = live_topology()?;
        let domains = options.domains.adapted(&topology);
        machine = Machine::new(topology, &domains, options.max_cpus_per_domain)?;
    }
    drop(server);
    eprintln!("{NAME} detached");
    Ok(())
}

fn live_topology() -> Result<Topology> {
    Topology::live().context("cannot read the topology of this machine")
}

fn drop_privileges() {
    if let Err(error) = privileges::drop_after_attach() {
        warn!("going on with more rights than needed: {error}");
    }
}

/// `--monitor`: prints a running scheduler's statistics.
///
/// # Errors
/// As [`runtime::stats::monitor`].
pub fn monitor(options: &Options, interval: Duration) -> Result<()> {
    let shutdown = Shutdown::install().context("cannot handle signals")?;
    let path = options.common.socket_path(NAME);
    stats::monitor(&path, interval, &shutdown, &mut io::stdout(), &mut |statistics, out| {
        let metrics: Metrics = serde_json::from_value(statistics.clone()).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("statistics of another version: {error}"))
        })?;
        metrics.write(out)
    })?;
    Ok(())
}

/// The live world: real time, signals, the statistics feed and standard output.
struct LiveHost {
    clock: MonotonicClock,
    shutdown: Shutdown,
    feed: Feed,
    printer: Option<(Periodic, Printer<Stdout>)>,
    explain_form: Option<ExplainForm>,
    explain_printer: Printer<Stdout>,
    cpu_time: CpuTime,
}

impl LiveHost {
    fn new(shutdown: Shutdown, options: &Options) -> Self {
        let clock = MonotonicClock;
        let feed = Feed::new(shutdown.waker());
        let every = |interval| (Periodic::new(interval, clock.now_ns()), Printer::new(io::stdout()));
        Self {
            clock,
            shutdown,
            feed,
            printer: options.common.stats.map(every),
            explain_form: options.explain,
            explain_printer: Printer::new(io::stdout()),
            cpu_time: CpuTime::default(),
        }
    }
}

impl Host for LiveHost {
    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.shutdown.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        self.cpu_time.busy_pct()
    }

    fn wants_metrics(&self) -> bool {
        let now_ns = self.now_ns();
        let print_due = |(periodic, _): &(Periodic, _)| periodic.remaining(now_ns).is_zero();
        self.feed.requested() || self.printer.as_ref().is_some_and(print_due)
    }

    fn explain(&mut self, explanation: &Explanation) {
        let form = self.explain_form;
        self.explain_printer.print(|out| match form {
            Some(ExplainForm::Json) => {
                serde_json::to_writer(&mut *out, explanation)?;
                writeln!(out)
            }
            _ => writeln!(out, "{explanation}"),
        });
    }

    fn publish(&mut self, metrics: &Metrics) {
        if let Err(error) = self.feed.publish(metrics) {
            warn!("statistics cannot be served: {error}");
        }
        let now_ns = self.now_ns();
        if let Some((periodic, printer)) = &mut self.printer
            && periodic.due(now_ns)
        {
            printer.print(|out| metrics.write(out));
        }
    }
}
