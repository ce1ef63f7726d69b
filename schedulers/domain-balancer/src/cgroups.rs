// SPDX-License-Identifier: GPL-2.0-only
//! Reads the tree of cgroups: who is whose child, and each one's `cpu.weight`.
//!
//! The tree changes while it is read. A cgroup that vanishes meanwhile is left out with everything below it, and so is one
//! that cannot be read: its tasks keep their own weight for that round.

use std::collections::VecDeque;
use std::fs::{self, DirEntry};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use balancer::weights::{WEIGHT_MAX, WEIGHT_MIN};

/// Where the kernel tells what is mounted.
const MOUNTS: &str = "/proc/self/mounts";

/// Directories looked at in one walk, the outer ones first; more are left alone.
const DIRS_MAX: usize = 1 << 16;

/// One cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupDir {
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Its parent's id; `None` for the root.
    pub parent: Option<u64>,
    /// `cpu.weight`, 1..=10000; `None` where the cpu controller does not reach (the root included): such a cgroup's tasks
    /// count as its parent's.
    pub weight: Option<u32>,
}

/// The cgroups of this host, parents first; empty if no cgroup2 hierarchy has the cpu controller on.
pub fn live() -> Vec<CgroupDir> {
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    mount_point(&mounts).map_or_else(Vec::new, |root| read(&root))
}

/// Where the first cgroup2 hierarchy of a list in the form of /proc/mounts is mounted.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    let target = |line: &str| {
        let mut fields = line.split(' ');
        let target = fields.nth(1)?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(target.replace("\\040", " ")))
    };
    mounts.lines().find_map(target)
}

/// The cgroups of the hierarchy mounted at `root`, parents first; empty if the cpu controller is on nowhere in it.
pub fn read(root: &Path) -> Vec<CgroupDir> {
    let Ok(metadata) = fs::metadata(root) else { return Vec::new() };
    // The controller reaches a cgroup only if it reaches its parent.
    if !controls_children(root) {
        return Vec::new();
    }
    let mut found = vec![CgroupDir { id: metadata.ino(), parent: None, weight: None }];
    let mut queue = VecDeque::from([(root.to_owned(), metadata.ino(), true)]);
    while let Some((path, id, reached)) = queue.pop_front() {
        for child in children(&path) {
            if found.len() >= DIRS_MAX {
                return found;
            }
            let path = child.path();
            let weight = if reached { weight(&path) } else { None };
            // It may have gone since it was listed; a look at it tells, for what has no weight to read.
            if weight.is_none() && !path.exists() {
                continue;
            }
            found.push(CgroupDir { id: child.ino(), parent: Some(id), weight });
            queue.push_back((path, child.ino(), weight.is_some()));
        }
    }
    found
}

fn controls_children(path: &Path) -> bool {
    let enabled = fs::read_to_string(path.join("cgroup.subtree_control")).unwrap_or_default();
    enabled.split_whitespace().any(|controller| controller == "cpu")
}

fn children(path: &Path) -> impl Iterator<Item = DirEntry> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

fn weight(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path.join("cpu.weight")).ok()?;
    let weight: u32 = text.trim().parse().ok()?;
    // The kernel shows 0 for a cgroup that is idle by decree (cpu.idle).
    Some(weight.clamp(WEIGHT_MIN, WEIGHT_MAX))
}

#[cfg(test)]
mod tests;
