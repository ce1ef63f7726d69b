// SPDX-License-Identifier: GPL-2.0-only
//! From a snapshot to a plan: translates this scheduler's figures into the balancer's and asks it.

use anyhow::{Context, Result};
use balancer::weights::weight_bucket;
use balancer::{
    CgroupLedger, DomainMask, Ledger, Plan, PlanParams, Planner, SourceError, Task, TaskKind, TaskSource,
};
use runtime::seam::SeamError;

use crate::machine::Machine;
use crate::options::Options;
use crate::snapshot::{DomainLoads, TaskState, Tasks};

/// Refusals that `--explain` tells one by one in a round; the rest is counted.
const REFUSALS_EXPLAINED: usize = 100;

/// Tasks of a snapshot, fetched when they are needed.
pub type Fetch<'a> = &'a mut dyn FnMut() -> Result<Tasks, SeamError>;

/// Plans round after round.
pub struct RoundPlanner {
    planner: Planner,
    params: PlanParams,
}

impl RoundPlanner {
    /// A task rests for one and a half intervals after it moved, so that nothing moves in two rounds in a row on figures
    /// that still remember the old place.
    pub fn new(options: &Options) -> Self {
        let interval_ns = options.interval_ns();
        let params = PlanParams {
            rest_ns: interval_ns.saturating_add(interval_ns / 2),
            cost: options.cost.model().clone(),
            explain: options.explain.is_some(),
            max_refusals_explained: if options.explain.is_some() { REFUSALS_EXPLAINED } else { 0 },
            cgroup_statistics: true,
            ..PlanParams::default()
        };
        Self { planner: Planner::new(), params }
    }

    /// Plans one round. `fetch` copies the tasks; it is called at most once.
    ///
    /// # Errors
    /// A snapshot with impossible figures, or a failing `fetch`.
    pub fn plan(&mut self, machine: &Machine, loads: &DomainLoads, fetch: Fetch<'_>) -> Result<Plan> {
        let ledger = ledger(loads)?;
        self.params.now_ns = loads.at_ns;
        let mut source = LazyTasks { domains: machine.domains.len(), fetch, by_domain: None };
        self.planner.plan(&machine.tree, &ledger, &mut source, &self.params).context("no plan for this round")
    }
}

/// Loads, averages and imbalances of the moment, without any task being asked for or moved.
///
/// # Errors
/// A snapshot with impossible figures.
pub fn view(machine: &Machine, loads: &DomainLoads) -> Result<Plan> {
    let none = &mut |_| Ok(Vec::new());
    balancer::plan(&machine.tree, &ledger(loads)?, none, &PlanParams::default())
        .context("no figures this time")
}

fn ledger(loads: &DomainLoads) -> Result<Ledger> {
    let mut ledger = Ledger::new(loads.domains.len());
    for (domain, load) in loads.domains.iter().enumerate() {
        for (bucket, &duty) in load.duty.iter().enumerate() {
            ledger.set(domain, bucket, duty)?;
        }
    }
    Ok(ledger)
}

/// Copies all tasks when they are first asked for, and serves every domain from that copy.
struct LazyTasks<'a> {
    domains: usize,
    fetch: Fetch<'a>,
    by_domain: Option<Vec<Vec<Task>>>,
}

impl LazyTasks<'_> {
    fn by_domain(&mut self) -> Result<&mut Vec<Vec<Task>>, SeamError> {
        if self.by_domain.is_none() {
            let mut by_domain = vec![Vec::new(); self.domains];
            for task in &(self.fetch)()?.tasks {
                // A domain number beyond the tree would be a broken snapshot; such a task is nobody's.
                if let Some(list) = by_domain.get_mut(task.domain) {
                    list.push(movable(task, self.domains));
                }
            }
            self.by_domain = Some(by_domain);
        }
        Ok(self.by_domain.get_or_insert_default())
    }
}

impl TaskSource for LazyTasks<'_> {
    fn fill(&mut self, domain: usize, tasks: &mut Vec<Task>) -> Result<(), SourceError> {
        if let Some(list) = self.by_domain()?.get_mut(domain) {
            tasks.append(list);
        }
        Ok(())
    }

    fn cgroups(&mut self, ledger: &mut CgroupLedger) -> Result<(), SourceError> {
        for (domain, list) in self.by_domain()?.iter().enumerate() {
            for task in list {
                ledger.add(task.cgroup, domain, weight_bucket(task.weight), task.duty_cycle)?;
            }
        }
        Ok(())
    }
}

fn movable(task: &TaskState, domains: usize) -> Task {
    Task {
        id: task.id(),
        weight: task.weight,
        duty_cycle: task.duty_cycle,
        allowed: match &task.allowed {
            Some(words) => DomainMask::from_words(words),
            None => DomainMask::all(domains),
        },
        preferred: DomainMask::empty(),
        last_moved_ns: task.last_moved_ns,
        last_ran_ns: task.last_ran_ns,
        cgroup: task.cgroup,
        kind: match task {
            TaskState { kthread: true, .. } => TaskKind::Kthread,
            TaskState { pinned: true, .. } => TaskKind::Pinned,
            _ => TaskKind::Normal,
        },
    }
}
