// SPDX-License-Identifier: GPL-2.0-only
//! What a round needs to know besides the machine's state.

use crate::{CostModel, PlanError};

/// Parameters of one round.
#[derive(Debug, Clone)]
pub struct PlanParams {
    /// The time of the snapshot, on the clock of [`crate::Task::last_moved_ns`].
    pub now_ns: u64,
    /// A task that changed its domain less than this ago stays: its caches are still filling, and the running averages
    /// do not show the last move in full yet. 0 switches the rule off. Default 3 s: longer than the usual interval of
    /// 2 s between rounds, so nothing moves in two rounds in a row.
    pub rest_ns: u64,
    /// Pairs that one transfer of this much duty cycle would even out are left alone, however large the imbalance is in
    /// relation to a nearly idle machine's average. Scaled by the machine's mean weight when weights count. Default
    /// 0.02, which is 2 % of one CPU.
    pub min_transfer: f64,
    /// The most moves a round may plan.
    pub max_moves: usize,
    /// What a move costs; it must gain more.
    pub cost: CostModel,
    /// How many refusals to explain one by one in [`crate::Plan::refused`]; they are all counted anyway.
    pub max_refusals_explained: usize,
    /// Whether each move carries its cost term by term ([`crate::MoveReason::terms`]). Default false.
    pub explain: bool,
    /// Whether to ask the source for the cgroups' loads even if nothing has to push. Default false.
    pub cgroup_statistics: bool,
}

impl Default for PlanParams {
    fn default() -> Self {
        Self {
            now_ns: 0,
            rest_ns: 3_000_000_000,
            min_transfer: 0.02,
            max_moves: usize::MAX,
            cost: CostModel::default(),
            max_refusals_explained: 0,
            explain: false,
            cgroup_statistics: false,
        }
    }
}

impl PlanParams {
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        if !(0.0..=1e9).contains(&self.min_transfer) {
            return Err(PlanError::Parameter { parameter: "min_transfer", value: self.min_transfer });
        }
        self.cost.check()
    }

    /// Whether a task that last changed its domain then has to rest.
    pub(crate) fn is_resting(&self, last_moved_ns: u64) -> bool {
        // A move stamped later than the snapshot (another CPU's clock) is a recent one.
        last_moved_ns != 0 && self.now_ns.saturating_sub(last_moved_ns) < self.rest_ns
    }
}
