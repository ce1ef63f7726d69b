// SPDX-License-Identifier: GPL-2.0-only
//! The shape of the virtual machine: `NnLlCcTt`, as in `2n2l2c1t` (nodes, last-level caches per node, cores per
//! cache, threads per core). Every part may be left out and is then 1.

use crate::status;
use anyhow::Result;
use std::fmt;

/// More virtual CPUs than this make emulation too slow to judge anything.
pub const MAX_CPUS: u32 = 64;

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
}

impl Spec {
    /// Reads `NnLlCcTt`.
    ///
    /// # Errors
    /// One line that names the character at fault, with status 2.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |why: String| {
            let form = "the form is NnLlCcTt: nodes, last-level caches per node, cores per cache, threads per core, as in 2n2l2c1t";
            Err(status::usage(format!("topology '{text}': {why}; {form}")))
        };
        let mut parts = [None::<u32>; 4];
        let mut number = String::new();
        let mut expected = 0;
        for (at, letter) in text.chars().enumerate() {
            if letter.is_ascii_digit() {
                number.push(letter);
                continue;
            }
            let Some(index) = "nlct".find(letter) else {
                return fail(format!("unexpected '{letter}' at position {}", at + 1));
            };
            if number.is_empty() {
                return fail(format!("no number before '{letter}' at position {}", at + 1));
            }
            if index < expected {
                return fail(format!("'{letter}' at position {} is out of order or given twice", at + 1));
            }
            match number.parse() {
                Ok(count @ 1..=MAX_CPUS) => parts[index] = Some(count),
                _ => return fail(format!("{number}{letter} is not within 1..={MAX_CPUS}")),
            }
            expected = index + 1;
            number.clear();
        }
        if !number.is_empty() || text.is_empty() {
            return fail(format!(
                "a letter (n, l, c or t) must follow at position {}",
                text.chars().count() + 1
            ));
        }
        let [nodes, llcs, cores, threads] = parts.map(|part| part.unwrap_or(1));
        let spec = Self { nodes, llcs, cores, threads };
        if spec.wide_cpus() > u64::from(MAX_CPUS) {
            return fail(format!("{} CPUs are more than {MAX_CPUS}", spec.wide_cpus()));
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

    /// Number of CPUs in each node.
    pub fn cpus_per_node(self) -> u32 {
        self.llcs * self.cores * self.threads
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n{}l{}c{}t", self.nodes, self.llcs, self.cores, self.threads)
    }
}
