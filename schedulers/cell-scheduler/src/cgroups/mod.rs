// SPDX-License-Identifier: GPL-2.0-only
//! Finding the cgroups that become cells: a scan of a cgroup's children, and a watch that tells when to scan again.
//!
//! A cgroup is the same one as long as path and inode are the same; the inode number is the kernel's cgroup id. Cgroups
//! come and go while a scan reads them: what vanishes is not there, what cannot be read is told and counts as it was last
//! read.

mod discover;
mod memory;
mod scan;
mod watch;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use discover::{by_config, each_child};
pub use memory::Memory;
pub use scan::{Child, Exclude, Parent, Scan};
pub use watch::{InotifyWatch, NoWatch, Watch};

/// Why cgroups cannot be read. One line each.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no such directory.
    #[error("cgroup {} does not exist; create it or name another parent", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is no directory.
    #[error("{} is not a directory; name a cgroup directory", path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// It is on another kind of filesystem.
    #[error("{} is not in a cgroup2 filesystem; mount cgroup2 and name a directory in it", path.display())]
    NotCgroup2 {
        /// The directory.
        path: PathBuf,
    },
    /// It was there when the scheduler started.
    #[error("cgroup {} has vanished; its cells stay as they were until it is back", path.display())]
    Vanished {
        /// The directory.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("cannot read {}: {source}; check its permissions", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something unexpected.
    #[error("{} holds {text:?}, which is no {what}; what was read before counts, or the default", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The beginning of what it holds.
        text: String,
        /// What it should hold.
        what: &'static str,
    },
    /// The watch could not be set up.
    #[error("cannot watch {}: {source}; new cgroups are found by the periodic scan only", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
