// SPDX-License-Identifier: GPL-2.0-only
//! A machine and its domains as text for people.

use std::fmt;

use crate::cpuset::CpuSet;
use crate::domain::DomainSet;
use crate::model::{CAPACITY_MAX, Node, Topology};

/// LLCs of a node that are shown one by one before the rest is summed up.
const LLCS_SHOWN: usize = 16;

/// `1 core`, `2 cores`.
fn count(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

impl fmt::Display for Topology {
    /// A short tree, no line end at the end:
    ///
    /// ```text
    /// machine: 8 CPUs, 8 cores, 4 LLCs, 2 nodes
    /// ├─ node 0: distances 10 20
    /// │  ├─ LLC 0: CPUs 0-1, 2 cores
    /// │  └─ LLC 1: CPUs 2-3, 2 cores
    /// └─ node 1: distances 20 10
    ///    ├─ LLC 2: CPUs 4-5, 2 cores
    ///    └─ LLC 3: CPUs 6-7, 2 cores
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let online = self.online();
        write!(
            f,
            "machine: {}, {}, {}, {}",
            count(self.cpus.len(), "CPU"),
            count(self.cores.len(), "core"),
            count(self.llcs.len(), "LLC"),
            count(self.nodes.len(), "node")
        )?;
        if online.len() < self.cpus.len() {
            write!(f, ", offline {}", self.all_cpus().difference(&online))?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let last = index + 1 == self.nodes.len();
            write!(f, "\n{} node {}{}", if last { "└─" } else { "├─" }, node.id, node_notes(self, node))?;
            let stem = if last { "  " } else { "│ " };
            let llcs: Vec<usize> = (0..self.llcs.len()).filter(|&l| self.llcs[l].node == index).collect();
            let shown = if llcs.len() > LLCS_SHOWN { LLCS_SHOWN - 1 } else { llcs.len() };
            for (place, &llc) in llcs[..shown].iter().enumerate() {
                let branch = if place + 1 == llcs.len() { "└─" } else { "├─" };
                write!(f, "\n{stem} {branch} LLC {}: {}", self.llcs[llc].id, self.llc_text(llc))?;
            }
            if shown < llcs.len() {
                let rest = &llcs[shown..];
                let cpus = rest.iter().fold(CpuSet::new(), |all, &l| all.union(&self.llcs[l].cpus));
                write!(f, "\n{stem} └─ {} more LLCs: CPUs {cpus}", rest.len())?;
            }
        }
        Ok(())
    }
}

/// What is worth saying about a node besides its LLCs.
fn node_notes(topology: &Topology, node: &Node) -> String {
    let mut notes = Vec::new();
    if node.cpus.is_empty() {
        notes.push("no CPUs".to_owned());
    }
    if !node.has_memory {
        notes.push("no memory".to_owned());
    }
    if topology.nodes.len() > 1 {
        let distances: Vec<String> = node.distances.iter().map(|d| d.1.to_string()).collect();
        notes.push(format!("distances {}", distances.join(" ")));
    }
    if notes.is_empty() { String::new() } else { format!(": {}", notes.join(", ")) }
}

impl Topology {
    fn llc_text(&self, llc: usize) -> String {
        let cpus = &self.llcs[llc].cpus;
        let cores: Vec<usize> = self.cores.iter().filter(|c| c.llc == llc).map(|c| c.cpus.len()).collect();
        let threads = cores.iter().copied().max().unwrap_or(1);
        let mut text = format!("CPUs {cpus}, {}", count(cores.len(), "core"));
        if threads > 1 {
            let up_to = if cores.iter().all(|&c| c == threads) { "" } else { "up to " };
            text.push_str(&format!(" × {up_to}{threads} threads"));
        }
        let capacities = || cpus.iter().filter_map(|c| self.cpu(c)).map(|c| c.capacity);
        let (low, high) = (capacities().min().unwrap_or(0), capacities().max().unwrap_or(0));
        if low != high {
            text.push_str(&format!(", capacity {low} to {high}"));
        } else if low != CAPACITY_MAX {
            text.push_str(&format!(", capacity {low}"));
        }
        text
    }

    /// The domains as text for people, one per line, no line end at the end; nodes and LLCs by their ids.
    pub fn describe_domains(&self, set: &DomainSet) -> String {
        let line = |d: &crate::domain::Domain| {
            let llc = d.llc.map_or("several LLCs".to_owned(), |l| format!("LLC {}", self.llcs[l].id));
            let node = self.nodes[d.node].id;
            let size = count(d.cpus.len(), "CPU");
            format!("domain {}: CPUs {} ({size}), node {node}, {llc}, capacity {}", d.id, d.cpus, d.capacity)
        };
        set.domains.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
