// SPDX-License-Identifier: GPL-2.0-only
//! Statistics over a unix socket, in the scx_stats protocol, and the monitor that reads them.
//!
//! One JSON object a line each way. `{"req":"stats","args":{"target":"top"}}` is answered with
//! `{"errno":0,"args":{"resp":{...}}}`, `{"req":"stats_meta"}` with a description of every statistic, anything else with
//! a positive errno and a text.
//!
//! The server here and not the protocol crate's own, because that one deletes a socket that another scheduler serves,
//! keeps the socket file at exit, lets a client send a line without end, and leaves clients hanging for as long as the
//! scheduler's loop is busy. Here clients get what the loop last published (see [`Feed`]).

pub(crate) mod acceptor;
mod feed;
mod monitor;
mod server;
mod socket;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use scx_stats::{StatsMeta, StatsServerData};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::info;

pub use feed::Feed;
pub use monitor::{MonitorError, monitor};
pub use server::StatsServer;
pub use socket::StatsSocket;

use crate::exit;

/// The figures of a scheduler: what clients get, and the text for people.
pub trait Figures: Serialize + DeserializeOwned {
    /// Descriptions of all of them, for the server and for `--help-stats`.
    fn descriptions() -> Vec<StatsMeta>;

    /// Writes the report of `--monitor` and `--stats`.
    ///
    /// # Errors
    /// As `out`.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Why statistics cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatsError {
    /// Another process answers on the socket.
    #[error(
        "the statistics socket {path} is in use by another process; stop it or give another --stats-socket"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no stream socket is in the way; it is left alone.
    #[error("{path} exists and is not a statistics socket; remove it or give another --stats-socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot create the statistics socket {path}: {source}; give another --stats-socket")]
    Create {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process listens at the address for metrics.
    #[error("the metrics address {address} is in use by another process; give another --metrics")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// Nobody can be served at the address for metrics.
    #[error("metrics cannot be served at {address}: {source}; give another --metrics")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The descriptions of the statistics do not fit together (a programming error of the scheduler).
    #[error("the descriptions of the statistics do not fit together: {0}")]
    Meta(String),
}

impl StatsError {
    /// The documented exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::InUse { .. }
            | Self::NotASocket { .. }
            | Self::Create { .. }
            | Self::AddressInUse { .. }
            | Self::Address { .. } => exit::STATS_SOCKET,
            Self::Meta(_) => exit::FAILURE,
        }
    }
}

/// The text for `--help-stats`: every statistic with its type and description, from the top structure down.
///
/// # Errors
/// [`StatsError::Meta`] when there is no top structure or a nested one is missing.
pub fn describe(meta: &[StatsMeta]) -> Result<String, StatsError> {
    let data = meta.iter().cloned().fold(StatsServerData::<(), ()>::default(), StatsServerData::add_meta);
    let mut text = Vec::new();
    data.describe_meta(&mut text, None).map_err(|error| StatsError::Meta(format!("{error:#}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Where `--stats` prints to. When the reader is gone, printing stops and the scheduler goes on.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: Option<W>,
}

impl<W: Write> Printer<W> {
    /// Prints to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Some(out) }
    }

    /// Lets `write` print, then flushes.
    pub fn print(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let Some(out) = &mut self.out else { return };
        if let Err(error) = write(out).and_then(|()| out.flush()) {
            info!("statistics are no longer printed: {error}");
            self.out = None;
        }
    }

    /// Whether somebody still reads.
    pub fn is_open(&self) -> bool {
        self.out.is_some()
    }
}
