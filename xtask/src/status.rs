// SPDX-License-Identifier: GPL-2.0-only
//! Exit statuses, and the error that carries one.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done; every verdict was *pass* (or *skip*) |
//! | 1 | something failed: a build, a test, a scenario |
//! | 2 | wrong usage: unknown scheduler, kernel, topology or scenario; in `vmtest` and `run` also *inconclusive* |
//! | 69 | the VM, the kernel image or the network it needs cannot be had |
//! | 77 | packages are missing and cannot be installed from here |
//! | 130 | interrupted |

use std::fmt;
use std::process::ExitCode;

/// A test, a build or a scenario failed.
pub const FAILED: u8 = 1;
/// A wrong option or argument.
pub const USAGE: u8 = 2;
/// No failure, but at least one scenario could not be judged.
pub const INCONCLUSIVE: u8 = 2;
/// The VM or the kernel to boot in it cannot be had.
pub const UNAVAILABLE: u8 = 69;
/// Packages are missing and may not be installed from here.
pub const NO_PERMISSION: u8 = 77;
/// Ended by SIGINT, SIGTERM or SIGHUP.
pub const INTERRUPTED: u8 = 130;

/// One line for the user, with the status that the process ends with.
#[derive(Debug)]
pub struct Failure {
    /// Exit status of the process.
    pub status: u8,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error that ends the process with `status`.
pub fn failure(status: u8, message: impl Into<String>) -> anyhow::Error {
    Failure { status, message: message.into() }.into()
}

/// A wrong option or argument: status [`USAGE`].
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    failure(USAGE, message)
}

/// The VM or its kernel cannot be had: status [`UNAVAILABLE`].
pub fn unavailable(message: impl Into<String>) -> anyhow::Error {
    failure(UNAVAILABLE, message)
}

/// The status that an error ends the process with: its own, or [`FAILED`].
pub fn of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(FAILED, |failure| failure.status)
}

/// Prints the error as one line and gives the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", one_line(error));
    ExitCode::from(of(error))
}

/// The whole chain of causes on one line.
pub fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_failure_keeps_its_status_under_context() {
        let error = Err::<(), _>(unavailable("no route")).context("fetching the kernel").unwrap_err();
        assert_eq!(of(&error), UNAVAILABLE);
        assert_eq!(one_line(&error), "fetching the kernel: no route");
    }

    #[test]
    fn any_other_error_is_a_plain_failure_on_one_line() {
        let error = anyhow::anyhow!("first\n  second");
        assert_eq!(of(&error), FAILED);
        assert_eq!(one_line(&error), "first second");
    }
}
