// SPDX-License-Identifier: GPL-2.0-only
//! Which CPUs every physical cell gets, given how many: those it had, as far as possible.
//!
//! A cell with too many gives back what it will miss least: pieces of cores that it shares, then its smallest pieces of
//! caches and nodes. A cell with too few takes whole blocks if it needs that many, else CPUs in caches that it uses
//! already, near its node, in the free space that fits best; whole cores before threads. If cpusets leave no free CPU
//! that it may use, CPUs are handed along a chain of cells.

use std::cmp::Reverse;

use topology::CpuSet;

use super::flow::Flow;
use super::ground::Ground;
use super::types::LlcPolicy;

/// What a physical cell is to get.
#[derive(Debug, Clone)]
pub struct Want<'a> {
    /// How many CPUs.
    pub count: usize,
    /// How much they should be worth, in CPUs of average capacity.
    pub worth: f64,
    /// CPUs it may have.
    pub allowed: &'a CpuSet,
    /// CPUs it had and may keep.
    pub keep: CpuSet,
    /// How they should spread over caches.
    pub llc: LlcPolicy,
}

/// CPUs for every want, in order. The counts must be possible together; what they leave over goes to the first.
pub fn place(ground: &Ground<'_>, wants: &[Want<'_>]) -> Vec<CpuSet> {
    let mut held: Vec<CpuSet> = wants.iter().map(|want| want.keep.clone()).collect();
    for at in 0..wants.len() {
        let excess = held[at].len().saturating_sub(wants[at].count);
        if excess > 0 {
            let needy = (0..wants.len()).filter(|&other| held[other].len() < wants[other].count);
            let usable = needy.fold(CpuSet::new(), |all, other| all.union(wants[other].allowed));
            give_back(ground, &mut held[at], excess, &usable, wants[at].llc);
        }
    }
    let mut free = held.iter().fold(ground.online.clone(), |free, set| free.difference(set));
    let mut order: Vec<usize> = (0..wants.len()).filter(|&at| held[at].len() < wants[at].count).collect();
    // Who has the least choice chooses first, then who wants a little everywhere, then who needs most.
    order.sort_by_key(|&at| {
        let Want { count, allowed, llc, .. } = &wants[at];
        (allowed.len(), *llc == LlcPolicy::Pack, Reverse(count - held[at].len()), at)
    });
    for &at in &order {
        grow(ground, &mut held[at], &wants[at], &mut free);
    }
    if order.iter().any(|&at| held[at].len() < wants[at].count) {
        let allowed = wants.iter().map(|want| want.allowed).collect();
        let mut flow = Flow::holding(allowed, held, &ground.online);
        for &at in &order {
            while flow.count(at) < wants[at].count && flow.raise(at).is_ok() {}
        }
        held = flow.into_held();
    }
    let left = held.iter().fold(ground.online.clone(), |free, set| free.difference(set));
    if let Some(first) = held.first_mut() {
        first.extend_from(&left);
    }
    held
}

/// Removes `excess` CPUs, those that others can use first.
fn give_back(ground: &Ground<'_>, held: &mut CpuSet, mut excess: usize, usable: &CpuSet, llc: LlcPolicy) {
    while excess > 0 {
        let useful = held.intersection(usable);
        let pool = if useful.is_empty() { held.clone() } else { useful };
        let mut own_on = vec![0usize; ground.nodes()];
        for block in &ground.blocks {
            own_on[block.node] += block.cpus.intersection(held).len();
        }
        let candidates = (0..ground.blocks.len()).filter(|&at| ground.blocks[at].cpus.intersects(&pool));
        let rank = |&at: &usize| {
            let block = &ground.blocks[at];
            let own = block.cpus.intersection(held).len();
            match llc {
                LlcPolicy::Pack => (own_on[block.node], own, Reverse(at)),
                LlcPolicy::Spread => (0, usize::MAX - own, Reverse(at)),
            }
        };
        let Some(block) = candidates.min_by_key(rank) else { return };
        let here = ground.blocks[block].cpus.intersection(&pool);
        let most = if llc == LlcPolicy::Spread { excess.min(ground.threads) } else { excess };
        let given = worst_of(ground, held, &here, most);
        excess -= given.len();
        *held = held.difference(&given);
    }
}

/// Up to `most` of the CPUs in `here` (at least one): pieces of shared cores, then whole cores, then part of one.
fn worst_of(ground: &Ground<'_>, held: &CpuSet, here: &CpuSet, most: usize) -> CpuSet {
    let mut pieces: Vec<(bool, usize, CpuSet)> = cores_in(ground, here)
        .into_iter()
        .map(|core| (ground.cores[core].is_subset(held), core, ground.cores[core].intersection(here)))
        .collect();
    // Shared cores first; of whole ones the last.
    pieces.sort_by_key(|(whole, core, _)| (*whole, Reverse(*core)));
    let mut given = CpuSet::new();
    for (_, _, piece) in &pieces {
        if given.len() + piece.len() <= most {
            given.extend_from(piece);
        }
    }
    let rest = pieces.iter().flat_map(|(_, _, piece)| piece.iter());
    let rest: Vec<usize> = rest.filter(|cpu| !given.contains(*cpu)).take(most - given.len()).collect();
    given.extend(rest);
    given
}

/// Indices of the cores of a set's CPUs, rising.
fn cores_in(ground: &Ground<'_>, cpus: &CpuSet) -> Vec<usize> {
    let mut cores: Vec<usize> = cpus.iter().map(|cpu| ground.core_index(cpu)).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// Adds free CPUs until the count is reached or none is left that the cell may use.
fn grow(ground: &Ground<'_>, held: &mut CpuSet, want: &Want<'_>, free: &mut CpuSet) {
    while held.len() < want.count {
        let usable = free.intersection(want.allowed);
        let Some(block) = best_block(ground, held, want, &usable) else { return };
        let here = ground.blocks[block].cpus.intersection(&usable);
        let lack = want.count - held.len();
        let most = if want.llc == LlcPolicy::Spread { lack.min(ground.threads) } else { lack };
        let taken = best_of(ground, held, want, &here, most);
        held.extend_from(&taken);
        *free = free.difference(&taken);
    }
}

/// The block to take from next.
fn best_block(ground: &Ground<'_>, held: &CpuSet, want: &Want<'_>, usable: &CpuSet) -> Option<usize> {
    let lack = want.count - held.len();
    let nodes = ground.nodes();
    let mut own_on = vec![0usize; nodes];
    let mut free_on = vec![0usize; nodes];
    for block in &ground.blocks {
        own_on[block.node] += block.cpus.intersection(held).len();
        free_on[block.node] += block.cpus.intersection(usable).len();
    }
    // The node with most of its CPUs, the lowest of equal ones.
    let home = (0..nodes).rev().max_by_key(|&node| own_on[node]).filter(|&node| own_on[node] > 0);
    let near = |node: usize| match home {
        Some(home) => i64::from(u32::MAX - ground.distance(home, node)),
        None if free_on[node] >= lack => i64::MAX - free_on[node] as i64,
        None => free_on[node] as i64,
    };
    let rank = |&at: &usize| {
        let block = &ground.blocks[at];
        let room = block.cpus.intersection(usable).len();
        let own = block.cpus.intersection(held).len();
        let whole = room == block.cpus.len() && room <= lack;
        let fits = room >= lack;
        let fit = if fits { usize::MAX - room } else { room };
        match want.llc {
            LlcPolicy::Pack => (whole, near(block.node), own > 0, fits, fit, Reverse(at)),
            LlcPolicy::Spread => (false, 0, false, false, usize::MAX - own, Reverse(at)),
        }
    };
    (0..ground.blocks.len()).filter(|&at| ground.blocks[at].cpus.intersects(usable)).max_by_key(rank)
}

/// Up to `most` of the free CPUs in `here` (at least one): those that complete own cores, then whole cores, then
/// threads of cores that others use as well, then part of a core.
fn best_of(ground: &Ground<'_>, held: &CpuSet, want: &Want<'_>, here: &CpuSet, most: usize) -> CpuSet {
    let mut pieces: Vec<(u8, usize, CpuSet)> = cores_in(ground, here)
        .into_iter()
        .map(|core| {
            let piece = ground.cores[core].intersection(here);
            let class = match (ground.cores[core].difference(&piece), piece.len() == ground.cores[core].len())
            {
                (_, true) => 1,
                (rest, false) if rest.is_subset(held) => 0,
                _ => 2,
            };
            (class, core, piece)
        })
        .collect();
    let mut taken = CpuSet::new();
    let mut worth = ground.worth(held);
    while !pieces.is_empty() && taken.len() < most {
        // What each of the CPUs still to come should be worth on average.
        let lack = want.count.saturating_sub(held.len() + taken.len()).max(1);
        let mean = (want.worth - worth) / lack as f64;
        let off = |piece: &CpuSet| (ground.worth(piece) / piece.len() as f64 - mean).abs();
        let fits = |piece: &CpuSet| taken.len() + piece.len() <= most;
        let best = (0..pieces.len()).min_by(|&a, &b| {
            let (a, b) = (&pieces[a], &pieces[b]);
            let order = (!fits(&a.2), a.0).cmp(&(!fits(&b.2), b.0));
            order.then(off(&a.2).total_cmp(&off(&b.2))).then(a.1.cmp(&b.1))
        });
        let Some(best) = best else { break };
        let (_, _, piece) = pieces.remove(best);
        let part: CpuSet = piece.iter().take(most - taken.len()).collect();
        worth += ground.worth(&part);
        taken.extend_from(&part);
    }
    taken
}
