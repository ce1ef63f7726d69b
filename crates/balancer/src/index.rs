// SPDX-License-Identifier: GPL-2.0-only
//! The candidates of one domain, ordered so that the nearest load to a wish is found by bisection.
//!
//! Tasks with the same allowed and preferred domains form a class; whether a class may go somewhere is one look at a
//! mask, not one per task. In a class, tasks are sorted by load. A task that is taken leaves a gap that later searches
//! jump over; a refused one stays for other destinations.

use crate::engine::RoundState;
use crate::ledger::DUTY_MAX;
use crate::weights::weight_bucket;
use crate::{DomainId, DomainMask, PlanError, RefusalCause, Task, TaskKind};
use ordered_float::OrderedFloat;
use std::collections::BTreeMap;

/// How a class feels about a destination; a smaller rank is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The tasks prefer the destination.
    Preferred,
    /// They do not mind.
    Neutral,
    /// They prefer where they are, and not the destination.
    Reluctant,
}

impl Rank {
    pub const ALL: [Self; 3] = [Self::Preferred, Self::Neutral, Self::Reluctant];
}

#[derive(Debug)]
pub(crate) struct Candidate {
    pub load: f64,
    pub task: Task,
}

/// Tasks with the same masks, by rising load, then id.
#[derive(Debug)]
pub(crate) struct Class {
    allowed: DomainMask,
    preferred: DomainMask,
    tasks: Vec<Candidate>,
    left: usize,
    /// `up[i]` leads to the first task at or after `i` that is still there (`tasks.len()`: none), over as many steps
    /// as it takes; searches shorten the way for those who follow.
    up: Vec<u32>,
    /// `down[i]` leads to the last task before `i` that is still there, as its position plus 1 (0: none).
    down: Vec<u32>,
}

impl Class {
    fn new(allowed: DomainMask, preferred: DomainMask, mut tasks: Vec<Candidate>) -> Self {
        tasks.sort_unstable_by_key(|c| (OrderedFloat(c.load), c.task.id));
        let identity: Vec<u32> = (0..=tasks.len() as u32).collect();
        Self { allowed, preferred, left: tasks.len(), up: identity.clone(), down: identity, tasks }
    }

    /// Number of tasks not yet taken.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether its tasks may run in `to`.
    pub fn allows(&self, to: DomainId) -> bool {
        self.allowed.contains(to)
    }

    /// What its tasks think of going `from` here `to` there.
    pub fn rank(&self, from: DomainId, to: DomainId) -> Rank {
        if self.preferred.contains(to) {
            Rank::Preferred
        } else if self.preferred.contains(from) {
            Rank::Reluctant
        } else {
            Rank::Neutral
        }
    }

    /// The task at a position that a search has returned.
    pub fn candidate(&self, position: usize) -> &Candidate {
        &self.tasks[position]
    }

    /// Takes the task at a position out of all later searches.
    pub fn take(&mut self, position: usize) {
        self.up[position] = position as u32 + 1;
        self.down[position + 1] = position as u32;
        self.left -= 1;
    }

    /// Positions around `wish`: the nearest load first, the smaller on a tie.
    pub fn nearest(&mut self, wish: f64) -> Nearest {
        let cut = self.tasks.partition_point(|c| c.load <= wish);
        Nearest { wish, below: self.before(cut), above: self.from(cut) }
    }

    fn from(&mut self, position: usize) -> Option<usize> {
        let found = shortest(&mut self.up, position);
        (found < self.tasks.len()).then_some(found)
    }

    fn before(&mut self, position: usize) -> Option<usize> {
        shortest(&mut self.down, position).checked_sub(1)
    }
}

/// Follows the links from `start` to their end, and lets every link on the way skip its successor.
fn shortest(links: &mut [u32], start: usize) -> usize {
    let mut at = start;
    while links[at] as usize != at {
        links[at] = links[links[at] as usize];
        at = links[at] as usize;
    }
    at
}

/// A walk over a class, away from the wished load on both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nearest {
    wish: f64,
    below: Option<usize>,
    above: Option<usize>,
}

impl Nearest {
    /// Ends the walk towards larger loads.
    pub fn end_above(&mut self) {
        self.above = None;
    }

    pub fn next(&mut self, class: &mut Class) -> Option<usize> {
        let distance = |position: usize| (class.tasks[position].load - self.wish).abs();
        let take_below = match (self.below, self.above) {
            (Some(below), Some(above)) => distance(below) <= distance(above),
            (below, _) => below.is_some(),
        };
        if take_below {
            let position = self.below?;
            self.below = class.before(position);
            Some(position)
        } else {
            let position = self.above?;
            self.above = class.from(position + 1);
            Some(position)
        }
    }
}

/// The movable tasks of one domain.
#[derive(Debug, Default)]
pub(crate) struct DomainIndex {
    pub classes: Vec<Class>,
}

impl DomainIndex {
    /// Whether nothing is left to move.
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.len() == 0)
    }

    /// Sorts a domain's tasks into classes. Tasks that can go nowhere are counted and dropped.
    pub fn build(domain: DomainId, tasks: Vec<Task>, state: &mut RoundState<'_>) -> Result<Self, PlanError> {
        let mut classes: BTreeMap<(DomainMask, DomainMask), Vec<Candidate>> = BTreeMap::new();
        for task in tasks {
            check(&task, state.tree.domains())?;
            let load = state.scale.task_load(weight_bucket(task.weight), task.duty_cycle);
            if let Some(cause) = immovable(&task, load, domain, state) {
                state.refuse(&task, load, domain, None, cause);
                continue;
            }
            let key = (task.allowed.clone(), task.preferred.clone());
            classes.entry(key).or_default().push(Candidate { load, task });
        }
        let classes = classes.into_iter().map(|((allowed, preferred), t)| Class::new(allowed, preferred, t));
        Ok(Self { classes: classes.collect() })
    }
}

fn check(task: &Task, domains: usize) -> Result<(), PlanError> {
    if !(0.0..=DUTY_MAX).contains(&task.duty_cycle) {
        return Err(PlanError::TaskDuty { task: task.id, duty: task.duty_cycle });
    }
    match task.allowed.last().max(task.preferred.last()) {
        Some(domain) if domain >= domains => Err(PlanError::TaskDomain { task: task.id, domain, domains }),
        _ => Ok(()),
    }
}

fn immovable(task: &Task, load: f64, domain: DomainId, state: &RoundState<'_>) -> Option<RefusalCause> {
    let elsewhere = || task.allowed.len() > usize::from(task.allowed.contains(domain));
    if task.kind != TaskKind::Normal {
        Some(RefusalCause::NotMovable)
    } else if load <= 0.0 {
        Some(RefusalCause::ZeroLoad)
    } else if state.params.is_resting(task.last_moved_ns) {
        Some(RefusalCause::JustMoved)
    } else if !elsewhere() {
        Some(RefusalCause::NotAllowed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
