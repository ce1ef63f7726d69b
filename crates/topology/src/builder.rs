// SPDX-License-Identifier: GPL-2.0-only
//! Turns flat per-CPU facts from any source into a nested, validated [`Topology`].

use std::collections::HashMap;

use crate::cpuset::CpuSet;
use crate::error::ModelError;
use crate::model::{
    CAPACITY_MAX, Core, Cpu, L2, LOCAL_DISTANCE, Llc, MAX_CPUS, Node, REMOTE_DISTANCE, Topology,
};

/// A group that a CPU is in: CPUs of the same outer group with the same key are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    /// Identity within the outer group.
    pub key: usize,
    /// The number to show.
    pub id: usize,
}

impl Group {
    pub fn same(key: usize) -> Self {
        Self { key, id: key }
    }
}

/// What a source knows about a CPU.
#[derive(Debug, Clone)]
pub(crate) struct RawCpu {
    pub id: usize,
    /// Node id.
    pub node: usize,
    pub llc: Group,
    pub l2: Group,
    pub core: Group,
    pub capacity: u32,
    pub online: bool,
}

/// What a source knows about a node.
#[derive(Debug, Clone)]
pub(crate) struct RawNode {
    pub id: usize,
    /// `(node id, distance)`; missing ones take the default.
    pub distances: Vec<(usize, u32)>,
    pub has_memory: bool,
}

/// Builds the machine. `nr_cpu_ids` is raised to cover every CPU.
pub(crate) fn build(
    mut nodes: Vec<RawNode>,
    mut cpus: Vec<RawCpu>,
    nr_cpu_ids: usize,
) -> Result<Topology, ModelError> {
    nodes.sort_by_key(|n| n.id);
    cpus.sort_by_key(|c| c.id);
    let node_index = check(&nodes, &cpus)?;

    // Order CPUs by node, LLC, L2, core, where a group's place is its lowest CPU; then every group is one run.
    let paths = group_paths(&node_index, &cpus);
    let mut order: Vec<usize> = (0..cpus.len()).collect();
    order.sort_by_key(|&i| (paths[i], cpus[i].id));

    let mut out = Topology {
        nodes: make_nodes(&nodes),
        llcs: Vec::new(),
        l2s: Vec::new(),
        cores: Vec::new(),
        cpus: Vec::with_capacity(cpus.len()),
        nr_cpu_ids: nr_cpu_ids.max(cpus.last().map_or(0, |c| c.id + 1)),
    };
    let mut previous: Option<[usize; 4]> = None;
    for i in order {
        let (raw, path) = (&cpus[i], paths[i]);
        let shared = previous.map_or(0, |p| p.iter().zip(&path).take_while(|(a, b)| a == b).count());
        previous = Some(path);
        if shared < 2 {
            out.llcs.push(Llc { id: raw.llc.id, node: path[0], cpus: CpuSet::new() });
        }
        let llc = out.llcs.len() - 1;
        if shared < 3 {
            out.l2s.push(L2 { id: raw.l2.id, llc, cpus: CpuSet::new() });
        }
        let l2 = out.l2s.len() - 1;
        if shared < 4 {
            out.cores.push(Core { id: raw.core.id, llc, l2, cpus: CpuSet::new() });
        }
        let core = out.cores.len() - 1;
        out.nodes[path[0]].cpus.insert(raw.id);
        out.llcs[llc].cpus.insert(raw.id);
        out.l2s[l2].cpus.insert(raw.id);
        out.cores[core].cpus.insert(raw.id);
        let (capacity, online) = (raw.capacity, raw.online);
        out.cpus.push(Cpu { id: raw.id, core, l2, llc, node: path[0], capacity, online });
    }
    out.cpus.sort_by_key(|c| c.id);
    Ok(out)
}

/// Checks what the types cannot; returns the index of each node id. Both slices are sorted by id.
fn check(nodes: &[RawNode], cpus: &[RawCpu]) -> Result<HashMap<usize, usize>, ModelError> {
    if let Some(pair) = nodes.windows(2).find(|p| p[0].id == p[1].id) {
        return Err(ModelError::DuplicateNode { node: pair[0].id });
    }
    if let Some(pair) = cpus.windows(2).find(|p| p[0].id == p[1].id) {
        return Err(ModelError::DuplicateCpu { cpu: pair[0].id });
    }
    if cpus.is_empty() {
        return Err(ModelError::NoCpu);
    }
    if cpus.len() > MAX_CPUS {
        return Err(ModelError::TooManyCpus { count: cpus.len() });
    }
    let node_index: HashMap<usize, usize> = nodes.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
    for cpu in cpus {
        if cpu.id >= CpuSet::LIMIT {
            return Err(ModelError::CpuTooLarge { cpu: cpu.id });
        }
        if cpu.capacity == 0 || cpu.capacity > CAPACITY_MAX {
            return Err(ModelError::Capacity { cpu: cpu.id, capacity: cpu.capacity });
        }
        if !node_index.contains_key(&cpu.node) {
            return Err(ModelError::UnknownNode { cpu: cpu.id, node: cpu.node });
        }
    }
    if !cpus.iter().any(|c| c.online) {
        return Err(ModelError::NoOnlineCpu);
    }
    Ok(node_index)
}

/// Per CPU: node index, then the lowest CPU of its LLC, L2 and core, each cut at the border of the outer group.
fn group_paths(node_index: &HashMap<usize, usize>, cpus: &[RawCpu]) -> Vec<[usize; 4]> {
    let mut lowest: [HashMap<(usize, usize), usize>; 3] = Default::default();
    cpus.iter()
        .map(|cpu| {
            let mut path = [node_index[&cpu.node], 0, 0, 0];
            for (level, group) in [cpu.llc, cpu.l2, cpu.core].into_iter().enumerate() {
                // CPUs come by rising id, so the first one seen is the group's lowest. An outer group's lowest CPU is
                // unique on its level, for LLCs the node index is.
                path[level + 1] = *lowest[level].entry((path[level], group.key)).or_insert(cpu.id);
            }
            path
        })
        .collect()
}

fn make_nodes(nodes: &[RawNode]) -> Vec<Node> {
    nodes
        .iter()
        .map(|node| {
            let known: HashMap<usize, u32> = node.distances.iter().copied().collect();
            let distance = |to: usize| {
                let default = if to == node.id { LOCAL_DISTANCE } else { REMOTE_DISTANCE };
                known.get(&to).copied().unwrap_or(default)
            };
            Node {
                id: node.id,
                cpus: CpuSet::new(),
                distances: nodes.iter().map(|to| (to.id, distance(to.id))).collect(),
                has_memory: node.has_memory,
            }
        })
        .collect()
}
