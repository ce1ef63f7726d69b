// SPDX-License-Identifier: GPL-2.0-only
//! What a move costs: a sum of terms, each of which can be left out or scaled.
//!
//! Cost and gain are loads. The gain of a move is at most the task's load: that much, if the task carries no more than
//! half of the difference between the two sides, and less, down to nothing, if it would overshoot. A term that answers
//! `0.25 × load` thus refuses moves whose overshoot eats up three quarters of their use.
//!
//! The defaults add up to less than the load (0.25 for the reluctance, at most 0.3 for the distance, 0.1 each for warmth
//! and cohesion: 0.75), so a move that evens out two sides without overshooting always pays, however warm the task is.

mod terms;

pub use terms::{CacheWarmth, CgroupCohesion, Isolation, LevelDistance, Reluctance};

use crate::{DomainId, PlanError, Task};
use std::fmt;
use std::sync::Arc;

/// Load of a task's cgroup, the task included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CgroupShare {
    /// On the whole machine.
    pub total: f64,
    /// In the source domain.
    pub from: f64,
    /// In the destination.
    pub to: f64,
}

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
    /// The time of the snapshot.
    pub now_ns: u64,
    /// Memory distance between the two domains' nodes in units of the local one (1.0: same node); `None` if the tree
    /// was not given distances.
    pub distance: Option<f64>,
    /// Where the task's cgroup has its load, the moves of this round so far included; `None` if the source does not
    /// say or the task is in no cgroup (id 0).
    pub cgroup: Option<CgroupShare>,
}

/// One reason for which moves are not free.
pub trait CostTerm: fmt::Debug + Send + Sync {
    /// A short name for explanations and for switching it off.
    fn name(&self) -> &'static str;

    /// The cost of this move as a load; infinity forbids it, a negative number recommends it, NaN ends the round with
    /// an error. Must depend on nothing but the argument, or equal input no longer gives an equal plan.
    fn cost(&self, context: &MoveContext<'_>) -> f64;

    /// A lower bound of `cost / load` over all moves. With it a round passes over a pair of domains whose smallest
    /// task could not pay, without a look at each task. The default promises nothing.
    fn least_share(&self) -> f64 {
        f64::NEG_INFINITY
    }
}

#[derive(Debug, Clone)]
struct Scaled {
    term: Arc<dyn CostTerm>,
    factor: f64,
}

/// The sum of its terms. [`Default`] holds [`Reluctance`], [`LevelDistance`], [`CacheWarmth`] and [`CgroupCohesion`].
#[derive(Debug, Clone)]
pub struct CostModel {
    terms: Vec<Scaled>,
}

impl Default for CostModel {
    fn default() -> Self {
        Self::free()
            .with(Reluctance::default())
            .with(LevelDistance::default())
            .with(CacheWarmth::default())
            .with(CgroupCohesion::default())
    }
}

impl CostModel {
    /// The terms of this crate by name, for option parsers.
    pub const NAMES: [&str; 5] =
        [Reluctance::NAME, LevelDistance::NAME, CacheWarmth::NAME, CgroupCohesion::NAME, Isolation::NAME];

    /// Moves cost nothing; any gain will do.
    pub const fn free() -> Self {
        Self { terms: Vec::new() }
    }

    /// Adds a term.
    #[must_use]
    pub fn with(mut self, term: impl CostTerm + 'static) -> Self {
        self.terms.push(Scaled { term: Arc::new(term), factor: 1.0 });
        self
    }

    /// Adds one of this crate's terms with its defaults, unless it is there already; `None` for an unknown name.
    #[must_use]
    pub fn with_named(self, name: &str) -> Option<Self> {
        if self.names().any(|present| present == name) {
            return Some(self);
        }
        Some(match name {
            Reluctance::NAME => self.with(Reluctance::default()),
            LevelDistance::NAME => self.with(LevelDistance::default()),
            CacheWarmth::NAME => self.with(CacheWarmth::default()),
            CgroupCohesion::NAME => self.with(CgroupCohesion::default()),
            Isolation::NAME => self.with(Isolation::default()),
            _ => return None,
        })
    }

    /// Takes the terms of this name out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.terms.retain(|scaled| scaled.term.name() != name);
        self
    }

    /// Multiplies what the terms of this name answer. A factor that is negative, infinite or NaN is refused when the
    /// round begins.
    #[must_use]
    pub fn scaled(mut self, name: &str, factor: f64) -> Self {
        self.terms.iter_mut().filter(|s| s.term.name() == name).for_each(|s| s.factor *= factor);
        self
    }

    /// The names of the terms in use.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.terms.iter().map(|scaled| scaled.term.name())
    }

    /// The cost of a move, term by term, for explanations.
    pub fn terms<'a>(
        &'a self,
        context: &'a MoveContext<'_>,
    ) -> impl Iterator<Item = (&'static str, f64)> + 'a {
        // 0 × infinity would be NaN; a term scaled to nothing is silent.
        let value = |s: &Scaled| if s.factor == 0.0 { 0.0 } else { s.factor * s.term.cost(context) };
        self.terms.iter().map(move |s| (s.term.name(), value(s)))
    }

    /// The cost of a move. An infinite term decides alone: its opposite in another term cannot turn the sum into NaN.
    pub(crate) fn total(&self, context: &MoveContext<'_>) -> Result<f64, PlanError> {
        let mut sum = 0.0;
        for (term, value) in self.terms(context) {
            if value.is_nan() {
                return Err(PlanError::Cost { term, task: context.task.id, value });
            }
            if value == f64::INFINITY {
                return Ok(value);
            }
            sum += value;
        }
        Ok(sum)
    }

    /// The least that any move costs per load; not below 0, because a move must gain something anyway.
    pub(crate) fn least_share(&self) -> f64 {
        let least = |s: &Scaled| if s.factor == 0.0 { 0.0 } else { s.factor * s.term.least_share() };
        // `max` answers 0 for a NaN, which some term will report when it is asked.
        self.terms.iter().map(least).sum::<f64>().max(0.0)
    }

    pub(crate) fn check(&self) -> Result<(), PlanError> {
        match self.terms.iter().find(|s| !(0.0..f64::INFINITY).contains(&s.factor)) {
            Some(s) => Err(PlanError::CostFactor { term: s.term.name(), value: s.factor }),
            None => Ok(()),
        }
    }
}
