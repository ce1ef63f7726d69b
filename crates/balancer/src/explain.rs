// SPDX-License-Identifier: GPL-2.0-only
//! A round in words and numbers: what moves and why, and what does not and why not.

use crate::{Move, Plan, Refusal, RefusalCause, Refusals, TaskId};
use std::fmt;

/// The decisions of one round. Displayed, it is one line each; with the feature `serde` it can be serialised.
///
/// Moves carry their cost term by term if [`crate::PlanParams::explain`] was set, and
/// [`crate::PlanParams::max_refusals_explained`] refusals are there in detail. An infinite cost is `null` in JSON.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Explanation {
    /// Whether weights counted.
    pub saturated: bool,
    /// The weight that larger ones were clamped to; `None` when not saturated.
    pub lambda: Option<f64>,
    /// Load of the machine.
    pub total_load: f64,
    /// The moves in the order decided.
    pub moves: Vec<Move>,
    /// The first refusals in detail.
    pub refused: Vec<Refusal>,
    /// All refusals by cause.
    pub refusals: Refusals,
}

impl Plan {
    /// The round's decisions, apart from its figures.
    pub fn explanation(&self) -> Explanation {
        Explanation {
            saturated: self.saturated,
            lambda: self.lambda,
            total_load: self.total_load,
            moves: self.moves.clone(),
            refused: self.refused.clone(),
            refusals: self.refusals,
        }
    }
}

impl Explanation {
    /// Gives every task the name that `name` knows for it.
    pub fn name_tasks(&mut self, name: impl Fn(TaskId) -> Option<String>) {
        let moves = self.moves.iter_mut().map(|m| (m.task, &mut m.name));
        let refused = self.refused.iter_mut().map(|refusal| (refusal.task, &mut refusal.name));
        for (task, place) in moves.chain(refused) {
            *place = name(task).unwrap_or_default();
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (moves, refusals) = (self.moves.len(), self.refusals.total());
        write!(f, "load {:.3}, {moves} moves, {refusals} refusals", self.total_load)?;
        match self.lambda {
            Some(lambda) => write!(f, ", saturated: weights count up to {lambda:.1}")?,
            None => f.write_str(", not saturated: weights do not count")?,
        }
        self.moves.iter().try_for_each(|m| write!(f, "\n{m}"))?;
        self.refused.iter().try_for_each(|refusal| write!(f, "\n{refusal}"))?;
        let counted = RefusalCause::ALL.into_iter().map(|cause| (cause, self.refusals.of(cause)));
        counted.filter(|(_, n)| *n > 0).try_for_each(|(cause, n)| write!(f, "\nrefused {n}: {cause}"))
    }
}
