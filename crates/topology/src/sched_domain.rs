// SPDX-License-Identifier: GPL-2.0-only
//! Scheduling-domain levels as the kernel's load balancer thinks of them: SMT, LLC, node, machine.

use std::collections::HashMap;
use std::fmt;

use crate::cpuset::CpuSet;
use crate::model::{Cpu, Topology};

/// What the CPUs of a span share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchedLevelKind {
    /// A core.
    Smt,
    /// A last-level cache.
    Llc,
    /// A NUMA node.
    Node,
    /// The machine.
    Machine,
}

impl fmt::Display for SchedLevelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smt => "SMT",
            Self::Llc => "LLC",
            Self::Node => "NODE",
            Self::Machine => "MACHINE",
        })
    }
}

/// A span of CPUs that are balanced among its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedSpan {
    /// All its online CPUs.
    pub cpus: CpuSet,
    /// The spans of the next inner level (single CPUs on the innermost) that make it up.
    pub groups: Vec<CpuSet>,
    /// The sum of its CPUs' capacities.
    pub capacity: u64,
}

/// One level: a partition of the online CPUs into spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedLevel {
    /// What the CPUs of a span share.
    pub kind: SchedLevelKind,
    /// The spans, by lowest CPU.
    pub spans: Vec<SchedSpan>,
    by_cpu: Vec<Option<u32>>,
}

impl SchedLevel {
    /// Index in [`SchedLevel::spans`] of the span that holds the CPU; `None` if it is offline or absent.
    pub fn span_of(&self, cpu: usize) -> Option<usize> {
        self.by_cpu.get(cpu).copied().flatten().map(|s| s as usize)
    }
}

/// The index of the group that a CPU is in on some level.
type GroupKey = fn(&Cpu) -> usize;

impl Topology {
    /// The scheduling-domain levels over the online CPUs, innermost first. A level with the same spans as the one
    /// inside it (single CPUs inside the first) adds nothing and is dropped, so one CPU alone has no level at all. On
    /// an uneven machine a kept level may have spans of one group; they have nothing to balance.
    pub fn sched_domains(&self) -> Vec<SchedLevel> {
        let online: Vec<&Cpu> = self.cpus.iter().filter(|c| c.online).collect();
        let keys: [(SchedLevelKind, GroupKey); 4] = [
            (SchedLevelKind::Smt, |c| c.core),
            (SchedLevelKind::Llc, |c| c.llc),
            (SchedLevelKind::Node, |c| c.node),
            (SchedLevelKind::Machine, |_| 0),
        ];
        let mut levels: Vec<SchedLevel> = Vec::new();
        let mut inner: Vec<CpuSet> = online.iter().map(|c| [c.id].into_iter().collect()).collect();
        for (kind, key) in keys {
            let level = self.sched_level(kind, key, &inner);
            // Levels nest, so the same number of spans means the same spans.
            if level.spans.len() < inner.len() {
                inner = level.spans.iter().map(|s| s.cpus.clone()).collect();
                levels.push(level);
            }
        }
        levels
    }

    /// Merges the inner spans (disjoint, non-empty, by lowest CPU) that have the same key.
    fn sched_level(&self, kind: SchedLevelKind, key: GroupKey, inner: &[CpuSet]) -> SchedLevel {
        let mut spans: Vec<SchedSpan> = Vec::new();
        let mut by_key: HashMap<usize, usize> = HashMap::new();
        let mut by_cpu = vec![None; self.nr_cpu_ids()];
        for group in inner {
            let Some(cpu) = group.first().and_then(|cpu| self.cpu(cpu)) else { continue };
            let index = *by_key.entry(key(cpu)).or_insert_with(|| {
                spans.push(SchedSpan { cpus: CpuSet::new(), groups: Vec::new(), capacity: 0 });
                spans.len() - 1
            });
            let span = &mut spans[index];
            span.cpus.extend_from(group);
            span.capacity += self.capacity(group);
            span.groups.push(group.clone());
            group.iter().for_each(|cpu| by_cpu[cpu] = Some(index as u32));
        }
        SchedLevel { kind, spans, by_cpu }
    }
}
