// SPDX-License-Identifier: GPL-2.0-only
//! What must hold before a scheduler is loaded: a kernel with sched_ext, the rights, and nobody else attached.
//!
//! Each miss is one line that says which and what to do, with its own exit status (see [`crate::exit`]). The checks are
//! for good messages: what they let pass by mistake, the kernel still refuses.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::exit;

#[cfg(test)]
mod tests;

/// How long a previous scheduler may take to go away before it counts as attached.
const DETACH_PATIENCE: Duration = Duration::from_secs(2);
const DETACH_POLL: Duration = Duration::from_millis(20);

/// Bit numbers in a capability mask (`linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Where the kernel's files are; tests put their own trees there.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Mount point of sysfs.
    pub sys: PathBuf,
    /// Mount point of proc.
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: PathBuf::from("/sys"), proc: PathBuf::from("/proc") }
    }
}

/// Why a scheduler cannot be attached here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The kernel is built without sched_ext, or is too old.
    #[error(
        "this kernel ({release}) has no sched_ext ({path} is missing); boot Linux 6.18 or newer built with \
         CONFIG_SCHED_CLASS_EXT=y"
    )]
    NoSchedExt {
        /// The kernel's release, "unknown" when it cannot be read.
        release: String,
        /// The directory that a kernel with sched_ext has.
        path: PathBuf,
    },
    /// Capabilities are missing.
    #[error("missing rights to load a scheduler: {}; run it as root (for example with sudo)", missing.join(" and "))]
    NoRights {
        /// Names of the missing capabilities.
        missing: Vec<&'static str>,
    },
    /// The capabilities are there, but count only inside a user namespace.
    #[error(
        "rights inside a user namespace do not reach the kernel's scheduler; run it outside of the container, as root"
    )]
    UserNamespace,
    /// Another scheduler is attached (or on its way in or out).
    #[error("another sched_ext scheduler is attached: '{name}' (state {state}); stop it first")]
    OtherScheduler {
        /// Its ops name, "unknown" when it cannot be read.
        name: String,
        /// The kernel's word for its state.
        state: String,
    },
    /// A file needed for the checks cannot be read.
    #[error("cannot read {path}: {source}; check that sysfs and proc are mounted and readable")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PreflightError {
    /// The documented exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoSchedExt { .. } => exit::NO_SCHED_EXT,
            Self::NoRights { .. } | Self::UserNamespace => exit::NO_RIGHTS,
            Self::OtherScheduler { .. } => exit::OTHER_SCHEDULER,
            Self::Unreadable { .. } => exit::FAILURE,
        }
    }
}

/// All checks, the most fundamental first: sched_ext, rights, no other scheduler.
///
/// # Errors
/// The first check that fails.
pub fn check(roots: &Roots) -> Result<(), PreflightError> {
    check_sched_ext(roots)?;
    check_rights(roots)?;
    check_unattached(roots, DETACH_PATIENCE)
}

/// The kernel has sched_ext.
///
/// # Errors
/// [`PreflightError::NoSchedExt`], or [`PreflightError::Unreadable`] when sysfs is not there at all.
pub fn check_sched_ext(roots: &Roots) -> Result<(), PreflightError> {
    let kernel = roots.sys.join("kernel");
    fs::metadata(&kernel).map_err(|source| PreflightError::Unreadable { path: kernel, source })?;
    let path = roots.sys.join("kernel/sched_ext");
    if path.join("state").is_file() {
        return Ok(());
    }
    let release = read(&roots.proc.join("sys/kernel/osrelease")).unwrap_or_else(|_| "unknown".to_owned());
    Err(PreflightError::NoSchedExt { release, path })
}

/// This process may load and attach a scheduler: CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN stands for both), effective in
/// the initial user namespace.
///
/// # Errors
/// [`PreflightError::NoRights`], [`PreflightError::UserNamespace`] or [`PreflightError::Unreadable`].
pub fn check_rights(roots: &Roots) -> Result<(), PreflightError> {
    let path = roots.proc.join("self/status");
    let status = read(&path)?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "no CapEff line");
        PreflightError::Unreadable { path, source }
    })?;
    let has = |capability: u32| mask >> capability & 1 == 1;
    if !has(CAP_SYS_ADMIN) {
        let needed = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")];
        let missing: Vec<_> = needed.iter().filter(|(bit, _)| !has(*bit)).map(|(_, name)| *name).collect();
        if !missing.is_empty() {
            return Err(PreflightError::NoRights { missing });
        }
    }
    if in_user_namespace(roots) { Err(PreflightError::UserNamespace) } else { Ok(()) }
}

/// The initial user namespace maps all ids onto themselves; a kernel without user namespaces has no such file.
fn in_user_namespace(roots: &Roots) -> bool {
    let Ok(map) = read(&roots.proc.join("self/uid_map")) else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// No other scheduler is attached. One that is just being taken down gets up to `patience` to finish.
///
/// # Errors
/// [`PreflightError::OtherScheduler`] or [`PreflightError::Unreadable`].
pub fn check_unattached(roots: &Roots, patience: Duration) -> Result<(), PreflightError> {
    let end = Instant::now() + patience;
    loop {
        let Some(attached) = attached(roots)? else { return Ok(()) };
        if attached.state != "disabling" || Instant::now() >= end {
            let Attached { name, state } = attached;
            let name = name.unwrap_or_else(|| "unknown".to_owned());
            return Err(PreflightError::OtherScheduler { name, state });
        }
        sleep(DETACH_POLL);
    }
}

/// The scheduler that is attached now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its ops name, where the kernel tells.
    pub name: Option<String>,
    /// The kernel's word for its state: "enabled", "enabling", "disabling".
    pub state: String,
}

/// Which scheduler is attached, `None` when the state is "disabled".
///
/// # Errors
/// [`PreflightError::Unreadable`].
pub fn attached(roots: &Roots) -> Result<Option<Attached>, PreflightError> {
    let directory = roots.sys.join("kernel/sched_ext");
    let state = read(&directory.join("state"))?;
    if state == "disabled" {
        return Ok(None);
    }
    let name = read(&directory.join("root/ops")).ok().filter(|name| !name.is_empty());
    Ok(Some(Attached { name, state }))
}

fn read(path: &Path) -> Result<String, PreflightError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(PreflightError::Unreadable { path: path.to_owned(), source }),
    }
}
