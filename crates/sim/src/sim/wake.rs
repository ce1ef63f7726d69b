// SPDX-License-Identifier: GPL-2.0-only
//! Tasks become runnable and cease to be.

use std::rc::Rc;

use crate::abi::{
    ENQUEUE_INITIAL, ENQUEUE_MIGRATED, SCX_DEQ_SCHED_CHANGE, SCX_DEQ_SLEEP, SCX_DSQ_INVALID, SCX_DSQ_LOCAL,
    SCX_ENQ_CPU_SELECTED, SCX_ENQ_WAKEUP, SCX_SLICE_DFL, SCX_WAKE_FORK, SCX_WAKE_TTWU,
};
use crate::events::CpuId;
use crate::kernel::{Curr, Within};
use crate::ops::Ops;
use crate::sim::Sim;
use crate::task::{Place, TaskIdx};
use crate::trace::What;

impl<O: Ops> Sim<O> {
    /// `try_to_wake_up()` of a sleeping task by the CPU at hand.
    pub(crate) fn wake(&mut self, task: TaskIdx, wake_flags: u64) {
        if self.kernel.tasks[task].place != Place::Sleeping {
            return;
        }
        self.kernel.metrics.wakeups += 1;
        self.kernel.tasks[task].woken_at = Some(self.kernel.now);
        self.activate(task, wake_flags | SCX_WAKE_TTWU, SCX_ENQ_WAKEUP);
    }

    /// `wake_up_new_task()`.
    pub(crate) fn wake_new(&mut self, task: TaskIdx) {
        self.kernel.tasks[task].woken_at = Some(self.kernel.now);
        self.activate(task, SCX_WAKE_FORK, ENQUEUE_INITIAL);
    }

    fn activate(&mut self, task: TaskIdx, wake_flags: u64, enq_flags: u64) {
        let prev = self.kernel.tasks[task].cpu;
        let (cpu, selected) = self.select_cpu(task, wake_flags);
        let mut flags = enq_flags;
        // Only a wake-up tells ops.enqueue so; a fork does not.
        if selected && enq_flags & SCX_ENQ_WAKEUP != 0 {
            flags |= SCX_ENQ_CPU_SELECTED;
        }
        if cpu != prev && enq_flags & SCX_ENQ_WAKEUP != 0 {
            flags |= ENQUEUE_MIGRATED;
        }
        let pid = self.kernel.tasks[task].pid;
        self.kernel.note(What::Wake, cpu, pid, flags);
        self.enqueue_task(cpu, task, flags, false);
        if self.kernel.cpus[cpu].curr == Curr::Idle {
            self.kernel.resched(cpu);
        }
        self.kernel.run_deferred(cpu);
    }

    /// `select_task_rq()`: the CPU, and whether the scheduler was asked.
    fn select_cpu(&mut self, task: TaskIdx, wake_flags: u64) -> (CpuId, bool) {
        let prev = self.kernel.tasks[task].cpu;
        let free = self.kernel.tasks[task].nr_allowed > 1 && self.kernel.tasks[task].migration_disabled == 0;
        let cpu = if !free {
            self.kernel.allowed(task).first().unwrap_or(prev)
        } else if self.kernel.scheduler.as_ref().is_some_and(|traits| traits.select_cpu) {
            let chosen = self
                .call(Within::SelectCpu(task), |ops, kernel| ops.select_cpu(kernel, task, prev, wake_flags))
                .unwrap_or(-1);
            match usize::try_from(chosen).ok().filter(|&cpu| cpu < self.kernel.cpus.len()) {
                Some(cpu) => cpu,
                None => {
                    self.kernel.error(&format!("invalid CPU {chosen} from ops.select_cpu"));
                    prev
                }
            }
        } else {
            self.select_cpu_builtin(task, prev, wake_flags)
        };
        self.kernel.tasks[task].selected_cpu = cpu;
        let usable = self.usable_cpu(task, cpu);
        self.kernel.metrics.kernel_events.select_cpu_fallback += u64::from(usable != cpu);
        (usable, free)
    }

    fn select_cpu_builtin(&mut self, task: TaskIdx, prev: CpuId, wake_flags: u64) -> CpuId {
        match usize::try_from(self.kernel.select_cpu_dfl(task, prev, wake_flags, None, 0)) {
            Ok(cpu) => {
                if self.kernel.scheduler.is_some() {
                    self.kernel.tasks[task].slice = SCX_SLICE_DFL;
                    self.kernel.tasks[task].ddsp_dsq = SCX_DSQ_LOCAL;
                    self.kernel.tasks[task].ddsp_flags = 0;
                }
                cpu
            }
            Err(_) => prev,
        }
    }

    /// `select_fallback_rq()`: `cpu` if the task may use it, else one on its node, else any allowed one; when no
    /// allowed CPU is online, the affinity is opened to all.
    pub(crate) fn usable_cpu(&mut self, task: TaskIdx, cpu: CpuId) -> CpuId {
        let kernel = &mut self.kernel;
        if kernel.may_run(task, cpu) && (kernel.cpus[cpu].online || kernel.cpus[cpu].coming_up == Some(task))
        {
            return cpu;
        }
        let usable = kernel.allowed(task).intersection(&kernel.online);
        let node = Rc::clone(&kernel.machine.nodes[kernel.machine.places[cpu].node]);
        if let Some(near) = usable.intersection(&node).first().or_else(|| usable.first()) {
            return near;
        }
        kernel.tasks[task].stale = true;
        kernel.tasks[task].migration_disabled = 0;
        kernel.tasks[task].mask = Rc::clone(&kernel.machine.all);
        kernel.tasks[task].user_mask = Rc::clone(&kernel.machine.all);
        kernel.tasks[task].nr_allowed = kernel.machine.all.len();
        let locked = self.kernel.tasks[task].cpu;
        self.call_on(locked, Within::Other, |ops, kernel| ops.set_cpumask(kernel, task));
        self.kernel.online.first().unwrap_or(0)
    }

    /// `enqueue_task_scx()`; `migrating`: only the run queue changes.
    pub(crate) fn enqueue_task(&mut self, rq: CpuId, task: TaskIdx, flags: u64, migrating: bool) {
        let entry = &mut self.kernel.tasks[task];
        if entry.queued {
            let who = self.kernel.describe(task);
            self.kernel.violate(format!("{who} becomes runnable twice"));
            return;
        }
        entry.queued = true;
        entry.cpu = rq;
        if !migrating {
            entry.waiting_since = self.kernel.now;
        }
        self.kernel.nr_runnable += 1;
        self.kernel.set_place(task, Place::Transit);
        if !migrating {
            self.call_on(rq, Within::Other, |ops, kernel| ops.runnable(kernel, task, flags));
        }
        self.do_enqueue(rq, task, flags);
    }

    /// `dequeue_task_scx()`: afterwards the task is in transit. Of the running task, the CPU goes on holding it.
    pub(crate) fn dequeue_task(&mut self, task: TaskIdx, flags: u64, migrating: bool) {
        let cpu = self.kernel.tasks[task].cpu;
        if !self.kernel.tasks[task].queued {
            let who = self.kernel.describe(task);
            self.kernel.violate(format!("{who} ceases to be runnable and was not"));
            return;
        }
        let flags = if flags & SCX_DEQ_SLEEP == 0 { flags | SCX_DEQ_SCHED_CHANGE } else { flags };
        if std::mem::take(&mut self.kernel.tasks[task].custody) {
            self.call_on(cpu, Within::Other, |ops, kernel| ops.dequeue(kernel, task, flags));
        }
        if self.kernel.tasks[task].place == Place::Running {
            self.kernel.update_curr(cpu);
            self.call_on(cpu, Within::Other, |ops, kernel| ops.stopping(kernel, task, false));
            self.kernel.set_place(task, Place::Transit);
        } else {
            self.kernel.take(task);
        }
        if !migrating {
            self.call_on(cpu, Within::Other, |ops, kernel| ops.quiescent(kernel, task, flags));
        }
        self.kernel.tasks[task].queued = false;
        self.kernel.tasks[task].ddsp_dsq = SCX_DSQ_INVALID;
        self.kernel.nr_runnable -= 1;
    }

    /// The running task of a CPU goes to sleep.
    pub(crate) fn block(&mut self, cpu: CpuId, task: TaskIdx) {
        self.dequeue_task(task, SCX_DEQ_SLEEP, false);
        self.kernel.set_place(task, Place::Sleeping);
        let pid = self.kernel.tasks[task].pid;
        self.kernel.note(What::Sleep, cpu, pid, 0);
        self.schedule(cpu);
    }
}
