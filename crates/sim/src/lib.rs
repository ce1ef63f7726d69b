// SPDX-License-Identifier: GPL-2.0-only
//! A deterministic model of the kernel's sched_ext side in virtual time.
//!
//! [`Sim`] holds a [`kernel::Kernel`] (CPUs, run queues, dispatch queues, idle masks, tasks), a scheduler behind the trait
//! [`Ops`], and a [`world::World`] of tasks that run [`program::Program`]s. Equal inputs give equal runs, to the last event
//! ([`trace::Trace::hash`]).
//!
//! What the model leaves out: time inside an operation of the kernel (what it costs delays the CPU afterwards), races
//! between CPUs inside such an operation, memory and I/O, core scheduling, sub-schedulers.

pub mod abi;
pub mod bpf;
pub mod cgroup;
pub mod config;
pub mod dsq;
pub mod events;
pub mod histogram;
pub mod idle;
pub mod kernel;
pub mod kfuncs;
pub mod machine;
pub mod metrics;
pub mod native;
pub mod ops;
pub mod program;
pub mod queueing;
pub mod report;
pub mod rng;
pub mod sim;
pub mod task;
pub mod timers;
pub mod trace;
pub mod workload;
pub mod world;

pub use config::{Config, Costs};
pub use ops::Ops;
pub use sim::Sim;

#[cfg(test)]
mod tests;
