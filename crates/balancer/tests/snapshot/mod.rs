// SPDX-License-Identifier: GPL-2.0-only
//! Large reproducible machines, and a task source that clones from a snapshot into the buffer it is given.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use crate::machine::{ROUND_NS, Rng};
use balancer::*;

/// Domains of four CPUs on nodes of eight domains. A quarter of the domains has about half of the tasks.
pub struct Snapshot {
    pub levels: Vec<LevelParams>,
    pub places: Vec<DomainPlace>,
    pub tree: Tree,
    pub tasks: Vec<Vec<Task>>,
    pub ledger: Ledger,
    pub cgroups: Vec<(u64, DomainId, usize, f64)>,
    pub params: PlanParams,
}

impl Snapshot {
    pub fn new(domains: usize, tasks: usize, seed: u64) -> Self {
        let levels = vec![LevelParams::named("node"), LevelParams::named("domain")];
        let place = |d: usize| DomainPlace { path: vec![d / 8.min(domains / 2), d], capacity: 4.0 };
        let places: Vec<DomainPlace> = (0..domains).map(place).collect();
        let tree = Tree::new(levels.clone(), places.clone()).unwrap();
        let params = PlanParams { now_ns: ROUND_NS, ..PlanParams::default() };
        let (all, lower) = (DomainMask::all(domains), (0..domains / 2).collect::<DomainMask>());
        let mut rng = Rng(seed);
        let mut lists = vec![Vec::with_capacity(3 * tasks / domains); domains];
        for pid in 0..tasks {
            let crowded = rng.below(3) == 0;
            let domain = if crowded { rng.below(domains / 4) * 4 } else { rng.below(domains) };
            lists[domain].push(Task {
                id: TaskId { pid: pid as i32, generation: 1 },
                weight: if rng.below(5) == 0 { 20 + rng.below(800) as u32 } else { 100 },
                duty_cycle: rng.between(0.02, 1.0),
                allowed: if rng.below(10) == 0 { lower.clone() } else { all.clone() },
                preferred: DomainMask::empty(),
                last_moved_ns: if rng.below(20) == 0 { ROUND_NS - 1_000_000 } else { 0 },
                last_ran_ns: ROUND_NS - rng.below(100_000_000) as u64,
                cgroup: 1 + rng.below(16) as u64,
                kind: if rng.below(20) == 0 { TaskKind::Kthread } else { TaskKind::Normal },
            });
        }
        let mut snapshot = Self {
            levels,
            places,
            tree,
            tasks: lists,
            ledger: Ledger::new(domains),
            cgroups: vec![],
            params,
        };
        snapshot.count();
        snapshot
    }

    /// Sums the tasks up, as the kernel side does all the time.
    pub fn count(&mut self) {
        self.ledger.clear();
        let mut cgroups = std::collections::BTreeMap::<(u64, DomainId, usize), f64>::new();
        for (domain, tasks) in self.tasks.iter().enumerate() {
            for task in tasks {
                let bucket = weights::weight_bucket(task.weight);
                self.ledger.add(domain, bucket, task.duty_cycle).unwrap();
                *cgroups.entry((task.cgroup, domain, bucket)).or_default() += task.duty_cycle;
            }
        }
        self.cgroups = cgroups.into_iter().map(|((c, d, b), duty)| (c, d, b, duty)).collect();
    }

    pub fn round(&self, planner: &mut Planner) -> Plan {
        let mut source = Source { tasks: &self.tasks, cgroups: &self.cgroups };
        planner.plan(&self.tree, &self.ledger, &mut source, &self.params).unwrap()
    }

    /// Applies plans until nothing moves any more, or long enough.
    pub fn settle(mut self) -> Self {
        let mut planner = Planner::new();
        for _ in 0..30 {
            let plan = self.round(&mut planner);
            if plan.moves.is_empty() {
                break;
            }
            for m in &plan.moves {
                let slot = self.tasks[m.from].iter().position(|task| task.id == m.task).unwrap();
                let task = self.tasks[m.from].swap_remove(slot);
                self.tasks[m.to].push(task);
            }
            self.count();
        }
        self
    }

    pub fn shape(&self) -> (&Tree, &[LevelParams], &[DomainPlace]) {
        (&self.tree, &self.levels, &self.places)
    }
}

pub struct Source<'a> {
    pub tasks: &'a [Vec<Task>],
    pub cgroups: &'a [(u64, DomainId, usize, f64)],
}

impl TaskSource for Source<'_> {
    fn fill(&mut self, domain: DomainId, tasks: &mut Vec<Task>) -> Result<(), SourceError> {
        tasks.extend_from_slice(&self.tasks[domain]);
        Ok(())
    }

    fn cgroups(&mut self, ledger: &mut CgroupLedger) -> Result<(), SourceError> {
        for &(cgroup, domain, bucket, duty) in self.cgroups {
            ledger.add(cgroup, domain, bucket, duty)?;
        }
        Ok(())
    }
}
