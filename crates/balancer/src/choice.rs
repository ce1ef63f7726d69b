// SPDX-License-Identifier: GPL-2.0-only
//! Which task goes: the search for a pair of domains.
//!
//! Tasks that prefer the destination go before those that do not mind, and these before those that prefer to stay.
//! Within that, the load nearest to the wish decides. Among tasks that are about as near, the cheapest to move goes:
//! the one that is cold already, or that follows its cgroup.

use crate::engine::{Pair, Round};
use crate::index::{DomainIndex, Rank};
use crate::{CgroupShare, DomainId, MoveContext, PlanError, RefusalCause, Task, TaskId};
use ordered_float::OrderedFloat;

/// How many tasks of a class are tried per pair, nearest load first. Only the cost can refuse one task and accept the
/// next, so a short walk is enough.
const TRIES_PER_CLASS: usize = 8;

/// Tasks count as equally near to the wish if their distances differ by no more than this share of the nearest one's
/// load. Running averages of equal tasks differ by a few percent, which must not decide against a cheaper move.
const NEAR_SHARE: f64 = 0.1;

/// A pair of domains as the search sees it.
pub(crate) struct PairView<'p> {
    pub pair: &'p Pair,
    pub from: DomainId,
    pub to: DomainId,
    /// The smallest evening transfer on the way.
    pub even: f64,
    pub from_pressure: f64,
    pub to_pressure: f64,
    pub distance: Option<f64>,
}

impl PairView<'_> {
    /// By how much a load of this size helps.
    fn gain(&self, load: f64) -> f64 {
        self.even - (self.even - load).abs()
    }
}

/// A task that the rules accept for a pair of domains.
pub(crate) struct Choice {
    pub from: DomainId,
    pub to: DomainId,
    pub class: usize,
    pub position: usize,
    pub load: f64,
    pub id: TaskId,
    pub cgroup: u64,
    pub gain: f64,
    pub cost: f64,
    pub preferred: bool,
    pub terms: Vec<(&'static str, f64)>,
}

impl Choice {
    fn key(&self, wish: f64) -> impl Ord + use<> {
        (OrderedFloat((self.load - wish).abs()), OrderedFloat(self.load), self.id)
    }
}

/// The last cgroup looked up; neighbours often share it.
type LastCgroup = Option<(u64, Option<CgroupShare>)>;

impl Round<'_> {
    /// The task that goes from one domain to the other, if the rules accept any.
    pub fn choose(&mut self, view: &PairView<'_>) -> Result<Option<Choice>, PlanError> {
        // Taken out while the rest of the round is consulted; put back on every path.
        let mut index = std::mem::take(&mut self.memory.indices[view.from]);
        let result = self.choose_from(&mut index, view);
        self.memory.indices[view.from] = index;
        result
    }

    fn choose_from(
        &mut self,
        index: &mut DomainIndex,
        view: &PairView<'_>,
    ) -> Result<Option<Choice>, PlanError> {
        let mut found = None;
        if self.can_afford(index, view)? {
            for rank in Rank::ALL {
                found = self.choose_ranked(index, rank, view)?;
                if found.is_some() {
                    break;
                }
            }
            if found.is_none() {
                self.failed_for_cost();
            }
        }
        if found.is_none() && index.classes.iter().any(|class| class.must_not_go(view.to)) {
            self.state.refusals.count(RefusalCause::NotAllowed, 1);
        }
        if let Some(choice) = &mut found
            && self.state.params.explain
        {
            let (task, load) = index.candidate(choice.class, choice.position);
            let context = self.context(view, task, load, &mut None);
            choice.terms = self.state.params.cost.terms(&context).collect();
        }
        Ok(found)
    }

    /// Whether the smallest task that may go could pay the least that any move costs; if not, none can.
    fn can_afford(&mut self, index: &mut DomainIndex, view: &PairView<'_>) -> Result<bool, PlanError> {
        let Some((class, position)) = index.smallest(Some(view.to)) else { return Ok(false) };
        let (task, load) = index.candidate(class, position);
        let gain = view.gain(load);
        if gain <= 0.0 {
            self.state.refuse_useless(task, load, view.from, view.to, gain);
            return Ok(false);
        }
        if gain > self.state.least_share * load {
            return Ok(true);
        }
        let context = self.context(view, task, load, &mut None);
        let cost = self.state.params.cost.total(&context)?;
        self.state.refuse_costly(&context, gain, cost);
        Ok(false)
    }

    /// The task with the nearest load to the wish among the classes of one rank.
    fn choose_ranked(
        &mut self,
        index: &mut DomainIndex,
        rank: Rank,
        view: &PairView<'_>,
    ) -> Result<Option<Choice>, PlanError> {
        let wish = view.pair.wish;
        let mut best: Option<Choice> = None;
        for class in 0..index.classes.len() {
            let kind = &index.classes[class];
            if !kind.may_go(view.to) || kind.rank(view.from, view.to) != rank {
                continue;
            }
            let Some(mut choice) = self.choose_in(index, class, view)? else { continue };
            choice.preferred = rank == Rank::Preferred;
            if best.as_ref().is_none_or(|best| choice.key(wish) < best.key(wish)) {
                best = Some(choice);
            }
        }
        Ok(best)
    }

    /// The cheapest of the nearest acceptable tasks of a class.
    fn choose_in(
        &mut self,
        index: &mut DomainIndex,
        class: usize,
        view: &PairView<'_>,
    ) -> Result<Option<Choice>, PlanError> {
        let wish = view.pair.wish;
        // From this load on, no task can pay the least that a move costs: the walk need not go there.
        let affordable = 2.0 * view.even / (1.0 + self.state.least_share);
        let mut walk = index.nearest(class, wish.min(affordable));
        if wish >= affordable {
            walk.end_above();
        }
        let mut last_cgroup = None;
        let mut best: Option<Choice> = None;
        let mut reach = f64::INFINITY;
        for _ in 0..TRIES_PER_CLASS {
            let Some(position) = index.next(&mut walk) else { break };
            let (task, load) = index.candidate(class, position);
            if (load - wish).abs() > reach {
                break;
            }
            if self.memory.moved.contains(&task.id) {
                continue; // It migrated while the snapshot was taken, so two domains named it.
            }
            let gain = view.gain(load);
            if gain <= 0.0 {
                walk.end_above(); // Twice the evening transfer or more; so is everything larger.
                if best.is_none() {
                    self.state.refuse_useless(task, load, view.from, view.to, gain);
                }
                continue;
            }
            let context = self.context(view, task, load, &mut last_cgroup);
            let cost = self.state.params.cost.total(&context)?;
            if gain > cost {
                if best.is_none() {
                    reach = (load - wish).abs() + NEAR_SHARE * load;
                }
                // The share, not the sum: a cheaper task, not a smaller one. Rounding is no difference.
                if best.as_ref().is_none_or(|best| cost / load < best.cost / best.load - 1e-9) {
                    best = Some(choice(view, class, position, task, (load, gain, cost)));
                }
                if cost <= self.state.least_share * load {
                    break;
                }
            } else if best.is_none() {
                self.state.refuse_costly(&context, gain, cost);
            }
        }
        Ok(best)
    }

    fn context<'t>(
        &self,
        view: &PairView<'_>,
        task: &'t Task,
        load: f64,
        last: &mut LastCgroup,
    ) -> MoveContext<'t> {
        let share = match *last {
            Some((cgroup, share)) if cgroup == task.cgroup => share,
            _ => self.memory.cgroups.share(task.cgroup, view.from, view.to),
        };
        *last = Some((task.cgroup, share));
        MoveContext {
            task,
            load,
            from: view.from,
            to: view.to,
            level: view.pair.level,
            depth: self.state.tree.depth(),
            from_pressure: view.from_pressure,
            to_pressure: view.to_pressure,
            now_ns: self.state.params.now_ns,
            distance: view.distance,
            cgroup: share,
        }
    }
}

/// The caller knows the rank.
fn choice(
    view: &PairView<'_>,
    class: usize,
    position: usize,
    task: &Task,
    (load, gain, cost): (f64, f64, f64),
) -> Choice {
    Choice {
        from: view.from,
        to: view.to,
        class,
        position,
        load,
        id: task.id,
        cgroup: task.cgroup,
        gain,
        cost,
        preferred: false,
        terms: Vec::new(),
    }
}
