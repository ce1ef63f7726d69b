// SPDX-License-Identifier: GPL-2.0-only
//! From a snapshot to a plan: translates this scheduler's figures into the balancer's and asks it.

use anyhow::{Context, Result};
use balancer::{DomainMask, Ledger, Plan, PlanParams, SourceError, Task, TaskId, TaskKind, TaskSource};
use runtime::seam::SeamError;

use crate::machine::Machine;
use crate::snapshot::{DomainLoads, TaskState, Tasks};

/// Plans one round. `fetch` copies the tasks; it is called once, and only if some domain has to push.
///
/// A task rests for one and a half intervals after it moved, so that nothing moves in two rounds in a row on figures
/// that still remember the old place.
///
/// # Errors
/// A snapshot with impossible figures, or a failing `fetch`.
pub fn plan(
    machine: &Machine,
    loads: &DomainLoads,
    interval_ns: u64,
    fetch: &mut dyn FnMut() -> Result<Tasks, SeamError>,
) -> Result<Plan> {
    let ledger = ledger(loads)?;
    let rest_ns = interval_ns.saturating_add(interval_ns / 2);
    let params = PlanParams { now_ns: loads.at_ns, rest_ns, ..PlanParams::default() };
    let mut source = LazyTasks { domains: machine.domains.len(), fetch, by_domain: None };
    balancer::plan(&machine.tree, &ledger, &mut source, &params).context("no plan for this round")
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

/// Copies all tasks when the first domain has to push, and serves the others from that copy.
struct LazyTasks<'a> {
    domains: usize,
    fetch: &'a mut dyn FnMut() -> Result<Tasks, SeamError>,
    by_domain: Option<Vec<Vec<Task>>>,
}

impl TaskSource for LazyTasks<'_> {
    fn tasks(&mut self, domain: usize) -> Result<Vec<Task>, SourceError> {
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
        let taken = self.by_domain.as_mut().and_then(|lists| lists.get_mut(domain)).map(std::mem::take);
        Ok(taken.unwrap_or_default())
    }
}

fn movable(task: &TaskState, domains: usize) -> Task {
    Task {
        id: TaskId { pid: task.pid, generation: task.generation },
        weight: task.weight,
        duty_cycle: task.duty_cycle,
        allowed: match &task.allowed {
            Some(words) => DomainMask::from_words(words),
            None => DomainMask::all(domains),
        },
        preferred: DomainMask::empty(),
        last_moved_ns: task.last_moved_ns,
        cgroup: task.cgroup,
        kind: match task {
            TaskState { kthread: true, .. } => TaskKind::Kthread,
            TaskState { pinned: true, .. } => TaskKind::Pinned,
            _ => TaskKind::Normal,
        },
    }
}
