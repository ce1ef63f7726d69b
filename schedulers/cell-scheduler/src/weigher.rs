// SPDX-License-Identifier: GPL-2.0-only
//! What cpu.weight makes of the weights of tasks that share a cell: a factor for each cgroup, round after round.
//!
//! [`balancer::shares`] has the formula; each cell is a machine of its own in it. Here: which cgroups compete in which
//! cell, and which factors are worth telling the BPF side.

use std::collections::{BTreeMap, BTreeSet};

use balancer::SharesError;
use balancer::shares::{Cgroup, Shares};
use balancer::weights::{WEIGHT_MAX, WEIGHT_MIN};

use crate::kernel::abi;

/// Factor one, as the BPF side has it.
const ONE: u32 = 1 << abi::cs_limits_CS_FACTOR_BITS;

/// A factor is told again when it has changed by more than this part of itself. Loads are never quite still, and each
/// change makes every task look.
const TOLERANCE: u32 = 16;

/// Ids of the nodes that stand for members come after those of cgroups (inode numbers, which are far below).
const MEMBER_NODE: u64 = 1 << 63;

/// A cgroup of the hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Its id.
    pub id: u64,
    /// Its parent's; `None` for the root of the hierarchy, whose tasks compete with the outermost cgroups.
    pub parent: Option<u64>,
    /// `cpu.weight`, 1..=10000.
    pub weight: u32,
}

/// Where the tasks of a member count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The cell it lives in.
    pub cell: u32,
    /// Its weight among the members of that cell.
    pub weight: u32,
}

/// What to tell the BPF side, or what it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Cgroups that have no factor any more.
    pub removed: Vec<u64>,
    /// New factors by cgroup.
    pub set: Vec<(u64, u32)>,
}

/// Knows what the BPF side knows.
#[derive(Clone, Debug)]
pub struct Weigher {
    /// After this time an old load counts half, ns; 0: no smoothing.
    half_life_ns: u64,
    /// Cumulative loads at the last round, and the averages since.
    counted: BTreeMap<u64, Counted>,
    published: BTreeMap<u64, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    total: u64,
    average: f64,
}

impl Weigher {
    /// Has told nothing yet.
    pub fn new(half_life_ns: u64) -> Self {
        Self { half_life_ns, counted: BTreeMap::new(), published: BTreeMap::new() }
    }

    /// Average loads as always-runnable tasks of nice 0, by cgroup, from the BPF side's cumulative ones. They come in lumps, a
    /// whole wait or slice at a time, and the factors must not follow each.
    pub fn loads(&mut self, cumulative: &BTreeMap<u64, u64>, elapsed_ns: u64) -> BTreeMap<u64, f64> {
        let elapsed = elapsed_ns.max(1) as f64;
        let kept = if self.half_life_ns == 0 { 0.0 } else { (-elapsed / self.half_life_ns as f64).exp2() };
        let follow = |(id, &total): (&u64, &u64)| {
            let before = self.counted.get(id);
            let rate = total.saturating_sub(before.map_or(0, |before| before.total)) as f64 / elapsed;
            let average = before.map_or(rate, |before| before.average * kept + rate * (1.0 - kept));
            (*id, Counted { total, average })
        };
        self.counted = cumulative.iter().map(follow).collect();
        self.counted.iter().map(|(id, counted)| (*id, counted.average)).collect()
    }

    /// What has to change for these loads; it comes again until [`Weigher::told`] says that it has. `tree` is the hierarchy,
    /// `slots` the member each cgroup is the root of, and `seats` where the members live; slot 0 is everything else.
    ///
    /// # Errors
    /// A tree that is none.
    pub fn changes(
        &self,
        tree: &[TreeNode],
        loads: &BTreeMap<u64, f64>,
        slots: &BTreeMap<u64, u32>,
        seats: &BTreeMap<u32, Seat>,
    ) -> Result<Changes, SharesError> {
        let slot_of = slots_of(tree, slots);
        let mut factors: BTreeMap<u64, u32> = BTreeMap::new();
        for cell in seats.values().map(|seat| seat.cell).collect::<BTreeSet<_>>() {
            let cgroups = competitors(tree, loads, &slot_of, seats, cell);
            let shares = Shares::compute(&cgroups)?;
            for cgroup in cgroups.iter().filter(|cgroup| cgroup.id & MEMBER_NODE == 0) {
                let factor = shares.factor(cgroup.id).unwrap_or(1.0) * f64::from(ONE);
                factors.insert(cgroup.id, factor.round().clamp(1.0, f64::from(ONE * WEIGHT_MAX)) as u32);
            }
        }
        Ok(self.differences(&factors))
    }

    fn differences(&self, factors: &BTreeMap<u64, u32>) -> Changes {
        let removed = self.published.keys().filter(|id| !factors.contains_key(id)).copied().collect();
        let differs = |(id, factor): &(&u64, &u32)| {
            let known = self.published.get(*id).copied().unwrap_or(ONE);
            factor.abs_diff(known) > known / TOLERANCE
        };
        let set = factors.iter().filter(differs).map(|(id, factor)| (*id, *factor)).collect();
        Changes { removed, set }
    }

    /// Notes what the BPF side has been told.
    pub fn told(&mut self, changes: &Changes) {
        changes.removed.iter().for_each(|id| _ = self.published.remove(id));
        self.published.extend(changes.set.iter().copied());
    }

    /// Loads of cgroups that are no longer in the tree: the BPF side may forget them.
    pub fn gone(&self, tree: &[TreeNode]) -> Vec<u64> {
        let known: BTreeSet<u64> = tree.iter().map(|node| node.id).collect();
        self.counted.keys().filter(|id| !known.contains(id)).copied().collect()
    }

    /// Forgets a cgroup's load.
    pub fn forget(&mut self, id: u64) {
        self.counted.remove(&id);
    }
}

/// The slot each cgroup's tasks belong to: its own, or that of the nearest ancestor that has one. Parents come first in `tree`.
fn slots_of(tree: &[TreeNode], slots: &BTreeMap<u64, u32>) -> BTreeMap<u64, u32> {
    let mut slot_of = BTreeMap::new();
    for node in tree {
        let inherited = || node.parent.and_then(|parent| slot_of.get(&parent).copied()).unwrap_or(0);
        let slot = slots.get(&node.id).copied().unwrap_or_else(inherited);
        slot_of.insert(node.id, slot);
    }
    slot_of
}

/// The cgroups whose tasks share a cell, as a tree: members at the top, each with its weight. What belongs to everything
/// else is there as the root of the hierarchy.
fn competitors(
    tree: &[TreeNode],
    loads: &BTreeMap<u64, f64>,
    slot_of: &BTreeMap<u64, u32>,
    seats: &BTreeMap<u32, Seat>,
    cell: u32,
) -> Vec<Cgroup> {
    let slot = |id: u64| slot_of.get(&id).copied().unwrap_or(0);
    let lives_here = |slot: u32| seats.get(&slot).is_some_and(|seat| seat.cell == cell);
    let member = |slot: u32| (slot != 0).then_some(MEMBER_NODE | u64::from(slot));
    let mut cgroups: Vec<Cgroup> = seats
        .iter()
        .filter(|(slot, seat)| **slot != 0 && seat.cell == cell)
        .map(|(slot, seat)| Cgroup {
            id: MEMBER_NODE | u64::from(*slot),
            parent: None,
            weight: seat.weight.clamp(WEIGHT_MIN, WEIGHT_MAX),
            load: 0.0,
        })
        .collect();
    for node in tree.iter().filter(|node| lives_here(slot(node.id))) {
        let own = slot(node.id);
        let same = |parent: &u64| slot_of.contains_key(parent) && slot(*parent) == own;
        let inner = node.parent.filter(same);
        cgroups.push(Cgroup {
            id: node.id,
            parent: inner.or(member(own)),
            weight: node.weight.clamp(WEIGHT_MIN, WEIGHT_MAX),
            load: loads.get(&node.id).copied().unwrap_or(0.0).clamp(0.0, 1e9),
        });
    }
    cgroups
}

#[cfg(test)]
mod tests;
