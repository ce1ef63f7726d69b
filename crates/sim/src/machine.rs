// SPDX-License-Identifier: GPL-2.0-only
//! The machine in the form that the kernel model asks about all the time.

use std::rc::Rc;

use topology::{CpuSet, Topology};

use crate::config::Costs;
use crate::events::CpuId;

/// How far apart two CPUs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// The same CPU.
    Same,
    /// Another thread of the core.
    Core,
    /// Another core of the LLC.
    Llc,
    /// Another LLC of the node.
    Node,
    /// Another node.
    Remote,
}

/// One CPU's place.
#[derive(Clone, Debug)]
pub struct Place {
    /// Index of its core.
    pub core: usize,
    /// Index of its LLC.
    pub llc: usize,
    /// Index of its node.
    pub node: usize,
    /// 1 to 1024.
    pub capacity: u64,
    /// The other threads of the core.
    pub siblings: Vec<CpuId>,
    /// All threads of the core.
    pub core_cpus: Rc<CpuSet>,
    /// The set that holds this CPU only.
    pub only: Rc<CpuSet>,
    /// Whether the machine has such a CPU.
    pub present: bool,
}

/// Places, spans and distances.
#[derive(Clone, Debug)]
pub struct Machine {
    /// By CPU number; numbers without a CPU are there with `present` false.
    pub places: Vec<Place>,
    /// CPUs of each LLC.
    pub llcs: Vec<Rc<CpuSet>>,
    /// CPUs of each node.
    pub nodes: Vec<Rc<CpuSet>>,
    /// All CPUs.
    pub all: Rc<CpuSet>,
    /// Whether some core has several threads.
    pub smt: bool,
    /// Whether an LLC is smaller than the machine, so that the kernel's default choice looks there first.
    pub llc_aware: bool,
    /// The same for nodes, if they differ from the LLCs.
    pub numa_aware: bool,
    distances: Vec<Vec<u64>>,
    /// CPUs of each core.
    cores: Vec<Vec<CpuId>>,
}

impl Machine {
    /// Derives everything from `topology`.
    pub fn new(topology: &Topology) -> Self {
        let nr = topology.nr_cpu_ids();
        let nobody = Rc::new(CpuSet::new());
        let places = (0..nr).map(|id| {
            let Some(cpu) = topology.cpu(id) else {
                let (core_cpus, only) = (Rc::clone(&nobody), Rc::clone(&nobody));
                return Place {
                    core: usize::MAX,
                    llc: 0,
                    node: 0,
                    capacity: 1,
                    siblings: Vec::new(),
                    core_cpus,
                    only,
                    present: false,
                };
            };
            let core_cpus = &topology.cores[cpu.core].cpus;
            Place {
                core: cpu.core,
                llc: cpu.llc,
                node: cpu.node,
                capacity: u64::from(cpu.capacity),
                siblings: core_cpus.iter().filter(|&other| other != id).collect(),
                core_cpus: Rc::new(core_cpus.clone()),
                only: Rc::new([id].into_iter().collect()),
                present: true,
            }
        });
        let places: Vec<Place> = places.collect();
        let llcs: Vec<Rc<CpuSet>> = topology.llcs.iter().map(|llc| Rc::new(llc.cpus.clone())).collect();
        let nodes: Vec<Rc<CpuSet>> = topology.nodes.iter().map(|node| Rc::new(node.cpus.clone())).collect();
        let populated = nodes.iter().filter(|cpus| !cpus.is_empty()).count();
        let distances = (0..nodes.len())
            .map(|from| (0..nodes.len()).map(|to| u64::from(topology.node_distance(from, to))).collect());
        Self {
            smt: places.iter().any(|place| !place.siblings.is_empty()),
            llc_aware: llcs.len() > 1,
            numa_aware: populated > 1 && populated != llcs.len(),
            cores: topology.cores.iter().map(|core| core.cpus.iter().collect()).collect(),
            all: Rc::new(topology.all_cpus()),
            distances: distances.collect(),
            places,
            llcs,
            nodes,
        }
    }

    /// Highest CPU number plus one.
    pub fn nr_cpu_ids(&self) -> usize {
        self.places.len()
    }

    /// How far apart two CPUs are.
    pub fn distance(&self, from: CpuId, to: CpuId) -> Distance {
        let (a, b) = (&self.places[from], &self.places[to]);
        match () {
            () if from == to => Distance::Same,
            () if a.core == b.core => Distance::Core,
            () if a.llc == b.llc => Distance::Llc,
            () if a.node == b.node => Distance::Node,
            () => Distance::Remote,
        }
    }

    /// The nodes, nearest to `from` first, beginning with itself; of equally far ones the one of the lower number.
    pub fn nodes_from(&self, from: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes.len()).collect();
        nodes.sort_by_key(|&to| (to != from, self.distances[from][to]));
        nodes
    }

    /// Best total speed (1/1024) of 0, 1, 2, … tasks that may run anywhere: what a further task adds, largest first. They can
    /// have the CPUs that are `usable`; those that something else has `held` slow the other threads of their core.
    pub fn best_rates(
        &self,
        costs: &Costs,
        usable: impl Fn(CpuId) -> bool,
        held: impl Fn(CpuId) -> bool,
    ) -> Vec<u64> {
        let mut rates = vec![0];
        for core in &self.cores {
            let shared = core.iter().any(|&cpu| held(cpu));
            let (mut slowed, mut rate) = (0u64, 0u64);
            for (busy, &cpu) in core.iter().filter(|&&cpu| usable(cpu)).enumerate() {
                let capacity = self.places[cpu].capacity;
                slowed += capacity * costs.smt_speed_1024 / 1024;
                let together = if busy == 0 && !shared { capacity } else { slowed };
                rates.push(together.saturating_sub(rate));
                rate = rate.max(together);
            }
        }
        rates[1..].sort_unstable_by(|a, b| b.cmp(a));
        for tasks in 1..rates.len() {
            rates[tasks] += rates[tasks - 1];
        }
        rates
    }

    /// Cold-cache time of a task that ran on `from` and now runs on `to`.
    pub fn migration_ns(&self, costs: &Costs, from: CpuId, to: CpuId) -> u64 {
        match self.distance(from, to) {
            Distance::Same => 0,
            Distance::Core => costs.migration_ns[0],
            Distance::Llc => costs.migration_ns[1],
            Distance::Node => costs.migration_ns[2],
            Distance::Remote => {
                costs.migration_ns[3] * self.distances[self.places[from].node][self.places[to].node] / 20
            }
        }
    }
}
