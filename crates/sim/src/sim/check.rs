// SPDX-License-Identifier: GPL-2.0-only
//! Invariants of the whole: every task is in exactly one place, counts agree, no CPU sleeps beside its own work, no task
//! waits while all CPUs that it may use sleep.
//!
//! The operations check what they touch at every event; this looks at everything and runs as often as configured.

use topology::CpuSet;

use crate::kernel::{Cpu, Curr, Kernel};
use crate::ops::Ops;
use crate::sim::Sim;
use crate::task::{Place, TaskIdx};

impl<O: Ops> Sim<O> {
    /// Looks at everything now; what is wrong ends the run at the next event.
    pub fn check(&mut self) {
        if let Some(what) = self.kernel.inconsistency() {
            self.kernel.violate(what);
        }
    }
}

impl Kernel {
    /// The first thing that is wrong.
    pub fn inconsistency(&self) -> Option<String> {
        self.misplaced_task()
            .or_else(|| self.wrong_order())
            .or_else(|| self.wrong_counts())
            .or_else(|| self.sleeping_cpu())
            .or_else(|| self.forgotten_task())
            .or_else(|| self.wrong_cgroup())
    }

    fn misplaced_task(&self) -> Option<String> {
        let mut seen = vec![0u32; self.tasks.slots()];
        let mut wrong = None;
        let mut meet = |task: TaskIdx, place: Place| {
            seen[task] += 1;
            if self.tasks[task].place != place && wrong.is_none() {
                wrong = Some(format!(
                    "{} is on {place:?} but believes to be {:?}",
                    self.describe(task),
                    self.tasks[task].place
                ));
            }
        };
        for (id, cpu) in self.cpus.iter().enumerate() {
            cpu.local.iter().for_each(|&task| meet(task, Place::Local(id)));
            cpu.deferred.iter().for_each(|&task| meet(task, Place::Deferred(id)));
            if let Curr::Task(task) = cpu.curr {
                meet(task, Place::Running);
                if !cpu.executes() || !self.may_run(task, id) {
                    return Some(format!("{} runs on CPU {id}, which it may not use", self.describe(task)));
                }
            }
        }
        for (index, queue) in self.dsqs.iter() {
            queue.iter().for_each(|task| meet(task, Place::Queue(index)));
        }
        if wrong.is_some() {
            return wrong;
        }
        let homeless = self.tasks.live().find(|(idx, task)| {
            let expected = u32::from(!matches!(task.place, Place::Sleeping | Place::Scheduler));
            seen[*idx] != expected || task.queued != (task.place != Place::Sleeping)
        });
        homeless.map(|(idx, task)| {
            format!(
                "{} is {:?}, queued {}, and was found {} times",
                self.describe(idx),
                task.place,
                task.queued,
                seen[idx]
            )
        })
    }

    /// A vtime that was written while its task waits. Who leaves a queue is looked at always; this finds those that stay.
    fn wrong_order(&self) -> Option<String> {
        let mut waiting =
            self.dsqs.iter().flat_map(|(_, queue)| queue.ordered().map(|entry| (queue.id, entry)));
        let (id, (inserted, task)) = waiting.find(|(_, (vtime, task))| self.tasks[*task].vtime != *vtime)?;
        Some(self.out_of_order(id, task, inserted))
    }

    fn wrong_counts(&self) -> Option<String> {
        let runnable = self.tasks.live().filter(|(_, task)| task.queued).count();
        let all = self.machine.all.len();
        let anywhere = |task: &crate::task::Task| task.nr_allowed >= all && task.migration_disabled == 0;
        let waiting = self.tasks.live().filter(|(_, task)| task.waits() && anywhere(task)).count();
        let idle =
            self.cpus.iter().filter(|cpu| cpu.online && cpu.curr == Curr::Idle && !cpu.need_resched).count();
        let (counted, found) = ((self.nr_runnable, self.nr_waiting, self.nr_idle), (runnable, waiting, idle));
        (counted != found)
            .then(|| format!("runnable, waiting and idle are counted {counted:?} and found {found:?}"))
    }

    fn wrong_cgroup(&self) -> Option<String> {
        let mut tasks = vec![0usize; self.cgroups.len()];
        for (index, task) in self.tasks.live() {
            tasks[task.cgroup] += 1;
            let (own, seen) = (task.cgroup, self.cgroups.of_controller(task.cgroup));
            if !self.cgroups[own].alive || task.sched_cgroup != seen {
                let (who, path) = (self.describe(index), &self.cgroups[own].path);
                let sched = &self.cgroups[task.sched_cgroup].path;
                return Some(format!("{who} is in cgroup {path} and counts for {sched}"));
            }
        }
        let wrong = (0..tasks.len()).find(|&index| self.cgroups[index].tasks != tasks[index]);
        wrong.map(|index| {
            let (path, counted) = (&self.cgroups[index].path, self.cgroups[index].tasks);
            format!("cgroup {path} counts {counted} tasks and has {}", tasks[index])
        })
    }

    fn sleeping_cpu(&self) -> Option<String> {
        let asleep = self.cpus.iter().position(|cpu| cpu.executes() && cpu.sleeps() && !cpu.local.is_empty());
        asleep.map(|cpu| format!("CPU {cpu} is idle beside its own local queue and nothing wakes it"))
    }

    /// A task that waits although every CPU that it may use has been asleep for long: whoever put it aside woke nobody, which
    /// is a fault of any scheduler.
    fn forgotten_task(&self) -> Option<String> {
        let bound = self.config.idle_beside_ns;
        if bound == 0 {
            return None;
        }
        let asleep = self.asleep_for(bound);
        if asleep.is_empty() {
            return None;
        }
        let (task, entry) = self.tasks.live().find(|(index, task)| {
            let since = task.waiting_since.max(task.enqueued_at);
            task.waits() && self.now - since > bound && self.all_its_cpus_are(*index, &asleep)
        })?;
        let (who, place) = (self.describe(task), entry.place);
        Some(format!(
            "{who} waits ({place:?}) beside CPUs {} that have all been asleep for {} ms and more",
            self.allowed(task).intersection(&self.online),
            bound / 1_000_000
        ))
    }

    /// CPUs that have been idle for longer than that, and that nothing is about to wake.
    fn asleep_for(&self, bound: u64) -> CpuSet {
        let asleep =
            |cpu: &Cpu| cpu.online && cpu.sleeps() && cpu.rt_wanted_ns == 0 && self.now - cpu.since > bound;
        self.cpus.iter().enumerate().filter(|(_, cpu)| asleep(cpu)).map(|(id, _)| id).collect()
    }

    /// Whether a task may use an online CPU, and only such of a set.
    fn all_its_cpus_are(&self, task: TaskIdx, set: &CpuSet) -> bool {
        let usable = self.allowed(task).intersection(&self.online);
        !usable.is_empty() && usable.is_subset(set)
    }
}

impl Cpu {
    /// Whether it is idle and nobody has asked it to look for work.
    fn sleeps(&self) -> bool {
        self.curr == Curr::Idle && !self.need_resched && self.kicks == 0
    }
}
