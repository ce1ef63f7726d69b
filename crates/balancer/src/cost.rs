// SPDX-License-Identifier: GPL-2.0-only
//! What a move costs: a sum of terms, each of which can be left out or weighted.
//!
//! Cost and gain are loads. The gain of a move is at most the task's load: that much, if the task carries no more than
//! half of the difference between the two sides, and less, down to nothing, if it would overshoot. A term that answers
//! `0.25 × load` thus refuses moves whose overshoot eats up three quarters of their use.

use crate::{DomainId, PlanError, Task, TaskId};
use std::fmt;
use std::sync::Arc;

/// Everything a cost term may look at.
#[derive(Debug, Clone, Copy)]
pub struct MoveContext<'a> {
    /// The task.
    pub task: &'a Task,
    /// Its load in this round's scale.
    pub load: f64,
    /// Where it is.
    pub from: DomainId,
    /// Where it would go.
    pub to: DomainId,
    /// The level that wants the move; 0 is the outermost.
    pub level: usize,
    /// Levels of the tree.
    pub depth: usize,
    /// Load of the source domain per capacity, before the move.
    pub from_pressure: f64,
    /// Load of the destination domain per capacity, before the move.
    pub to_pressure: f64,
}

/// One reason for which moves are not free.
pub trait CostTerm: fmt::Debug + Send + Sync {
    /// A short name for explanations.
    fn name(&self) -> &'static str;

    /// The cost of this move as a load; infinity forbids it, a negative number recommends it, NaN ends the round with
    /// an error. Must depend on nothing but the argument, or equal input no longer gives an equal plan.
    fn cost(&self, context: &MoveContext<'_>) -> f64;
}

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

impl Default for Reluctance {
    fn default() -> Self {
        Self { share: 0.25 }
    }
}

impl CostTerm for Reluctance {
    fn name(&self) -> &'static str {
        "reluctance"
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        self.share * context.load
    }
}

/// Distance: this share of the task's load for every level above the innermost that the move crosses. Default 0.1: one
/// node boundary above cache domains makes a move that gains less than 0.35 of its load (with [`Reluctance`]) not
/// worthwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelDistance {
    /// Share of the task's load per level.
    pub share: f64,
}

impl Default for LevelDistance {
    fn default() -> Self {
        Self { share: 0.1 }
    }
}

impl CostTerm for LevelDistance {
    fn name(&self) -> &'static str {
        "level-distance"
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        let crossed = context.depth.saturating_sub(context.level + 1);
        self.share * crossed as f64 * context.load
    }
}

/// Isolation: a destination below `quiet_below` load per capacity is left alone at this share of the task's load. Not
/// among the defaults, because an idle domain is what balancing is there to use; for machines that keep a domain free
/// for something that must not be disturbed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Isolation {
    /// Load per capacity under which a domain counts as quiet.
    pub quiet_below: f64,
    /// Share of the task's load; infinity never enters a quiet domain.
    pub share: f64,
}

impl CostTerm for Isolation {
    fn name(&self) -> &'static str {
        "isolation"
    }

    fn cost(&self, context: &MoveContext<'_>) -> f64 {
        if context.to_pressure < self.quiet_below { self.share * context.load } else { 0.0 }
    }
}

/// The sum of its terms. [`Default`] holds [`Reluctance`] and [`LevelDistance`].
#[derive(Debug, Clone)]
pub struct CostModel {
    terms: Vec<Arc<dyn CostTerm>>,
}

impl Default for CostModel {
    fn default() -> Self {
        Self::free().with(Reluctance::default()).with(LevelDistance::default())
    }
}

impl CostModel {
    /// Moves cost nothing; any gain will do.
    pub const fn free() -> Self {
        Self { terms: Vec::new() }
    }

    /// Adds a term.
    #[must_use]
    pub fn with(mut self, term: impl CostTerm + 'static) -> Self {
        self.terms.push(Arc::new(term));
        self
    }

    /// Takes the terms of this name out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.terms.retain(|term| term.name() != name);
        self
    }

    /// The names of the terms in use.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.terms.iter().map(|term| term.name())
    }

    /// The cost of a move, term by term, for explanations.
    pub fn terms<'a>(
        &'a self,
        context: &'a MoveContext<'_>,
    ) -> impl Iterator<Item = (&'static str, f64)> + 'a {
        self.terms.iter().map(|term| (term.name(), term.cost(context)))
    }

    /// The cost of a move. An infinite term decides alone: its opposite in another term cannot turn the sum into NaN.
    pub(crate) fn total(&self, context: &MoveContext<'_>) -> Result<f64, PlanError> {
        let mut sum = 0.0;
        for (name, cost) in self.terms(context) {
            if cost.is_nan() {
                return Err(nan(name, context.task.id, cost));
            }
            if cost == f64::INFINITY {
                return Ok(cost);
            }
            sum += cost;
        }
        Ok(sum)
    }
}

fn nan(term: &'static str, task: TaskId, value: f64) -> PlanError {
    PlanError::Cost { term, task, value }
}
