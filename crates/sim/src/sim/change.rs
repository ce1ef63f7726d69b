// SPDX-License-Identifier: GPL-2.0-only
//! Affinity and weight change, CPUs come and go.

use std::rc::Rc;

use topology::CpuSet;

use crate::abi::{
    DEQUEUE_SAVE, ENQUEUE_RESTORE, SCX_ECODE_ACT_RESTART, SCX_ECODE_RSN_HOTPLUG, SCX_EXIT_UNREG_KERN,
};
use crate::events::CpuId;
use crate::kernel::{Curr, Within};
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{Place, TaskIdx, TaskSpec};
use crate::trace::{Stretch, What};

impl<O: Ops> Sim<O> {
    /// sched_setaffinity: no effect when the mask has no online CPU that the task's cpuset allows. CPUs that the machine does
    /// not have are left out.
    pub fn set_affinity(&mut self, task: TaskIdx, mask: &Rc<CpuSet>) {
        let mask = &match mask.is_subset(&self.kernel.machine.all) {
            true => Rc::clone(mask),
            false => Rc::new(mask.intersection(&self.kernel.machine.all)),
        };
        let cgroup = self.kernel.tasks[task].cgroup;
        let allowed = if self.kernel.cgroups.restricted(cgroup) {
            Rc::new(mask.intersection(&self.kernel.cgroups.effective_cpuset(cgroup)))
        } else {
            Rc::clone(mask)
        };
        if allowed.intersects(&self.kernel.online) {
            self.kernel.tasks[task].user_mask = Rc::clone(mask);
            // What is so already is not set again, and the scheduler is not told.
            if *allowed != *self.kernel.tasks[task].mask {
                self.apply_mask(task, &allowed);
            }
        }
    }

    /// `set_cpus_allowed()`: the mask has an online CPU.
    pub(crate) fn apply_mask(&mut self, task: TaskIdx, mask: &Rc<CpuSet>) {
        let (pid, cpu) = (self.kernel.tasks[task].pid, self.kernel.tasks[task].cpu);
        self.note_change(cpu, pid, mask.first().unwrap_or(0) as u64);
        let mask = Rc::clone(mask);
        let kernel_says = |sim: &mut Self| {
            let entry = &mut sim.kernel.tasks[task];
            entry.stale = true;
            entry.nr_allowed = mask.len();
            entry.mask = Rc::clone(&mask);
            sim.call_on(cpu, Within::Other, |ops, kernel| ops.set_cpumask(kernel, task));
        };
        self.change_attribute(task, kernel_says);
        self.leave_forbidden_cpu(task);
    }

    /// Nice or cpu.weight: 1 to 10000.
    pub fn set_weight(&mut self, task: TaskIdx, weight: u32) {
        let weight = weight.clamp(1, 10_000);
        let (pid, cpu) = (self.kernel.tasks[task].pid, self.kernel.tasks[task].cpu);
        self.note_change(cpu, pid, u64::from(weight) << 32);
        self.change_attribute(task, |sim| {
            sim.kernel.tasks[task].weight = weight;
            sim.kernel.tasks[task].stale = true;
            sim.call_on(cpu, Within::Other, |ops, kernel| ops.set_weight(kernel, task, weight));
        });
    }

    fn note_change(&mut self, cpu: CpuId, pid: i32, arg: u64) {
        self.kernel.note(What::Attribute, cpu, pid, arg);
    }

    /// Takes the task off the run queue around a change, as the kernel does.
    pub(crate) fn change_attribute(&mut self, task: TaskIdx, change: impl FnOnce(&mut Self)) {
        let cpu = self.kernel.tasks[task].cpu;
        match self.kernel.tasks[task].place {
            Place::Sleeping => change(self),
            Place::Running => {
                self.dequeue_task(task, DEQUEUE_SAVE, false);
                change(self);
                // Back without a pass through the scheduler's queues.
                self.kernel.tasks[task].queued = true;
                self.kernel.nr_runnable += 1;
                self.call_on(cpu, Within::Other, |ops, kernel| ops.runnable(kernel, task, ENQUEUE_RESTORE));
                self.kernel.set_place(task, Place::Running);
                self.call_on(cpu, Within::Other, |ops, kernel| ops.running(kernel, task));
            }
            _ => {
                let waiting_since = self.kernel.tasks[task].waiting_since;
                self.dequeue_task(task, DEQUEUE_SAVE, false);
                change(self);
                // The kernel enqueues on the old run queue and moves the task afterwards if it has to; here it goes to a
                // CPU it may use at once.
                let rq = self.usable_cpu(task, cpu);
                self.enqueue_task(rq, task, ENQUEUE_RESTORE, false);
                self.kernel.tasks[task].waiting_since = waiting_since;
                self.after_enqueue(rq);
            }
        }
    }

    fn after_enqueue(&mut self, rq: CpuId) {
        if self.kernel.cpus[rq].curr == Curr::Idle {
            self.kernel.resched(rq);
        }
        self.kernel.run_deferred(rq);
    }

    /// A running task on a CPU it may not use any more is pushed off by the stopper, a task of a higher class.
    pub(crate) fn leave_forbidden_cpu(&mut self, task: TaskIdx) {
        let cpu = self.kernel.tasks[task].cpu;
        if self.kernel.tasks[task].place != Place::Running || self.kernel.may_run(task, cpu) {
            return;
        }
        self.push_off(cpu, task);
        self.schedule(cpu);
    }

    /// `migration_cpu_stop()`: the running task stops and is enqueued on another run queue. The CPU must reschedule.
    fn push_off(&mut self, cpu: CpuId, task: TaskIdx) {
        self.kernel.update_curr(cpu);
        self.call_on(cpu, Within::Other, |ops, kernel| ops.stopping(kernel, task, true));
        let kernel = &mut self.kernel;
        let entry = &kernel.tasks[task];
        let (pid, group) = (entry.pid, entry.group);
        kernel.trace.stretch(Stretch { cpu, pid, group, from: kernel.cpus[cpu].since, to: kernel.now });
        kernel.set_place(task, Place::Transit);
        // The stopper has the CPU now.
        kernel.set_curr(cpu, Curr::Rt);
        kernel.tasks[task].queued = false;
        kernel.nr_runnable -= 1;
        kernel.tasks[task].waiting_since = kernel.now;
        let rq = self.usable_cpu(task, cpu);
        self.enqueue_task(rq, task, 0, true);
        self.after_enqueue(rq);
    }

    /// A CPU goes or comes.
    pub fn hotplug(&mut self, cpu: CpuId, online: bool) {
        let kernel = &mut self.kernel;
        let known = kernel.cpus.get(cpu).is_some_and(|cpu| cpu.coming_up.is_none())
            && kernel.machine.places[cpu].present;
        if !known || kernel.cpus[cpu].online == online || (!online && kernel.online.len() == 1) {
            return;
        }
        kernel.note(What::Hotplug, cpu, 0, online.into());
        if online {
            return self.bring_up(cpu);
        }
        kernel.online.remove(cpu);
        self.set_idle(cpu, false, false);
        self.tell_hotplug(cpu, false);
        self.kernel.change_cpu(cpu, |cpu| {
            cpu.online = false;
            cpu.need_resched = false;
            cpu.rt_wanted_ns = 0;
        });
        self.evacuate(cpu);
        if self.kernel.this_cpu == cpu {
            self.kernel.this_cpu = self.kernel.online.first().unwrap_or(0);
        }
    }

    /// `cpu_up()`: a kernel thread of the CPU does the work, and the run queue goes online at its end.
    fn bring_up(&mut self, cpu: CpuId) {
        let work_ns = self.kernel.config.bring_up_ns;
        if work_ns == 0 {
            return self.come_up(cpu);
        }
        let mut spec = TaskSpec::new(
            &format!("cpuhp/{cpu}"),
            Program::new(&[Step::Run(Dist::Const(work_ns)), Step::ComeUp]),
        );
        spec.kthread = true;
        spec.cpus = Some(Rc::new([cpu].into_iter().collect()));
        let thread = self.make_task(&spec, cpu, None);
        self.kernel.change_cpu(cpu, |cpu| cpu.coming_up = Some(thread));
        self.introduce(thread, true);
        self.wake_new(thread);
    }

    /// `sched_cpu_activate()`.
    pub(super) fn come_up(&mut self, cpu: CpuId) {
        self.kernel.change_cpu(cpu, |cpu| {
            cpu.online = true;
            cpu.coming_up = None;
        });
        self.kernel.online.insert(cpu);
        if self.kernel.cpus[cpu].curr == Curr::Idle {
            self.kernel.cpus[cpu].since = self.kernel.now;
            self.set_idle(cpu, true, true);
        }
        self.tell_hotplug(cpu, true);
    }

    fn tell_hotplug(&mut self, cpu: CpuId, online: bool) {
        if self.kernel.scheduler.is_some_and(|traits| traits.hotplug) {
            self.call(Within::Other, |ops, kernel| {
                if online { ops.cpu_online(kernel, cpu) } else { ops.cpu_offline(kernel, cpu) }
            });
        } else {
            let code = (SCX_ECODE_ACT_RESTART | SCX_ECODE_RSN_HOTPLUG).cast_signed();
            let message =
                format!("cpu {cpu} going {}, exiting scheduler", if online { "online" } else { "offline" });
            self.kernel.request_exit(
                SCX_EXIT_UNREG_KERN,
                code,
                "unregistered from the main kernel",
                &message,
            );
        }
    }

    /// All tasks of a CPU's run queue go elsewhere.
    fn evacuate(&mut self, cpu: CpuId) {
        if let Curr::Task(task) = self.kernel.cpus[cpu].curr {
            self.push_off(cpu, task);
        }
        self.kernel.set_curr(cpu, Curr::Idle);
        let waiting: Vec<TaskIdx> = self
            .kernel
            .tasks
            .live()
            .filter(|(_, task)| task.cpu == cpu && task.waits())
            .map(|(task, _)| task)
            .collect();
        for task in waiting {
            let waiting_since = self.kernel.tasks[task].waiting_since;
            self.dequeue_task(task, 0, true);
            let rq = self.usable_cpu(task, cpu);
            self.enqueue_task(rq, task, 0, true);
            self.kernel.tasks[task].waiting_since = waiting_since;
            self.after_enqueue(rq);
        }
    }
}
