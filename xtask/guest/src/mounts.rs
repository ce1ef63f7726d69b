// SPDX-License-Identifier: GPL-2.0-only
//! The file systems that a running machine has.

use std::fs;

use nix::mount::{MsFlags, mount};

struct Mount {
    kind: &'static str,
    target: &'static str,
    /// Whether nothing works without it.
    needed: bool,
}

const fn needed(kind: &'static str, target: &'static str) -> Mount {
    Mount { kind, target, needed: true }
}

const MOUNTS: &[Mount] = &[
    needed("proc", "/proc"),
    needed("sysfs", "/sys"),
    needed("devtmpfs", "/dev"),
    needed("tmpfs", "/run"),
    needed("tmpfs", "/tmp"),
    needed("cgroup2", "/sys/fs/cgroup"),
    needed("tracefs", "/sys/kernel/tracing"),
    Mount { kind: "bpf", target: "/sys/fs/bpf", needed: false },
];

/// Mounts everything. Returns one line per needed file system that could not be mounted.
pub fn mount_all() -> Vec<String> {
    let mut problems = Vec::new();
    for entry in MOUNTS {
        // Directories below /sys exist already and cannot be made: mounting says what matters.
        let _made = fs::create_dir_all(entry.target);
        let flags = MsFlags::MS_NOSUID;
        match mount(Some(entry.kind), entry.target, Some(entry.kind), flags, None::<&str>) {
            Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
            Err(error) if entry.needed => problems.push(format!("cannot mount {}: {error}", entry.target)),
            Err(_) => {}
        }
    }
    problems
}
