// SPDX-License-Identifier: GPL-2.0-only
//! The socket file: made once, never taken from a process that serves it, removed at the end.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use scx_stats::StatsMeta;
use tracing::warn;

use super::{Feed, StatsError, StatsServer};

/// Owner and group may connect. (Connecting needs the write bit.)
const MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o755;
/// How long another process may hold the lock that makes "check, then create" one step.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A bound statistics socket. Dropping it removes the file, unless somebody else has replaced it.
#[derive(Debug)]
pub struct StatsSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

/// What is found at the socket's path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A socket that nobody serves.
    Stale,
    /// A socket that somebody serves.
    Live,
    /// A file, or a socket of another type.
    Foreign,
}

impl StatsSocket {
    /// Makes the socket and the directories above it. A socket that nobody serves is replaced, one that is served never.
    /// Starts no thread, so it can run before privileges are dropped; clients that connect wait for
    /// [`StatsSocket::serve`].
    ///
    /// # Errors
    /// [`StatsError::InUse`], [`StatsError::NotASocket`] or [`StatsError::Create`], all of status 73.
    pub fn bind(path: &Path) -> Result<Self, StatsError> {
        let create = |source| StatsError::Create { path: path.to_owned(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent).map_err(create)?;
        // Held until the function ends: two schedulers that start together must not both find the socket stale.
        let _lock = lock(parent).map_err(create)?;
        match examine(path).map_err(create)? {
            Found::Nothing => {}
            Found::Stale => fs::remove_file(path).map_err(create)?,
            Found::Live => return Err(StatsError::InUse { path: path.to_owned() }),
            Found::Foreign => return Err(StatsError::NotASocket { path: path.to_owned() }),
        }
        let listener = UnixListener::bind(path).map_err(create)?;
        listener.set_nonblocking(true).map_err(create)?;
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(create)?;
        let metadata = fs::symlink_metadata(path).map_err(create)?;
        Ok(Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts to answer clients from `feed`, describing the statistics by `meta`. Runs until the server is dropped.
    ///
    /// # Errors
    /// [`StatsError::Create`] when the thread cannot be started, [`StatsError::Meta`] when `meta` is inconsistent.
    pub fn serve(self, feed: Feed, meta: &[StatsMeta]) -> Result<StatsServer, StatsError> {
        StatsServer::start(self, feed, meta)
    }
}

impl Drop for StatsSocket {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!("cannot remove the statistics socket {}: {error}", self.path.display());
        }
    }
}

/// Locks a directory for this process, by a lock that ends with the process.
fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process keeps {} locked", directory.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn examine(path: &Path) -> io::Result<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => return Ok(Found::Foreign),
        Ok(_) => {}
    }
    // Without waiting: a server that is stopped or overwhelmed is alive all the same.
    let probe = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS) => Ok(Found::Live),
        Err(Errno::ECONNREFUSED) => Ok(Found::Stale),
        Err(Errno::ENOENT) => Ok(Found::Nothing),
        Err(Errno::EPROTOTYPE) => Ok(Found::Foreign),
        Err(error) => Err(error.into()),
    }
}
