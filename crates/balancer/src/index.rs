// SPDX-License-Identifier: GPL-2.0-only
//! The candidates of one domain, ordered so that the nearest load to a wish is found by bisection.
//!
//! Tasks with the same allowed and preferred domains form a class; whether a class may go somewhere is one look at a
//! mask, not one per task. In a class, tasks are sorted by load. A task that is taken leaves a gap that later searches
//! jump over; a refused one stays for other destinations.
//!
//! Everything lies in vectors that a domain keeps from round to round.

use crate::engine::RoundState;
use crate::hash::FastMap;
use crate::ledger::DUTY_MAX;
use crate::weights::weight_bucket;
use crate::{DomainId, DomainMask, PlanError, RefusalCause, Task, TaskKind};

/// Classes that are compared one by one before a map is asked. Most domains have fewer.
const SCANNED_CLASSES: usize = 4;

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

/// A movable task: its load, its class and its place in the domain's task list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    load: f64,
    class: u32,
    slot: u32,
}

/// Tasks with the same masks: a stretch of the entries, by rising load, then id.
#[derive(Debug)]
pub(crate) struct Class {
    allowed: DomainMask,
    preferred: DomainMask,
    start: usize,
    len: usize,
    left: usize,
}

impl Class {
    /// Whether any of its tasks is left that may run in `to`.
    pub fn may_go(&self, to: DomainId) -> bool {
        self.left > 0 && self.allowed.contains(to)
    }

    /// Whether it has tasks left that may not run in `to`.
    pub fn must_not_go(&self, to: DomainId) -> bool {
        self.left > 0 && !self.allowed.contains(to)
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
}

/// The movable tasks of one domain.
#[derive(Debug, Default)]
pub(crate) struct DomainIndex {
    /// All tasks of the domain, as the source named them.
    pub tasks: Vec<Task>,
    entries: Vec<Entry>,
    pub classes: Vec<Class>,
    /// Every class has `len + 1` links, from `start` + its number on. `up[i]` leads to the first task at or after `i`
    /// that is still there (`len`: none), over as many steps as it takes; searches shorten the way for those who follow.
    up: Vec<u32>,
    /// `down[i]` leads to the last task before `i` that is still there, as its position plus 1 (0: none).
    down: Vec<u32>,
}

/// Finds the class of a pair of masks while an index is built; shared by all domains.
#[derive(Debug, Default)]
pub(crate) struct ClassFinder {
    by_masks: FastMap<(DomainMask, DomainMask), u32>,
    last: usize,
}

/// A walk over a class, away from the wished load on both sides. Positions are within the class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nearest {
    class: usize,
    wish: f64,
    below: Option<usize>,
    above: Option<usize>,
}

impl Nearest {
    /// Ends the walk towards larger loads.
    pub fn end_above(&mut self) {
        self.above = None;
    }
}

impl DomainIndex {
    /// Sorts the tasks into classes. Tasks that can go nowhere are counted and left out.
    pub fn build(
        &mut self,
        domain: DomainId,
        finder: &mut ClassFinder,
        state: &mut RoundState<'_>,
    ) -> Result<(), PlanError> {
        self.entries.clear();
        self.classes.clear();
        finder.by_masks.clear();
        finder.last = 0;
        for slot in 0..self.tasks.len() {
            let task = &self.tasks[slot];
            check(task, state.tree.domains())?;
            let load = state.scale.task_load(weight_bucket(task.weight), task.duty_cycle);
            if let Some(cause) = immovable(task, load, domain, state) {
                state.refuse_unmovable(task, load, domain, cause);
                continue;
            }
            let class = find_class(&mut self.classes, task, finder);
            self.classes[class].len += 1;
            self.entries.push(Entry { load, class: class as u32, slot: slot as u32 });
        }
        self.order();
        Ok(())
    }

    fn order(&mut self) {
        let tasks = &self.tasks;
        let id = |e: &Entry| tasks[e.slot as usize].id;
        self.entries.sort_unstable_by(|a, b| {
            let by_load = || a.load.total_cmp(&b.load).then_with(|| id(a).cmp(&id(b)));
            a.class.cmp(&b.class).then_with(by_load)
        });
        self.up.clear();
        let mut start = 0;
        for class in &mut self.classes {
            class.start = start;
            class.left = class.len;
            start += class.len;
            self.up.extend(0..=class.len as u32);
        }
        self.down.clear();
        self.down.extend_from_slice(&self.up);
    }

    /// The task at a position that a search has returned, and its load.
    pub fn candidate(&self, class: usize, position: usize) -> (&Task, f64) {
        let entry = &self.entries[self.classes[class].start + position];
        (&self.tasks[entry.slot as usize], entry.load)
    }

    /// The task with the smallest load of those left that may run in `to`; of all, if `None`.
    pub fn smallest(&mut self, to: Option<DomainId>) -> Option<(usize, usize)> {
        let mut best: Option<(f64, usize, usize)> = None;
        for class in 0..self.classes.len() {
            if to.is_some_and(|to| !self.classes[class].may_go(to)) {
                continue;
            }
            let Some(position) = self.at_or_after(class, 0) else { continue };
            let load = self.candidate(class, position).1;
            if best.is_none_or(|best| load < best.0) {
                best = Some((load, class, position));
            }
        }
        best.map(|(_, class, position)| (class, position))
    }

    /// Takes the task at a position out of all later searches.
    pub fn take(&mut self, class: usize, position: usize) {
        let links = self.classes[class].start + class;
        self.up[links + position] = position as u32 + 1;
        self.down[links + position + 1] = position as u32;
        self.classes[class].left -= 1;
    }

    /// Positions around `wish`: the nearest load first, the smaller on a tie.
    pub fn nearest(&mut self, class: usize, wish: f64) -> Nearest {
        let Class { start, len, .. } = self.classes[class];
        let cut = self.entries[start..start + len].partition_point(|entry| entry.load <= wish);
        Nearest { class, wish, below: self.before(class, cut), above: self.at_or_after(class, cut) }
    }

    /// The next position of a walk.
    pub fn next(&mut self, walk: &mut Nearest) -> Option<usize> {
        let distance = |position: usize| (self.candidate(walk.class, position).1 - walk.wish).abs();
        let take_below = match (walk.below, walk.above) {
            (Some(below), Some(above)) => distance(below) <= distance(above),
            (below, _) => below.is_some(),
        };
        if take_below {
            let position = walk.below?;
            walk.below = self.before(walk.class, position);
            Some(position)
        } else {
            let position = walk.above?;
            walk.above = self.at_or_after(walk.class, position + 1);
            Some(position)
        }
    }

    fn at_or_after(&mut self, class: usize, position: usize) -> Option<usize> {
        let Class { start, len, .. } = self.classes[class];
        let found = shortest(&mut self.up[start + class..=start + class + len], position);
        (found < len).then_some(found)
    }

    fn before(&mut self, class: usize, position: usize) -> Option<usize> {
        let Class { start, len, .. } = self.classes[class];
        shortest(&mut self.down[start + class..=start + class + len], position).checked_sub(1)
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

/// The number of a task's class, a new one if it is the first of its kind.
fn find_class(classes: &mut Vec<Class>, task: &Task, finder: &mut ClassFinder) -> usize {
    let same = |class: &Class| class.allowed == task.allowed && class.preferred == task.preferred;
    // Neighbours in a list often have the same masks.
    if classes.get(finder.last).is_some_and(same) {
        return finder.last;
    }
    let found = classes.iter().take(SCANNED_CLASSES).position(same).or_else(|| {
        let known = classes.len() > SCANNED_CLASSES;
        let key = || (task.allowed.clone(), task.preferred.clone());
        known.then(|| finder.by_masks.get(&key()).map(|&class| class as usize)).flatten()
    });
    finder.last = found.unwrap_or_else(|| {
        let (allowed, preferred) = (task.allowed.clone(), task.preferred.clone());
        if classes.len() >= SCANNED_CLASSES {
            finder.by_masks.insert((allowed.clone(), preferred.clone()), classes.len() as u32);
        }
        classes.push(Class { allowed, preferred, start: 0, len: 0, left: 0 });
        classes.len() - 1
    });
    finder.last
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
    if task.kind != TaskKind::Normal {
        Some(RefusalCause::NotMovable)
    } else if load <= 0.0 {
        Some(RefusalCause::ZeroLoad)
    } else if state.params.is_resting(task.last_moved_ns) {
        Some(RefusalCause::JustMoved)
    } else if !task.allowed.has_other(domain) {
        Some(RefusalCause::NotAllowed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
