// SPDX-License-Identifier: GPL-2.0-only
//! The machine as the assignment looks at it: online CPUs, blocks (cache domains, large ones split) and cores.

use topology::{CAPACITY_MAX, CpuSet, DomainSet, Topology};

/// Online CPUs that share a cache, or a part of them.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Index of its node.
    pub node: usize,
}

/// What the steps of an assignment ask the machine for. Only online CPUs occur in it.
#[derive(Debug, Clone)]
pub struct Ground<'a> {
    topology: &'a Topology,
    /// All online CPUs.
    pub online: CpuSet,
    /// A partition of them.
    pub blocks: Vec<Block>,
    /// Online threads per core, by core index.
    pub cores: Vec<CpuSet>,
    /// Threads per core if it is the same on all cores that have online CPUs; else 1.
    pub threads: usize,
    /// The lowest online CPU of every core with one.
    pub leaders: CpuSet,
    /// Block by CPU id.
    block_of: Vec<usize>,
    /// Average capacity of an online CPU.
    mean_capacity: f64,
}

impl<'a> Ground<'a> {
    /// Blocks are the domains, cut to what is online; online CPUs that no domain holds are one block per node.
    pub fn new(topology: &'a Topology, domains: &DomainSet) -> Self {
        let online = topology.online();
        let mut left = online.clone();
        let mut blocks = Vec::new();
        let mut add = |cpus: CpuSet, node: usize| {
            if !cpus.is_empty() {
                blocks.push(Block { cpus, node });
            }
        };
        for domain in &domains.domains {
            let cpus = domain.cpus.intersection(&left);
            left = left.difference(&cpus);
            add(cpus, domain.node.min(topology.nodes.len().saturating_sub(1)));
        }
        for (index, node) in topology.nodes.iter().enumerate() {
            add(node.cpus.intersection(&left), index);
        }
        let cores: Vec<CpuSet> = topology.cores.iter().map(|core| core.cpus.intersection(&online)).collect();
        let mut widths = cores.iter().map(CpuSet::len).filter(|len| *len > 0);
        let first = widths.next().unwrap_or(1);
        let threads = if widths.all(|width| width == first) { first } else { 1 };
        let mut block_of = vec![0; online.last().map_or(0, |last| last + 1)];
        for (index, block) in blocks.iter().enumerate() {
            block.cpus.iter().for_each(|cpu| block_of[cpu] = index);
        }
        let mean_capacity = topology.capacity(&online) as f64 / online.len().max(1) as f64;
        let leaders = cores.iter().filter_map(CpuSet::first).collect();
        Self {
            topology,
            online,
            blocks,
            cores,
            threads,
            leaders,
            block_of,
            mean_capacity: mean_capacity.max(1.0),
        }
    }

    /// The threads of the core that an online CPU is on.
    pub fn core_of(&self, cpu: usize) -> &CpuSet {
        &self.cores[self.core_index(cpu)]
    }

    /// The index of the core that an online CPU is on.
    pub fn core_index(&self, cpu: usize) -> usize {
        self.topology.cpu(cpu).map_or(0, |cpu| cpu.core)
    }

    /// The block of an online CPU.
    pub fn block_of(&self, cpu: usize) -> usize {
        self.block_of[cpu]
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.topology.nodes.len()
    }

    /// How far apart two nodes are.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        self.topology.node_distance(from, to)
    }

    /// What CPUs are worth, in CPUs of average capacity.
    pub fn worth(&self, cpus: &CpuSet) -> f64 {
        self.topology.capacity(cpus) as f64 / self.mean_capacity
    }

    /// CPUs of full speed in CPUs of average capacity.
    pub fn average_cpus(&self, cpus: f64) -> f64 {
        cpus * f64::from(CAPACITY_MAX) / self.mean_capacity
    }

    /// Whether a set holds every core whole or not at all.
    pub fn whole_cores(&self, cpus: &CpuSet) -> bool {
        self.cores.iter().all(|core| !core.intersects(cpus) || core.is_subset(cpus))
    }
}
