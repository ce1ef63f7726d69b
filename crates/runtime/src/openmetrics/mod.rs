// SPDX-License-Identifier: GPL-2.0-only
//! The statistics over HTTP in the OpenMetrics text format, for Prometheus and whatever else reads it.
//!
//! Off unless `--metrics` names an address. Figures come from the same [`Feed`] as those of the statistics socket, so a
//! scrape costs the scheduler's loop no more than a look by `--monitor`. Clients can neither hold the scheduler up nor make it
//! grow: there are few at a time, each has a limit on its request's size and on the time it may take to send it, and a
//! connection carries one request.

mod http;
mod text;

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use scx_stats::StatsMeta;
use serde::Serialize;

use crate::stats::acceptor::{Acceptor, Service};
use crate::stats::{Feed, StatsError};
use http::Reply;
use text::Exposition;

/// An address to serve metrics at: `PORT` or `:PORT` on the loopback interface, `ADDRESS:PORT`, `[ADDRESS]:PORT` or
/// `localhost:PORT`. For `value_parser`.
///
/// # Errors
/// One line that says what is wrong with the text.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let wrong =
        || format!("'{text}' is no address and port; write for example 9101, 127.0.0.1:9101 or [::1]:9101");
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix("localhost").unwrap_or(text);
    let port = match port.strip_prefix(':') {
        Some(port) => port,
        None if port.len() == text.len() => port,
        None => return Err(wrong()),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    port.parse().map(|port| SocketAddr::new(loopback, port)).map_err(|_| wrong())
}

/// These figures of the scheduler `name` in the OpenMetrics text format, as a scrape gives them.
///
/// # Errors
/// [`StatsError::Meta`] when `meta` does not describe them, or they cannot be written.
pub fn text(name: &str, meta: &[StatsMeta], figures: &impl Serialize) -> Result<String, StatsError> {
    let figures = serde_json::to_value(figures).map_err(|error| StatsError::Meta(error.to_string()))?;
    let text = Exposition::new(name, meta)?.write(Arc::new(figures));
    text.map_err(|error| StatsError::Meta(error.to_string()))
}

/// An address that is taken, with nobody answering yet: clients that connect wait.
#[derive(Debug)]
pub struct MetricsSocket {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsSocket {
    /// Takes `address`; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`StatsError::AddressInUse`] or [`StatsError::Address`], both of status 73.
    pub fn bind(address: SocketAddr) -> Result<Self, StatsError> {
        let refused = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => StatsError::AddressInUse { address },
            _ => StatsError::Address { address, source },
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer from `feed`, as the scheduler `name` whose statistics `meta` describes. Runs until the server is
    /// dropped.
    ///
    /// # Errors
    /// [`StatsError::Address`] when the thread cannot be started, [`StatsError::Meta`] when `meta` is inconsistent.
    pub fn serve(self, name: &str, feed: Feed, meta: &[StatsMeta]) -> Result<MetricsServer, StatsError> {
        let exposition = Exposition::new(name, meta)?;
        let address = self.address;
        let acceptor = Acceptor::start("metrics", self.listener, Shared { feed, exposition })
            .map_err(|source| StatsError::Address { address, source })?;
        Ok(MetricsServer { _acceptor: acceptor })
    }
}

/// A running server. Dropping it ends its threads and frees the address.
#[derive(Debug)]
pub struct MetricsServer {
    _acceptor: Acceptor,
}

/// What the client threads share.
struct Shared {
    feed: Feed,
    exposition: Exposition,
}

impl Shared {
    fn metrics(&self) -> Reply {
        let Some(figures) = self.feed.ask() else {
            return Reply::text(503, "Service Unavailable", "no statistics yet; ask again\n");
        };
        match self.exposition.write(figures) {
            Ok(text) => Reply::metrics(text),
            Err(error) => Reply::text(500, "Internal Server Error", &format!("{error}\n")),
        }
    }
}

impl Service<TcpStream> for Shared {
    const MAX_CLIENTS: usize = 16;

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        http::answer(stream, || self.metrics())
    }

    fn refuse(&self, mut stream: TcpStream) -> io::Result<()> {
        Reply::text(503, "Service Unavailable", "too many clients; ask again\n").send(&mut stream, true)
    }
}
