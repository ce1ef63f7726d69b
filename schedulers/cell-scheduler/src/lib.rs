// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler: a sched_ext scheduler that gives cgroups CPUs of their own and lends them while they are idle.
//!
//! Data flows in a circle: [`doors`] (what the kernel side counted) → demand → [`cells`] (who should own which CPU) →
//! [`doors`] (a table the kernel side switches to as a whole). [`run`] turns that wheel; [`kernel`] owns the loaded BPF
//! object and holds the only unsafe code; [`machine`] and [`options`] are what a start needs; [`stats`] is what an
//! operator sees.

pub mod cells;
pub mod cgroups;
pub mod config;
pub mod daemon;
pub mod demand;
pub mod doors;
pub mod dry_run;
pub mod finder;
pub mod kernel;
pub mod machine;
pub mod options;
pub mod report;
pub mod round;
pub mod run;
pub mod snapshot;
pub mod stats;
pub mod tenants;
pub mod told;
pub mod weigher;

#[cfg(test)]
mod tests;

/// The scheduler's name: of the program, of its socket's folder and in messages.
pub const NAME: &str = "cell-scheduler";
