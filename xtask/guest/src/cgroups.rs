// SPDX-License-Identifier: GPL-2.0-only
//! Control groups (version 2) for scenarios.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";

/// A control group that a scenario made.
///
/// Nothing removes it before the scenario's processes are gone; [`remove_all`] does then.
#[derive(Clone, Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes the group `name` below the root and lets it use `controllers` (such as `cpuset`).
    ///
    /// # Errors
    /// A controller is missing, or the group cannot be made.
    pub fn new(name: &str, controllers: &[&str]) -> Result<Self> {
        Self::below(Path::new(ROOT), name, controllers)
    }

    /// Makes the group `name` in this one, with `controllers`.
    ///
    /// # Errors
    /// As for [`Group::new`].
    pub fn child(&self, name: &str, controllers: &[&str]) -> Result<Self> {
        Self::below(&self.path, name, controllers)
    }

    fn below(parent: &Path, name: &str, controllers: &[&str]) -> Result<Self> {
        for controller in controllers {
            let file = parent.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}"))
                .with_context(|| format!("this kernel gives {} no {controller}", parent.display()))?;
        }
        let path = parent.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot make {}", path.display()))
            }
            _ => Ok(Self { path }),
        }
    }

    /// Writes one of its files (`cpuset.cpus`).
    ///
    /// # Errors
    /// The kernel refuses the value.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.path.join(file), format!("{value}\n"))
            .with_context(|| format!("cannot write {value:?} to {file} of {}", self.path.display()))
    }

    /// Moves processes into it.
    ///
    /// # Errors
    /// One of them is gone, or the group takes no processes.
    pub fn add(&self, pids: &[Pid]) -> Result<()> {
        pids.iter().try_for_each(|pid| self.set("cgroup.procs", &pid.to_string()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes every group that holds no process, the deepest first.
pub fn remove_all() {
    remove_below(Path::new(ROOT));
}

fn remove_below(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            // One that is still busy for a moment is tried again by the next scenario's clean-up.
            let _removed = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_directory_and_groups_are_removed_from_the_leaves() {
        let root = std::env::temp_dir().join(format!("guest-cgroups-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let outer = Group::below(&root, "outer", &[]).unwrap();
        let inner = outer.child("inner", &[]).unwrap();
        assert!(inner.path().is_dir() && Group::below(&root, "outer", &[]).is_ok());
        inner.set("cpu.weight", "300").unwrap();
        assert_eq!(fs::read_to_string(inner.path().join("cpu.weight")).unwrap(), "300\n");
        // Files of a real group go with it; here one keeps its directory.
        remove_below(&root);
        assert!(inner.path().is_dir());
        fs::remove_file(inner.path().join("cpu.weight")).unwrap();
        remove_below(&root);
        assert!(!outer.path().exists());
        fs::remove_dir(&root).unwrap();
    }
}
