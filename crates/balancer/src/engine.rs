// SPDX-License-Identifier: GPL-2.0-only
//! The algorithm, the same for every level.
//!
//! From the outermost level in, the children of each parent are ordered by load per capacity. The most loaded pushes
//! to the least loaded that can take a task; below them, the most loaded domain of the pushing group gives to the least loaded domain of the
//! pulling one. After each move the two groups and domains are put back in order. A pair that found no task is not
//! asked again on that level.

use crate::contest::Contest;
use crate::index::{Class, DomainIndex, Rank};
use crate::ledger::LoadScale;
use crate::tree::Level;
use crate::{
    DomainId, GroupStats, Ledger, Move, MoveContext, MoveReason, Plan, PlanError, PlanParams, Refusal,
    RefusalCause, Refusals, Task, TaskId, TaskSource, Tree,
};
use ordered_float::OrderedFloat;
use std::collections::HashSet;

/// How many tasks of a class are tried per pair, nearest load first. Only the cost can refuse one task and accept the
/// next, so a short walk is enough.
const TRIES_PER_CLASS: usize = 8;

/// Plans one round.
///
/// `source` is asked once for every domain that has to push. Fails if tree and ledger differ in size, a task carries a
/// number that makes no sense or a mask beyond the tree, the source fails, or a cost term answers NaN.
pub fn plan(
    tree: &Tree,
    ledger: &Ledger,
    source: &mut dyn TaskSource,
    params: &PlanParams,
) -> Result<Plan, PlanError> {
    if tree.domains() != ledger.domains() {
        return Err(PlanError::DomainCount { tree: tree.domains(), ledger: ledger.domains() });
    }
    params.check()?;
    let mut round = Round::new(tree, ledger, source, params);
    for level in 0..tree.depth() {
        for siblings in &tree.levels[level].siblings {
            round.balance(level, siblings)?;
        }
    }
    Ok(round.finish())
}

/// What the index needs of a round: the scale of loads, and where refusals are counted.
pub(crate) struct RoundState<'a> {
    pub tree: &'a Tree,
    pub params: &'a PlanParams,
    pub scale: LoadScale,
    refusals: Refusals,
    refused: Vec<Refusal>,
}

impl RoundState<'_> {
    pub fn refuse(
        &mut self,
        task: &Task,
        load: f64,
        from: DomainId,
        to: Option<DomainId>,
        cause: RefusalCause,
    ) {
        self.refusals.count(cause, 1);
        if self.refused.len() < self.params.max_refusals_explained {
            self.refused.push(Refusal { task: task.id, load, from, to, cause, terms: Vec::new() });
        }
    }
}

struct Round<'a> {
    state: RoundState<'a>,
    source: &'a mut dyn TaskSource,
    /// Load of every group, by level; the innermost level has one group per domain.
    loads: Vec<Vec<f64>>,
    loads_before: Vec<Vec<f64>>,
    domain_loads: Vec<f64>,
    /// Built when a domain first has to give.
    indices: Vec<Option<DomainIndex>>,
    moves: Vec<Move>,
    moved: HashSet<TaskId>,
    min_transfer: f64,
}

/// Two groups that may exchange a task, and how much they wish to.
struct Pair {
    level: usize,
    from_group: usize,
    to_group: usize,
    wish: f64,
}

/// A task that the rules accept for a pair of domains.
struct Choice {
    from: DomainId,
    to: DomainId,
    class: usize,
    position: usize,
    rank: Rank,
    load: f64,
    id: TaskId,
    gain: f64,
    cost: f64,
}

impl<'a> Round<'a> {
    fn new(tree: &'a Tree, ledger: &Ledger, source: &'a mut dyn TaskSource, params: &'a PlanParams) -> Self {
        let scale = LoadScale::new(ledger, tree.capacity());
        let domain_loads: Vec<f64> = (0..tree.domains()).map(|d| scale.domain_load(ledger, d)).collect();
        let group_load = |domains: &[DomainId]| domains.iter().map(|&d| domain_loads[d]).sum::<f64>();
        let level_loads = |level: &Level| level.groups.iter().map(|g| group_load(&g.domains)).collect();
        let loads: Vec<Vec<f64>> = tree.levels.iter().map(level_loads).collect();
        let total: f64 = domain_loads.iter().sum();
        let mean_weight = if scale.total_duty > 0.0 { total / scale.total_duty } else { 0.0 };
        let state = RoundState { tree, params, scale, refusals: Refusals::default(), refused: Vec::new() };
        Self {
            state,
            source,
            loads_before: loads.clone(),
            loads,
            domain_loads,
            indices: (0..tree.domains()).map(|_| None).collect(),
            moves: Vec::new(),
            moved: HashSet::new(),
            min_transfer: params.min_transfer * mean_weight,
        }
    }

    fn level(&self, level: usize) -> &'a Level {
        &self.state.tree.levels[level]
    }

    /// Load per capacity of a group.
    fn pressure(&self, level: usize, group: usize) -> f64 {
        self.loads[level][group] / self.level(level).groups[group].capacity
    }

    /// Load per capacity of a domain.
    fn domain_pressure(&self, domain: DomainId) -> f64 {
        let innermost = self.state.tree.depth() - 1;
        self.pressure(innermost, self.level(innermost).group_of[domain])
    }

    /// The load that makes two groups equal per capacity when it changes sides. Positive if `from` has more.
    fn even_transfer(&self, level: usize, from: usize, to: usize) -> f64 {
        let groups = &self.level(level).groups;
        let per_load = 1.0 / groups[from].capacity + 1.0 / groups[to].capacity;
        (self.pressure(level, from) - self.pressure(level, to)) / per_load
    }

    fn average(&self, level: usize, siblings: &[usize]) -> f64 {
        let groups = &self.level(level).groups;
        let capacity: f64 = siblings.iter().map(|&g| groups[g].capacity).sum();
        siblings.iter().map(|&g| self.loads[level][g]).sum::<f64>() / capacity
    }

    /// Balances the children of one parent among themselves.
    fn balance(&mut self, level: usize, siblings: &[usize]) -> Result<(), PlanError> {
        let average = self.average(level, siblings);
        if siblings.len() < 2 || average <= 0.0 {
            return Ok(());
        }
        let mut contest = Contest::new(level, average);
        let threshold = self.level(level).params.imbalance_threshold;
        for &group in siblings {
            let domains = self.level(level).groups[group].domains.iter();
            let domains = domains.map(|&domain| (self.domain_pressure(domain), domain));
            contest.enter(group, self.loads[level][group], self.pressure(level, group), threshold, domains);
        }
        while let Some(from_group) = contest.most_loaded() {
            if let Some(cause) = self.spent(&contest, from_group) {
                self.state.refusals.count(cause, 1);
                contest.retire(from_group);
            } else if !self.push_one(&mut contest, from_group)? {
                contest.retire(from_group);
            }
        }
        Ok(())
    }

    fn spent(&self, contest: &Contest, from_group: usize) -> Option<RefusalCause> {
        if self.moves.len() >= self.state.params.max_moves {
            return Some(RefusalCause::MoveLimit);
        }
        let limit = self.level(contest.level).params.push_limit;
        let member = contest.member(from_group);
        (member.pushed >= limit * member.load_at_start).then_some(RefusalCause::PushLimit)
    }

    /// Moves one task out of a group to the least loaded sibling that can take one.
    fn push_one(&mut self, contest: &mut Contest, from_group: usize) -> Result<bool, PlanError> {
        let mut asked = None;
        while let Some(to_group) = contest.next_puller(from_group, asked) {
            asked = Some(to_group);
            if !contest.may_exchange(from_group, to_group) {
                continue;
            }
            let pair = self.pair(contest, from_group, to_group);
            if let Some(choice) = self.find(contest, &pair)? {
                self.commit(contest, &pair, &choice);
                return Ok(true);
            }
            contest.fail(from_group, to_group);
        }
        Ok(false)
    }

    fn pair(&self, contest: &Contest, from_group: usize, to_group: usize) -> Pair {
        let level = contest.level;
        let groups = &self.level(level).groups;
        let above = |group: usize| self.loads[level][group] - contest.average * groups[group].capacity;
        let (excess, deficit) = (above(from_group), -above(to_group));
        // A puller that is not below the average has no deficit; it is asked only when those below could not help.
        let even = self.even_transfer(level, from_group, to_group);
        let imbalance = excess.min(if deficit > 0.0 { deficit } else { even });
        let wish = (imbalance * self.level(level).params.transfer_ratio).max(self.min_transfer);
        Pair { level, from_group, to_group, wish }
    }

    /// Searches the pair's domains, most loaded to least loaded, until one has a task to move.
    fn find(&mut self, contest: &Contest, pair: &Pair) -> Result<Option<Choice>, PlanError> {
        for from in contest.domains(pair.from_group).rev() {
            for to in contest.domains(pair.to_group) {
                let even = self.even_transfer_on_way(pair.level, from, to);
                if even <= self.min_transfer || self.index(from)?.is_empty() {
                    break;
                }
                let choice = self.choose(pair, from, to, even)?;
                if choice.is_some() {
                    return Ok(choice);
                }
            }
        }
        Ok(None)
    }

    /// The smallest evening transfer over all pairs of groups that a move between two domains affects, from `level`
    /// inwards. A load below twice that brings every one of them closer together.
    fn even_transfer_on_way(&self, level: usize, from: DomainId, to: DomainId) -> f64 {
        (level..self.state.tree.depth())
            .map(|level| {
                let group_of = &self.level(level).group_of;
                self.even_transfer(level, group_of[from], group_of[to])
            })
            .fold(f64::INFINITY, f64::min)
    }

    fn index(&mut self, domain: DomainId) -> Result<&mut DomainIndex, PlanError> {
        if self.indices[domain].is_none() {
            let tasks = self.source.tasks(domain).map_err(|error| PlanError::Source { domain, error })?;
            self.indices[domain] = Some(DomainIndex::build(domain, tasks, &mut self.state)?);
        }
        Ok(self.indices[domain].get_or_insert_default())
    }

    /// The task with the nearest load to the wish, among the best-ranked classes that have an acceptable one.
    fn choose(
        &mut self,
        pair: &Pair,
        from: DomainId,
        to: DomainId,
        even: f64,
    ) -> Result<Option<Choice>, PlanError> {
        // Taken out while the rest of the round is consulted; put back on every path.
        let mut index = self.indices[from].take().unwrap_or_default();
        let mut result = Ok(None);
        for rank in Rank::ALL {
            result = self.choose_ranked(&mut index, rank, pair, (from, to), even);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        if matches!(result, Ok(None)) && index.classes.iter().any(|c| c.len() > 0 && !c.allows(to)) {
            self.state.refusals.count(RefusalCause::NotAllowed, 1);
        }
        self.indices[from] = Some(index);
        result
    }

    fn choose_ranked(
        &mut self,
        index: &mut DomainIndex,
        rank: Rank,
        pair: &Pair,
        (from, to): (DomainId, DomainId),
        even: f64,
    ) -> Result<Option<Choice>, PlanError> {
        let mut best: Option<Choice> = None;
        for (number, class) in index.classes.iter_mut().enumerate() {
            if !class.allows(to) || class.rank(from, to) != rank {
                continue;
            }
            let Some(mut choice) = self.choose_in(class, pair, (from, to), even)? else { continue };
            (choice.class, choice.rank) = (number, rank);
            let key = |c: &Choice| (OrderedFloat((c.load - pair.wish).abs()), OrderedFloat(c.load), c.id);
            if best.as_ref().is_none_or(|best| key(&choice) < key(best)) {
                best = Some(choice);
            }
        }
        Ok(best)
    }

    /// The first acceptable task of a class, in the order of distance from the wish.
    fn choose_in(
        &mut self,
        class: &mut Class,
        pair: &Pair,
        (from, to): (DomainId, DomainId),
        even: f64,
    ) -> Result<Option<Choice>, PlanError> {
        let mut walk = class.nearest(pair.wish);
        for _ in 0..TRIES_PER_CLASS {
            let Some(position) = walk.next(class) else { break };
            let candidate = class.candidate(position);
            let (task, load) = (&candidate.task, candidate.load);
            if self.moved.contains(&task.id) {
                continue; // It migrated while the snapshot was taken, so two domains named it.
            }
            let gain = even - (even - load).abs();
            if gain <= 0.0 {
                walk.end_above(); // Twice the evening transfer or more; so is everything larger.
                self.state.refuse(task, load, from, Some(to), RefusalCause::NoImprovement);
                continue;
            }
            let context = self.context(task, load, pair.level, from, to);
            let cost = self.state.params.cost.total(&context)?;
            if gain > cost {
                // The caller knows the class.
                let (class, rank) = (0, Rank::Neutral);
                return Ok(Some(Choice { from, to, class, position, rank, load, id: task.id, gain, cost }));
            }
            self.refuse_for_cost(&context);
        }
        Ok(None)
    }

    fn context<'t>(
        &self,
        task: &'t Task,
        load: f64,
        level: usize,
        from: DomainId,
        to: DomainId,
    ) -> MoveContext<'t> {
        let depth = self.state.tree.depth();
        let (from_pressure, to_pressure) = (self.domain_pressure(from), self.domain_pressure(to));
        MoveContext { task, load, from, to, level, depth, from_pressure, to_pressure }
    }

    fn refuse_for_cost(&mut self, context: &MoveContext<'_>) {
        let explained = self.state.refused.len();
        self.state.refuse(context.task, context.load, context.from, Some(context.to), RefusalCause::Cost);
        if let Some(refusal) = self.state.refused.get_mut(explained) {
            refusal.terms = self.state.params.cost.terms(context).collect();
        }
    }

    /// Books a move.
    fn commit(&mut self, contest: &mut Contest, pair: &Pair, choice: &Choice) {
        let &Pair { level, from_group, to_group, wish } = pair;
        let (from, to) = (choice.from, choice.to);
        let imbalance = |round: &Self| round.pressure(level, from_group) - round.pressure(level, to_group);
        let imbalance_before = imbalance(self);
        let pressures = (self.domain_pressure(from), self.domain_pressure(to));
        for (depth, loads) in self.loads.iter_mut().enumerate() {
            let group_of = &self.state.tree.levels[depth].group_of;
            loads[group_of[from]] -= choice.load;
            loads[group_of[to]] += choice.load;
        }
        contest.gave(from_group, choice.load);
        for (group, domain, before) in [(from_group, from, pressures.0), (to_group, to, pressures.1)] {
            contest.reorder(group, self.pressure(level, group), domain, before, self.domain_pressure(domain));
        }
        if let Some(index) = &mut self.indices[from] {
            index.classes[choice.class].take(choice.position);
        }
        self.moved.insert(choice.id);
        let key = |group: usize| self.level(level).groups[group].path[level];
        let reason = MoveReason {
            level_name: self.level(level).params.name.clone(),
            from_group: key(from_group),
            to_group: key(to_group),
            imbalance_before,
            imbalance_after: imbalance(self),
            wished: wish,
            gain: choice.gain,
            cost: choice.cost,
            preferred: choice.rank == Rank::Preferred,
        };
        self.moves.push(Move { task: choice.id, from, to, load: choice.load, level, reason });
    }

    fn group_stats(&self) -> Vec<GroupStats> {
        let mut stats = Vec::new();
        for (number, level) in self.state.tree.levels.iter().enumerate() {
            let (before, after) = (&self.loads_before[number], &self.loads[number]);
            let mut average_of = vec![0.0; level.groups.len()];
            for siblings in &level.siblings {
                let capacity: f64 = siblings.iter().map(|&g| level.groups[g].capacity).sum();
                let load: f64 = siblings.iter().map(|&g| before[g]).sum();
                siblings.iter().for_each(|&g| average_of[g] = load / capacity * level.groups[g].capacity);
            }
            stats.extend(level.groups.iter().enumerate().map(|(index, group)| GroupStats {
                level: number,
                key: group.path[number],
                path: group.path.clone(),
                capacity: group.capacity,
                load: before[index],
                average: average_of[index],
                imbalance: before[index] - average_of[index],
                delta: after[index] - before[index],
            }));
        }
        stats
    }

    fn finish(self) -> Plan {
        let groups = self.group_stats();
        let innermost = self.state.tree.depth() - 1;
        let group_of = &self.level(innermost).group_of;
        let predicted_loads = group_of.iter().map(|&group| self.loads[innermost][group]).collect();
        Plan {
            moves: self.moves,
            groups,
            saturated: self.state.scale.lambda.is_some(),
            lambda: self.state.scale.lambda,
            total_load: self.domain_loads.iter().sum(),
            domain_loads: self.domain_loads,
            predicted_loads,
            refusals: self.state.refusals,
            refused: self.state.refused,
        }
    }
}
