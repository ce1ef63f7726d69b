// SPDX-License-Identifier: GPL-2.0-only
//! Telling when cgroups may have changed, so that a scan comes at once instead of with the next period.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::CgroupError;

/// Says whether something may have changed since it was last asked.
pub trait Watch {
    /// True if a scan is worth its while. Never blocks.
    fn changed(&mut self) -> bool;
}

/// Never says anything: periodic scans only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatch;

impl Watch for NoWatch {
    fn changed(&mut self) -> bool {
        false
    }
}

/// Watches one directory with inotify: children made, removed or renamed in it.
#[derive(Debug)]
pub struct InotifyWatch {
    inotify: Inotify,
    path: PathBuf,
    /// Whether the watch still stands; it falls with the directory.
    standing: bool,
}

impl InotifyWatch {
    /// Watches a directory.
    ///
    /// # Errors
    /// The directory is missing, or the user's limit of watches is reached.
    pub fn new(path: &Path) -> Result<Self, CgroupError> {
        let failed = |errno: Errno| CgroupError::Watch { path: path.to_owned(), source: errno.into() };
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(failed)?;
        let mut watch = Self { inotify, path: path.to_owned(), standing: false };
        watch.stand().map_err(failed)?;
        Ok(watch)
    }

    fn stand(&mut self) -> Result<(), Errno> {
        let events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        self.inotify.add_watch(&self.path, events)?;
        self.standing = true;
        Ok(())
    }
}

impl Watch for InotifyWatch {
    fn changed(&mut self) -> bool {
        // The directory may be back.
        let mut changed = !self.standing && self.stand().is_ok();
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    changed |= !events.is_empty();
                    let gone = AddWatchFlags::IN_IGNORED
                        | AddWatchFlags::IN_DELETE_SELF
                        | AddWatchFlags::IN_MOVE_SELF;
                    if events.iter().any(|event| event.mask.intersects(gone)) {
                        self.standing = false;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return changed,
                // Whatever it is: better one scan too many.
                Err(_) => return true,
            }
        }
    }
}
