// SPDX-License-Identifier: GPL-2.0-only
//! Answers clients: one thread accepts, one thread per client, all ended when the server is dropped.
//!
//! A client can neither hold the scheduler up nor make it grow: requests have a bounded length, clients a bounded
//! number, replies a time limit.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use scx_stats::{StatsMeta, StatsRequest, StatsResponse};
use serde_json::Value;

use super::acceptor::{Acceptor, Connection, Listener, Service};
use super::{Feed, StatsError, StatsSocket, describe};

/// Longest request, in bytes with its newline.
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// What the client threads share.
struct Shared {
    feed: Feed,
    meta: Value,
}

/// A running statistics server. Dropping it closes all connections, ends its threads and removes the socket.
#[derive(Debug)]
pub struct StatsServer {
    path: PathBuf,
    feed: Feed,
    // Owns the socket, so its file goes with it.
    _acceptor: Acceptor,
}

impl StatsServer {
    pub(super) fn start(socket: StatsSocket, feed: Feed, meta: &[StatsMeta]) -> Result<Self, StatsError> {
        if !meta.is_empty() {
            describe(meta)?;
        }
        let by_name: BTreeMap<_, _> = meta.iter().map(|meta| (&meta.name, meta)).collect();
        let meta = serde_json::to_value(by_name).map_err(|error| StatsError::Meta(error.to_string()))?;
        let path = socket.path().to_owned();
        let acceptor = Acceptor::start("stats", socket, Shared { feed: feed.clone(), meta })
            .map_err(|source| StatsError::Create { path: path.clone(), source })?;
        Ok(Self { path, feed, _acceptor: acceptor })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StatsServer {
    fn drop(&mut self) {
        // Lets the clients go that wait for figures; the acceptor ends the others.
        self.feed.close();
    }
}

impl AsFd for StatsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Listener for StatsSocket {
    type Stream = UnixStream;

    fn accept_next(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }
}

impl Service<UnixStream> for Shared {
    const MAX_CLIENTS: usize = 64;

    fn serve(&self, stream: UnixStream) -> io::Result<()> {
        serve(stream, self)
    }

    fn refuse(&self, mut stream: UnixStream) -> io::Result<()> {
        let most = <Self as Service<UnixStream>>::MAX_CLIENTS;
        send(&mut stream, &failure(Errno::EBUSY, format!("more than {most} clients")))
    }
}

/// Answers one client line by line until it closes.
fn serve(mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == MAX_REQUEST_BYTES {
            let text = format!("request longer than {MAX_REQUEST_BYTES} bytes");
            send(&mut stream, &failure(Errno::EMSGSIZE, text))?;
            break;
        }
        send(&mut stream, &answer(&line, shared))?;
    }
    // The acceptor still holds the stream, so closing this end alone would leave the client waiting.
    stream.end()
}

fn answer(line: &[u8], shared: &Shared) -> StatsResponse {
    let request: StatsRequest = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return failure(Errno::EINVAL, format!("malformed request: {error}")),
    };
    match request.req.as_str() {
        "stats" => match request.args.get("target").map_or("top", String::as_str) {
            "top" => match shared.feed.ask() {
                Some(statistics) => success(Value::clone(&statistics)),
                None => failure(Errno::EAGAIN, "no statistics yet; ask again".to_owned()),
            },
            target => failure(Errno::EINVAL, format!("unknown target '{target}'; there is 'top'")),
        },
        "stats_meta" => success(shared.meta.clone()),
        other => {
            failure(Errno::EINVAL, format!("unknown request '{other}'; there are 'stats' and 'stats_meta'"))
        }
    }
}

fn success(response: Value) -> StatsResponse {
    StatsResponse { errno: 0, args: BTreeMap::from([("resp".to_owned(), response)]) }
}

fn failure(errno: Errno, text: String) -> StatsResponse {
    StatsResponse { errno: errno as i32, args: BTreeMap::from([("resp".to_owned(), Value::String(text))]) }
}

fn send(stream: &mut UnixStream, response: &StatsResponse) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    stream.write_all(&line)
}
