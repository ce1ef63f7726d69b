// SPDX-License-Identifier: GPL-2.0-only
//! Reads the statistics of a running scheduler and prints them, across restarts of the scheduler.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scx_stats::{StatsClient, StatsErrno};
use serde_json::Value;
use thiserror::Error;
use tracing::{debug, info};

use crate::exit;
use crate::signals::{Shutdown, Wake};

/// How long a reply may take; bounds the time to react to a signal as well.
const REPLY_TIMEOUT_MS: u64 = 1000;
/// Longest pause before the next attempt to reach the scheduler.
const RETRY: Duration = Duration::from_secs(1);

/// Why monitoring ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The socket may not be opened.
    #[error(
        "no right to read statistics from {path}; run the monitor as the scheduler's user (for example with sudo)"
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The output failed for another reason than a reader that has gone away.
    #[error("cannot print statistics: {0}")]
    Output(#[source] io::Error),
}

impl MonitorError {
    /// The documented exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Denied { .. } => exit::NO_RIGHTS,
            Self::Output(_) => exit::FAILURE,
        }
    }
}

/// Prints statistics every `interval` until SIGINT or SIGTERM, or until the reader of `out` goes away (both are a
/// normal end). While no scheduler serves `path`, waits for one, and reconnects when it restarts.
///
/// `render` writes one report.
///
/// # Errors
/// [`MonitorError::Denied`], [`MonitorError::Output`].
pub fn monitor(
    path: &Path,
    interval: Duration,
    shutdown: &Shutdown,
    out: &mut dyn Write,
    render: &mut dyn FnMut(&Value, &mut dyn Write) -> io::Result<()>,
) -> Result<(), MonitorError> {
    let mut connection: Option<StatsClient> = None;
    let mut waiting_told = false;
    loop {
        if connection.is_none() {
            connection = open(path)?;
            match (&connection, waiting_told) {
                (None, false) => {
                    info!("no scheduler serves statistics at {}; waiting for one", path.display())
                }
                (Some(_), true) => info!("statistics are served at {}", path.display()),
                _ => {}
            }
            waiting_told = connection.is_none();
        }
        let mut pause = interval.min(RETRY);
        if let Some(client) = &mut connection {
            match request(client) {
                Reply::Statistics(statistics) => {
                    if !print(&statistics, out, render)? {
                        return Ok(());
                    }
                    pause = interval;
                }
                Reply::NotYet => {}
                Reply::Lost => connection = None,
            }
        }
        if pace(shutdown, pause) == Wake::Shutdown {
            return Ok(());
        }
    }
}

/// Sleeps; only a shutdown ends it early.
fn pace(shutdown: &Shutdown, pause: Duration) -> Wake {
    loop {
        match shutdown.wait(pause) {
            Wake::Notified => {}
            wake => return wake,
        }
    }
}

fn open(path: &Path) -> Result<Option<StatsClient>, MonitorError> {
    match StatsClient::new().set_path(path).connect(Some(REPLY_TIMEOUT_MS)) {
        Ok(client) => Ok(Some(client)),
        Err(error) => {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if kind == Some(io::ErrorKind::PermissionDenied) {
                return Err(MonitorError::Denied { path: path.to_owned() });
            }
            debug!("cannot reach the scheduler: {error:#}");
            Ok(None)
        }
    }
}

enum Reply {
    Statistics(Value),
    NotYet,
    Lost,
}

fn request(client: &mut StatsClient) -> Reply {
    let target = vec![("target".to_owned(), "top".to_owned())];
    match client.request::<Value>("stats", target) {
        Ok(statistics) => Reply::Statistics(statistics),
        Err(error) if error.is::<StatsErrno>() => {
            debug!("the scheduler has no statistics for us: {error:#}");
            Reply::NotYet
        }
        Err(error) => {
            debug!("the connection is lost: {error:#}");
            Reply::Lost
        }
    }
}

/// Whether to go on: false when the reader of `out` has gone away.
fn print(
    statistics: &Value,
    out: &mut dyn Write,
    render: &mut dyn FnMut(&Value, &mut dyn Write) -> io::Result<()>,
) -> Result<bool, MonitorError> {
    match render(statistics, out).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(MonitorError::Output(error)),
    }
}
