// SPDX-License-Identifier: GPL-2.0-only
//! Giving up what is no longer needed once the scheduler is attached.
//!
//! Kept: CAP_BPF and CAP_PERFMON, because a restart in place (CPU hotplug) loads and attaches again, and type
//! information and map access may ask for them. A process that came with CAP_SYS_ADMIN instead of them keeps that.
//! Given up for good: every other capability, effective, permitted, inheritable, ambient and in the bounding set, and
//! by "no new privileges" whatever an exec could bring back.
//!
//! Capabilities belong to threads. This changes the calling thread and those it starts later, so it is called before
//! the first thread is started; [`Kept::other_threads`] says how many were missed. The user id stays: files of root
//! remain accessible as far as their mode bits go.

use std::fs;

use caps::{CapSet, Capability, CapsHashSet};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// The rights could not be reduced.
#[derive(Debug, Error)]
#[error("cannot give up privileges ({step}): {reason}")]
pub struct PrivilegeError {
    /// What was being done.
    step: &'static str,
    /// The system's reason.
    reason: String,
}

/// What is left afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The capabilities still permitted and effective.
    pub capabilities: Vec<Capability>,
    /// Threads of this process other than the caller, which keep what they had.
    pub other_threads: usize,
}

/// Gives up everything but what map access and a restart in place need. Succeeds for a process that has nothing to
/// give up.
///
/// # Errors
/// [`PrivilegeError`] when the kernel refuses to take a capability away.
pub fn drop_after_attach() -> Result<Kept, PrivilegeError> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(|error| failed("reading", &error))?;
    let kept = to_keep(&permitted);

    // The bounding set can only be changed while CAP_SETPCAP is there, so it comes first.
    if permitted.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).map_err(|error| failed("reading", &error))?;
        for capability in bounding.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)
                .map_err(|error| failed("bounding set", &error))?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(|error| failed("ambient set", &error))?;
    caps::clear(None, CapSet::Inheritable).map_err(|error| failed("inheritable set", &error))?;
    // Effective before permitted: an effective capability must be permitted at every moment.
    caps::set(None, CapSet::Effective, &kept).map_err(|error| failed("effective set", &error))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(|error| failed("permitted set", &error))?;
    nix::sys::prctl::set_no_new_privs().map_err(|error| failed("no new privileges", &error))?;

    let mut capabilities: Vec<_> = kept.into_iter().collect();
    capabilities.sort_by_key(Capability::index);
    Ok(Kept { capabilities, other_threads: other_threads() })
}

/// Of what is permitted, the part that loading and attaching need.
fn to_keep(permitted: &CapsHashSet) -> CapsHashSet {
    let needed: CapsHashSet = [Capability::CAP_BPF, Capability::CAP_PERFMON].into_iter().collect();
    if needed.is_subset(permitted) {
        return needed;
    }
    let wanted = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_SYS_ADMIN];
    wanted.into_iter().filter(|capability| permitted.contains(capability)).collect()
}

fn other_threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1))
}

fn failed(step: &'static str, error: &dyn std::fmt::Display) -> PrivilegeError {
    PrivilegeError { step, reason: error.to_string() }
}
