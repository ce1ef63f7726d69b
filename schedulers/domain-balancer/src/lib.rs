// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer: a sched_ext scheduler with one queue per cache domain, balanced by load from userspace.
//!
//! Data flows one way: [`snapshot`] (what the kernel side counted) → [`planner`] (what should move) → [`doors`] (asking
//! the kernel side to move it). Beside it goes another: [`cgroups`] (the tree and its weights) → [`weigher`] (what that makes of
//! each task's weight) → [`doors`]. [`run`] turns that wheel; [`kernel`] owns the loaded BPF object and holds the only unsafe
//! code; [`machine`] and [`options`] are what a start needs; [`stats`] is what an operator sees.

pub mod cgroups;
pub mod cost;
pub mod daemon;
pub mod doors;
pub mod dry_run;
pub mod kernel;
pub mod machine;
pub mod options;
pub mod planner;
pub mod run;
pub mod snapshot;
pub mod stats;
pub mod weigher;

#[cfg(test)]
mod tests;

/// The scheduler's name: of the program, of its socket's folder and in messages.
pub const NAME: &str = "domain-balancer";
