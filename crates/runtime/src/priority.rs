// SPDX-License-Identifier: GPL-2.0-only
//! The daemon's own priority.
//!
//! A scheduler's userspace half competes with the very load it schedules, and after CPU hotplug it loads and verifies its
//! BPF half anew while the kernel's scheduler runs that load. At nice 0 beside a few busy tasks per CPU that takes many times
//! longer. It sleeps nearly always, so the highest priority of a normal task costs the others nothing.

use tracing::debug;

/// The nice level of the daemon: the strongest there is outside of real-time classes, which could starve kernel threads.
pub const DAEMON_NICE: i32 = -20;

/// Raises the calling process to [`DAEMON_NICE`]; threads started later inherit it. Without the right to (CAP_SYS_NICE) it
/// stays where it is: slower reactions under load, nothing worse.
pub fn raise() {
    if let Err(error) = rustix::process::setpriority_process(None, DAEMON_NICE) {
        debug!("staying at the present priority: {error}");
    }
}

#[cfg(test)]
mod tests;
