// SPDX-License-Identifier: GPL-2.0-only
//! The shape of the virtual machine: `NnLlCcTt`, as in `2n2l2c1t` (nodes, last-level caches per node, cores per
//! cache, threads per core). Every part may be left out and is then 1. `+Mm` adds nodes with memory and no CPUs, as in
//! `2n2l2c1t+1m`.

use crate::status;
use anyhow::Result;
use std::fmt;

/// More virtual CPUs than this make emulation too slow to judge anything.
pub const MAX_CPUS: u32 = 64;

/// More nodes without CPUs than this would only make the memory of each too small.
const MAX_MEMORY_NODES: u32 = 4;

const FORM: &str = "the form is NnLlCcTt+Mm: nodes, last-level caches per node, cores per cache, threads per core, \
                    nodes with memory only, as in 2n2l2c1t or 2n2l2c1t+1m";

/// Nodes, last-level caches per node, cores per cache, threads per core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spec {
    /// NUMA nodes.
    pub nodes: u32,
    /// Last-level caches in each node.
    pub llcs: u32,
    /// Cores that share each cache.
    pub cores: u32,
    /// Hardware threads of each core.
    pub threads: u32,
    /// Further nodes, with memory and no CPUs.
    pub memory_nodes: u32,
}

impl Spec {
    /// Reads `NnLlCcTt+Mm`.
    ///
    /// # Errors
    /// One line that names the character at fault, with status 2.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).map_err(|why| status::usage(format!("topology '{text}': {why}; {FORM}")))
    }

    fn read(text: &str) -> Result<Self, String> {
        let (with_cpus, memory) =
            text.split_once('+').map_or((text, None), |(cpus, rest)| (cpus, Some(rest)));
        let parts = counts(with_cpus, 0, "nlct", MAX_CPUS)?;
        let [nodes, llcs, cores, threads] = [0, 1, 2, 3].map(|at| parts[at].unwrap_or(1));
        let memory_nodes = match memory {
            None => 0,
            Some(rest) => {
                counts(rest, with_cpus.chars().count() + 1, "m", MAX_MEMORY_NODES)?[0].unwrap_or_default()
            }
        };
        let spec = Self { nodes, llcs, cores, threads, memory_nodes };
        if spec.wide_cpus() > u64::from(MAX_CPUS) {
            return Err(format!("{} CPUs are more than {MAX_CPUS}", spec.wide_cpus()));
        }
        Ok(spec)
    }

    fn wide_cpus(self) -> u64 {
        [self.nodes, self.llcs, self.cores, self.threads].into_iter().map(u64::from).product()
    }

    /// Number of CPUs.
    pub fn cpus(self) -> u32 {
        self.nodes * self.cpus_per_node()
    }

    /// Number of nodes, with CPUs and without.
    pub fn all_nodes(self) -> u32 {
        self.nodes + self.memory_nodes
    }

    /// Number of CPUs in each node that has any.
    pub fn cpus_per_node(self) -> u32 {
        self.llcs * self.cores * self.threads
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n{}l{}c{}t", self.nodes, self.llcs, self.cores, self.threads)?;
        if self.memory_nodes > 0 {
            write!(f, "+{}m", self.memory_nodes)?;
        }
        Ok(())
    }
}

/// Reads numbers that one of `letters` follows each, in their order; the text begins after `before` characters. One
/// count per letter, `None` for those left out.
fn counts(text: &str, before: usize, letters: &str, most: u32) -> Result<Vec<Option<u32>>, String> {
    let mut parts = vec![None::<u32>; letters.len()];
    let (mut number, mut expected) = (String::new(), 0);
    for (letter, position) in text.chars().zip(before + 1..) {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        let Some(index) = letters.find(letter) else {
            return Err(format!("unexpected '{letter}' at position {position}"));
        };
        if number.is_empty() {
            return Err(format!("no number before '{letter}' at position {position}"));
        }
        if index < expected {
            return Err(format!("'{letter}' at position {position} is out of order or given twice"));
        }
        match number.parse() {
            Ok(count) if (1..=most).contains(&count) => parts[index] = Some(count),
            _ => return Err(format!("{number}{letter} at position {position} is not within 1..={most}")),
        }
        expected = index + 1;
        number.clear();
    }
    if number.is_empty() && !text.is_empty() {
        return Ok(parts);
    }
    let wanted = if number.is_empty() { "a number and a letter" } else { "a letter" };
    let position = before + text.chars().count() + 1;
    Err(format!("{wanted} of {letters} must follow at position {position}"))
}
