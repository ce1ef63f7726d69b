// SPDX-License-Identifier: GPL-2.0-only
//! The machine as this scheduler divides it: topology and cache blocks.

use anyhow::{Context, Result};
use topology::{DomainSet, DomainSpec, Topology};

/// A topology with its cache blocks; read anew at every start, so it never outlives a hotplug event.
#[derive(Debug)]
pub struct Machine {
    /// Nodes, caches, cores and CPUs.
    pub topology: Topology,
    /// The CPUs that share a last-level cache, large ones split: a cell has one queue in each. Ids are dense and the same on
    /// the BPF side.
    pub blocks: DomainSet,
}

impl Machine {
    /// Divides `topology` into caches, none with more than `max_cpus` CPUs (0: as large as they are).
    ///
    /// # Errors
    /// When the topology has no CPU online.
    pub fn new(topology: Topology, max_cpus: usize) -> Result<Self> {
        let blocks =
            topology.domains(&DomainSpec::Llc, max_cpus).context("cannot divide the machine into caches")?;
        Ok(Self { topology, blocks })
    }

    /// Capacity of each CPU as a fraction of the fastest, by CPU number; 1 for numbers without a CPU.
    pub fn capacities(&self) -> Vec<f64> {
        let mut capacities = vec![1.0; self.topology.nr_cpu_ids()];
        for cpu in &self.topology.cpus {
            capacities[cpu.id] = f64::from(cpu.capacity) / f64::from(topology::CAPACITY_MAX);
        }
        capacities
    }
}
