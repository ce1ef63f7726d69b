// SPDX-License-Identifier: GPL-2.0-only
//! active-push: a sched_ext scheduler with a queue per CPU, balanced over scheduling domains.
//!
//! The decisions are made in the kernel side: pulling when a CPU has nothing to do or a round is due, and pushing a running task
//! to an idle CPU when it schedules out. Userspace computes what that side works on ([`levels`], [`machine`]), owns the loaded
//! object ([`kernel`]), and reports ([`doors`], [`run`], [`stats`]).

pub mod daemon;
pub mod doors;
pub mod dry_run;
pub mod kernel;
pub mod levels;
pub mod machine;
pub mod options;
pub mod run;
pub mod stats;

#[cfg(test)]
mod tests;

/// The scheduler's name: of the program, of its socket's folder and in messages.
pub const NAME: &str = "active-push";
