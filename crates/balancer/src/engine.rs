// SPDX-License-Identifier: GPL-2.0-only
//! The algorithm, the same for every level.
//!
//! From the outermost level in, the children of each parent are ordered by load per capacity. The most loaded pushes
//! to the least loaded that can take a task; below them, the most loaded domain of the pushing group gives to the least
//! loaded domain of the pulling one. After each move the two groups and domains are put back in order. A pair that
//! found no task is not asked again on that level.

use crate::choice::{Choice, PairView};
use crate::contest::Contest;
use crate::ledger::LoadScale;
use crate::planner::Memory;
use crate::tree::Level;
use crate::{
    DomainId, GroupStats, Ledger, Move, MoveContext, MoveReason, Plan, PlanError, PlanParams, Refusal,
    RefusalCause, Refusals, Task, TaskSource, Tree,
};

/// How many pairs of domains in a row a pusher may fail for the cost of its tasks before it gives up on this level. The
/// least loaded pullers come first, where the gain is largest: who cannot pay there will hardly pay elsewhere.
const COSTLY_PAIRS: usize = 64;

/// What the index needs of a round: the scale of loads, and where refusals are counted.
pub(crate) struct RoundState<'a> {
    pub tree: &'a Tree,
    pub params: &'a PlanParams,
    pub scale: LoadScale,
    /// The least that any move costs per load.
    pub least_share: f64,
    pub refusals: Refusals,
    refused: Vec<Refusal>,
}

impl RoundState<'_> {
    fn note(&mut self, refusal: impl FnOnce() -> Refusal) {
        if self.refused.len() < self.params.max_refusals_explained {
            self.refused.push(refusal());
        }
    }

    /// A task that can go nowhere.
    pub fn refuse_unmovable(&mut self, task: &Task, load: f64, from: DomainId, cause: RefusalCause) {
        self.refusals.count(cause, 1);
        let (task, terms) = (task.id, Vec::new());
        self.note(|| Refusal {
            task,
            name: String::new(),
            load,
            from,
            to: None,
            cause,
            gain: 0.0,
            cost: 0.0,
            terms,
        });
    }

    /// A task whose move would not help.
    pub fn refuse_useless(&mut self, task: &Task, load: f64, from: DomainId, to: DomainId, gain: f64) {
        let cause = RefusalCause::NoImprovement;
        self.refusals.count(cause, 1);
        let (task, to, terms) = (task.id, Some(to), Vec::new());
        self.note(|| Refusal { task, name: String::new(), load, from, to, cause, gain, cost: 0.0, terms });
    }

    /// A task whose move would cost more than it gains.
    pub fn refuse_costly(&mut self, context: &MoveContext<'_>, gain: f64, cost: f64) {
        let cause = RefusalCause::Cost;
        self.refusals.count(cause, 1);
        let &MoveContext { task, load, from, to, .. } = context;
        let terms = |params: &PlanParams| params.cost.terms(context).collect();
        let params = self.params;
        self.note(|| Refusal {
            task: task.id,
            name: String::new(),
            load,
            from,
            to: Some(to),
            cause,
            gain,
            cost,
            terms: terms(params),
        });
    }
}

pub(crate) struct Round<'a> {
    pub state: RoundState<'a>,
    source: &'a mut dyn TaskSource,
    pub memory: &'a mut Memory,
    moves: Vec<Move>,
    min_transfer: f64,
    /// Capacity of the largest domain.
    largest: f64,
    cgroups_asked: bool,
    /// Pairs that failed for cost since the pusher's last move.
    costly: usize,
}

/// Two groups that may exchange a task, and how much they wish to.
pub(crate) struct Pair {
    pub level: usize,
    from_group: usize,
    to_group: usize,
    pub wish: f64,
}

/// What came out of a search.
enum Found {
    Task(Choice),
    Nothing,
    /// Nothing, and no more loaded destination will do better.
    Hopeless,
}

impl<'a> Round<'a> {
    pub fn new(
        tree: &'a Tree,
        ledger: &Ledger,
        source: &'a mut dyn TaskSource,
        params: &'a PlanParams,
        memory: &'a mut Memory,
    ) -> Self {
        memory.begin(tree);
        let scale = LoadScale::new(ledger, tree.capacity());
        let innermost = tree.depth() - 1;
        let group_of = &tree.levels[innermost].group_of;
        let domains = &mut memory.loads[innermost];
        domains.clear();
        domains.resize(tree.domains(), 0.0);
        (0..tree.domains()).for_each(|d| domains[group_of[d]] = scale.domain_load(ledger, d));
        for level in 0..innermost {
            let (outer, inner) = memory.loads.split_at_mut(innermost);
            let load = |domains: &[DomainId]| domains.iter().map(|&d| inner[0][group_of[d]]).sum::<f64>();
            outer[level].clear();
            outer[level].extend(tree.levels[level].groups.iter().map(|group| load(&group.domains)));
        }
        for (before, loads) in memory.loads_before.iter_mut().zip(&memory.loads) {
            before.clone_from(loads);
        }
        let total: f64 = memory.loads[innermost].iter().sum();
        let mean_weight = if scale.total_duty > 0.0 { total / scale.total_duty } else { 0.0 };
        let least_share = params.cost.least_share();
        let groups = tree.levels[innermost].groups.iter();
        Self {
            state: RoundState {
                tree,
                params,
                scale,
                least_share,
                refusals: Refusals::default(),
                refused: Vec::new(),
            },
            source,
            memory,
            moves: Vec::new(),
            min_transfer: params.min_transfer * mean_weight,
            largest: groups.map(|group| group.capacity).fold(0.0, f64::max),
            cgroups_asked: false,
            costly: 0,
        }
    }

    fn level(&self, level: usize) -> &'a Level {
        &self.state.tree.levels[level]
    }

    /// Load per capacity of a group.
    fn pressure(&self, level: usize, group: usize) -> f64 {
        self.memory.loads[level][group] / self.level(level).groups[group].capacity
    }

    /// Load per capacity of a domain.
    pub fn domain_pressure(&self, domain: DomainId) -> f64 {
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
        siblings.iter().map(|&g| self.memory.loads[level][g]).sum::<f64>() / capacity
    }

    /// Balances the children of one parent among themselves.
    pub fn balance(&mut self, level: usize, siblings: &[usize]) -> Result<(), PlanError> {
        let average = self.average(level, siblings);
        if siblings.len() < 2 || average <= 0.0 {
            return Ok(());
        }
        let mut contest = std::mem::take(&mut self.memory.contest);
        contest.begin(level, average, siblings[0]);
        let threshold = self.level(level).params.imbalance_threshold;
        for &group in siblings {
            let domains = self.level(level).groups[group].domains.iter();
            let domains = domains.map(|&domain| (self.domain_pressure(domain), domain));
            contest.enter(self.memory.loads[level][group], self.pressure(level, group), threshold, domains);
        }
        contest.start();
        let result = self.exchange(&mut contest);
        self.memory.contest = contest;
        result
    }

    fn exchange(&mut self, contest: &mut Contest) -> Result<(), PlanError> {
        while let Some(from_group) = contest.most_loaded() {
            if let Some(cause) = self.spent(contest, from_group) {
                self.state.refusals.count(cause, 1);
                contest.retire(from_group);
            } else if !self.push_one(contest, from_group)? {
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
        self.costly = 0;
        let mut place = 0;
        while let Some(to_group) = contest.puller(from_group, place) {
            place += 1;
            if !contest.may_exchange(from_group, to_group) {
                continue;
            }
            let pair = self.pair(contest, from_group, to_group);
            match self.find(contest, &pair)? {
                Found::Task(choice) => {
                    self.commit(contest, &pair, choice);
                    return Ok(true);
                }
                Found::Nothing if self.costly < COSTLY_PAIRS => contest.fail(from_group, to_group),
                Found::Nothing | Found::Hopeless => break,
            }
        }
        Ok(false)
    }

    fn pair(&self, contest: &Contest, from_group: usize, to_group: usize) -> Pair {
        let level = contest.level;
        let groups = &self.level(level).groups;
        let above = |group: usize| self.memory.loads[level][group] - contest.average * groups[group].capacity;
        let (excess, deficit) = (above(from_group), -above(to_group));
        // A puller that is not below the average has no deficit; it is asked only when those below could not help.
        let even = self.even_transfer(level, from_group, to_group);
        let imbalance = excess.min(if deficit > 0.0 { deficit } else { even });
        let wish = (imbalance * self.level(level).params.transfer_ratio).max(self.min_transfer);
        Pair { level, from_group, to_group, wish }
    }

    /// Searches the pair's domains, most loaded to least loaded, until one has a task to move.
    fn find(&mut self, contest: &Contest, pair: &Pair) -> Result<Found, PlanError> {
        let innermost = pair.level + 1 == self.state.tree.depth();
        if self.even_transfer(pair.level, pair.from_group, pair.to_group) <= self.min_transfer {
            return Ok(Found::Nothing);
        }
        for place in (0..contest.domains(pair.from_group)).rev() {
            let Some(from) = contest.domain(pair.from_group, place) else { break };
            match self.find_from(contest, pair, from)? {
                Found::Nothing => {}
                Found::Hopeless if !innermost => {}
                found => return Ok(found),
            }
            if self.costly >= COSTLY_PAIRS {
                break;
            }
        }
        Ok(Found::Nothing)
    }

    fn find_from(&mut self, contest: &Contest, pair: &Pair, from: DomainId) -> Result<Found, PlanError> {
        let mut place = 0;
        while let Some(to) = contest.domain(pair.to_group, place) {
            place += 1;
            let (from_pressure, to_pressure) = (self.domain_pressure(from), self.domain_pressure(to));
            if from_pressure <= to_pressure {
                break;
            }
            let even = self.even_transfer_on_way(pair.level, from, to);
            if even <= self.min_transfer {
                continue;
            }
            self.build(from)?;
            let distance = self.state.tree.distance(from, to);
            let view = PairView { pair, from, to, even, from_pressure, to_pressure, distance };
            // Whatever follows `to` is at least as loaded, so nothing evens out more than this.
            let capacity = self.state.tree.domain_capacity(from).unwrap_or(self.largest);
            let most = (from_pressure - to_pressure) / (1.0 / capacity + 1.0 / self.largest);
            let index = &mut self.memory.indices[from];
            let Some((class, position)) = index.smallest(None) else { return Ok(Found::Hopeless) };
            let smallest = index.candidate(class, position).1;
            if let Some(choice) = self.choose(&view)? {
                return Ok(Found::Task(choice));
            }
            if smallest * (1.0 + self.state.least_share) >= 2.0 * most {
                return Ok(Found::Hopeless);
            }
            if self.costly >= COSTLY_PAIRS {
                break;
            }
        }
        Ok(Found::Nothing)
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

    /// Notes that the pair's tasks failed for their cost.
    pub fn failed_for_cost(&mut self) {
        self.costly += 1;
    }

    /// Asks the source for the cgroups' loads, once a round.
    pub fn ask_cgroups(&mut self) -> Result<(), PlanError> {
        if !self.cgroups_asked {
            self.cgroups_asked = true;
            let ledger = &mut self.memory.cgroup_ledger;
            self.source.cgroups(ledger).map_err(|error| PlanError::Cgroups { error })?;
            self.memory.cgroups.load(ledger, &self.state.scale);
        }
        Ok(())
    }

    /// Asks the source for a domain's tasks, once a round.
    fn build(&mut self, domain: DomainId) -> Result<(), PlanError> {
        if self.memory.built[domain] {
            return Ok(());
        }
        self.ask_cgroups()?;
        let index = &mut self.memory.indices[domain];
        index.tasks.clear();
        self.source.fill(domain, &mut index.tasks).map_err(|error| PlanError::Source { domain, error })?;
        index.build(domain, &mut self.memory.finder, &mut self.state)?;
        self.memory.built[domain] = true;
        Ok(())
    }

    /// Books a move.
    fn commit(&mut self, contest: &mut Contest, pair: &Pair, choice: Choice) {
        let &Pair { level, from_group, to_group, wish } = pair;
        let Choice { from, to, load, .. } = choice;
        let imbalance = |round: &Self| round.pressure(level, from_group) - round.pressure(level, to_group);
        let imbalance_before = imbalance(self);
        let pressures = (self.domain_pressure(from), self.domain_pressure(to));
        for (depth, loads) in self.memory.loads.iter_mut().enumerate() {
            let group_of = &self.state.tree.levels[depth].group_of;
            loads[group_of[from]] -= load;
            loads[group_of[to]] += load;
        }
        contest.gave(from_group, load);
        for (group, domain, before) in [(from_group, from, pressures.0), (to_group, to, pressures.1)] {
            contest.reorder(group, self.pressure(level, group), domain, before, self.domain_pressure(domain));
        }
        self.memory.indices[from].take(choice.class, choice.position);
        self.memory.moved.insert(choice.id);
        self.memory.cgroups.moved(choice.cgroup, from, to, load);
        let key = |group: usize| self.level(level).groups[group].path[level];
        let reason = MoveReason {
            level_name: self.level(level).name.clone(),
            from_group: key(from_group),
            to_group: key(to_group),
            imbalance_before,
            imbalance_after: imbalance(self),
            wished: wish,
            gain: choice.gain,
            cost: choice.cost,
            preferred: choice.preferred,
            terms: choice.terms,
        };
        self.moves.push(Move { task: choice.id, name: String::new(), from, to, load, level, reason });
    }

    fn group_stats(&self) -> Vec<GroupStats> {
        let mut stats = Vec::new();
        for (number, level) in self.state.tree.levels.iter().enumerate() {
            let (before, after) = (&self.memory.loads_before[number], &self.memory.loads[number]);
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

    pub fn finish(self) -> Plan {
        let groups = self.group_stats();
        let innermost = self.state.tree.depth() - 1;
        let group_of = &self.level(innermost).group_of;
        let by_domain = |loads: &[Vec<f64>]| -> Vec<f64> {
            group_of.iter().map(|&group| loads[innermost][group]).collect()
        };
        let domain_loads = by_domain(&self.memory.loads_before);
        Plan {
            moves: self.moves,
            groups,
            saturated: self.state.scale.lambda.is_some(),
            lambda: self.state.scale.lambda,
            cgroups: self.memory.cgroups.stats(),
            total_load: domain_loads.iter().sum(),
            domain_loads,
            predicted_loads: by_domain(&self.memory.loads),
            refusals: self.state.refusals,
            refused: self.state.refused,
        }
    }
}
