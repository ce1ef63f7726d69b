// SPDX-License-Identifier: GPL-2.0-only
//! The shell around every scheduler's loop: the order of a start, attachment after attachment, and the live world that
//! the loop waits in.
//!
//! A scheduler's own part is short:
//!
//! ```text
//! let mut daemon = Daemon::install(NAME, &options.common)?;
//! let mut machine = …;                                   // errors of the operator are told first
//! daemon.prepare()?;
//! loop {
//!     let ending = kernel::with_scheduler(&kernel::setup(&machine, options)?, |object| {
//!         daemon.attached::<Metrics>("4 domains, 8 CPUs")?;
//!         run::run(object, &machine, options, &mut daemon.live, &mut totals)
//!     })?;
//!     if !daemon.goes_on(&ending)? { return Ok(()) }
//!     machine = …;                                       // as it is now, after a CPU came or went
//! }
//! ```

use std::io::{self, Stdout};
use std::time::Duration;

use thiserror::Error;
use tracing::warn;

use crate::args::CommonArgs;
use crate::clock::{Clock, MonotonicClock, Periodic};
use crate::cpu_time::CpuTime;
use crate::exit::{self, ExitRecord, KernelExit};
use crate::host::{Host, World};
use crate::openmetrics::{MetricsServer, MetricsSocket};
use crate::preflight::{self, PreflightError, Roots};
use crate::report::report_exit;
use crate::signals::{Shutdown, Wake};
use crate::stats::{self, Feed, Figures, MonitorError, Printer, StatsError, StatsServer, StatsSocket};
use crate::{priority, privileges};

#[cfg(test)]
mod tests;

/// Why a scheduler's loop ended.
#[derive(Debug)]
pub enum Ending {
    /// SIGINT or SIGTERM.
    Shutdown,
    /// The kernel ended the scheduler.
    Kernel(ExitRecord),
}

/// Why a daemon cannot start. Each cause stays a link of the chain of errors: its exit status is looked up there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Signal handlers cannot be set.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// This kernel or this user cannot run a scheduler.
    #[error("{0}")]
    Preflight(#[from] PreflightError),
    /// Statistics cannot be served.
    #[error("{0}")]
    Stats(#[from] StatsError),
}

/// One process that schedules.
pub struct Daemon {
    name: &'static str,
    common: CommonArgs,
    socket: Option<StatsSocket>,
    server: Option<StatsServer>,
    metrics_socket: Option<MetricsSocket>,
    metrics_server: Option<MetricsServer>,
    /// The world of the loop.
    pub live: Live,
}

impl Daemon {
    /// Handles signals from now on; touches nothing else.
    ///
    /// # Errors
    /// [`StartError::Signals`].
    pub fn install(name: &'static str, common: &CommonArgs) -> Result<Self, StartError> {
        let shutdown = Shutdown::install().map_err(StartError::Signals)?;
        let live = Live::new(shutdown, common);
        Ok(Self::new(name, common.clone(), live))
    }

    fn new(name: &'static str, common: CommonArgs, live: Live) -> Self {
        Self { name, common, socket: None, server: None, metrics_socket: None, metrics_server: None, live }
    }

    /// Checks kernel, rights and that no other scheduler is attached, raises this process' priority, and takes the
    /// statistics socket and the address for metrics.
    ///
    /// # Errors
    /// [`StartError::Preflight`], [`StartError::Stats`].
    pub fn prepare(&mut self) -> Result<(), StartError> {
        preflight::check(&Roots::default())?;
        priority::raise();
        self.socket = Some(StatsSocket::bind(&self.common.socket_path(self.name))?);
        self.metrics_socket = self.common.metrics.map(MetricsSocket::bind).transpose()?;
        Ok(())
    }

    /// To be called once the scheduler is attached: says so with `what` it works on; the first time gives up rights and
    /// serves statistics.
    ///
    /// # Errors
    /// [`StatsError`] when statistics cannot be served.
    pub fn attached<M: Figures>(&mut self, what: &str) -> Result<(), StatsError> {
        let meta = &M::descriptions();
        eprintln!("{} attached: {what}", self.name);
        if let Some(socket) = self.socket.take() {
            if let Err(error) = privileges::drop_after_attach() {
                warn!("going on with more rights than needed: {error}");
            }
            self.server = Some(socket.serve(self.live.feed.clone(), meta)?);
        }
        if let Some(socket) = self.metrics_socket.take() {
            eprintln!("{} serves metrics at http://{}/metrics", self.name, socket.address());
            self.metrics_server = Some(socket.serve(self.name, self.live.feed.clone(), meta)?);
        }
        Ok(())
    }

    /// To be called once the scheduler is detached: tells why, and says whether it is to attach again (a restart in place).
    ///
    /// # Errors
    /// [`KernelExit`] when the kernel ended it with an error.
    pub fn goes_on(&mut self, ending: &Ending) -> Result<bool, KernelExit> {
        if let Ending::Kernel(record) = ending {
            report_exit(record);
            if record.should_restart() {
                return Ok(true);
            }
            if record.exit_status() != exit::OK {
                return Err(KernelExit(record.clone()));
            }
        } else {
            eprintln!("{} detached", self.name);
        }
        self.server = None;
        self.metrics_server = None;
        Ok(false)
    }
}

/// Real time, signals, and the audience of a scheduler's statistics.
pub struct Live {
    clock: MonotonicClock,
    shutdown: Shutdown,
    feed: Feed,
    printer: Option<(Periodic, Printer<Stdout>)>,
    cpu_time: CpuTime,
}

impl Live {
    fn new(shutdown: Shutdown, common: &CommonArgs) -> Self {
        let clock = MonotonicClock;
        let feed = Feed::new(shutdown.waker());
        let every = |interval| (Periodic::new(interval, clock.now_ns()), Printer::new(io::stdout()));
        Self { clock, shutdown, feed, printer: common.stats.map(every), cpu_time: CpuTime::default() }
    }

    /// The signals of this process.
    pub fn signals(&self) -> &Shutdown {
        &self.shutdown
    }
}

impl World for Live {
    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.shutdown.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        self.cpu_time.busy_pct()
    }

    /// A client or `--stats` may wait.
    fn wants_metrics(&self) -> bool {
        let now_ns = self.now_ns();
        let print_due = |(periodic, _): &(Periodic, _)| periodic.remaining(now_ns).is_zero();
        self.feed.requested() || self.printer.as_ref().is_some_and(print_due)
    }
}

impl<M: Figures> Host<M> for Live {
    /// Hands figures to the clients, and prints them when `--stats` is due.
    fn publish(&mut self, metrics: &M) {
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

/// Why a monitor ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Signal handlers cannot be set.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// As [`stats::monitor`].
    #[error("{0}")]
    Monitor(#[from] MonitorError),
}

/// `--monitor`: prints the statistics of a running scheduler to standard output every `interval`, until SIGINT or SIGTERM.
///
/// # Errors
/// As [`stats::monitor`].
pub fn monitor<M: Figures>(name: &str, common: &CommonArgs, interval: Duration) -> Result<(), WatchError> {
    let shutdown = Shutdown::install().map_err(WatchError::Signals)?;
    let path = common.socket_path(name);
    stats::monitor(&path, interval, &shutdown, &mut io::stdout(), &mut |statistics, out| {
        let metrics: M = M::deserialize(statistics).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("statistics of another version: {error}"))
        })?;
        metrics.write(out)
    })?;
    Ok(())
}
