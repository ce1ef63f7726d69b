// SPDX-License-Identifier: GPL-2.0-only
//! Cgroups come, go and change, and tasks move between them: the callbacks in the kernel's order.
//!
//! A move is: ops.cgroup_prep_move while nothing has changed; the new cpuset (ops.set_cpumask); then, around it the task is
//! off its run queue as for any change of attributes, ops.cgroup_move. Cgroups without the cpu controller do not exist for
//! the scheduler.

use std::rc::Rc;

use topology::CpuSet;

use crate::cgroup::{Bandwidth, CgroupError, CgroupIdx, ROOT};
use crate::kernel::Within;
use crate::ops::Ops;
use crate::sim::Sim;
use crate::task::{Place, TaskIdx};
use crate::trace::What;

impl<O: Ops> Sim<O> {
    /// Makes a cgroup (mkdir); its parent must exist. It has the cpu controller if its parent has.
    ///
    /// # Errors
    /// No parent, the path is taken or empty, or ops.cgroup_init refuses.
    pub fn create_cgroup(&mut self, path: &str, weight: u32) -> Result<CgroupIdx, CgroupError> {
        let path = path.trim_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(CgroupError::Invalid(format!("'{path}'"), "a path such as /a/b is expected"));
        }
        let parent =
            self.kernel.cgroups.find(above).ok_or_else(|| CgroupError::Missing(format!("/{above}")))?;
        if self.kernel.cgroups.find(path).is_some() {
            return Err(CgroupError::Exists(format!("/{path}")));
        }
        let cgroup = self.kernel.cgroups.add(parent, name, weight);
        self.note_cgroup(cgroup, 1);
        let errno = self.introduce_cgroup(cgroup);
        if errno != 0 {
            self.drop_cgroup(cgroup);
            return Err(CgroupError::Refused { callback: "ops.cgroup_init", errno });
        }
        Ok(cgroup)
    }

    /// Removes an empty cgroup (rmdir).
    ///
    /// # Errors
    /// It is gone already, is the root, or has tasks or children.
    pub fn remove_cgroup(&mut self, cgroup: CgroupIdx) -> Result<(), CgroupError> {
        let path = self.live_path(cgroup)?;
        if cgroup == ROOT {
            return Err(CgroupError::Invalid(path, "the root cannot be removed"));
        }
        let entry = &self.kernel.cgroups[cgroup];
        if entry.tasks > 0 || !entry.children.is_empty() {
            return Err(CgroupError::Busy(path));
        }
        self.note_cgroup(cgroup, 2);
        self.take_leave_of_cgroup(cgroup);
        self.drop_cgroup(cgroup);
        Ok(())
    }

    /// Moves a task to a cgroup.
    ///
    /// # Errors
    /// The cgroup is gone, or ops.cgroup_prep_move refuses.
    pub fn move_task(&mut self, task: TaskIdx, to: CgroupIdx) -> Result<(), CgroupError> {
        self.move_tasks(&[task], to)
    }

    /// Moves tasks to a cgroup together, as the threads of a process are moved: all or none.
    ///
    /// # Errors
    /// The cgroup is gone, or ops.cgroup_prep_move refuses one of them; the others see ops.cgroup_cancel_move.
    pub fn move_tasks(&mut self, tasks: &[TaskIdx], to: CgroupIdx) -> Result<(), CgroupError> {
        self.live_path(to)?;
        let moving: Vec<TaskIdx> =
            tasks.iter().copied().filter(|&task| self.kernel.tasks[task].cgroup != to).collect();
        let target = self.kernel.cgroups.of_controller(to);
        self.prepare_moves(&moving, target)?;
        for &task in &moving {
            let from = self.kernel.tasks[task].cgroup;
            // What it has used so far belongs to where it was.
            if self.kernel.tasks[task].place == Place::Running {
                let cpu = self.kernel.tasks[task].cpu;
                self.kernel.update_curr(cpu);
            }
            let entry = &mut self.kernel.tasks[task];
            (entry.cgroup, entry.stale) = (to, true);
            let (pid, cpu) = (entry.pid, entry.cpu);
            self.kernel.cgroups[from].tasks -= 1;
            self.kernel.cgroups[to].tasks += 1;
            let id = self.kernel.cgroups[to].id;
            self.kernel.note(What::Cgroup, cpu, pid, id << 8 | 3);
        }
        moving.iter().for_each(|&task| self.follow_cpuset(task));
        for &task in &moving {
            self.enter(task, target);
        }
        Ok(())
    }

    fn prepare_moves(&mut self, tasks: &[TaskIdx], target: CgroupIdx) -> Result<(), CgroupError> {
        for (at, &task) in tasks.iter().enumerate() {
            let from = self.kernel.tasks[task].sched_cgroup;
            if from == target || !self.kernel.tasks[task].known {
                continue;
            }
            let errno = self
                .call(Within::Other, |ops, kernel| ops.cgroup_prep_move(kernel, task, from, target))
                .unwrap_or(0);
            if errno != 0 {
                for &before in &tasks[..at] {
                    let from = self.kernel.tasks[before].sched_cgroup;
                    if from != target && self.kernel.tasks[before].known {
                        self.call(Within::Other, |ops, kernel| {
                            ops.cgroup_cancel_move(kernel, before, from, target);
                        });
                    }
                }
                return Err(CgroupError::Refused { callback: "ops.cgroup_prep_move", errno });
            }
        }
        Ok(())
    }

    /// `sched_move_task()`.
    fn enter(&mut self, task: TaskIdx, target: CgroupIdx) {
        let from = self.kernel.tasks[task].sched_cgroup;
        if from == target {
            return;
        }
        self.change_attribute(task, |sim| {
            let entry = &mut sim.kernel.tasks[task];
            (entry.sched_cgroup, entry.stale) = (target, true);
            let cpu = entry.cpu;
            if entry.known {
                sim.call_on(cpu, Within::Other, |ops, kernel| ops.cgroup_move(kernel, task, from, target));
            }
        });
        if self.kernel.tasks[task].place == Place::Running {
            let cpu = self.kernel.tasks[task].cpu;
            self.kernel.resched(cpu);
        }
    }

    /// Sets cpu.weight.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn set_cgroup_weight(&mut self, cgroup: CgroupIdx, weight: u32) -> Result<(), CgroupError> {
        self.live_path(cgroup)?;
        let weight = weight.clamp(1, 10_000);
        let entry = &mut self.kernel.cgroups[cgroup];
        if std::mem::replace(&mut entry.weight, weight) != weight && entry.known {
            self.call(Within::Other, |ops, kernel| ops.cgroup_set_weight(kernel, cgroup, weight));
        }
        self.note_cgroup(cgroup, 4);
        Ok(())
    }

    /// Sets cpu.max: the scheduler is told, and nothing else happens. The kernel throttles the run queues of its own fair
    /// class only, so tasks of sched_ext go on; a limit is the scheduler's affair.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn set_cgroup_bandwidth(
        &mut self,
        cgroup: CgroupIdx,
        bandwidth: Bandwidth,
    ) -> Result<(), CgroupError> {
        self.live_path(cgroup)?;
        let entry = &mut self.kernel.cgroups[cgroup];
        if std::mem::replace(&mut entry.bandwidth, bandwidth) != bandwidth && entry.known {
            self.call(Within::Other, |ops, kernel| {
                ops.cgroup_set_bandwidth(kernel, cgroup, bandwidth);
            });
        }
        Ok(())
    }

    /// Sets cpu.idle. Unlike weight and limit, the scheduler is told even if nothing changes.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn set_cgroup_idle(&mut self, cgroup: CgroupIdx, idle: bool) -> Result<(), CgroupError> {
        self.live_path(cgroup)?;
        let entry = &mut self.kernel.cgroups[cgroup];
        entry.idle = idle;
        if entry.known {
            self.call(Within::Other, |ops, kernel| ops.cgroup_set_idle(kernel, cgroup, idle));
        }
        Ok(())
    }

    /// Sets or clears cpuset.cpus: the affinity of all tasks in it and below follows.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn set_cgroup_cpuset(&mut self, cgroup: CgroupIdx, cpus: Option<CpuSet>) -> Result<(), CgroupError> {
        self.live_path(cgroup)?;
        self.kernel.cgroups[cgroup].cpuset = cpus.map(Rc::new);
        self.note_cgroup(cgroup, 5);
        let below = self.kernel.cgroups.descendants(cgroup);
        for task in self.tasks_where(|task| below.contains(&task.cgroup)) {
            self.follow_cpuset(task);
        }
        Ok(())
    }

    /// Gives a cgroup the cpu controller, or takes it away (`cgroup.subtree_control` of its parent): its tasks move to it
    /// from, or to, the nearest ancestor that has the controller.
    ///
    /// # Errors
    /// The cgroup is gone or the root; its parent lacks the controller; a child has it; a callback refuses.
    pub fn set_cpu_controller(&mut self, cgroup: CgroupIdx, on: bool) -> Result<(), CgroupError> {
        let path = self.live_path(cgroup)?;
        if cgroup == ROOT {
            return Err(CgroupError::Invalid(path, "the root always has the cpu controller"));
        }
        if self.kernel.cgroups[cgroup].controller == on {
            return Ok(());
        }
        let parent = self.kernel.cgroups[cgroup].parent;
        let child_has =
            self.kernel.cgroups[cgroup].children.iter().any(|&child| self.kernel.cgroups[child].controller);
        if !self.kernel.cgroups[parent].controller || child_has {
            return Err(CgroupError::Invalid(
                path,
                "the cpu controller goes from the root down, without gaps",
            ));
        }
        if on {
            self.kernel.cgroups[cgroup].controller = true;
            let errno = self.introduce_cgroup(cgroup);
            if errno != 0 {
                self.kernel.cgroups[cgroup].controller = false;
                return Err(CgroupError::Refused { callback: "ops.cgroup_init", errno });
            }
        } else {
            self.kernel.cgroups[cgroup].controller = false;
        }
        let below = self.kernel.cgroups.descendants(cgroup);
        let tasks = self.tasks_where(|task| below.contains(&task.cgroup));
        let target = if on { cgroup } else { parent };
        let moved = self.prepare_moves(&tasks, target);
        if moved.is_ok() {
            tasks.iter().for_each(|&task| self.enter(task, target));
        }
        if on != moved.is_ok() {
            self.take_leave_of_cgroup(cgroup);
        }
        if moved.is_err() {
            self.kernel.cgroups[cgroup].controller = !on;
        }
        moved
    }

    fn tasks_where(&self, wanted: impl Fn(&crate::task::Task) -> bool) -> Vec<TaskIdx> {
        self.kernel.tasks.live().filter(|(_, task)| wanted(task)).map(|(index, _)| index).collect()
    }

    /// The affinity that a task has by its own request within its cpuset.
    pub(crate) fn follow_cpuset(&mut self, task: TaskIdx) {
        let entry = &self.kernel.tasks[task];
        if entry.flags & crate::abi::PF_KTHREAD != 0 {
            return;
        }
        let (wanted, cpuset) =
            (Rc::clone(&entry.user_mask), self.kernel.cgroups.effective_cpuset(entry.cgroup));
        let mut mask = Rc::new(wanted.intersection(&cpuset));
        if !mask.intersects(&self.kernel.online) {
            mask = cpuset;
        }
        if mask.intersects(&self.kernel.online) && *mask != *self.kernel.tasks[task].mask {
            self.apply_mask(task, &mask);
        }
    }

    /// Tells the scheduler of a cgroup; 0 or what it answered.
    pub(crate) fn introduce_cgroup(&mut self, cgroup: CgroupIdx) -> i32 {
        if self.kernel.scheduler.is_none() || !self.kernel.cgroups[cgroup].controller {
            return 0;
        }
        let errno = self.call(Within::Other, |ops, kernel| ops.cgroup_init(kernel, cgroup)).unwrap_or(0);
        self.kernel.cgroups[cgroup].known = errno == 0;
        errno
    }

    /// Tells the scheduler that a cgroup goes, if it knows it.
    pub(crate) fn take_leave_of_cgroup(&mut self, cgroup: CgroupIdx) {
        if std::mem::take(&mut self.kernel.cgroups[cgroup].known) {
            self.call(Within::Other, |ops, kernel| ops.cgroup_exit(kernel, cgroup));
        }
    }

    fn drop_cgroup(&mut self, cgroup: CgroupIdx) {
        self.kernel.cgroups.remove(cgroup);
        if let Some(ops) = self.ops.as_mut() {
            ops.forget_cgroup(&mut self.kernel, cgroup);
        }
    }

    fn live_path(&self, cgroup: CgroupIdx) -> Result<String, CgroupError> {
        match self.kernel.cgroups.get(cgroup) {
            Some(entry) if entry.alive => Ok(entry.path.clone()),
            Some(entry) => Err(CgroupError::Missing(entry.path.clone())),
            None => Err(CgroupError::Missing(format!("number {cgroup}"))),
        }
    }

    fn note_cgroup(&mut self, cgroup: CgroupIdx, what: u64) {
        let (cpu, id) = (self.kernel.this_cpu, self.kernel.cgroups[cgroup].id);
        self.kernel.note(What::Cgroup, cpu, 0, id << 8 | what);
    }
}
