// SPDX-License-Identifier: GPL-2.0-only
//! The server over real sockets, read by the protocol crate's own client and by hand.

mod monitoring;
mod serving;
mod sockets;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use scx_stats::{Meta, StatsClient, StatsErrno};
use scx_stats_derive::Stats;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::signals::{Shutdown, Wake};

/// Longer than any step here may take, however busy the machine.
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(desc = "one domain")]
struct Domain {
    #[stat(desc = "load in CPUs")]
    load: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(top, desc = "the whole scheduler")]
struct Figures {
    #[stat(desc = "rounds so far")]
    round: u64,
    #[stat(desc = "each domain")]
    domains: BTreeMap<String, Domain>,
}

fn meta() -> Vec<StatsMeta> {
    vec![Figures::meta(), Domain::meta()]
}

fn figures(round: u64) -> Figures {
    Figures { round, domains: BTreeMap::from([("0".to_owned(), Domain { load: 1.5 })]) }
}

/// A scheduler's loop as it should be: publishes when asked.
struct Scheduler {
    server: Option<StatsServer>,
    waker: crate::signals::Waker,
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    fn start(path: &Path) -> Self {
        let shutdown = Shutdown::without_signals().unwrap();
        let waker = shutdown.waker();
        let feed = Feed::new(shutdown.waker());
        let server = StatsSocket::bind(path).unwrap().serve(feed.clone(), &meta()).unwrap();
        let thread = thread::spawn(move || {
            let mut round = 0;
            while shutdown.wait(Duration::from_secs(3600)) != Wake::Shutdown {
                if feed.requested() {
                    round += 1;
                    feed.publish(&figures(round)).unwrap();
                }
            }
        });
        Self { server: Some(server), waker, thread: Some(thread) }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.server.take());
        self.waker.shut_down();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A server whose loop never comes round.
fn busy(path: &Path) -> (StatsServer, Feed, Shutdown) {
    let shutdown = Shutdown::without_signals().unwrap();
    let feed = Feed::new(shutdown.waker());
    let server = StatsSocket::bind(path).unwrap().serve(feed.clone(), &meta()).unwrap();
    (server, feed, shutdown)
}

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("run/scheduler/stats.sock");
    (directory, path)
}

fn client(path: &Path) -> StatsClient {
    StatsClient::new().set_path(path).connect(Some(SOON.as_millis() as u64)).unwrap()
}

/// The figures, or the errno of the refusal (0 when the connection itself failed).
fn top(client: &mut StatsClient) -> Result<Figures, i32> {
    let reply = client.request("stats", vec![("target".to_owned(), "top".to_owned())]);
    reply.map_err(|error| error.downcast_ref::<StatsErrno>().map_or(0, |errno| errno.0))
}

/// Sends raw bytes and reads one reply.
fn raw(stream: &mut UnixStream, bytes: &[u8]) -> Value {
    stream.write_all(bytes).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}
