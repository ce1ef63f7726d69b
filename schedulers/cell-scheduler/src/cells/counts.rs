// SPDX-License-Identifier: GPL-2.0-only
//! How many CPUs every physical cell gets: quotas rounded once, then as near to that as cpusets allow.

use topology::CpuSet;

use super::apportion::{Share, apportion};
use super::flow::Flow;
use super::ground::Ground;

/// A physical cell's wish.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// CPUs, real.
    pub quota: f64,
    /// At least this many CPUs; 1 or more.
    pub min: usize,
    /// At most this many CPUs.
    pub max: usize,
    /// The CPUs it may have.
    pub allowed: &'a CpuSet,
    /// The CPUs it has and may keep.
    pub has: usize,
}

/// A number of CPUs for each wish; the first is cell 0's, which has no maximum. There is a way to hand CPUs out in these
/// numbers. They add up to the online CPUs, except for CPUs that nobody may have. Needs that one CPU for each is
/// possible.
///
/// `settled` says that the same cells existed before, so that everyone may keep what he has if that is near enough.
pub fn counts(ground: &Ground<'_>, wishes: &[Wish<'_>], settled: bool, keep_within: f64) -> Vec<usize> {
    let band = keep_within * ground.threads as f64;
    let near = |wish: &Wish<'_>| {
        (wish.quota - wish.has as f64).abs() <= band && (wish.min..=wish.max).contains(&wish.has)
    };
    let complete = wishes.iter().map(|wish| wish.has).sum::<usize>() == ground.online.len();
    if settled && complete && wishes.iter().all(near) {
        return wishes.iter().map(|wish| wish.has).collect();
    }
    match ground.threads {
        0 | 1 => by_items(wishes, &ground.online, 1),
        threads if by_cores(ground, wishes) => by_items(wishes, &ground.leaders, threads),
        _ => by_items(wishes, &ground.online, 1),
    }
}

/// Whether all can get whole cores.
fn by_cores(ground: &Ground<'_>, wishes: &[Wish<'_>]) -> bool {
    let cores = |wish: &Wish<'_>| wish.min.div_ceil(ground.threads);
    let fits = |wish: &Wish<'_>| {
        cores(wish) * ground.threads <= wish.max
            && (wish.allowed == &ground.online || ground.whole_cores(wish.allowed))
    };
    wishes.iter().map(cores).sum::<usize>() <= ground.leaders.len()
        && wishes.iter().all(fits)
        && super::flow::overfull(&wishes.iter().map(|wish| wish.allowed).collect::<Vec<_>>(), &ground.leaders)
            .is_none()
}

/// Hands out items of `width` CPUs each.
fn by_items(wishes: &[Wish<'_>], items: &CpuSet, width: usize) -> Vec<usize> {
    let room: Vec<CpuSet> = wishes.iter().map(|wish| wish.allowed.intersection(items)).collect();
    let mut shares: Vec<Share> = wishes
        .iter()
        .zip(&room)
        .map(|(wish, room)| {
            let lo = wish.min.div_ceil(width).clamp(1, room.len().max(1));
            let hi = (wish.max / width).clamp(lo, room.len().max(1));
            Share { quota: wish.quota / width as f64, lo, hi }
        })
        .collect();
    lower_minima(&mut shares, items.len());
    // Cell 0 has no maximum: what nobody else wants is its.
    if let Some(first) = shares.first_mut() {
        first.hi = items.len();
    }
    let wanted = apportion(&shares, items.len());
    let counts = if room.iter().all(|room| room.len() == items.len()) {
        wanted
    } else {
        reachable(&shares, &wanted, room.iter().collect(), items)
    };
    counts.into_iter().map(|count| count * width).collect()
}

/// Takes from the largest minima until they fit.
fn lower_minima(shares: &mut [Share], total: usize) {
    let mut excess = shares.iter().map(|share| share.lo).sum::<usize>().saturating_sub(total);
    while excess > 0 {
        let Some(largest) =
            (0..shares.len()).rev().max_by_key(|&i| shares[i].lo).filter(|&i| shares[i].lo > 1)
        else {
            return;
        };
        shares[largest].lo -= 1;
        excess -= 1;
    }
}

/// The wanted counts as far as they are possible; what is left over goes to those who are furthest below their quota
/// and may have it.
fn reachable(shares: &[Share], wanted: &[usize], room: Vec<&CpuSet>, items: &CpuSet) -> Vec<usize> {
    let mut flow = Flow::new(room, items.clone());
    // One for each is possible, the caller saw to it.
    for holder in 0..shares.len() {
        let _ = flow.raise(holder);
    }
    raise_all(&mut flow, |i, has| (has < shares[i].lo).then(|| -(has as f64) / shares[i].lo as f64));
    raise_all(&mut flow, |i, has| (has < wanted[i]).then(|| -(has as f64) / shares[i].quota.max(1e-9)));
    raise_all(&mut flow, |i, has| (has < shares[i].hi).then(|| shares[i].quota - has as f64));
    (0..shares.len()).map(|i| flow.count(i)).collect()
}

/// Raises the holder of the highest urgency again and again, until nobody is urgent or can be raised.
fn raise_all(flow: &mut Flow<'_>, urgency: impl Fn(usize, usize) -> Option<f64>) {
    let holders = flow.holders();
    let mut stuck = vec![false; holders];
    while flow.any_free() {
        let open = (0..holders).filter(|&i| !stuck[i]);
        let rated = open.filter_map(|i| Some((i, urgency(i, flow.count(i))?)));
        // The first of equal ones.
        let best = rated.fold(None, |best: Option<(usize, f64)>, (i, value)| match best {
            Some((_, top)) if value <= top + 1e-9 => best,
            _ => Some((i, value)),
        });
        let Some((holder, _)) = best else { return };
        if let Err(tight) = flow.raise(holder) {
            tight.into_iter().for_each(|i| stuck[i] = true);
        }
    }
}
