// SPDX-License-Identifier: GPL-2.0-only
//! Takes connections and gives each a thread of its own, up to a number; all of them end with the acceptor.

use std::io;
use std::net::{Shutdown as Direction, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{debug, warn};

/// How long a client may take to accept a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failure that would come again at once, such as no file descriptor being left.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens without blocking.
pub(crate) trait Listener: AsFd + Send + 'static {
    /// Its connections.
    type Stream: Connection;
    /// The next connection that waits.
    fn accept_next(&self) -> io::Result<Self::Stream>;
}

/// One connection.
pub(crate) trait Connection: Send + Sized + 'static {
    /// Another handle on the same connection.
    fn duplicate(&self) -> io::Result<Self>;
    /// Makes it block, with a limit on the time to write.
    fn prepare(&self, write_timeout: Duration) -> io::Result<()>;
    /// Ends it for both sides, whoever else has a handle.
    fn end(&self) -> io::Result<()>;
}

impl Connection for UnixStream {
    fn duplicate(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn prepare(&self, write_timeout: Duration) -> io::Result<()> {
        self.set_nonblocking(false).and_then(|()| self.set_write_timeout(Some(write_timeout)))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Direction::Both)
    }
}

impl Connection for TcpStream {
    fn duplicate(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn prepare(&self, write_timeout: Duration) -> io::Result<()> {
        self.set_nonblocking(false).and_then(|()| self.set_write_timeout(Some(write_timeout)))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Direction::Both)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn accept_next(&self) -> io::Result<TcpStream> {
        self.accept().map(|(stream, _)| stream)
    }
}

/// How one kind of client is served.
pub(crate) trait Service<S>: Send + Sync + 'static {
    /// Most clients at a time.
    const MAX_CLIENTS: usize;
    /// Serves one client to its end.
    ///
    /// # Errors
    /// When the connection fails; nobody but the log cares.
    fn serve(&self, stream: S) -> io::Result<()>;
    /// Turns one away because there are too many.
    fn refuse(&self, stream: S) -> io::Result<()>;
}

/// A running acceptor. Dropping it closes all connections and ends all threads, then drops the listener.
#[derive(Debug)]
pub(crate) struct Acceptor {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// One connection, as the acceptor keeps it.
struct Client<S> {
    stream: S,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Accepts from now on, in a thread called `name`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start<L: Listener>(
        name: &str,
        listener: L,
        service: impl Service<L::Stream>,
    ) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let service = Arc::new(service);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || accept_loop(&listener, &stopped, &service))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Ends the acceptor's poll. A failure means that the acceptor is gone already.
        let _ = self.stop.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("a server of statistics ended abnormally");
        }
    }
}

/// Takes connections until `stopped` closes, then ends all clients.
fn accept_loop<L: Listener>(listener: &L, stopped: &UnixStream, service: &Arc<impl Service<L::Stream>>) {
    let mut clients: Vec<Client<L::Stream>> = Vec::new();
    loop {
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        if let Err(error) = poll(&mut fds, PollTimeout::NONE)
            && error != Errno::EINTR
        {
            warn!("a server of statistics pauses: {error}");
            sleep(PAUSE);
            continue;
        }
        if fds[1].any() == Some(true) {
            break;
        }
        clients.retain(|client| !client.thread.is_finished());
        match listener.accept_next() {
            Ok(stream) => clients.extend(admit(stream, clients.len(), service)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                // Out of file descriptors, most likely: the connection stays pending, so do not spin on it.
                debug!("cannot accept a client: {error}");
                sleep(PAUSE);
            }
        }
    }
    for client in clients {
        let _ = client.stream.end();
        if client.thread.join().is_err() {
            warn!("the thread of a client ended abnormally");
        }
    }
}

/// Starts a thread for a connection, or turns it away.
fn admit<S: Connection, V: Service<S>>(stream: S, present: usize, service: &Arc<V>) -> Option<Client<S>> {
    if let Err(error) = stream.prepare(WRITE_TIMEOUT) {
        debug!("cannot prepare a client: {error}");
        return None;
    }
    if present >= V::MAX_CLIENTS {
        // Whether it hears it or not, it is gone.
        let _ = service.refuse(stream);
        return None;
    }
    let service = Arc::clone(service);
    let thread = stream.duplicate().and_then(|own| {
        thread::Builder::new().name("stats-client".to_owned()).spawn(move || {
            if let Err(error) = service.serve(own) {
                debug!("a client is gone: {error}");
            }
        })
    });
    match thread {
        Ok(thread) => Some(Client { stream, thread }),
        Err(error) => {
            debug!("cannot serve a client: {error}");
            None
        }
    }
}
