// SPDX-License-Identifier: GPL-2.0-only
//! Real quotas to whole numbers: the method of the largest remainder, within bounds.

/// One claim: what it should have, and the bounds of what it may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The real number to come near to.
    pub quota: f64,
    /// The least.
    pub lo: usize,
    /// The most; not below `lo`.
    pub hi: usize,
}

/// Whole numbers that add up to `total` and are, within the bounds, nearest to the quotas: the sum of the squared
/// differences is the smallest possible. Where no bound binds and the quotas add up to `total`, that is the method of
/// the largest remainder. Of equal claims the first gets more.
///
/// If the bounds do not admit `total`, the answer is all `lo` (total too small) or all `hi` (too large).
pub fn apportion(shares: &[Share], total: usize) -> Vec<usize> {
    let clamp =
        |share: &Share| (share.quota.max(0.0).floor() as usize).clamp(share.lo, share.hi.max(share.lo));
    let mut counts: Vec<usize> = shares.iter().map(clamp).collect();
    let mut sum: usize = counts.iter().sum();
    // Raising a count by one costs the less the further the count is below its quota; lowering it likewise. Both are
    // convex, so that taking the cheapest step each time ends at the optimum.
    while sum < total {
        let open = (0..shares.len()).filter(|&i| counts[i] < shares[i].hi);
        let Some(best) = most(open, |i| shares[i].quota - counts[i] as f64) else { break };
        counts[best] += 1;
        sum += 1;
    }
    while sum > total {
        let open = (0..shares.len()).filter(|&i| counts[i] > shares[i].lo).rev();
        let Some(best) = most(open, |i| counts[i] as f64 - shares[i].quota) else { break };
        counts[best] -= 1;
        sum -= 1;
    }
    counts
}

/// The first of those with the highest value. Values that differ only by rounding count as equal: otherwise the order
/// in which a sum was taken would decide.
fn most(items: impl Iterator<Item = usize>, value: impl Fn(usize) -> f64) -> Option<usize> {
    const ROUNDING: f64 = 1e-9;
    let mut best: Option<(usize, f64)> = None;
    for item in items {
        let found = value(item);
        if best.is_none_or(|(_, top)| found > top + ROUNDING) {
            best = Some((item, found));
        }
    }
    best.map(|(item, _)| item)
}
