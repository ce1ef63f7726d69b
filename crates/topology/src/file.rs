// SPDX-License-Identifier: GPL-2.0-only
//! Machine files: TOML or JSON for uneven machines. The format is described at [`Topology::from_file`].

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::{Group, RawCpu, RawNode, build};
use crate::cpuset::CpuSet;
use crate::error::TopologyError;
use crate::model::{CAPACITY_MAX, Topology};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nr_cpu_ids: Option<usize>,
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    offline: CpuSet,
    nodes: Vec<NodeFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distances: Option<Vec<u32>>,
    #[serde(default = "yes")]
    memory: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    llcs: Vec<LlcFile>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LlcFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpus: Option<CpuSet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    l2s: Vec<L2File>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cores: Vec<CoreFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct L2File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    cpus: CpuSet,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CoreFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    cpus: CpuSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capacity: Option<u32>,
}

pub(crate) fn read(path: &Path) -> Result<Topology, TopologyError> {
    let text =
        fs::read_to_string(path).map_err(|source| TopologyError::Io { path: path.to_owned(), source })?;
    let is_json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let machine: Result<MachineFile, String> = if is_json {
        serde_json::from_str(&text).map_err(|e| e.to_string())
    } else {
        toml::from_str(&text).map_err(|e| toml_reason(&text, &e))
    };
    machine
        .and_then(|machine| machine.topology())
        .map_err(|reason| TopologyError::File { path: path.to_owned(), reason })
}

/// The error in one line, with its place.
fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message,
    }
}

impl MachineFile {
    fn topology(&self) -> Result<Topology, String> {
        let ids: Vec<usize> = self.nodes.iter().enumerate().map(|(i, n)| n.id.unwrap_or(i)).collect();
        let mut nodes = Vec::with_capacity(ids.len());
        let mut cpus = CpuList { cpus: Vec::new(), llcs: 0, cores: 0 };
        for (i, node) in self.nodes.iter().enumerate() {
            let distances = node.distances.as_deref().unwrap_or(&[]);
            if !distances.is_empty() && distances.len() != ids.len() {
                return Err(format!(
                    "nodes[{i}]: {} distances for {} nodes; give one for each, itself included",
                    distances.len(),
                    ids.len()
                ));
            }
            nodes.push(RawNode {
                id: ids[i],
                distances: ids.iter().copied().zip(distances.iter().copied()).collect(),
                has_memory: node.memory,
            });
            for (l, llc) in node.llcs.iter().enumerate() {
                cpus.add_llc(ids[i], llc).map_err(|reason| format!("nodes[{i}].llcs[{l}]: {reason}"))?;
            }
        }
        let mut missing = self.offline.clone();
        for cpu in &mut cpus.cpus {
            cpu.online = !self.offline.contains(cpu.id);
            missing.remove(cpu.id);
        }
        if let Some(cpu) = missing.first() {
            return Err(format!(
                "offline names CPU {cpu}, which is in no LLC; add it to one or remove it here"
            ));
        }
        let nr_cpu_ids = self.nr_cpu_ids.unwrap_or(0);
        if nr_cpu_ids > CpuSet::LIMIT {
            return Err(format!("nr_cpu_ids is {nr_cpu_ids}; the most supported is {}", CpuSet::LIMIT));
        }
        build(nodes, cpus.cpus, nr_cpu_ids).map_err(|e| e.to_string())
    }
}

/// CPUs collected so far, and how many LLCs and cores they make.
struct CpuList {
    cpus: Vec<RawCpu>,
    llcs: usize,
    cores: usize,
}

impl CpuList {
    fn add_llc(&mut self, node: usize, llc: &LlcFile) -> Result<(), String> {
        let cores = llc.core_list()?;
        let l2_of = llc.l2_of(&cores)?;
        for core in &cores {
            let capacity = core.capacity.or(llc.capacity).unwrap_or(CAPACITY_MAX);
            for id in &core.cpus {
                self.cpus.push(RawCpu {
                    id,
                    node,
                    llc: Group { key: self.llcs, id: llc.id.unwrap_or(self.llcs) },
                    // Shared ones count from 0 in the LLC; a core's own one has a number that no shared one has.
                    l2: l2_of
                        .get(&id)
                        .copied()
                        .unwrap_or(Group { key: llc.l2s.len() + self.cores, id: self.cores }),
                    core: Group { key: self.cores, id: core.id.unwrap_or(self.cores) },
                    capacity,
                    online: true,
                });
            }
            self.cores += 1;
        }
        self.llcs += 1;
        Ok(())
    }
}

impl LlcFile {
    /// The cores, listed or cut from `cpus`.
    fn core_list(&self) -> Result<Vec<CoreFile>, String> {
        let cores: Vec<CoreFile> = match (&self.cpus, self.cores.as_slice()) {
            (Some(_), [_, ..]) => return Err("has both cpus and cores; give one of them".to_owned()),
            (None, cores) if self.threads.is_none() => cores
                .iter()
                .map(|c| CoreFile { id: c.id, cpus: c.cpus.clone(), capacity: c.capacity })
                .collect(),
            (None, _) => return Err("threads goes with cpus; cores list their threads themselves".to_owned()),
            (Some(cpus), []) => {
                let threads = self.threads.unwrap_or(1);
                if threads == 0 || cpus.len() % threads != 0 {
                    return Err(format!("{} CPUs do not make cores of {threads} threads", cpus.len()));
                }
                let cpus: Vec<usize> = cpus.iter().collect();
                cpus.chunks(threads)
                    .map(|c| CoreFile { id: None, cpus: c.iter().copied().collect(), capacity: None })
                    .collect()
            }
        };
        if cores.is_empty() || cores.iter().any(|c| c.cpus.is_empty()) {
            return Err("has no CPU, or a core without one; list its CPUs or remove it".to_owned());
        }
        Ok(cores)
    }

    /// The shared L2 of each CPU that has one.
    fn l2_of(&self, cores: &[CoreFile]) -> Result<HashMap<usize, Group>, String> {
        let all = cores.iter().fold(CpuSet::new(), |all, core| all.union(&core.cpus));
        let mut l2_of = HashMap::new();
        for (key, l2) in self.l2s.iter().enumerate() {
            if let Some(cpu) = l2.cpus.difference(&all).first() {
                return Err(format!("l2s[{key}] names CPU {cpu}, which is not on this LLC"));
            }
            if let Some(core) =
                cores.iter().find(|c| c.cpus.intersects(&l2.cpus) && !c.cpus.is_subset(&l2.cpus))
            {
                return Err(format!(
                    "l2s[{key}] cuts the core of CPUs {}; keep a core's threads together",
                    core.cpus
                ));
            }
            for cpu in &l2.cpus {
                if l2_of.insert(cpu, Group { key, id: l2.id.unwrap_or(key) }).is_some() {
                    return Err(format!("CPU {cpu} is in two l2s; list it in one"));
                }
            }
        }
        Ok(l2_of)
    }
}

/// Writes every id out, so that reading it back gives the same machine.
pub(crate) fn to_toml(topology: &Topology) -> String {
    let nodes = topology
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| NodeFile {
            id: Some(node.id),
            distances: Some(node.distances.iter().map(|d| d.1).collect()),
            memory: node.has_memory,
            llcs: (0..topology.llcs.len())
                .filter(|&l| topology.llcs[l].node == index)
                .map(|l| llc_file(topology, l))
                .collect(),
        })
        .collect();
    let offline = topology.all_cpus().difference(&topology.online());
    let machine = MachineFile { nr_cpu_ids: Some(topology.nr_cpu_ids()), offline, nodes };
    toml::to_string(&machine).expect("numbers, lists and tables with text keys are all that TOML needs")
}

fn llc_file(topology: &Topology, index: usize) -> LlcFile {
    let cores = topology.cores.iter().filter(|c| c.llc == index);
    let capacity = |cpus: &CpuSet| cpus.iter().filter_map(|c| topology.cpu(c)).map(|c| c.capacity).max();
    LlcFile {
        id: Some(topology.llcs[index].id),
        cpus: None,
        threads: None,
        capacity: None,
        l2s: topology
            .l2s
            .iter()
            .filter(|l2| l2.llc == index)
            .map(|l2| L2File { id: Some(l2.id), cpus: l2.cpus.clone() })
            .collect(),
        cores: cores
            .map(|c| CoreFile { id: Some(c.id), cpus: c.cpus.clone(), capacity: capacity(&c.cpus) })
            .collect(),
    }
}
