// SPDX-License-Identifier: GPL-2.0-only
//! The machine as this scheduler divides it: topology, domains, and the level tree the balancer works on.

use anyhow::{Context, Result};
use balancer::{DomainPlace, LevelParams, Tree};
use runtime::exit::UsageError;
use topology::{DomainSet, DomainSpec, Topology};

/// A topology with its domains and their tree; read anew at every start, so it never outlives a hotplug event.
#[derive(Debug)]
pub struct Machine {
    /// Nodes, caches, cores and CPUs.
    pub topology: Topology,
    /// The domains; ids are dense and the same on the BPF side.
    pub domains: DomainSet,
    /// The domains as leaves of the balancing levels, with capacities in CPUs of full speed.
    pub tree: Tree,
}

impl Machine {
    /// Divides `topology` as `spec` says, no domain of a cache or node level larger than `max_cpus_per_domain`.
    ///
    /// # Errors
    /// [`UsageError`] when the masks of `spec` do not fit the machine.
    pub fn new(topology: Topology, spec: &DomainSpec, max_cpus_per_domain: usize) -> Result<Self> {
        let domains = topology
            .domains(spec, max_cpus_per_domain)
            .map_err(|error| UsageError(format!("--domains {spec}: {error}")))?;
        let levels = domains.levels(&topology);
        let places = domains.domains.iter().zip(levels.paths);
        let places = places.map(|(domain, path)| DomainPlace {
            path,
            capacity: domain.capacity as f64 / f64::from(topology::CAPACITY_MAX),
        });
        let params = levels.names.iter().map(|name| LevelParams::named(name)).collect();
        let node_of: Vec<usize> = domains.domains.iter().map(|domain| domain.node).collect();
        let nodes = 0..topology.nodes.len();
        let distances: Vec<Vec<u32>> = nodes
            .clone()
            .map(|from| nodes.clone().map(|to| topology.node_distance(from, to)).collect())
            .collect();
        let tree = Tree::new(params, places.collect())
            .and_then(|tree| tree.with_distances(&node_of, &distances))
            .context("cannot build the level tree")?;
        Ok(Self { topology, domains, tree })
    }

    /// The names of the balancing levels, outermost first.
    pub fn level_names(&self) -> Vec<&str> {
        (0..self.tree.depth())
            .filter_map(|level| self.tree.level(level))
            .map(|level| level.name.as_str())
            .collect()
    }
}
