// SPDX-License-Identifier: GPL-2.0-only
//! A BPF side made of plain values: tasks that are always runnable, plans applied at once, time moved by hand.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use balancer::Explanation;
use bytemuck::Zeroable;
use runtime::exit::ExitRecord;
use runtime::host::World;
use runtime::seam::{BpfObject, Entry, SeamError};
use runtime::signals::Wake;

use crate::cgroups::CgroupDir;
use crate::kernel::abi;
use crate::run::Host;
use crate::stats::Metrics;

thread_local! {
    /// The time of the test on this thread, ns; object and host share it.
    static NOW: Rc<Cell<u64>> = Rc::default();
}

fn now_ns() -> u64 {
    NOW.with(|now| now.get())
}

#[derive(Clone, Debug)]
pub struct FakeTask {
    pub pid: i32,
    pub generation: u64,
    pub domain: u32,
    pub kthread: bool,
    pub pinned: bool,
    pub allowed: Option<u64>,
    pub last_moved_ns: u64,
    /// Last effective weight: set when the factors are made to count.
    pub weight: u32,
}

impl FakeTask {
    pub fn hog() -> Self {
        Self {
            pid: 1,
            generation: 1,
            domain: 0,
            kthread: false,
            pinned: false,
            allowed: None,
            last_moved_ns: 0,
            weight: 100,
        }
    }

    pub fn cgroup(&self) -> u64 {
        7 + u64::from(self.pid % 2 == 0)
    }
}

/// One call of `plan_move`.
#[derive(Clone, Debug)]
pub struct FakePlan {
    pub asked_at_ns: u64,
    pub expires_ns: u64,
}

pub struct FakeObject {
    pub tasks: Vec<FakeTask>,
    pub plans: Vec<FakePlan>,
    pub applied: u64,
    pub exit: Option<ExitRecord>,
    pub exit_after_ns: Option<u64>,
    pub fail_task_snapshots: bool,
    pub fail_factors: bool,
    pub factors: BTreeMap<u64, u32>,
    /// Times the factors were made to count.
    pub renewals: usize,
    /// The tasks of every snapshot are gone by the time the plan comes.
    pub generations_change: bool,
    domains: usize,
}

impl FakeObject {
    pub fn new(domains: usize) -> Self {
        Self {
            tasks: Vec::new(),
            plans: Vec::new(),
            applied: 0,
            exit: None,
            exit_after_ns: None,
            fail_task_snapshots: false,
            fail_factors: false,
            factors: BTreeMap::new(),
            renewals: 0,
            generations_change: false,
            domains,
        }
    }

    pub fn tasks_per_domain(&self) -> Vec<usize> {
        (0..self.domains)
            .map(|domain| self.tasks.iter().filter(|task| task.domain as usize == domain).count())
            .collect()
    }

    fn domain_snapshot(&self, domain: u32) -> abi::db_domain_snapshot {
        let mut snapshot = abi::db_domain_snapshot::zeroed();
        let tasks = self.tasks.iter().filter(|task| task.domain == domain).count();
        snapshot.at_ns = now_ns();
        snapshot.nr_runnable = tasks as u32;
        for task in self.tasks.iter().filter(|task| task.domain == domain) {
            let bucket = &mut snapshot.duty[balancer::weights::weight_bucket(task.weight)];
            *bucket = always(bucket.val + 1);
        }
        snapshot
    }

    fn task_snapshot(&self, task: &FakeTask) -> abi::db_task_snapshot {
        let mut snapshot = abi::db_task_snapshot::zeroed();
        snapshot.pid = task.pid;
        snapshot.generation = task.generation;
        snapshot.domain = task.domain;
        snapshot.weight = task.weight;
        snapshot.own_weight = 100;
        snapshot.comm[..3].copy_from_slice(&b"hog".map(u8::cast_signed));
        snapshot.duty = always(1);
        snapshot.last_moved_ns = task.last_moved_ns;
        snapshot.last_ran_ns = now_ns();
        snapshot.cgroup_id = task.cgroup();
        snapshot.flags = if task.kthread { abi::db_task_flags_DB_TASK_KTHREAD } else { 0 }
            | if task.pinned { abi::db_task_flags_DB_TASK_PINNED } else { 0 };
        match task.allowed {
            Some(word) => snapshot.domains[0] = word,
            None => snapshot.flags |= abi::db_task_flags_DB_TASK_ANY_DOMAIN,
        }
        snapshot
    }

    fn plan_move(&mut self, args: &abi::db_plan_move_args) -> u32 {
        self.plans.push(FakePlan { asked_at_ns: now_ns(), expires_ns: args.expires_ns });
        let matches = |task: &&mut FakeTask| task.pid == args.pid && task.generation == args.generation;
        let Some(task) = self.tasks.iter_mut().find(matches) else {
            return abi::db_plan_result_DB_PLAN_STALE;
        };
        task.domain = args.target;
        task.last_moved_ns = now_ns();
        self.applied += 1;
        abi::db_plan_result_DB_PLAN_ACCEPTED
    }
}

/// The running average of a value that never changed.
fn always(val: u32) -> abi::ravg {
    abi::ravg { avg: u64::from(val) << 32, val_at: now_ns(), val, pad: 0 }
}

fn index(key: &[u8]) -> usize {
    bytemuck::pod_read_unaligned::<u32>(key) as usize
}

fn failed(name: &str) -> SeamError {
    SeamError::Refused {
        operation: "run",
        name: name.to_owned(),
        errno: None,
        reason: "made to fail".to_owned(),
    }
}

impl BpfObject for FakeObject {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        Err(SeamError::Missing { kind: "variable", name: variable.to_owned() })
    }

    fn map_lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        let at = index(key);
        Ok(match map {
            "domain_snapshots" => Some(bytemuck::bytes_of(&self.domain_snapshot(at as u32)).to_vec()),
            "task_snapshots" => {
                self.tasks.get(at).map(|task| bytemuck::bytes_of(&self.task_snapshot(task)).to_vec())
            }
            _ => return Err(SeamError::Missing { kind: "map", name: map.to_owned() }),
        })
    }

    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        assert_eq!(map, "counters");
        let applied = index(key) == abi::db_counter_DB_MOVE_APPLIED as usize;
        // Spread over two CPUs: the sum counts.
        let value = if applied { self.applied } else { 0 };
        let parts = [value / 3, value - value / 3];
        Ok(Some(parts.iter().map(|part| part.to_ne_bytes().to_vec()).collect()))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError> {
        Err(SeamError::Missing { kind: "map", name: map.to_owned() })
    }

    fn map_update(&mut self, map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError> {
        assert_eq!(map, "cgroup_factors");
        if self.fail_factors {
            return Err(failed(map));
        }
        self.factors.insert(bytemuck::pod_read_unaligned(key), bytemuck::pod_read_unaligned(value));
        Ok(())
    }

    fn map_delete(&mut self, map: &str, key: &[u8]) -> Result<bool, SeamError> {
        assert_eq!(map, "cgroup_factors");
        Ok(self.factors.remove(&bytemuck::pod_read_unaligned::<u64>(key)).is_some())
    }

    fn run_syscall(&mut self, program: &str, context: &mut [u8]) -> Result<i32, SeamError> {
        match program {
            "snapshot_domains" => {
                let mut args: abi::db_snapshot_domains_args = bytemuck::pod_read_unaligned(context);
                args.at_ns = now_ns();
                args.nr_tasks = self.tasks.len() as u64;
                context.copy_from_slice(bytemuck::bytes_of(&args));
                Ok(0)
            }
            "snapshot_tasks" if self.fail_task_snapshots => Err(failed(program)),
            "snapshot_tasks" => {
                let mut args: abi::db_snapshot_tasks_args = bytemuck::pod_read_unaligned(context);
                assert!(args.capacity > 0 && args.min_duty > 0);
                args.at_ns = now_ns();
                args.nr_written = self.tasks.len() as u32;
                context.copy_from_slice(bytemuck::bytes_of(&args));
                Ok(0)
            }
            "plan_move" => {
                if self.generations_change {
                    self.tasks.iter_mut().for_each(|task| task.generation += 1);
                }
                Ok(self.plan_move(&bytemuck::pod_read_unaligned(context)) as i32)
            }
            "renew_weights" => {
                self.renewals += 1;
                for task in &mut self.tasks {
                    let factor = self.factors.get(&task.cgroup()).copied().unwrap_or(1 << 16);
                    task.weight = (((100 * u64::from(factor)) >> 16) as u32).clamp(1, 10_000);
                }
                Ok(0)
            }
            _ => Err(failed(program)),
        }
    }

    fn exit_record(&self) -> Result<Option<ExitRecord>, SeamError> {
        let ended = self.exit_after_ns.is_some_and(|at| now_ns() >= at);
        Ok(self.exit.clone().filter(|_| ended))
    }
}

/// Time moves only while the loop waits; it is told to shut down at `end_ns`.
pub struct ManualHost {
    pub published: Vec<Metrics>,
    pub explained: Vec<Explanation>,
    /// The tree of cgroups, and when it is gone.
    pub cgroups: Vec<CgroupDir>,
    pub cgroups_end_ns: u64,
    end_ns: u64,
}

impl ManualHost {
    pub fn new(length: Duration) -> Self {
        NOW.with(|now| now.set(0));
        Self {
            published: Vec::new(),
            explained: Vec::new(),
            cgroups: Vec::new(),
            cgroups_end_ns: u64::MAX,
            end_ns: length.as_nanos() as u64,
        }
    }
}

impl World for ManualHost {
    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        let next = now_ns() + timeout.as_nanos() as u64;
        NOW.with(|now| now.set(next.min(self.end_ns)));
        if next >= self.end_ns { Wake::Shutdown } else { Wake::Timeout }
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        100.0
    }

    fn wants_metrics(&self) -> bool {
        false
    }
}

impl runtime::host::Host<Metrics> for ManualHost {
    fn publish(&mut self, metrics: &Metrics) {
        self.published.push(metrics.clone());
    }
}

impl Host for ManualHost {
    fn cgroups(&mut self) -> Vec<CgroupDir> {
        if now_ns() < self.cgroups_end_ns { self.cgroups.clone() } else { Vec::new() }
    }

    fn explain(&mut self, explanation: &Explanation) {
        self.explained.push(explanation.clone());
    }
}
