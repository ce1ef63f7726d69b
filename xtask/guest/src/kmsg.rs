// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's messages: what must not appear while a scenario runs.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Lines kept for the artefact of a failed scenario.
const KEPT_LINES: usize = 400;

/// Texts that mean the kernel or its scheduler class is in trouble.
const TROUBLE: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "kernel BUG at",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "hard lockup",
    "rcu_preempt detected",
    "rcu_sched detected",
    "self-detected stall",
    "blocked for more than",
    "Kernel panic",
    "list_add corruption",
    "list_del corruption",
    "refcount_t:",
    "scheduling while atomic",
    "possible recursive locking",
    "possible circular locking",
];

/// Why sched_ext ends a scheduler in trouble (texts of its "disabled (…)" message).
const SCHED_EXT_TROUBLE: &[&str] = &["runtime error", "stall", "failed to", "invalid"];

/// The message of one `/dev/kmsg` record: what follows the `;` of its first line. None when it is no record.
pub fn message(record: &str) -> Option<&str> {
    let (prefix, rest) = record.split_once(';')?;
    prefix.split(',').next()?.parse::<u32>().ok()?;
    rest.lines().next()
}

/// Whether a kernel message is one that no scenario may cause.
pub fn is_trouble(message: &str) -> bool {
    if TROUBLE.iter().any(|text| message.contains(text)) {
        return true;
    }
    message.contains("sched_ext") && SCHED_EXT_TROUBLE.iter().any(|text| message.contains(text))
}

/// Follows `/dev/kmsg`.
pub struct Kmsg {
    device: File,
    recent: VecDeque<String>,
    trouble: Vec<String>,
}

impl Kmsg {
    /// Opens the device; the messages since boot come first.
    pub fn open() -> io::Result<Self> {
        let device = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
        Ok(Self { device, recent: VecDeque::new(), trouble: Vec::new() })
    }

    /// For poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Reads what is there without waiting.
    pub fn drain(&mut self) {
        let mut buffer = [0u8; 8192];
        loop {
            match self.device.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => self.take(&String::from_utf8_lossy(&buffer[..length])),
                // The ring overtook the reader: the next read continues at the oldest record.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, record: &str) {
        let Some(message) = message(record) else { return };
        if is_trouble(message) {
            self.trouble.push(message.to_owned());
        }
        if self.recent.len() == KEPT_LINES {
            self.recent.pop_front();
        }
        self.recent.push_back(message.to_owned());
    }

    /// The troublesome messages since the last call.
    pub fn take_trouble(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trouble)
    }

    /// Recent messages as one text, and forgets them.
    pub fn take_recent(&mut self) -> String {
        let lines: Vec<String> = self.recent.drain(..).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
