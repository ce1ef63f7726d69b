// SPDX-License-Identifier: GPL-2.0-only
//! What a cgroup's `cpu.weight` makes of its tasks' weights: shares multiplied along the path.
//!
//! # Formula
//!
//! Let `own(c)` be the active load of the tasks directly in cgroup `c` (duty cycle × weight / 100, so 1.0 is one
//! always-runnable task of nice 0), `sub(c)` the same over its whole subtree, and `w(c)` its `cpu.weight`. A cgroup
//! competes with its siblings for as long as anything in it is runnable, which is `active(c) = min(1, sub(c))` of the
//! time. Tasks directly in the parent compete too, each with its own weight: together `100 × own(parent)`.
//!
//! * Rivals of `c`: `rivals(c) = 100 × own(parent) + Σ w(s) × active(s)` over the siblings `s` of `c`.
//! * Share of `c` in its parent while it is active: `w(c) / (w(c) + rivals(c))`. Idle siblings do not count.
//! * Share of the machine: `share(c)`, the product of that along the path from the root.
//! * Share of its own tasks: `share(c) × o / (o + Σ w(child) × active(child))` with `o = 100 × max(1, own(c))`.
//! * Factor: the own tasks' share × `max(1, load of the whole machine)` / `max(1, own(c))`.
//!
//! A task's effective weight is its weight times the factor of its cgroup. Where every cgroup is busy all the time, the
//! loads times factors add up to the load of the machine: shares only redistribute. Without cgroups, the factor is 1.
//! Below one always-runnable task, `max(1, …)` stands for the task itself: a cgroup that runs for a moment now and then
//! has its full weight in that moment, not a multiple of it. Everything is continuous in the loads, so a cgroup that
//! falls asleep does not shake the others.

use crate::SharesError;
use crate::ledger::DUTY_MAX;
use crate::weights::{WEIGHT_MAX, WEIGHT_MIN, WEIGHT_NORMAL};
use std::collections::BTreeMap;

/// One cgroup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cgroup {
    /// Its id.
    pub id: u64,
    /// Its parent's id; `None` for a root. Several roots compete like siblings.
    pub parent: Option<u64>,
    /// `cpu.weight`, 1..=10000; 100 is the kernel's default.
    pub weight: u32,
    /// Duty cycle × weight / 100 of the tasks directly in it, summed; children not included.
    pub load: f64,
}

/// The shares of all cgroups of a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    by_id: BTreeMap<u64, Share>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    of_machine: f64,
    factor: f64,
}

impl Shares {
    /// Computes all shares. The order of the list does not matter to the result, but for rounding.
    pub fn compute(cgroups: &[Cgroup]) -> Result<Self, SharesError> {
        let order = outermost_first(cgroups)?;
        let place: BTreeMap<u64, usize> = cgroups.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
        let parent = |i: usize| cgroups[i].parent.map(|id| place[&id]);
        let mut subtree: Vec<f64> = cgroups.iter().map(|c| c.load).collect();
        for &i in order.iter().rev() {
            if let Some(parent) = parent(i) {
                subtree[parent] += subtree[i];
            }
        }
        let claim = |i: usize| f64::from(cgroups[i].weight) * subtree[i].min(1.0);
        // What the children of each cgroup, and the roots, claim together.
        let mut children = vec![0.0; cgroups.len()];
        let mut roots = 0.0;
        for i in 0..cgroups.len() {
            *parent(i).map_or(&mut roots, |parent| &mut children[parent]) += claim(i);
        }
        let normal = f64::from(WEIGHT_NORMAL);
        let machine: f64 = cgroups.iter().map(|c| c.load).sum();
        let mut of_machine = vec![1.0; cgroups.len()];
        for &i in &order {
            let weight = f64::from(cgroups[i].weight);
            let (outer, all) = match parent(i) {
                Some(parent) => (of_machine[parent], children[parent] + normal * cgroups[parent].load),
                None => (1.0, roots),
            };
            // Never below 0, though the difference of the sums may be by a rounding error.
            let rivals = (all - claim(i)).max(0.0);
            of_machine[i] = outer * (weight / (weight + rivals));
        }
        let share = |(i, cgroup): (usize, &Cgroup)| {
            let own = cgroup.load.max(1.0);
            let own_share = normal * own / (normal * own + children[i]);
            let factor = of_machine[i] * own_share * machine.max(1.0) / own;
            (cgroup.id, Share { of_machine: of_machine[i], factor })
        };
        Ok(Self { by_id: cgroups.iter().enumerate().map(share).collect() })
    }

    /// The part of the machine that the cgroup's subtree may claim while it is active; `None` if it is unknown.
    pub fn share(&self, cgroup: u64) -> Option<f64> {
        self.by_id.get(&cgroup).map(|share| share.of_machine)
    }

    /// What the weights of the tasks directly in it are to be multiplied with; `None` if it is unknown.
    pub fn factor(&self, cgroup: u64) -> Option<f64> {
        self.by_id.get(&cgroup).map(|share| share.factor)
    }

    /// A task's effective weight, rounded, 1..=10000. Tasks of an unknown cgroup keep theirs.
    pub fn effective_weight(&self, cgroup: u64, weight: u32) -> u32 {
        let weight = weight.clamp(WEIGHT_MIN, WEIGHT_MAX);
        let Some(factor) = self.factor(cgroup) else { return weight };
        let scaled = (f64::from(weight) * factor).round();
        scaled.clamp(f64::from(WEIGHT_MIN), f64::from(WEIGHT_MAX)) as u32
    }
}

/// Checks the list and puts every cgroup after its parent.
fn outermost_first(cgroups: &[Cgroup]) -> Result<Vec<usize>, SharesError> {
    let mut place = BTreeMap::new();
    for (i, cgroup) in cgroups.iter().enumerate() {
        if place.insert(cgroup.id, i).is_some() {
            return Err(SharesError::Duplicate(cgroup.id));
        }
        if !(WEIGHT_MIN..=WEIGHT_MAX).contains(&cgroup.weight) {
            return Err(SharesError::Weight { cgroup: cgroup.id, weight: cgroup.weight });
        }
        if !(0.0..=DUTY_MAX).contains(&cgroup.load) {
            return Err(SharesError::Load { cgroup: cgroup.id, load: cgroup.load });
        }
    }
    let mut children = vec![Vec::new(); cgroups.len()];
    let mut order = Vec::with_capacity(cgroups.len());
    for (i, cgroup) in cgroups.iter().enumerate() {
        match cgroup.parent {
            None => order.push(i),
            Some(parent) => match place.get(&parent) {
                Some(&parent) => children[parent].push(i),
                None => return Err(SharesError::UnknownParent { cgroup: cgroup.id, parent }),
            },
        }
    }
    let mut next = 0;
    while let Some(&i) = order.get(next) {
        order.append(&mut children[i]);
        next += 1;
    }
    // Whoever no root leads to is on a cycle or below one.
    match (0..cgroups.len()).find(|&i| !children[i].is_empty()) {
        Some(i) => Err(SharesError::Cycle(cgroups[i].id)),
        None => Ok(order),
    }
}
