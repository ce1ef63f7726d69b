// SPDX-License-Identifier: GPL-2.0-only
//! Exit statuses of the scheduler binaries, and what the kernel says when it ends a scheduler.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | ended as asked: SIGINT, SIGTERM, detached by the operator (SysRq included), or nothing went wrong |
//! | 1 | unexpected failure |
//! | 2 | bad usage: unknown option, bad option value |
//! | 69 | this kernel has no sched_ext |
//! | 70 | the kernel ended the scheduler with an error |
//! | 73 | the statistics socket or the metrics address is in use or cannot be had |
//! | 75 | another scheduler is attached |
//! | 77 | missing rights |
//!
//! Numbers from 64 on follow `sysexits.h` (unavailable, software, cantcreat, tempfail, noperm).

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;

use crate::preflight::PreflightError;
use crate::privileges::PrivilegeError;
use crate::seam::SeamError;
use crate::stats::{MonitorError, StatsError};

#[cfg(test)]
mod tests;

/// Ended as asked.
pub const OK: u8 = 0;
/// Unexpected failure.
pub const FAILURE: u8 = 1;
/// Bad usage or option value.
pub const USAGE: u8 = 2;
/// The kernel has no sched_ext.
pub const NO_SCHED_EXT: u8 = 69;
/// The kernel ended the scheduler with an error.
pub const KERNEL_ERROR: u8 = 70;
/// The statistics socket or the metrics address is in use or cannot be had.
pub const STATS_SOCKET: u8 = 73;
/// Another scheduler is attached.
pub const OTHER_SCHEDULER: u8 = 75;
/// Missing rights.
pub const NO_RIGHTS: u8 = 77;

/// First value of `enum scx_exit_kind` that means an error.
const FIRST_ERROR_KIND: i32 = 1024;
/// System action bits of an exit code, and the one action there is: `SCX_ECODE_ACT_RESTART`.
const ACT_RESTART: u64 = 1 << 48;
/// System reason `SCX_ECODE_RSN_HOTPLUG`, in bits 32 to 47 of an exit code.
const REASON_HOTPLUG: u64 = 1 << 32;
const REASON_MASK: u64 = 0xffff << 32;
/// Low 32 bits: the code a scheduler passed itself.
const USER_MASK: u64 = 0xffff_ffff;

/// Byte offsets of `struct user_exit_info` (`user_exit_info_common.h` of the scx headers).
mod layout {
    pub const KIND: usize = 0;
    pub const CPU: usize = 4;
    pub const CODE: usize = 8;
    pub const REASON: usize = 16;
    pub const MESSAGE: usize = REASON + 128;
    pub const SIZE: usize = MESSAGE + 1024;
}

/// Why a scheduler ended: `enum scx_exit_kind` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitKind {
    /// 0: it has not ended.
    None,
    /// 1: it has ended and everything about it is finished.
    Done,
    /// 64: userspace detached it.
    Unregistered,
    /// 65: the BPF side asked to end.
    UnregisteredByBpf,
    /// 66: the kernel asked it to end, for example for CPU hotplug.
    UnregisteredByKernel,
    /// 67: SysRq-S.
    SysRq,
    /// 68: the scheduler it was attached under ended.
    Parent,
    /// 69: the scheduler it was attached under killed it.
    ParentKill,
    /// 1024: the kernel found a fault, for example a task put on a CPU it may not use.
    Error,
    /// 1025: the BPF side reported a fault.
    ErrorFromBpf,
    /// 1026: the watchdog found a runnable task that did not run in time.
    Stall,
    /// 1027: a task was enqueued again too often.
    ReenqueueLoop,
    /// 1028: rescuing a task failed.
    Rescue,
    /// A number this program does not know; errors are 1024 and above.
    Other(i32),
}

impl From<i32> for ExitKind {
    fn from(kind: i32) -> Self {
        match kind {
            0 => Self::None,
            1 => Self::Done,
            64 => Self::Unregistered,
            65 => Self::UnregisteredByBpf,
            66 => Self::UnregisteredByKernel,
            67 => Self::SysRq,
            68 => Self::Parent,
            69 => Self::ParentKill,
            1024 => Self::Error,
            1025 => Self::ErrorFromBpf,
            1026 => Self::Stall,
            1027 => Self::ReenqueueLoop,
            1028 => Self::Rescue,
            other => Self::Other(other),
        }
    }
}

impl ExitKind {
    /// Whether this ending is an error of the scheduler (as opposed to a request by somebody).
    pub fn is_error(self) -> bool {
        match self {
            Self::Error | Self::ErrorFromBpf | Self::Stall | Self::ReenqueueLoop | Self::Rescue => true,
            Self::Other(kind) => !(0..FIRST_ERROR_KIND).contains(&kind),
            _ => false,
        }
    }
}

/// What the kernel recorded when a scheduler ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitRecord {
    /// `enum scx_exit_kind`; see [`ExitRecord::kind`].
    pub kind: i32,
    /// Exit code: user code in bits 0..32, system reason in 32..48, system action in 48..64.
    pub exit_code: i64,
    /// CPU on which the cause was found, where the kernel tells.
    pub cpu: Option<u32>,
    /// The kernel's words for the kind.
    pub reason: String,
    /// Details, may be empty.
    pub message: String,
    /// State of the scheduler at its end, if it was recorded.
    pub dump: Option<String>,
}

impl ExitRecord {
    /// Decodes the bytes of `struct user_exit_info`; `None` while its kind is 0 (not ended). The dump is kept
    /// elsewhere and stays `None`.
    ///
    /// # Errors
    /// [`SeamError::Size`] when the record is shorter than the structure.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, SeamError> {
        let Some(bytes) = bytes.get(..layout::SIZE) else {
            let what = crate::seam::EXIT_VARIABLE.to_owned();
            return Err(SeamError::Size { what, expected: layout::SIZE, found: bytes.len() });
        };
        let word = |at: usize| crate::seam::decode::<i32>("uei", &bytes[at..at + 4]);
        let kind = word(layout::KIND)?;
        if kind == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            kind,
            exit_code: crate::seam::decode("uei", &bytes[layout::CODE..layout::REASON])?,
            cpu: u32::try_from(word(layout::CPU)?).ok(),
            reason: text_until_nul(&bytes[layout::REASON..layout::MESSAGE]),
            message: text_until_nul(&bytes[layout::MESSAGE..layout::SIZE]),
            dump: None,
        }))
    }

    /// The decoded kind.
    pub fn kind(&self) -> ExitKind {
        ExitKind::from(self.kind)
    }

    /// Whether the scheduler is to be loaded and attached again: the kernel or the BPF side ended it with the restart
    /// action (CPU hotplug). Never after an error.
    pub fn should_restart(&self) -> bool {
        matches!(self.kind(), ExitKind::UnregisteredByBpf | ExitKind::UnregisteredByKernel)
            && should_restart(self.exit_code)
    }

    /// Exit status for this ending. A user code other than 0 means the BPF side gave up and counts as an error.
    pub fn exit_status(&self) -> u8 {
        let gave_up = matches!(self.kind(), ExitKind::UnregisteredByBpf | ExitKind::UnregisteredByKernel)
            && self.exit_code as u64 & USER_MASK != 0;
        if self.kind().is_error() || gave_up { KERNEL_ERROR } else { OK }
    }
}

/// One line: reason, message in brackets, CPU, exit code if there is one.
impl fmt::Display for ExitRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.trim() {
            "" => write!(f, "exit kind {}", self.kind)?,
            reason => write!(f, "{}", on_one_line(reason))?,
        }
        if !self.message.trim().is_empty() {
            write!(f, " ({})", on_one_line(&self.message))?;
        }
        if let Some(cpu) = self.cpu {
            write!(f, " on CPU {cpu}")?;
        }
        if self.exit_code != 0 {
            write!(f, ", exit code {:#x}", self.exit_code)?;
        }
        Ok(())
    }
}

/// Whether an exit code asks for the scheduler to be started again (`SCX_ECODE_ACT_RESTART`).
pub fn should_restart(exit_code: i64) -> bool {
    exit_code as u64 & ACT_RESTART != 0
}

/// Whether the system reason of an exit code is CPU hotplug (`SCX_ECODE_RSN_HOTPLUG`).
pub fn is_hotplug(exit_code: i64) -> bool {
    exit_code as u64 & REASON_MASK == REASON_HOTPLUG
}

/// A bad option value found after parsing, for example cpumasks that overlap. Status 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The kernel ended the scheduler and it is not to be restarted.
#[derive(Debug, Error)]
#[error("the kernel ended the scheduler: {0}")]
pub struct KernelExit(pub ExitRecord);

/// The exit status for an error: the first error of its chain that has one decides, otherwise [`FAILURE`].
///
/// With `anyhow`: `status_of(error.as_ref())`.
pub fn status_of(error: &(dyn StdError + 'static)) -> u8 {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(status) = own_status(error) {
            return status;
        }
        link = error.source();
    }
    FAILURE
}

fn own_status(error: &(dyn StdError + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<PreflightError>() {
        return Some(error.exit_status());
    }
    if let Some(error) = error.downcast_ref::<StatsError>() {
        return Some(error.exit_status());
    }
    if let Some(error) = error.downcast_ref::<MonitorError>() {
        return Some(error.exit_status());
    }
    if let Some(KernelExit(record)) = error.downcast_ref::<KernelExit>() {
        return Some(record.exit_status());
    }
    if error.is::<UsageError>() {
        return Some(USAGE);
    }
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        // Help and version come as "errors" too, and end with 0.
        return Some(if error.use_stderr() { USAGE } else { OK });
    }
    if error.is::<PrivilegeError>() {
        return Some(NO_RIGHTS);
    }
    let libbpf = error.downcast_ref::<libbpf_rs::Error>()?;
    (libbpf.kind() == libbpf_rs::ErrorKind::PermissionDenied).then_some(NO_RIGHTS)
}

/// An error and its causes on one line; a cause that its predecessor already spells out is not repeated.
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut line = on_one_line(&error.to_string());
    let mut link = error.source();
    while let Some(cause) = link {
        let text = on_one_line(&cause.to_string());
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        link = cause.source();
    }
    line
}

/// The text before the first NUL; bytes that are not UTF-8 are replaced.
pub(crate) fn text_until_nul(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
