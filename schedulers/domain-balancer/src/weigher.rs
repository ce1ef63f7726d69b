// SPDX-License-Identifier: GPL-2.0-only
//! From the tree of cgroups and what runs in them to the factor of each cgroup, round after round.
//!
//! [`balancer::shares`] has the formula. Here: whose tasks count where, and which factors are worth telling the BPF side.

use std::collections::BTreeMap;

use balancer::SharesError;
use balancer::shares::{Cgroup, Shares};
use balancer::weights::WEIGHT_NORMAL;

use crate::cgroups::CgroupDir;
use crate::kernel::abi;
use crate::snapshot::TaskState;

/// Factor one, as the BPF side has it.
const ONE: u32 = 1 << abi::db_limits_DB_FACTOR_BITS;

/// A factor is told again when it has changed by more than this part of itself. Duty cycles are never quite still, and each
/// change makes every task look.
const TOLERANCE: u32 = 32;

/// What to tell the BPF side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Cgroups that have no factor any more: they are gone.
    pub removed: Vec<u64>,
    /// New factors by cgroup.
    pub set: Vec<(u64, u32)>,
}

impl Changes {
    /// Nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }
}

/// Knows what the BPF side knows.
#[derive(Clone, Debug, Default)]
pub struct Weigher {
    published: BTreeMap<u64, u32>,
    /// Cgroups whose `cpu.weight` counts.
    weighed: usize,
}

impl Weigher {
    /// Whether the BPF side has any factor.
    pub fn has_published(&self) -> bool {
        !self.published.is_empty()
    }

    /// Cgroups with a `cpu.weight` in the last round.
    pub fn weighed(&self) -> usize {
        self.weighed
    }

    /// The factor that the tasks of a cgroup have; 1 for one that has none.
    pub fn factor(&self, cgroup: u64) -> f64 {
        f64::from(self.published.get(&cgroup).copied().unwrap_or(ONE)) / f64::from(ONE)
    }

    /// What has to change for `tree` with `tasks` in it. An empty tree takes every factor back.
    ///
    /// # Errors
    /// A tree that is none.
    pub fn changes(&mut self, tree: &[CgroupDir], tasks: &[TaskState]) -> Result<Changes, SharesError> {
        let owner = owners(tree);
        let mut loads: BTreeMap<u64, f64> = BTreeMap::new();
        for task in tasks {
            // A cgroup younger than the tree is unknown: its tasks wait for the next round.
            if let Some(&owner) = owner.get(&task.cgroup) {
                let load = task.duty_cycle * f64::from(task.own_weight) / f64::from(WEIGHT_NORMAL);
                *loads.entry(owner).or_default() += load;
            }
        }
        let cgroup = |dir: &CgroupDir| Cgroup {
            id: dir.id,
            parent: dir.parent.and_then(|parent| owner.get(&parent).copied()),
            weight: dir.weight.unwrap_or(WEIGHT_NORMAL),
            load: loads.get(&dir.id).copied().unwrap_or_default(),
        };
        let counting = tree.iter().filter(|dir| dir.weight.is_some() || dir.parent.is_none());
        let shares = Shares::compute(&counting.map(cgroup).collect::<Vec<_>>())?;
        self.weighed = tree.iter().filter(|dir| dir.weight.is_some()).count();
        Ok(self.compare(&wanted(&owner, &loads, &shares)))
    }

    fn compare(&self, wanted: &BTreeMap<u64, u32>) -> Changes {
        let removed = self.published.keys().filter(|&id| !wanted.contains_key(id)).copied().collect();
        let differs = |&(id, factor): &(u64, u32)| {
            let known = self.published.get(&id).copied().unwrap_or(ONE);
            known.abs_diff(factor) > known / TOLERANCE
        };
        let set = wanted.iter().map(|(&id, &factor)| (id, factor)).filter(differs).collect();
        Changes { removed, set }
    }

    /// Notes that the BPF side knows a factor now, or with `None` that it has forgotten it.
    pub fn told(&mut self, cgroup: u64, factor: Option<u32>) {
        match factor {
            Some(factor) => self.published.insert(cgroup, factor),
            None => self.published.remove(&cgroup),
        };
    }
}

/// For each cgroup the nearest one on its path that competes: itself if it has a weight, else its parent's.
fn owners(tree: &[CgroupDir]) -> BTreeMap<u64, u64> {
    let mut owner = BTreeMap::new();
    for dir in tree {
        let own = match dir.parent {
            Some(parent) if dir.weight.is_none() => owner.get(&parent).copied().unwrap_or(dir.id),
            _ => dir.id,
        };
        owner.insert(dir.id, own);
    }
    owner
}

/// The factors of all cgroups; if there is no room for all, of those with load first.
fn wanted(owner: &BTreeMap<u64, u64>, loads: &BTreeMap<u64, f64>, shares: &Shares) -> BTreeMap<u64, u32> {
    let factor = |owner: u64| fixed(shares.factor(owner).unwrap_or(1.0));
    let mut factors: Vec<(u64, u32, bool)> =
        owner.iter().map(|(&id, &owner)| (id, factor(owner), loads.contains_key(&owner))).collect();
    let room = abi::db_limits_DB_MAX_CGROUPS as usize;
    if factors.len() > room {
        factors.sort_by_key(|&(_, _, active)| !active);
        factors.truncate(room);
    }
    factors.into_iter().map(|(id, factor, _)| (id, factor)).collect()
}

/// In the BPF side's unit; never 0, which would be a weight of nothing.
fn fixed(factor: f64) -> u32 {
    // A float beyond the range becomes the nearest end of it.
    (factor * f64::from(ONE)).round().max(1.0) as u32
}

#[cfg(test)]
mod tests;
