// SPDX-License-Identifier: GPL-2.0-only
//! Errors of the readers, the model and the domain builder. Each prints as one line: what is wrong, what to do.

use std::path::PathBuf;

use crate::cpuset::MaskError;
use crate::model::{CAPACITY_MAX, MAX_CPUS};
use crate::spec::SpecError;

/// Why a machine could not be read or described.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The sysfs tree has no CPU directory at all.
    #[error("no CPUs found under {}: mount sysfs there, or describe the machine by a spec like 2n4l8c2t", path.display())]
    NoSysfs {
        /// The directory that should have held the CPUs.
        path: PathBuf,
    },
    /// A file exists but cannot be read.
    #[error("cannot read {}: {source}; check that it exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A sysfs file holds something that is not what the kernel writes there.
    #[error("{} holds {text:?}: {reason}; this is not a sysfs tree that this program understands", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it holds (shortened).
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A machine spec is not well formed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A machine file is not well formed.
    #[error("machine file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line or field, and what to do.
        reason: String,
    },
    /// The parts do not make a machine.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Why a set of nodes and CPUs is not a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// There is no CPU.
    #[error("the machine has no CPU: give it at least one")]
    NoCpu,
    /// There are CPUs but none is online.
    #[error("no CPU of the machine is online: leave at least one out of the offline list")]
    NoOnlineCpu,
    /// More CPUs than supported.
    #[error("the machine has {count} CPUs, the most supported is {MAX_CPUS}: describe fewer")]
    TooManyCpus {
        /// How many there are.
        count: usize,
    },
    /// A CPU id is beyond what a [`crate::CpuSet`] holds.
    #[error("CPU {cpu} is beyond the largest CPU number {}: use smaller numbers", crate::CpuSet::LIMIT - 1)]
    CpuTooLarge {
        /// The CPU.
        cpu: usize,
    },
    /// A CPU appears twice.
    #[error("CPU {cpu} appears twice: list every CPU in one core only")]
    DuplicateCpu {
        /// The CPU.
        cpu: usize,
    },
    /// A node appears twice.
    #[error("node {node} appears twice: give every node its own id")]
    DuplicateNode {
        /// The node's id.
        node: usize,
    },
    /// A CPU's capacity is out of range.
    #[error("CPU {cpu} has capacity {capacity}: use a value from 1 to {CAPACITY_MAX}")]
    Capacity {
        /// The CPU.
        cpu: usize,
        /// Its capacity.
        capacity: u32,
    },
    /// A CPU refers to a node that is not there.
    #[error("CPU {cpu} is on node {node}, which the machine does not have: add the node or move the CPU")]
    UnknownNode {
        /// The CPU.
        cpu: usize,
        /// The node's id.
        node: usize,
    },
}

/// Why the CPUs could not be divided into domains as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// The text is neither a level name nor a list of masks.
    #[error(
        "domains {text:?}: not a level and not CPU masks; use llc, l2, core, node, machine or masks like '0-3;4-7'"
    )]
    UnknownLevel {
        /// The text (shortened).
        text: String,
    },
    /// A mask is not well formed; the position counts from the start of the whole text.
    #[error("domain {domain}: {source}")]
    Mask {
        /// The domain, counted from 0 in the order of the masks.
        domain: usize,
        /// What is wrong with the mask.
        source: MaskError,
    },
    /// A mask holds no CPU.
    #[error(
        "domain {domain} (from character {position}) has no CPU: remove it or give it CPUs, like '0-3;4-7'"
    )]
    EmptyMask {
        /// The domain, counted from 0 in the order of the masks.
        domain: usize,
        /// Where the mask starts in the text, counted from 1.
        position: usize,
    },
    /// Two masks hold the same CPU.
    #[error("CPU {cpu} is in domain {first} and in domain {second}: put every CPU in one mask only")]
    Overlap {
        /// The CPU.
        cpu: usize,
        /// The first domain that holds it.
        first: usize,
        /// The second domain that holds it.
        second: usize,
    },
    /// No mask holds this online CPU.
    #[error("CPU {cpu} is online but in no domain: add it to one of the masks (online CPUs: {online})")]
    Missing {
        /// The CPU.
        cpu: usize,
        /// The online CPUs as a list.
        online: String,
    },
    /// A mask names a CPU that the machine does not have.
    #[error(
        "domain {domain} names CPU {cpu}, which this machine does not have: remove it (online CPUs: {online})"
    )]
    Absent {
        /// The CPU.
        cpu: usize,
        /// The domain that names it.
        domain: usize,
        /// The online CPUs as a list.
        online: String,
    },
    /// A mask names a CPU that is offline.
    #[error(
        "domain {domain} names CPU {cpu}, which is offline: bring it online or remove it (online CPUs: {online})"
    )]
    Offline {
        /// The CPU.
        cpu: usize,
        /// The domain that names it.
        domain: usize,
        /// The online CPUs as a list.
        online: String,
    },
}

/// Shortens user text for a message, so that one bad value never fills the screen.
pub(crate) fn shorten(text: &str) -> String {
    const KEEP: usize = 60;
    if text.chars().count() <= KEEP {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(KEEP).collect();
    short.push('…');
    short
}
