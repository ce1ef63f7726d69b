// SPDX-License-Identifier: GPL-2.0-only
//! What was last read of each cgroup: it counts while reading fails, so that a scan in trouble changes no cell.

use std::collections::BTreeMap;

use super::{Child, Scan};

/// The cgroups of the last scan, by path.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    last: BTreeMap<String, Child>,
}

impl Memory {
    /// Puts what the last scan had in the place of what this one could not read, and keeps the whole for the next one. It
    /// must be another scan of the same hierarchy. What was never read keeps its defaults.
    pub fn complete(&mut self, scan: &mut Scan) {
        for child in &mut scan.children {
            let same = |before: &&Child| before.inode == child.inode;
            let Some(before) = self.last.get(&child.path).filter(same) else { continue };
            if child.weight_unread {
                child.weight = before.weight;
            }
            if child.cpuset_unread {
                child.cpuset.clone_from(&before.cpuset);
            }
        }
        let seen = scan.children.drain(..).map(|child| (child.path.clone(), child)).collect();
        let before = std::mem::replace(&mut self.last, seen);
        for (path, child) in before {
            if scan.unseen.iter().any(|unseen| is_within(&path, unseen)) {
                self.last.entry(path).or_insert(child);
            }
        }
        scan.children = self.last.values().cloned().collect();
    }
}

/// Whether a path is that of the cgroup or of one below it.
fn is_within(path: &str, cgroup: &str) -> bool {
    path.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
