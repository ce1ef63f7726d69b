// SPDX-License-Identifier: GPL-2.0-only
//! The terms this crate brings, with their defaults and the reasons for them.

use super::{CostTerm, MoveContext};

/// Hysteresis: every move costs this share of the task's load.
///
/// Duty cycles come from running averages, which put an always-runnable task anywhere from 0.97 to 1.0. Five such tasks
/// over four domains can then look as if one more move gained up to 0.06; the same with seven and six tasks gains up to
/// 0.21. A share of 0.25 rides above both, so equal tasks come to rest, while a move that truly evens out two domains
/// (gain = load) passes easily.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reluctance {
    /// Share of the task's load.
    pub share: f64,
}

impl Reluctance {
    /// The term's name.
    pub const NAME: &str = "reluctance";
}

impl Default for Reluctance {
    fn default() -> Self {
        Self { share: 0.25 }
    }
}

impl CostTerm for Reluctance {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        self.share * context.load
    }

    fn least_share(&self) -> f64 {
        self.share
    }
}

/// Distance between source and destination.
///
/// Between two nodes whose distance the tree knows: `share` for every multiple of the local distance beyond the first,
/// so nodes at distance 20 (local: 10) cost 0.1 and nodes at 32 cost 0.22. Otherwise `share` for every level above the
/// innermost that the move crosses. Never more than `limit`.
///
/// Default 0.1: one node boundary above cache domains makes a move that gains less than 0.35 of its load (with
/// [`Reluctance`]) not worthwhile. The limit of 0.3 keeps the sum of all defaults below the load, or a far node would
/// stay idle beside a crowded one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelDistance {
    /// Share of the task's load per level, or per multiple of the local distance.
    pub share: f64,
    /// The most it may cost, as a share of the task's load.
    pub limit: f64,
}

impl LevelDistance {
    /// The term's name.
    pub const NAME: &str = "level-distance";
}

impl Default for LevelDistance {
    fn default() -> Self {
        Self { share: 0.1, limit: 0.3 }
    }
}

impl CostTerm for LevelDistance {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        let steps = match context.distance {
            Some(distance) if distance > 1.0 => distance - 1.0,
            _ => context.depth.saturating_sub(context.level + 1) as f64,
        };
        let share = self.share * steps;
        // Not `min`, which would hide a NaN.
        (if share > self.limit { self.limit } else { share }) * context.load
    }

    fn least_share(&self) -> f64 {
        // A negative share would recommend distance without end.
        if self.share >= 0.0 { self.limit.min(0.0) } else { f64::NEG_INFINITY }
    }
}

/// Cache warmth: a task that ran a moment ago leaves its cache behind. Costs `share` of its load when it is running, and
/// half as much for every half-life since it last ran; nothing when that is unknown (0).
///
/// Default half-life 10 ms: a task that waits has others on its CPU, and two slices of 20 ms of theirs leave little of
/// its lines in a private cache of one or two MiB or its part of a last-level cache; at 40 ms a sixteenth of the cost is
/// left. Default share 0.1: refilling a few MiB takes in the order of a millisecond, little against the seconds that a
/// placement lasts, so warmth must never stop a move that is needed. It decides which of several similar tasks goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheWarmth {
    /// Share of a running task's load.
    pub share: f64,
    /// After this long without running, the cost is half of that. 0: only a running task is warm.
    pub half_life_ns: u64,
}

impl CacheWarmth {
    /// The term's name.
    pub const NAME: &str = "cache-warmth";
}

impl Default for CacheWarmth {
    fn default() -> Self {
        Self { share: 0.1, half_life_ns: 10_000_000 }
    }
}

impl CostTerm for CacheWarmth {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        // Later than the snapshot (another CPU's clock) is now.
        let age = match context.task.last_ran_ns {
            0 => return 0.0,
            at => context.now_ns.saturating_sub(at),
        };
        let half_lives = match (age, self.half_life_ns) {
            (0, _) => 0.0,
            (_, 0) => return 0.0,
            (age, half_life) => age as f64 / half_life as f64,
        };
        self.share * (-half_lives).exp2() * context.load
    }

    fn least_share(&self) -> f64 {
        self.share.min(0.0)
    }
}

/// Cgroup cohesion: tasks of one cgroup tend to share data, so they had better be together.
///
/// With the task itself set aside, let `f` and `t` be the parts of its cgroup's load in the source and in the
/// destination: the move costs `share × (f - t)` of the task's load. Leaving the domain where the whole rest of the
/// cgroup is costs `share`; following it there gains as much; between domains with equal parts it costs nothing.
///
/// Default 0.1: as much as one level of [`LevelDistance`]. A cgroup may hold everything on the machine, so cohesion must
/// not outweigh balance; and even a full recommendation leaves a cost of 0.15 with [`Reluctance`], which still keeps
/// noise out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CgroupCohesion {
    /// Share of the task's load for leaving (or joining) all of its cgroup.
    pub share: f64,
}

impl CgroupCohesion {
    /// The term's name.
    pub const NAME: &str = "cgroup-cohesion";
}

impl Default for CgroupCohesion {
    fn default() -> Self {
        Self { share: 0.1 }
    }
}

impl CostTerm for CgroupCohesion {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        let Some(cgroup) = context.cgroup else { return 0.0 };
        let rest = cgroup.total - context.load;
        // What rounding leaves of a cgroup with one task is no company.
        if rest <= 1e-9 * cgroup.total {
            return 0.0;
        }
        let stays = ((cgroup.from - context.load) / rest).clamp(0.0, 1.0);
        let waits = (cgroup.to / rest).clamp(0.0, 1.0);
        self.share * (stays - waits) * context.load
    }

    fn least_share(&self) -> f64 {
        -self.share.abs()
    }
}

/// Isolation: a destination below `quiet_below` load per capacity is left alone at this share of the task's load. Not
/// among the defaults, because an idle domain is what balancing is there to use; for machines that keep a domain free
/// for something that must not be disturbed.
///
/// Defaults, once it is switched on: a domain counts as quiet below 5 % use, and a move there must gain 0.2 of the load
/// more. With all other terms at their most that is still below the load: it delays the first task into a quiet domain
/// until it is worth a lot. Give infinity to keep everybody out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Isolation {
    /// Load per capacity under which a domain counts as quiet.
    pub quiet_below: f64,
    /// Share of the task's load; infinity never enters a quiet domain.
    pub share: f64,
}

impl Isolation {
    /// The term's name.
    pub const NAME: &str = "isolation";
}

impl Default for Isolation {
    fn default() -> Self {
        Self { quiet_below: 0.05, share: 0.2 }
    }
}

impl CostTerm for Isolation {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        if context.to_pressure < self.quiet_below { self.share * context.load } else { 0.0 }
    }

    fn least_share(&self) -> f64 {
        self.share.min(0.0)
    }
}
