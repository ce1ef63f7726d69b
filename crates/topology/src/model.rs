// SPDX-License-Identifier: GPL-2.0-only
//! The machine as plain data: nodes, LLCs, L2s, cores, CPUs.

use std::path::Path;

use crate::cpuset::CpuSet;
use crate::error::TopologyError;
use crate::spec::MachineSpec;
use crate::{file, sysfs};

/// The most CPUs that a machine may have, offline ones included.
pub const MAX_CPUS: usize = 4096;

/// The capacity of the fastest kind of CPU; others are relative to it (the kernel's `SCHED_CAPACITY_SCALE`).
pub const CAPACITY_MAX: u32 = 1024;

/// Distance of a node to itself where nothing else is known (ACPI SLIT's and the kernel's `LOCAL_DISTANCE`).
pub(crate) const LOCAL_DISTANCE: u32 = 10;
/// Distance between nodes where nothing else is known (the kernel's `REMOTE_DISTANCE`).
pub(crate) const REMOTE_DISTANCE: u32 = 20;

/// A NUMA node. May have no CPUs (memory expanders) or no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The kernel's node number.
    pub id: usize,
    /// The node's CPUs, offline ones included.
    pub cpus: CpuSet,
    /// `(node id, distance)` to every node of the machine in the order of [`Topology::nodes`], itself included.
    /// ACPI SLIT units: 10 is local.
    pub distances: Vec<(usize, u32)>,
    /// Whether the node has memory of its own.
    pub has_memory: bool,
}

/// A last-level cache and the CPUs that share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Llc {
    /// The kernel's cache id, or the lowest CPU where the kernel gives none. For people only: two LLCs may carry the
    /// same id (a cache cut by a node border, caches of different levels). The index is the identity.
    pub id: usize,
    /// Index of its node in [`Topology::nodes`].
    pub node: usize,
    /// The CPUs that share it, offline ones included.
    pub cpus: CpuSet,
}

/// A second-level cache and the CPUs that share it; one per core where nothing is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2 {
    /// The kernel's cache id, or the lowest CPU where the kernel gives none. Not unique, as [`Llc::id`].
    pub id: usize,
    /// Index of its LLC in [`Topology::llcs`].
    pub llc: usize,
    /// The CPUs that share it, offline ones included.
    pub cpus: CpuSet,
}

/// A core and its SMT threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// The kernel's core number, or the lowest CPU where the kernel gives none. Unique within a package only.
    pub id: usize,
    /// Index of its LLC in [`Topology::llcs`].
    pub llc: usize,
    /// Index of its L2 in [`Topology::l2s`].
    pub l2: usize,
    /// Its threads, offline ones included where known.
    pub cpus: CpuSet,
}

/// A logical CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's CPU number.
    pub id: usize,
    /// Index of its core in [`Topology::cores`].
    pub core: usize,
    /// Index of its L2 in [`Topology::l2s`].
    pub l2: usize,
    /// Index of its LLC in [`Topology::llcs`].
    pub llc: usize,
    /// Index of its node in [`Topology::nodes`].
    pub node: usize,
    /// Computing capacity, 1 to [`CAPACITY_MAX`].
    pub capacity: u32,
    /// Whether the CPU is online.
    pub online: bool,
}

/// A machine. Plain data that never changes; after CPU hotplug read a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The nodes by rising id.
    pub nodes: Vec<Node>,
    /// The LLCs by node, then by lowest CPU.
    pub llcs: Vec<Llc>,
    /// The L2s by LLC, then by lowest CPU.
    pub l2s: Vec<L2>,
    /// The cores by L2, then by lowest CPU.
    pub cores: Vec<Core>,
    /// The CPUs by rising id, offline ones included.
    pub cpus: Vec<Cpu>,
    pub(crate) nr_cpu_ids: usize,
}

impl Topology {
    /// The running machine, from `/sys`.
    ///
    /// # Errors
    ///
    /// As [`Topology::from_sysfs`].
    pub fn live() -> Result<Self, TopologyError> {
        Self::from_sysfs(Path::new("/sys"))
    }

    /// A machine from a sysfs tree; `root` is the directory that stands for `/sys`.
    ///
    /// All present CPUs are kept, offline ones with `online: false`. For those the kernel shows neither siblings nor
    /// caches: each is its own core, in the LLC of its node if the node has only one, else in an LLC of its own kind.
    /// A CPU without cache directories falls back to one LLC per package, or per node where there is no package.
    /// Files that vanish while they are read (CPU hotplug) count as missing.
    ///
    /// # Errors
    ///
    /// No CPU directory under `root`; a file that cannot be read or that does not hold what the kernel writes there;
    /// more than [`MAX_CPUS`] CPUs.
    pub fn from_sysfs(root: &Path) -> Result<Self, TopologyError> {
        sysfs::read(root)
    }

    /// A machine from a spec such as `2n4l8c2t`; see [`MachineSpec`] for the grammar and the CPU numbers.
    ///
    /// # Errors
    ///
    /// Names the first character at fault, counted from 1.
    pub fn from_spec(spec: &str) -> Result<Self, TopologyError> {
        Ok(spec.parse::<MachineSpec>()?.topology())
    }

    /// A machine from a file: JSON if its name ends in `.json`, else TOML. CPUs are lists such as `0-3,8`. All fields
    /// are optional but `nodes`, and either `cpus` or `cores` in each LLC; LLCs, L2s and cores may carry an `id`:
    ///
    /// ```toml
    /// nr_cpu_ids = 16                                 # default: one more than the highest CPU
    /// offline = "7"                                   # CPUs that are offline
    ///
    /// [[nodes]]
    /// id = 0                                          # default: its place in the file
    /// distances = [10, 21]                            # one per node in the order of the file
    /// memory = true
    /// [[nodes.llcs]]                                  # simple: CPUs, SMT siblings next to each other
    /// cpus = "0-3"
    /// threads = 2                                     # CPUs per core, default 1
    /// [[nodes.llcs]]                                  # uneven: core by core
    /// capacity = 512                                  # 1 to 1024, for all its cores
    /// l2s = [{ cpus = "4-7" }]                        # L2 caches shared by several cores
    /// cores = [{ cpus = "4" }, { cpus = "5", capacity = 1024 }, { cpus = "6" }, { cpus = "7" }]
    ///
    /// [[nodes]]                                       # a node without CPUs
    /// distances = [21, 10]
    /// ```
    ///
    /// # Errors
    ///
    /// The file cannot be read; it is not TOML or JSON of this shape (with the place); it names a CPU twice, has no
    /// online CPU, or a capacity out of range.
    pub fn from_file(path: &Path) -> Result<Self, TopologyError> {
        file::read(path)
    }

    /// A machine from a command-line argument: a file if the text contains a `/`, ends in `.toml` or `.json`, or names
    /// an existing file; otherwise a spec.
    ///
    /// # Errors
    ///
    /// As [`Topology::from_file`] and [`Topology::from_spec`].
    pub fn source(arg: &str) -> Result<Self, TopologyError> {
        let path = Path::new(arg);
        if arg.contains('/') || arg.ends_with(".toml") || arg.ends_with(".json") || path.is_file() {
            Self::from_file(path)
        } else {
            Self::from_spec(arg)
        }
    }

    /// The machine in the file format of [`Topology::from_file`]; reading it back gives an equal machine if the
    /// threads of each core have the same capacity (else they take the highest).
    pub fn to_toml(&self) -> String {
        file::to_toml(self)
    }

    /// The online CPUs.
    pub fn online(&self) -> CpuSet {
        self.cpus.iter().filter(|c| c.online).map(|c| c.id).collect()
    }

    /// All CPUs, offline ones included.
    pub fn all_cpus(&self) -> CpuSet {
        self.cpus.iter().map(|c| c.id).collect()
    }

    /// One more than the highest CPU number that may ever appear (the kernel's `nr_cpu_ids`): the size for per-CPU
    /// arrays indexed by CPU id.
    pub fn nr_cpu_ids(&self) -> usize {
        self.nr_cpu_ids
    }

    /// The CPU of that id, if the machine has it.
    pub fn cpu(&self, id: usize) -> Option<&Cpu> {
        // With dense ids the index is the id; only sparse ones need the search.
        match self.cpus.get(id) {
            Some(cpu) if cpu.id == id => Some(cpu),
            _ => self.cpus.binary_search_by_key(&id, |c| c.id).ok().map(|i| &self.cpus[i]),
        }
    }

    /// The SMT threads of the CPU's core, itself included; `None` if the machine has no such CPU.
    pub fn siblings(&self, cpu: usize) -> Option<&CpuSet> {
        Some(&self.cores[self.cpu(cpu)?.core].cpus)
    }

    /// The distance between two nodes given by **index** (ACPI SLIT units: 10 is local); not always symmetric.
    ///
    /// # Panics
    ///
    /// If an index is out of range of [`Topology::nodes`].
    pub fn node_distance(&self, from: usize, to: usize) -> u32 {
        self.nodes[from].distances[to].1
    }

    /// The sum of the capacities of the CPUs of a set; ids that the machine does not have count nothing.
    pub fn capacity(&self, cpus: &CpuSet) -> u64 {
        cpus.iter().filter_map(|id| self.cpu(id)).map(|c| u64::from(c.capacity)).sum()
    }
}
