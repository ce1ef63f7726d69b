// SPDX-License-Identifier: GPL-2.0-only
//! Answers clients: one thread accepts, one thread per client, all ended when the server is dropped.
//!
//! A client can neither hold the scheduler up nor make it grow: requests have a bounded length, clients a bounded
//! number, replies a time limit.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown as Direction;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use scx_stats::{StatsMeta, StatsRequest, StatsResponse};
use serde_json::Value;
use tracing::{debug, warn};

use super::{Feed, StatsError, StatsSocket, describe};

/// Longest request, in bytes with its newline.
const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// Most clients at a time.
const MAX_CLIENTS: usize = 64;
/// How long a client may take to accept a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

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
    stop: UnixStream,
    acceptor: Option<JoinHandle<()>>,
}

/// One connection, as the acceptor keeps it.
struct Client {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl StatsServer {
    pub(super) fn start(socket: StatsSocket, feed: Feed, meta: &[StatsMeta]) -> Result<Self, StatsError> {
        if !meta.is_empty() {
            describe(meta)?;
        }
        let by_name: BTreeMap<_, _> = meta.iter().map(|meta| (&meta.name, meta)).collect();
        let meta = serde_json::to_value(by_name).map_err(|error| StatsError::Meta(error.to_string()))?;
        let path = socket.path().to_owned();
        let create = |source| StatsError::Create { path: path.clone(), source };
        let (stop, stopped) = UnixStream::pair().map_err(create)?;
        let shared = Arc::new(Shared { feed: feed.clone(), meta });
        let acceptor = thread::Builder::new()
            .name("stats".to_owned())
            .spawn(move || accept_loop(&socket, &stopped, &shared))
            .map_err(create)?;
        Ok(Self { path, feed, stop, acceptor: Some(acceptor) })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StatsServer {
    fn drop(&mut self) {
        self.feed.close();
        // Ends the acceptor's poll. A failure means that the acceptor is gone already.
        let _ = self.stop.shutdown(Direction::Both);
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            warn!("the statistics server ended abnormally");
        }
    }
}

/// Takes connections until `stopped` closes, then ends all clients. Owns the socket, so its file goes with this thread.
fn accept_loop(socket: &StatsSocket, stopped: &UnixStream, shared: &Arc<Shared>) {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut fds = [
            PollFd::new(socket.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        if let Err(error) = poll(&mut fds, PollTimeout::NONE)
            && error != Errno::EINTR
        {
            warn!("the statistics server pauses: {error}");
            sleep(Duration::from_millis(100));
            continue;
        }
        if fds[1].any() == Some(true) {
            break;
        }
        clients.retain(|client| !client.thread.is_finished());
        match socket.listener.accept() {
            Ok((stream, _)) => clients.extend(admit(stream, clients.len(), shared)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                // Out of file descriptors, most likely: the connection stays pending, so do not spin on it.
                debug!("cannot accept a statistics client: {error}");
                sleep(Duration::from_millis(100));
            }
        }
    }
    for client in clients {
        let _ = client.stream.shutdown(Direction::Both);
        if client.thread.join().is_err() {
            warn!("a statistics client's thread ended abnormally");
        }
    }
}

/// Starts a thread for a connection, or turns it away.
fn admit(mut stream: UnixStream, present: usize, shared: &Arc<Shared>) -> Option<Client> {
    let prepared = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)));
    if let Err(error) = prepared {
        debug!("cannot prepare a statistics client: {error}");
        return None;
    }
    if present >= MAX_CLIENTS {
        let refusal = failure(Errno::EBUSY, format!("more than {MAX_CLIENTS} clients"));
        let _ = send(&mut stream, &refusal);
        return None;
    }
    let own = stream.try_clone();
    let shared = Arc::clone(shared);
    let thread = own.and_then(|own| {
        thread::Builder::new().name("stats-client".to_owned()).spawn(move || {
            if let Err(error) = serve(own, &shared) {
                debug!("a statistics client is gone: {error}");
            }
        })
    });
    match thread {
        Ok(thread) => Some(Client { stream, thread }),
        Err(error) => {
            debug!("cannot serve a statistics client: {error}");
            None
        }
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
    stream.shutdown(Direction::Both)
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
