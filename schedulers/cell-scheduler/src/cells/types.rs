// SPDX-License-Identifier: GPL-2.0-only
//! What goes into an assignment and what comes out.

use serde::{Deserialize, Serialize};
use topology::{CpuSet, DomainSet, Topology};

use super::note::Note;

/// A logical cell: a slot that may be used again after the cell is gone, and a generation that then differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId {
    /// The index, for tables; small numbers first.
    pub slot: u32,
    /// How often the slot was given away before.
    pub generation: u32,
}

impl CellId {
    /// Everything that belongs to no other cell.
    pub const ROOT: Self = Self { slot: 0, generation: 0 };
}

/// How a cell's CPUs spread over last-level caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LlcPolicy {
    /// As few caches as possible, so that its tasks share one and others keep theirs to themselves.
    #[default]
    Pack,
    /// As many caches as possible, for work that wants cache room more than sharing.
    Spread,
}

/// A logical cell as the assignment sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Which one.
    pub id: CellId,
    /// How many CPUs of full speed it could keep busy: the average number of its running and waiting tasks.
    pub demand: f64,
    /// Its share when CPUs are short, and of CPUs to spare: the kernel's `cpu.weight`, 1 to 10000, 100 by default.
    pub weight: u32,
    /// It has at least this many CPUs, as far as the machine and its cpuset allow.
    pub min_cpus: u32,
    /// It has at most this many CPUs (but at least one). Cell 0 ignores it: it takes what others leave.
    pub max_cpus: Option<u32>,
    /// The CPUs that its tasks may use (the effective cpuset); `None` is no restriction. Cell 0 ignores it.
    pub cpuset: Option<CpuSet>,
    /// Whether others may use its CPUs while they idle.
    pub lend: bool,
    /// Whether its tasks may use idle CPUs of others.
    pub borrow: bool,
    /// How its CPUs spread over caches.
    pub llc: LlcPolicy,
}

impl Cell {
    /// A cell without demand or restrictions, of default weight, that lends and borrows.
    pub fn new(id: CellId) -> Self {
        Self {
            id,
            demand: 0.0,
            weight: 100,
            min_cpus: 0,
            max_cpus: None,
            cpuset: None,
            lend: true,
            borrow: true,
            llc: LlcPolicy::Pack,
        }
    }
}

/// Thresholds of the assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// The most physical cells, cell 0 included (the size of the BPF side's table); at least 1.
    pub max_cells: u32,
    /// CPUs. Two physical cells whose quotas are both below this share one.
    pub merge_below: f64,
    /// CPUs. A merged cell whose own quota is at least this gets a physical cell of its own again. Well above
    /// [`Params::merge_below`], so that a quota that swings between the two changes nothing.
    pub split_above: f64,
    /// A physical cell that merged or split does neither again for this long, unless CPUs run short.
    pub cool_down_ns: u64,
    /// Cores. While every quota is within this of what the cell has, all keep what they have.
    pub keep_within: f64,
    /// Cell 0 has at least this many CPUs.
    pub root_min_cpus: u32,
    /// CPUs that one call may move only to join cores that cells share.
    pub tidy_moves: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_cells: 256,
            merge_below: 0.5,
            split_above: 0.9,
            cool_down_ns: 5_000_000_000,
            keep_within: 0.75,
            root_min_cpus: 1,
            tidy_moves: 16,
        }
    }
}

/// All that an assignment depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// Its cache domains, large ones split: the blocks that a cell gets whole where it can.
    pub domains: &'a DomainSet,
    /// The logical cells, in any order. Cell 0 may be left out; a cell that is named twice counts once.
    pub cells: &'a [Cell],
    /// What holds at the moment.
    pub previous: Option<&'a Assignment>,
    /// Thresholds.
    pub params: &'a Params,
    /// Any clock that never runs backwards, for cool-downs.
    pub now_ns: u64,
}

/// CPUs and the logical cells that share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalCell {
    /// Its index in the BPF side's table, below [`Params::max_cells`].
    pub id: u32,
    /// Rises whenever the id is given to another cell.
    pub generation: u32,
    /// Its CPUs, all online.
    pub cpus: CpuSet,
    /// The logical cells in it, rising. More than one are merged.
    pub members: Vec<CellId>,
    /// Whether its idle CPUs may be used by others: only if every member allows it.
    pub lend: bool,
    /// Whether its tasks may use idle CPUs of others: only if every member allows it.
    pub borrow: bool,
    /// When cells last merged into it or split from it; `None` if never.
    pub since_ns: Option<u64>,
}

/// Who owns which CPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Higher by one than the previous one's if anything else in it differs, else equal.
    pub sequence: u64,
    /// The physical cells by rising id; the first has id 0 and holds [`CellId::ROOT`].
    pub cells: Vec<PhysicalCell>,
    /// The last generation of every id that was ever used, by id.
    pub(crate) generations: Vec<u32>,
}

impl Assignment {
    /// The physical cell of that id.
    pub fn cell(&self, id: u32) -> Option<&PhysicalCell> {
        self.cells.binary_search_by_key(&id, |cell| cell.id).ok().map(|at| &self.cells[at])
    }

    /// When any cells last merged or split; `None` if none ever did.
    pub fn since_ns(&self) -> Option<u64> {
        self.cells.iter().filter_map(|cell| cell.since_ns).max()
    }

    /// The physical cell that a logical one lives in.
    pub fn physical_of(&self, id: CellId) -> Option<&PhysicalCell> {
        self.cells.iter().find(|cell| cell.members.binary_search(&id).is_ok())
    }

    /// The physical cell that owns a CPU.
    pub fn owner_of(&self, cpu: usize) -> Option<u32> {
        self.cells.iter().find(|cell| cell.cpus.contains(cpu)).map(|cell| cell.id)
    }

    /// The physical cell of every CPU number below `nr_cpu_ids`; `None` for those that are offline or absent.
    pub fn owners(&self, nr_cpu_ids: usize) -> Vec<Option<u32>> {
        let mut owners = vec![None; nr_cpu_ids];
        for cell in &self.cells {
            for cpu in cell.cpus.iter().take_while(|cpu| *cpu < nr_cpu_ids) {
                owners[cpu] = Some(cell.id);
            }
        }
        owners
    }
}

/// A new assignment, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Who owns what from now on.
    pub assignment: Assignment,
    /// Whether it differs from the previous one.
    pub changed: bool,
    /// The CPUs that have another owner than before.
    pub moved: CpuSet,
    /// Logical cells that share a physical cell now and did not before.
    pub merges: u32,
    /// Logical cells that shared a physical cell with others before and now have one to themselves or with fewer.
    pub splits: u32,
    /// Wishes that could not be met, one line each.
    pub notes: Vec<Note>,
}
