// SPDX-License-Identifier: GPL-2.0-only
//! Short specs of even machines: `2n4l8c2t`.

use std::fmt;
use std::str::FromStr;

use crate::builder::{Group, RawCpu, RawNode, build};
use crate::error::shorten;
use crate::model::{CAPACITY_MAX, MAX_CPUS, Topology};

/// An even machine: nodes × LLCs per node × cores per LLC × threads per core.
///
/// Text form: numbers, each followed by its letter, in the order `n`, `l`, `c`, `t`; any part may be left out and is
/// then 1, but at least one must be there. `2n4l8c2t` has 2 nodes, 8 LLCs, 64 cores and 128 CPUs; `4c` has 4 CPUs.
///
/// CPU numbers are dense and nested, SMT siblings adjacent, as QEMU numbers the CPUs of `-smp`: cores count through
/// LLCs and LLCs through nodes, and `cpu = core * threads + thread`. (Bare-metal x86 hosts often number all first
/// threads before all second ones; such a machine is described by a file.) All CPUs are online with capacity 1024,
/// every node has memory, nodes are 20 apart, every core has its own L2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MachineSpec {
    nodes: usize,
    llcs_per_node: usize,
    cores_per_llc: usize,
    threads_per_core: usize,
}

impl MachineSpec {
    /// A spec from its numbers; `None` if one is 0 or their product is above [`MAX_CPUS`].
    pub fn new(
        nodes: usize,
        llcs_per_node: usize,
        cores_per_llc: usize,
        threads_per_core: usize,
    ) -> Option<Self> {
        let cpus =
            nodes.checked_mul(llcs_per_node)?.checked_mul(cores_per_llc)?.checked_mul(threads_per_core)?;
        let spec = Self { nodes, llcs_per_node, cores_per_llc, threads_per_core };
        (1..=MAX_CPUS).contains(&cpus).then_some(spec)
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many LLCs in each node.
    pub fn llcs_per_node(&self) -> usize {
        self.llcs_per_node
    }

    /// How many cores on each LLC.
    pub fn cores_per_llc(&self) -> usize {
        self.cores_per_llc
    }

    /// How many threads on each core.
    pub fn threads_per_core(&self) -> usize {
        self.threads_per_core
    }

    /// How many CPUs in all.
    pub fn cpus(&self) -> usize {
        self.nodes * self.llcs_per_node * self.cores_per_llc * self.threads_per_core
    }

    /// The machine that the spec describes.
    pub fn topology(&self) -> Topology {
        let nodes =
            (0..self.nodes).map(|id| RawNode { id, distances: Vec::new(), has_memory: true }).collect();
        let cpus = (0..self.cpus())
            .map(|id| {
                let core = id / self.threads_per_core;
                let llc = core / self.cores_per_llc;
                RawCpu {
                    id,
                    node: llc / self.llcs_per_node,
                    llc: Group::same(llc),
                    l2: Group::same(core),
                    core: Group::same(core),
                    capacity: CAPACITY_MAX,
                    online: true,
                }
            })
            .collect();
        build(nodes, cpus, 0).expect("a spec has 1 to MAX_CPUS distinct online CPUs on nodes that it lists")
    }
}

impl fmt::Display for MachineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n{}l{}c{}t", self.nodes, self.llcs_per_node, self.cores_per_llc, self.threads_per_core)
    }
}

const LETTERS: [char; 4] = ['n', 'l', 'c', 't'];

impl FromStr for MachineSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = |position: usize, problem| SpecError { text: shorten(text), position, problem };
        let mut parts = [1usize; 4];
        // The first letter that may still come, and the number being read with the position of its first digit.
        let mut next_part = 0;
        let mut number: Option<(usize, usize)> = None;
        let mut cpus = 1usize;
        let mut length = 0;
        for (position, found) in text.chars().enumerate().map(|(i, c)| (i + 1, c)) {
            length = position;
            if let Some(digit) = found.to_digit(10) {
                let (start, value) = number.unwrap_or((position, 0));
                let value = value * 10 + digit as usize;
                if value > MAX_CPUS {
                    return Err(error(start, SpecProblem::TooMany));
                }
                number = Some((start, value));
                continue;
            }
            let Some((start, value)) = number.take() else {
                return Err(error(position, SpecProblem::ExpectedDigit { found }));
            };
            let Some(part) = LETTERS.iter().position(|&l| l == found) else {
                return Err(error(position, SpecProblem::ExpectedLetter { found, next_part }));
            };
            if part < next_part {
                return Err(error(position, SpecProblem::Order { found }));
            }
            if value == 0 {
                return Err(error(start, SpecProblem::Zero { letter: found }));
            }
            cpus *= value;
            if cpus > MAX_CPUS {
                return Err(error(start, SpecProblem::TooMany));
            }
            parts[part] = value;
            next_part = part + 1;
        }
        if number.is_some() {
            return Err(error(length + 1, SpecProblem::NoLetter { next_part }));
        }
        if next_part == 0 {
            return Err(error(1, SpecProblem::Empty));
        }
        let [nodes, llcs_per_node, cores_per_llc, threads_per_core] = parts;
        Ok(Self { nodes, llcs_per_node, cores_per_llc, threads_per_core })
    }
}

/// What is wrong with a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpecProblem {
    Empty,
    ExpectedDigit { found: char },
    ExpectedLetter { found: char, next_part: usize },
    NoLetter { next_part: usize },
    Order { found: char },
    Zero { letter: char },
    TooMany,
}

/// A machine spec that cannot be read, with the character at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    text: String,
    position: usize,
    problem: SpecProblem,
}

impl SpecError {
    /// The character at fault, counted from 1; one past the end if the text ends too early.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// The letters that may still come, for a message.
fn letters_from(next_part: usize) -> String {
    match &LETTERS[next_part..] {
        [] => "the end, all four parts are there".to_owned(),
        [only] => format!("'{only}'"),
        several => several.iter().map(|l| format!("'{l}'")).collect::<Vec<_>>().join(" or "),
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topology spec {:?}: character {} ", self.text, self.position)?;
        match self.problem {
            SpecProblem::Empty => write!(f, "is missing, the spec is empty"),
            SpecProblem::ExpectedDigit { found } => write!(f, "is {found:?}, a number must come there"),
            SpecProblem::ExpectedLetter { found, next_part } => {
                write!(f, "is {found:?}, expected {}", letters_from(next_part))
            }
            SpecProblem::NoLetter { next_part } => {
                write!(f, "is missing, the number before it needs its letter: {}", letters_from(next_part))
            }
            SpecProblem::Order { found } => {
                write!(f, "is {found:?} a second time or out of order, the order is n, l, c, t")
            }
            SpecProblem::Zero { letter } => {
                write!(f, "begins the count 0 for '{letter}', it must be at least 1")
            }
            SpecProblem::TooMany => write!(f, "begins a number that makes more than {MAX_CPUS} CPUs"),
        }?;
        write!(f, "; write it like 2n4l8c2t (nodes, LLCs per node, cores per LLC, threads per core)")
    }
}

impl std::error::Error for SpecError {}
