// SPDX-License-Identifier: GPL-2.0-only
//! Stopping on SIGINT and SIGTERM, and a wait that they end.
//!
//! A signal sets a flag and writes to a pipe; [`Shutdown::wait`] sleeps on that pipe. No thread is involved. Further
//! signals do the same again and never kill the process in the middle of its way out; if it hangs, SIGKILL is safe,
//! because the kernel detaches a scheduler when the process that holds it is gone.
//!
//! SIGPIPE stays ignored, as every Rust program starts: writing to a closed pipe is an error to be handled where it
//! happens (see [`crate::stats::monitor`]), not the end of a daemon.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

#[cfg(test)]
mod tests;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The process is to end.
    Shutdown,
    /// Somebody called [`Waker::wake`].
    Notified,
    /// The time is over.
    Timeout,
}

/// The wish to end, and the wait that it interrupts. Meant for one waiting thread; any thread may wake it.
#[derive(Debug)]
pub struct Shutdown {
    requested: Arc<AtomicBool>,
    reader: UnixStream,
    writer: Arc<UnixStream>,
}

/// Wakes the thread in [`Shutdown::wait`]. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Waker {
    requested: Arc<AtomicBool>,
    writer: Arc<UnixStream>,
}

impl Shutdown {
    /// Handles SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the pipe cannot be made or a handler cannot be set.
    pub fn install() -> io::Result<Self> {
        let shutdown = Self::without_signals()?;
        for signal in [SIGINT, SIGTERM] {
            // Actions run in the order of their registration: the flag is up before the wait ends.
            flag::register(signal, Arc::clone(&shutdown.requested))?;
            low_level::pipe::register(signal, shutdown.writer.try_clone()?)?;
        }
        Ok(shutdown)
    }

    /// The same without signal handlers: ends only by [`Waker::shut_down`]. For tests and for embedding.
    ///
    /// # Errors
    /// When the pipe cannot be made.
    pub fn without_signals() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { requested: Arc::new(AtomicBool::new(false)), reader, writer: Arc::new(writer) })
    }

    /// Handles SIGHUP from now on: each raises the returned flag, which the caller takes down again, and ends a wait with
    /// [`Wake::Notified`]. Without this, SIGHUP ends the process.
    ///
    /// # Errors
    /// When a handler cannot be set.
    pub fn on_hangup(&self) -> io::Result<Arc<AtomicBool>> {
        let raised = Arc::new(AtomicBool::new(false));
        flag::register(SIGHUP, Arc::clone(&raised))?;
        low_level::pipe::register(SIGHUP, self.writer.try_clone()?)?;
        Ok(raised)
    }

    /// Whether the process is to end.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// The flag behind [`Shutdown::requested`].
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.requested)
    }

    /// A handle by which other threads wake the wait.
    pub fn waker(&self) -> Waker {
        Waker { requested: Arc::clone(&self.requested), writer: Arc::clone(&self.writer) }
    }

    /// Sleeps until the process is to end, somebody wakes it, or `timeout` has passed (rounded up to milliseconds).
    /// Wake-ups that came before the call count; several are one. [`Wake::Shutdown`] is returned by every later call.
    pub fn wait(&self, timeout: Duration) -> Wake {
        let end = Instant::now().checked_add(timeout);
        loop {
            if self.requested() {
                return Wake::Shutdown;
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let mut fds = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, poll_timeout(left)) {
                Ok(0) if left <= MAX_POLL => return Wake::Timeout,
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    self.drain();
                    return if self.requested() { Wake::Shutdown } else { Wake::Notified };
                }
                Err(error) => {
                    // Out of kernel memory: keep the pace of the caller rather than spin or end.
                    tracing::debug!("waiting failed: {error}");
                    std::thread::sleep(left.min(Duration::from_millis(10)));
                }
            }
        }
    }

    fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.reader).read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl Waker {
    /// Ends the current or the next wait.
    pub fn wake(&self) {
        // A full pipe already holds a wake-up, so a refused write is as good as a done one.
        let _ = (&*self.writer).write(&[0]);
    }

    /// Asks for the end of the process, as a signal does.
    pub fn shut_down(&self) {
        self.requested.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// Longest single sleep; longer waits are made of several.
const MAX_POLL: Duration = Duration::from_secs(3600);

fn poll_timeout(left: Duration) -> PollTimeout {
    let milliseconds = left.min(MAX_POLL).as_nanos().div_ceil(1_000_000);
    i32::try_from(milliseconds).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX)
}
