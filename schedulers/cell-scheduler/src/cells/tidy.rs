// SPDX-License-Identifier: GPL-2.0-only
//! Joins cores: where cells share a core although a swap of two CPUs would give one of them a core to itself.
//!
//! Every swap lowers the number of (core, cell) pairs, so it ends, and a second run finds nothing more to do.

use topology::CpuSet;

use super::ground::Ground;

/// Swaps CPUs between cells as long as fewer cells share cores after it and at most `budget` CPUs move. No count
/// changes, and every CPU stays among those that its cell may have. `held` must be disjoint.
pub fn tidy(ground: &Ground<'_>, held: &mut [CpuSet], allowed: &[&CpuSet], budget: usize) {
    let top = ground.online.last().map_or(0, |last| last + 1);
    let mut owner: Vec<Option<usize>> = vec![None; top];
    for (cell, cpus) in held.iter().enumerate() {
        cpus.iter().for_each(|cpu| owner[cpu] = Some(cell));
    }
    let mut work = Work { ground, owner, allowed };
    let mut left = budget;
    while left >= 2 {
        let pieces = work.pieces();
        let Some((a, b)) = ground.cores.iter().find_map(|core| work.best_swap(core, &pieces)) else { return };
        let (of_a, of_b) = (work.owner[a], work.owner[b]);
        for (cell, lost, won) in [(of_a, a, b), (of_b, b, a)] {
            if let Some(cell) = cell {
                held[cell].remove(lost);
                held[cell].insert(won);
            }
        }
        work.owner.swap(a, b);
        left -= 2;
    }
}

struct Work<'a> {
    ground: &'a Ground<'a>,
    owner: Vec<Option<usize>>,
    allowed: &'a [&'a CpuSet],
}

impl Work<'_> {
    /// How many cells share a core, if the CPUs `a` and `b` changed owners.
    fn sharing(&self, core: &CpuSet, a: usize, b: usize) -> usize {
        let owner = |cpu| match cpu {
            cpu if cpu == a => self.owner[b],
            cpu if cpu == b => self.owner[a],
            cpu => self.owner[cpu],
        };
        let mut owners: Vec<_> = core.iter().map(owner).collect();
        owners.sort_unstable();
        owners.dedup();
        owners.len()
    }

    fn shared(&self, core: &CpuSet) -> bool {
        core.first().is_some_and(|first| core.iter().any(|cpu| self.owner[cpu] != self.owner[first]))
    }

    /// Per cell: its CPUs on cores that others use as well.
    fn pieces(&self) -> Vec<Vec<usize>> {
        let mut pieces = vec![Vec::new(); self.allowed.len()];
        for core in self.ground.cores.iter().filter(|core| self.shared(core)) {
            for cpu in core {
                if let Some(cell) = self.owner[cpu] {
                    pieces[cell].push(cpu);
                }
            }
        }
        pieces
    }

    /// The swap of a CPU of this core with one elsewhere that saves most, preferably in the same block. It brings home
    /// a CPU of a cell that is on this core already: no other swap can save anything here.
    fn best_swap(&self, core: &CpuSet, pieces: &[Vec<usize>]) -> Option<(usize, usize)> {
        if !self.shared(core) {
            return None;
        }
        let mut best: Option<((usize, bool), (usize, usize))> = None;
        for cell in core.iter().filter_map(|cpu| self.owner[cpu]) {
            for &b in pieces[cell].iter().filter(|b| !core.contains(**b)) {
                let elsewhere = self.ground.core_of(b);
                for a in core {
                    let Some(saved) = self.saves(core, elsewhere, a, b) else { continue };
                    let value = (saved, self.ground.block_of(a) == self.ground.block_of(b));
                    if best.is_none_or(|(top, _)| value > top) {
                        best = Some((value, (a, b)));
                    }
                }
            }
        }
        best.map(|(_, pair)| pair)
    }

    /// How many (core, cell) pairs fewer there are after the swap, if it is allowed and there are any.
    fn saves(&self, core: &CpuSet, elsewhere: &CpuSet, a: usize, b: usize) -> Option<usize> {
        let (of_a, of_b) = (self.owner[a]?, self.owner[b]?);
        if of_a == of_b || !self.allowed[of_a].contains(b) || !self.allowed[of_b].contains(a) {
            return None;
        }
        let before = self.sharing(core, a, a) + self.sharing(elsewhere, b, b);
        let after = self.sharing(core, a, b) + self.sharing(elsewhere, a, b);
        before.checked_sub(after).filter(|saved| *saved > 0)
    }
}
