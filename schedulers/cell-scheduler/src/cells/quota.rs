// SPDX-License-Identifier: GPL-2.0-only
//! What share of the machine each cell should have: weighted max-min fairness up to the demand, then by weight.
//!
//! First every cell gets what it demands, as long as there is enough; where there is not, the cells that want more than
//! their weight entitles them to are cut to one common level per weight. So a small cell gets all it wants beside a
//! greedy one. What is left over when every demand is met goes to all cells in proportion to their weights: room for
//! bursts. A set of CPUs that several cells are confined to is one more limit of the same kind as the whole machine:
//! when it is used up, the level of its cells stops rising. For nested and for disjoint cpusets that is exact; for sets
//! that overlap otherwise it is an estimate, which `flow` corrects to what is possible.

/// A cell's claim. Numbers of CPUs, real.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Above 0.
    pub weight: f64,
    /// What it could keep busy.
    pub demand: f64,
    /// The least it should have.
    pub min: f64,
    /// The most it may have; not below `min`.
    pub max: f64,
}

/// CPUs that some claims are confined to.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// How much there is.
    pub capacity: f64,
    /// The claims that can be served from here only, by index.
    pub claims: Vec<usize>,
}

/// A quota per claim. No limit is exceeded (minima that do not fit are scaled down); what no claim may have stays
/// unassigned. `limits` should include the whole machine, with every claim.
pub fn quotas(claims: &[Claim], limits: &[Limit]) -> Vec<f64> {
    let mut floor: Vec<f64> = claims.iter().map(|claim| claim.min).collect();
    for limit in limits {
        let sum: f64 = limit.claims.iter().map(|&i| floor[i]).sum();
        if sum > limit.capacity {
            limit.claims.iter().for_each(|&i| floor[i] *= limit.capacity / sum);
        }
    }
    let wanted = |(claim, &floor): (&Claim, &f64)| claim.demand.clamp(floor, claim.max.max(floor));
    let rising = |base: &[f64], lo: &[f64], hi: Vec<f64>| -> Vec<Rise> {
        (0..claims.len())
            .map(|i| Rise { base: base[i], slope: claims[i].weight, lo: lo[i], hi: hi[i].max(lo[i]) })
            .collect()
    };
    let nothing = vec![0.0; claims.len()];
    let served = fill(&rising(&nothing, &floor, claims.iter().zip(&floor).map(wanted).collect()), limits);
    fill(&rising(&served, &served, claims.iter().map(|claim| claim.max).collect()), limits)
}

/// What a claim has when the water stands at level `t`: `base + slope · t`, but at least `lo` and at most `hi`.
struct Rise {
    base: f64,
    slope: f64,
    lo: f64,
    hi: f64,
}

impl Rise {
    fn at(&self, level: f64) -> f64 {
        (self.base + self.slope * level).clamp(self.lo, self.hi)
    }
}

/// Raises one level for all; whoever is in a limit that is reached stops there.
fn fill(rises: &[Rise], limits: &[Limit]) -> Vec<f64> {
    let mut stopped: Vec<Option<f64>> = vec![None; rises.len()];
    let mut levels: Vec<f64> = limits.iter().map(|limit| level_of(limit, rises, &stopped)).collect();
    loop {
        let lowest = (0..limits.len()).min_by(|&a, &b| levels[a].total_cmp(&levels[b]));
        let Some(reached) = lowest.filter(|&at| levels[at].is_finite()) else { break };
        let level = levels[reached];
        let mut newly = vec![false; rises.len()];
        for &i in &limits[reached].claims {
            if stopped[i].is_none() {
                newly[i] = true;
                stopped[i] = Some(rises[i].at(level));
            }
        }
        levels[reached] = f64::INFINITY;
        for (at, limit) in limits.iter().enumerate() {
            if levels[at].is_finite() && limit.claims.iter().any(|&i| newly[i]) {
                levels[at] = level_of(limit, rises, &stopped).max(level);
            }
        }
    }
    rises.iter().zip(stopped).map(|(rise, stop)| stop.unwrap_or(rise.hi)).collect()
}

/// The level at which a limit is used up, given who has stopped already; infinite if it never is.
fn level_of(limit: &Limit, rises: &[Rise], stopped: &[Option<f64>]) -> f64 {
    let mut room = limit.capacity;
    let mut at_top = 0.0;
    // Where the sum over the claims bends: a claim begins to rise, or reaches its top.
    let mut bends: Vec<(f64, f64)> = Vec::with_capacity(2 * limit.claims.len());
    for &i in &limit.claims {
        let rise = &rises[i];
        match stopped[i] {
            Some(value) => room -= value,
            None => {
                room -= rise.lo;
                at_top += rise.hi - rise.lo;
                if rise.hi > rise.lo {
                    bends.push(((rise.lo - rise.base) / rise.slope, rise.slope));
                    bends.push(((rise.hi - rise.base) / rise.slope, -rise.slope));
                }
            }
        }
    }
    if at_top <= room || bends.is_empty() {
        return f64::INFINITY;
    }
    bends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut level, mut slope) = (bends[0].0, 0.0);
    for (bend, change) in bends {
        let step = slope * (bend - level);
        if step >= room && slope > 0.0 {
            break;
        }
        room -= step;
        level = bend;
        slope += change;
    }
    // Rounding may leave a slope of about nothing behind the last bend.
    if slope > 1e-12 { level + room.max(0.0) / slope } else { level }
}
