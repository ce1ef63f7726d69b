// SPDX-License-Identifier: GPL-2.0-only
//! Cache domains: the groups of online CPUs that share a queue, and the levels above them for the balancer.

use std::collections::HashMap;
use std::str::FromStr;

use crate::cpuset::CpuSet;
use crate::error::{DomainError, shorten};
use crate::model::{Core, Topology};
use crate::split::split_even;

/// How to divide the CPUs into domains.
///
/// Text form: `core`, `l2`, `llc`, `node`, `machine`, or CPU masks separated by `;`, each a list or a hex mask that
/// begins with `0x`: `0-3;4-7`, `0xf;0xf0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainSpec {
    /// One domain per core.
    Core,
    /// One domain per L2 cache.
    L2,
    /// One domain per last-level cache.
    Llc,
    /// One domain per NUMA node that has online CPUs.
    Node,
    /// One domain for the whole machine.
    Machine,
    /// One domain per mask, in this order, never split further.
    Masks(Vec<CpuSet>),
}

impl DomainSpec {
    /// The spec after CPU hotplug: the same levels, or masks without the CPUs that are now absent or offline (masks
    /// left empty are dropped) and with every online CPU that no mask holds added to the mask with the most CPUs on its
    /// core, else on its LLC, else on its node, else to the smallest mask. Masks that were right for the machine before
    /// are right after.
    pub fn adapted(&self, topology: &Topology) -> Self {
        let Self::Masks(masks) = self else { return self.clone() };
        let online = topology.online();
        let mut masks: Vec<CpuSet> =
            masks.iter().map(|m| m.intersection(&online)).filter(|m| !m.is_empty()).collect();
        let held = masks.iter().fold(CpuSet::new(), |all, m| all.union(m));
        for cpu in &online.difference(&held) {
            let place = topology.cpu(cpu).expect("an online CPU of this machine");
            let near = [
                &topology.cores[place.core].cpus,
                &topology.llcs[place.llc].cpus,
                &topology.nodes[place.node].cpus,
            ];
            let nearest = near.into_iter().find_map(|group| {
                let overlap = |m: &CpuSet| m.intersection(group).len();
                // Rising order, so that of equal ones the first wins.
                (0..masks.len()).rev().max_by_key(|&i| overlap(&masks[i])).filter(|&i| overlap(&masks[i]) > 0)
            });
            match nearest.or_else(|| (0..masks.len()).min_by_key(|&i| masks[i].len())) {
                Some(i) => _ = masks[i].insert(cpu),
                None => masks.push([cpu].into_iter().collect()),
            }
        }
        Self::Masks(masks)
    }
}

impl std::fmt::Display for DomainSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Core => f.write_str("core"),
            Self::L2 => f.write_str("l2"),
            Self::Llc => f.write_str("llc"),
            Self::Node => f.write_str("node"),
            Self::Machine => f.write_str("machine"),
            Self::Masks(masks) => {
                for (i, mask) in masks.iter().enumerate() {
                    write!(f, "{}{mask}", if i > 0 { ";" } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for DomainSpec {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        match text.trim() {
            "core" => return Ok(Self::Core),
            "l2" => return Ok(Self::L2),
            "llc" => return Ok(Self::Llc),
            "node" => return Ok(Self::Node),
            "machine" => return Ok(Self::Machine),
            other if !other.starts_with(|c: char| c.is_ascii_digit() || c == ';') => {
                return Err(DomainError::UnknownLevel { text: shorten(text) });
            }
            _ => {}
        }
        let mut masks = Vec::new();
        let mut chars_before = 0;
        for (domain, part) in text.split(';').enumerate() {
            let mask = CpuSet::parse(part)
                .map_err(|source| DomainError::Mask { domain, source: source.within(text, chars_before) })?;
            if mask.is_empty() {
                return Err(DomainError::EmptyMask { domain, position: chars_before + 1 });
            }
            masks.push(mask);
            chars_before += part.chars().count() + 1;
        }
        Ok(Self::Masks(masks))
    }
}

/// A group of online CPUs that share a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its place in [`DomainSet::domains`].
    pub id: usize,
    /// Its CPUs, all online; never empty.
    pub cpus: CpuSet,
    /// Index of its node in [`Topology::nodes`]; if its CPUs are on several nodes, the one with most of them.
    pub node: usize,
    /// Index of its LLC in [`Topology::llcs`]; `None` if its CPUs are on several.
    pub llc: Option<usize>,
    /// The sum of its CPUs' capacities (1024 is one CPU of the fastest kind).
    pub capacity: u64,
}

/// A partition of a machine's online CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSet {
    /// The domains; `domains[i].id == i`.
    pub domains: Vec<Domain>,
    /// Domain by CPU id.
    by_cpu: Vec<Option<u32>>,
}

/// The levels of a balancer's tree over domains, see [`DomainSet::levels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// The level names, outermost first: a choice of `node`, `llc`, `domain`, at least one.
    pub names: Vec<&'static str>,
    /// Per domain, in the order of [`DomainSet::domains`]: its group on each level, outermost first. The last is the
    /// domain itself. Keys are distinct within their level, also between different outer groups.
    pub paths: Vec<Vec<usize>>,
}

impl DomainSet {
    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether there is none (never for a set made by [`Topology::domains`]).
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The domain that holds the CPU; `None` if it is offline or absent.
    pub fn domain_of(&self, cpu: usize) -> Option<usize> {
        self.by_cpu.get(cpu).copied().flatten().map(|d| d as usize)
    }

    /// The level tree for balancing: machine (the root, not listed) → node → LLC → domain.
    ///
    /// A level that adds nothing is dropped: one that puts all domains in one group, or that makes the same groups as
    /// the level outside it. Of two levels with the same groups the outer one stays, because its name says what a move
    /// between these groups costs: with one domain per node the only level is `node`. A domain that is on several LLCs
    /// is an LLC group of its own.
    pub fn levels(&self, topology: &Topology) -> Levels {
        let ids: Vec<usize> = (0..self.domains.len()).collect();
        let nodes: Vec<usize> = self.domains.iter().map(|d| d.node).collect();
        let llcs: Vec<usize> =
            self.domains.iter().map(|d| d.llc.unwrap_or(topology.llcs.len() + d.id)).collect();
        let mut kept: Vec<(&'static str, Vec<usize>)> = Vec::new();
        let mut outer_groups = 1;
        for (name, keys) in [("node", nodes), ("llc", llcs), ("domain", ids.clone())] {
            let mut distinct = keys.clone();
            distinct.sort_unstable();
            distinct.dedup();
            // Levels nest, so the same number of groups means the same groups.
            if distinct.len() > outer_groups {
                outer_groups = distinct.len();
                kept.push((name, keys));
            }
        }
        match kept.last_mut() {
            Some((_, keys)) => *keys = ids,
            None => kept.push(("domain", ids)),
        }
        Levels {
            names: kept.iter().map(|(name, _)| *name).collect(),
            paths: (0..self.domains.len()).map(|d| kept.iter().map(|(_, keys)| keys[d]).collect()).collect(),
        }
    }
}

impl Topology {
    /// Divides the online CPUs into domains; every online CPU is in exactly one.
    ///
    /// A domain made by level that has more than `max_cpus_per_domain` CPUs is split into the fewest even parts that
    /// do not (0: never). SMT siblings stay together, so a part may be larger if a single core is. Parts are runs of
    /// cores in topology order. Explicit masks are taken as they are.
    ///
    /// # Errors
    ///
    /// Masks that overlap, miss an online CPU, name an offline or absent CPU, or hold no CPU; names the CPU.
    pub fn domains(&self, spec: &DomainSpec, max_cpus_per_domain: usize) -> Result<DomainSet, DomainError> {
        let sets = match spec {
            DomainSpec::Core => self.split_by(max_cpus_per_domain, |index, _| index),
            DomainSpec::L2 => self.split_by(max_cpus_per_domain, |_, core| core.l2),
            DomainSpec::Llc => self.split_by(max_cpus_per_domain, |_, core| core.llc),
            DomainSpec::Node => self.split_by(max_cpus_per_domain, |_, core| self.llcs[core.llc].node),
            DomainSpec::Machine => self.split_by(max_cpus_per_domain, |_, _| 0),
            DomainSpec::Masks(masks) => {
                self.check_masks(masks)?;
                masks.clone()
            }
        };
        Ok(self.domain_set(sets))
    }

    /// Online CPUs grouped by a key that is constant over runs of cores, each group split.
    fn split_by(&self, max_cpus: usize, key: impl Fn(usize, &Core) -> usize) -> Vec<CpuSet> {
        let online = self.online();
        let cores: Vec<(usize, CpuSet)> = self
            .cores
            .iter()
            .enumerate()
            .map(|(i, core)| (key(i, core), core.cpus.intersection(&online)))
            .filter(|(_, cpus)| !cpus.is_empty())
            .collect();
        let mut sets = Vec::new();
        for run in cores.chunk_by(|a, b| a.0 == b.0) {
            let sizes: Vec<usize> = run.iter().map(|(_, cpus)| cpus.len()).collect();
            for part in split_even(&sizes, max_cpus) {
                let mut set = CpuSet::new();
                run[part].iter().for_each(|(_, cpus)| set.extend_from(cpus));
                sets.push(set);
            }
        }
        sets
    }

    fn check_masks(&self, masks: &[CpuSet]) -> Result<(), DomainError> {
        let online = self.online();
        let mut owner: HashMap<usize, usize> = HashMap::new();
        for (domain, mask) in masks.iter().enumerate() {
            if mask.is_empty() {
                return Err(DomainError::EmptyMask { domain, position: 1 });
            }
            for cpu in mask {
                match self.cpu(cpu) {
                    None => {
                        return Err(DomainError::Absent {
                            cpu,
                            domain,
                            online: shorten(&online.to_string()),
                        });
                    }
                    Some(c) if !c.online => {
                        return Err(DomainError::Offline {
                            cpu,
                            domain,
                            online: shorten(&online.to_string()),
                        });
                    }
                    Some(_) => {}
                }
                if let Some(first) = owner.insert(cpu, domain) {
                    return Err(DomainError::Overlap { cpu, first, second: domain });
                }
            }
        }
        match online.iter().find(|cpu| !owner.contains_key(cpu)) {
            Some(cpu) => Err(DomainError::Missing { cpu, online: shorten(&online.to_string()) }),
            None => Ok(()),
        }
    }

    /// Builds the set from disjoint, non-empty sets of online CPUs.
    fn domain_set(&self, sets: Vec<CpuSet>) -> DomainSet {
        let mut by_cpu = vec![None; self.nr_cpu_ids()];
        let mut per_node = vec![0usize; self.nodes.len()];
        let domains = sets
            .into_iter()
            .enumerate()
            .map(|(id, cpus)| {
                let mut capacity = 0;
                let mut node = usize::MAX;
                let mut llc = None;
                let mut one_llc = true;
                for cpu in cpus.iter().filter_map(|cpu| self.cpu(cpu)) {
                    by_cpu[cpu.id] = Some(id as u32);
                    capacity += u64::from(cpu.capacity);
                    one_llc &= *llc.get_or_insert(cpu.llc) == cpu.llc;
                    per_node[cpu.node] += 1;
                    let better = node == usize::MAX
                        || (per_node[cpu.node], usize::MAX - cpu.node) > (per_node[node], usize::MAX - node);
                    node = if better { cpu.node } else { node };
                }
                cpus.iter().filter_map(|cpu| self.cpu(cpu)).for_each(|cpu| per_node[cpu.node] = 0);
                Domain { id, cpus, node, llc: llc.filter(|_| one_llc), capacity }
            })
            .collect();
        DomainSet { domains, by_cpu }
    }
}
