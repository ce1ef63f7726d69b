// SPDX-License-Identifier: GPL-2.0-only
//! The loop: every interval snapshot → plan → apply, and statistics whenever somebody asks.
//!
//! Nothing the workload does ends it: a round that fails is counted, logged and skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use balancer::{Explanation, Plan};
use runtime::clock::Periodic;
pub use runtime::daemon::Ending;
use runtime::seam::{BpfObject, SeamError};
use runtime::signals::Wake;
use tracing::{debug, warn};

use crate::cgroups::CgroupDir;
use crate::doors;
use crate::machine::Machine;
use crate::options::Options;
use crate::planner::{self, RoundPlanner};
use crate::snapshot::{Counters, DomainLoads, MoveAnswer, Tasks};
use crate::stats::{CgroupMetrics, DomainMetrics, Metrics};
use crate::weigher::Weigher;

/// How often the loop looks whether the kernel has ended the scheduler.
const EXIT_POLL: Duration = Duration::from_millis(100);

/// The world as the loop sees it, with its cgroups and those who want to know why. A simulator puts its own here.
pub trait Host: runtime::host::Host<Metrics> {
    /// The cgroups with their weights, parents first; empty where there are none or none counts.
    fn cgroups(&mut self) -> Vec<CgroupDir>;
    /// Tells what a round decided, if it was asked to.
    fn explain(&mut self, explanation: &Explanation);
}

/// Figures that outlive one attachment: a restart in place goes on counting.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// BPF counters of former attachments.
    pub counters: Counters,
    /// Balancing rounds.
    pub rounds: u64,
    /// Rounds that failed.
    pub rounds_failed: u64,
    /// Restarts in place.
    pub restarts: u64,
    /// Factors of cgroups passed on.
    pub factor_changes: u64,
    /// Moves planned.
    pub planned: u64,
    /// Planned moves that were refused when they were asked for.
    pub refused_at_once: u64,
}

/// Runs until a shutdown or until the kernel ends the scheduler.
///
/// # Errors
/// When the exit record cannot be read: the two halves do not fit together.
pub fn run(
    object: &mut dyn BpfObject,
    machine: &Machine,
    options: &Options,
    host: &mut dyn Host,
    totals: &mut Totals,
) -> Result<Ending, SeamError> {
    let mut balance = Periodic::new(options.interval, host.now_ns());
    let mut round = Round::new(object, machine, options, totals);
    round.report(host);
    loop {
        let wake = host.wait(balance.remaining(host.now_ns()).min(EXIT_POLL));
        if let Some(record) = round.object.exit_record()? {
            round.retire();
            return Ok(Ending::Kernel(record));
        }
        if wake == Wake::Shutdown {
            round.retire();
            return Ok(Ending::Shutdown);
        }
        let due = balance.due(host.now_ns());
        if due {
            round.turn(host);
            round.explanations.drain(..).for_each(|explanation| host.explain(&explanation));
        }
        if due || host.wants_metrics() {
            round.report(host);
        }
    }
}

/// What one attachment's rounds work on.
struct Round<'a> {
    object: &'a mut dyn BpfObject,
    machine: &'a Machine,
    options: &'a Options,
    totals: &'a mut Totals,
    planner: RoundPlanner,
    /// What the last round found: per domain the load it planned to add, the tasks its snapshot had no room for, and
    /// the load of each cgroup.
    deltas: Vec<f64>,
    tasks_unseen: u32,
    cgroup_loads: BTreeMap<u64, f64>,
    /// What the BPF side knows of cgroups.
    weigher: Weigher,
    /// Decisions that were not told yet.
    explanations: Vec<Explanation>,
}

impl<'a> Round<'a> {
    fn new(
        object: &'a mut dyn BpfObject,
        machine: &'a Machine,
        options: &'a Options,
        totals: &'a mut Totals,
    ) -> Self {
        let deltas = vec![0.0; machine.domains.len()];
        let planner = RoundPlanner::new(options);
        let (cgroup_loads, explanations) = (BTreeMap::new(), Vec::new());
        Self {
            object,
            machine,
            options,
            totals,
            planner,
            deltas,
            tasks_unseen: 0,
            cgroup_loads,
            weigher: Weigher::default(),
            explanations,
        }
    }

    fn loads(&mut self) -> Result<DomainLoads, SeamError> {
        doors::domain_loads(self.object, self.machine.domains.len(), self.options.load_half_life_ns())
    }

    /// One round: weigh the cgroups, then balance.
    fn turn(&mut self, host: &mut dyn Host) {
        self.totals.rounds += 1;
        let mut tasks = None;
        let weighed = self.weigh(host, &mut tasks);
        let balanced = if self.options.no_load_balance { Ok(()) } else { self.balance(tasks) };
        let errors = [weighed, balanced].into_iter().filter_map(Result::err);
        if errors.map(|error| warn!("round {} not complete: {error:#}", self.totals.rounds)).count() > 0 {
            self.totals.rounds_failed += 1;
        }
    }

    /// Passes on what `cpu.weight` makes of the cgroups' load; keeps the tasks it looked at.
    fn weigh(&mut self, host: &mut dyn Host, tasks: &mut Option<Tasks>) -> anyhow::Result<()> {
        let tree = if self.options.no_cgroups { Vec::new() } else { host.cgroups() };
        if tree.is_empty() && !self.weigher.has_published() {
            return Ok(());
        }
        let tasks = tasks.insert(fetch(self.object, self.machine, self.options, &mut self.tasks_unseen)?);
        let changes = self.weigher.changes(&tree, &tasks.tasks)?;
        if !changes.is_empty() {
            doors::publish_factors(self.object, &changes, &mut self.weigher)?;
            self.totals.factor_changes += (changes.set.len() + changes.removed.len()) as u64;
        }
        Ok(())
    }

    /// Plans on `tasks`, or on a fresh copy if there is none yet.
    fn balance(&mut self, mut tasks: Option<Tasks>) -> anyhow::Result<()> {
        let loads = self.loads()?;
        let mut names = BTreeMap::new();
        let (object, unseen) = (&mut *self.object, &mut self.tasks_unseen);
        let (machine, options) = (self.machine, self.options);
        let plan = self.planner.plan(machine, &loads, &mut || {
            let tasks = tasks.take().map_or_else(|| fetch(object, machine, options, unseen), Ok)?;
            if options.explain.is_some() {
                names.extend(tasks.tasks.iter().map(|task| (task.id(), task.name())));
            }
            Ok(tasks)
        })?;
        self.deltas = plan
            .predicted_loads
            .iter()
            .zip(&plan.domain_loads)
            .map(|(after, before)| after - before)
            .collect();
        self.cgroup_loads = cgroup_loads(&plan);
        if self.options.explain.is_some() {
            let mut explanation = plan.explanation();
            explanation.name_tasks(|task| names.get(&task).cloned());
            self.explanations.push(explanation);
        }
        // By the next round the figures show what has moved; what has not by then is planned anew.
        let expires_ns = loads.at_ns.saturating_add(self.options.interval_ns());
        for entry in &plan.moves {
            self.totals.planned += 1;
            debug!("{entry}");
            let answer =
                doors::plan_move(self.object, entry.task.pid, entry.task.generation, entry.to, expires_ns)?;
            if answer != MoveAnswer::Accepted {
                self.totals.refused_at_once += 1;
            }
        }
        Ok(())
    }

    fn report(&mut self, host: &mut dyn Host) {
        match self.metrics(host) {
            Ok(metrics) => host.publish(&metrics),
            Err(error) => warn!("no statistics this time: {error:#}"),
        }
    }

    fn metrics(&mut self, host: &mut dyn Host) -> anyhow::Result<Metrics> {
        let loads = self.loads()?;
        let counters = self.totals.counters + doors::counters(self.object)?;
        // The balancer's own view of the loads, at this moment.
        let view = planner::view(self.machine, &loads)?;
        let innermost = self.machine.tree.depth() - 1;
        let groups = view.groups.iter().filter(|group| group.level == innermost);
        let averages: BTreeMap<usize, f64> = groups.map(|group| (group.key, group.average)).collect();
        let domains = self.machine.domains.domains.iter().map(|domain| {
            let (id, load) = (domain.id, &loads.domains[domain.id]);
            let average = averages.get(&id).copied().unwrap_or_default();
            let figures = DomainMetrics {
                cpus: domain.cpus.to_string(),
                node: self.machine.topology.nodes[domain.node].id as u64,
                load: view.domain_loads[id],
                average,
                imbalance: view.domain_loads[id] - average,
                delta: self.deltas.get(id).copied().unwrap_or_default(),
                runnable: load.nr_runnable.into(),
                queued: load.nr_queued.into(),
                moved_in: load.moved_in,
                moved_out: load.moved_out,
            };
            (id, figures)
        });
        Ok(Metrics {
            round: self.totals.rounds,
            rounds_failed: self.totals.rounds_failed,
            restarts: self.totals.restarts,
            at_ns: host.now_ns(),
            cpu_busy_pct: host.cpu_busy_pct(),
            nr_runnable: loads.domains.iter().map(|load| u64::from(load.nr_runnable)).sum(),
            nr_tasks: loads.nr_tasks,
            saturated: view.saturated.into(),
            planned: self.totals.planned,
            applied: counters.applied,
            expired: counters.expired,
            refused: counters.refused + self.totals.refused_at_once,
            tasks_unseen: self.tasks_unseen.into(),
            direct_prev: counters.direct_prev,
            direct_idle: counters.direct_idle,
            direct_greedy: counters.direct_greedy,
            enqueued: counters.enqueued,
            pinned: counters.pinned,
            kthread: counters.kthread,
            steals: counters.steal,
            steals_x_node: counters.steal_x_node,
            kept: counters.kept,
            fork_spread: counters.fork_spread,
            wake_spread: counters.wake_spread,
            rehomed: counters.rehomed,
            no_context: counters.no_context,
            cgroups_weighed: self.weigher.weighed() as u64,
            factor_changes: self.totals.factor_changes,
            domains: domains.collect(),
            cgroups: self
                .cgroup_loads
                .iter()
                .map(|(&id, &load)| (id, self.cgroup_metrics(id, load)))
                .collect(),
        })
    }

    fn cgroup_metrics(&self, id: u64, load: f64) -> CgroupMetrics {
        CgroupMetrics { load, factor: self.weigher.factor(id) }
    }

    /// Keeps the counters of this attachment for the next one.
    fn retire(&mut self) {
        match doors::counters(self.object) {
            Ok(counters) => self.totals.counters = self.totals.counters + counters,
            Err(error) => debug!("the last counters are lost: {error}"),
        }
    }
}

/// A fresh copy of the tasks.
fn fetch(
    object: &mut dyn BpfObject,
    machine: &Machine,
    options: &Options,
    unseen: &mut u32,
) -> Result<Tasks, SeamError> {
    let tasks = doors::tasks(object, machine.domains.len(), options.load_half_life_ns())?;
    *unseen = tasks.dropped;
    Ok(tasks)
}

fn cgroup_loads(plan: &Plan) -> BTreeMap<u64, f64> {
    plan.cgroups.iter().map(|cgroup| (cgroup.cgroup, cgroup.load)).collect()
}
