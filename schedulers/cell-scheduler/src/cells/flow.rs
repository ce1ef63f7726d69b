// SPDX-License-Identifier: GPL-2.0-only
//! Who can have how many when each may use certain items only: augmenting paths over holders.
//!
//! Items are CPUs, or cores named by their lowest CPU. An item that another holder has is taken along a chain: the other
//! takes one of somebody else, and so on, until an item that is free. Nobody ends with fewer than before.

use std::collections::VecDeque;

use topology::CpuSet;

/// Holders, what each may hold, what each holds, and what nobody holds.
#[derive(Debug, Clone)]
pub struct Flow<'a> {
    allowed: Vec<&'a CpuSet>,
    held: Vec<CpuSet>,
    free: CpuSet,
}

impl<'a> Flow<'a> {
    /// Nobody holds anything.
    pub fn new(allowed: Vec<&'a CpuSet>, items: CpuSet) -> Self {
        let held = vec![CpuSet::new(); allowed.len()];
        Self { allowed, held, free: items }
    }

    /// Begins with what everybody holds; what nobody holds is free. The held sets must be disjoint, allowed and
    /// among the items.
    pub fn holding(allowed: Vec<&'a CpuSet>, held: Vec<CpuSet>, items: &CpuSet) -> Self {
        let free = held.iter().fold(items.clone(), |free, set| free.difference(set));
        Self { allowed, held, free }
    }

    /// How many holders there are.
    pub fn holders(&self) -> usize {
        self.allowed.len()
    }

    /// How many the holder has.
    pub fn count(&self, holder: usize) -> usize {
        self.held[holder].len()
    }

    /// What everybody holds.
    pub fn into_held(self) -> Vec<CpuSet> {
        self.held
    }

    /// Whether items are free.
    pub fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Gives the holder one more item, if there is a way.
    ///
    /// # Errors
    /// The holders (this one first) that together hold every item that any of them may have: none of them can ever
    /// have more unless another of them has fewer.
    pub fn raise(&mut self, holder: usize) -> Result<(), Vec<usize>> {
        // Who is reached from whom, and the item that would be handed over.
        let mut from: Vec<Option<(usize, usize)>> = vec![None; self.allowed.len()];
        let mut reached = vec![holder];
        let mut seen = vec![false; self.allowed.len()];
        seen[holder] = true;
        let mut queue = VecDeque::from([holder]);
        while let Some(at) = queue.pop_front() {
            if let Some(item) = self.free.intersection(self.allowed[at]).first() {
                self.hand_along(at, item, &from);
                return Ok(());
            }
            for other in 0..self.allowed.len() {
                if seen[other] || !self.allowed[at].intersects(&self.held[other]) {
                    continue;
                }
                let Some(item) = self.held[other].intersection(self.allowed[at]).first() else { continue };
                seen[other] = true;
                from[other] = Some((at, item));
                reached.push(other);
                queue.push_back(other);
            }
        }
        Err(reached)
    }

    /// `last` takes a free item, and everybody on the way back to the first hands one on.
    fn hand_along(&mut self, last: usize, item: usize, from: &[Option<(usize, usize)>]) {
        self.free.remove(item);
        self.held[last].insert(item);
        let mut at = last;
        while let Some((taker, item)) = from[at] {
            self.held[at].remove(item);
            self.held[taker].insert(item);
            at = taker;
        }
    }
}

/// Holders of which not even one item each is possible, if there are such: together they may hold fewer items than
/// they are.
pub fn overfull(allowed: &[&CpuSet], items: &CpuSet) -> Option<Vec<usize>> {
    if allowed.len() > items.len() {
        return Some((0..allowed.len()).collect());
    }
    // Whoever may have anything finds something as long as there are not more holders than items.
    let bound: Vec<usize> = (0..allowed.len()).filter(|&i| allowed[i] != items).collect();
    let mut flow = Flow::new(bound.iter().map(|&i| allowed[i]).collect(), items.clone());
    let stuck = (0..bound.len()).find_map(|holder| flow.raise(holder).err());
    stuck.map(|tight| tight.into_iter().map(|at| bound[at]).collect())
}
