// SPDX-License-Identifier: GPL-2.0-only
//! The shape of a machine as plain, immutable data, and what schedulers derive from it.
//!
//! A [`Topology`] holds nodes, last-level caches (LLCs), L2 caches, cores and CPUs. It comes from
//!
//! - the running host: [`Topology::live`], or any copy of a `/sys` tree: [`Topology::from_sysfs`];
//! - a short spec such as `2n4l8c2t` (2 nodes × 4 LLCs per node × 8 cores per LLC × 2 threads per core):
//!   [`Topology::from_spec`];
//! - a TOML or JSON file for uneven machines: [`Topology::from_file`].
//!
//! From it derive the cache domains ([`Topology::domains`]), the level tree that a balancer walks
//! ([`DomainSet::levels`]) and the kernel-like scheduling domains ([`Topology::sched_domains`]).
//!
//! # Indices and ids
//!
//! `nodes`, `llcs`, `l2s`, `cores` and `cpus` are dense vectors. Cross references between them (`Cpu::core`,
//! `Llc::node`, …) are **indices** into those vectors. The kernel's own numbers, which may have holes, are in
//! `.id`; a [`CpuSet`] always holds CPU **ids**.
//!
//! # Nesting
//!
//! Every CPU is in one core, every core in one L2, every L2 in one LLC and every LLC in one node. Where hardware
//! or firmware disagrees (an L3 shared by several sub-NUMA nodes, `numa=fake`), the inner group is cut at the
//! border of the outer one, so that each level is a partition of the level above.

mod builder;
mod cpuset;
mod display;
mod domain;
mod error;
mod file;
mod model;
mod sched_domain;
mod spec;
mod split;
mod sysfs;

pub use cpuset::{CpuSet, MaskError};
pub use domain::{Domain, DomainSet, DomainSpec, Levels};
pub use error::{DomainError, ModelError, TopologyError};
pub use model::{CAPACITY_MAX, Core, Cpu, L2, Llc, MAX_CPUS, Node, Topology};
pub use sched_domain::{SchedLevel, SchedLevelKind, SchedSpan};
pub use spec::{MachineSpec, SpecError};

#[cfg(test)]
mod tests;
