// SPDX-License-Identifier: GPL-2.0-only
//! The beginning and the end of a scheduler. Without one, tasks share global queues in order of arrival.

use thiserror::Error;

use crate::abi::{
    DEQUEUE_SAVE, SCX_DEQ_SCHED_CHANGE, SCX_EXIT_ERROR_STALL, SCX_EXIT_UNREG, SCX_SLICE_DFL, SCX_SLICE_INF,
};
use crate::cgroup::ROOT;
use crate::events::Event;
use crate::kernel::{Curr, ExitInfo, MODELLED_FLAGS, Violation, Within};
use crate::ops::Ops;
use crate::queueing::Target;
use crate::sim::Sim;
use crate::task::{Place, TaskIdx};
use crate::timers::Timers;
use crate::trace::What;

/// Why a scheduler could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Another one is on.
    #[error("another scheduler is attached")]
    Busy,
    /// It asks by `SCX_OPS_*` for what the model does not do.
    #[error("flags {0:#x} are not modelled")]
    Flags(u64),
    /// ops.init or ops.init_task refused.
    #[error("{callback} failed with {errno}{}", .message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
    Refused {
        /// Which callback.
        callback: &'static str,
        /// What it returned.
        errno: i32,
        /// What it said by scx_bpf_error.
        message: Option<String>,
    },
}

impl<O: Ops> Sim<O> {
    /// Attaches a scheduler: ops.init, then ops.init_task and ops.enable for every task.
    ///
    /// # Errors
    /// When another one is attached, it has a flag that is not modelled, or a callback refuses; then nothing has changed.
    pub fn attach(&mut self, ops: O) -> Result<(), AttachError> {
        if self.kernel.scheduler.is_some() {
            return Err(AttachError::Busy);
        }
        let traits = ops.traits();
        let unknown = traits.flags & !MODELLED_FLAGS;
        if unknown != 0 {
            return Err(AttachError::Flags(unknown));
        }
        self.kernel.exit = None;
        self.kernel.scheduler = Some(traits);
        self.ops = Some(ops);
        let errno = self.call(Within::Other, O::init).unwrap_or(0);
        if errno != 0 || self.kernel.exit.is_some() {
            return Err(self.refuse("ops.init", errno));
        }
        for cgroup in self.kernel.cgroups.live() {
            let errno = self.introduce_cgroup(cgroup);
            if errno != 0 || self.kernel.exit.is_some() {
                return Err(self.refuse("ops.cgroup_init", errno));
            }
        }
        let tasks: Vec<TaskIdx> = self.kernel.tasks.live().map(|(task, _)| task).collect();
        for &task in &tasks {
            let errno =
                self.call(Within::Other, |ops, kernel| ops.init_task(kernel, task, false)).unwrap_or(0);
            if errno != 0 || self.kernel.exit.is_some() {
                return Err(self.refuse("ops.init_task", errno));
            }
            self.kernel.tasks[task].known = true;
        }
        self.kernel.note(What::Scheduler, 0, 0, 1);
        for &task in &tasks {
            self.enable(task);
            self.switch_class(task);
        }
        let timeout = self.watchdog_ns();
        self.kernel.events.push(self.kernel.now + timeout / 2, Event::Watchdog);
        Ok(())
    }

    fn refuse(&mut self, callback: &'static str, errno: i32) -> AttachError {
        let message = self.kernel.exit.take().map(|exit| exit.message);
        self.kernel.scheduler = None;
        self.kernel.all_unknown();
        self.kernel.dsqs.clear_user();
        AttachError::Refused { callback, errno, message }
    }

    fn enable(&mut self, task: TaskIdx) {
        let (cpu, weight) = (self.kernel.tasks[task].cpu, self.kernel.tasks[task].weight);
        self.call_on(cpu, Within::Other, |ops, kernel| {
            ops.enable(kernel, task);
            ops.set_weight(kernel, task, weight);
        });
    }

    /// A runnable task passes from the default scheduler to the new one.
    fn switch_class(&mut self, task: TaskIdx) {
        let cpu = self.kernel.tasks[task].cpu;
        match self.kernel.tasks[task].place {
            Place::Sleeping | Place::Dead => {}
            Place::Running => {
                self.call_on(cpu, Within::Other, |ops, kernel| {
                    ops.runnable(kernel, task, 0);
                    ops.running(kernel, task);
                });
            }
            _ => {
                self.kernel.take(task);
                self.call_on(cpu, Within::Other, |ops, kernel| ops.runnable(kernel, task, 0));
                let rq = self.usable_cpu(task, cpu);
                self.do_enqueue(rq, task, 0);
                self.kernel.run_deferred(rq);
                if self.kernel.cpus[rq].curr == Curr::Idle {
                    self.kernel.resched(rq);
                }
            }
        }
    }

    /// A new task becomes known to the scheduler.
    pub(crate) fn introduce(&mut self, task: TaskIdx, fork: bool) {
        if self.kernel.scheduler.is_none() {
            return;
        }
        let errno = self.call(Within::Other, |ops, kernel| ops.init_task(kernel, task, fork)).unwrap_or(0);
        if errno != 0 {
            // The kernel fails the fork; the workload counts on the task, so here the scheduler ends.
            let who = self.kernel.describe(task);
            self.kernel.error(&format!("ops.init_task of {who} failed with {errno}"));
            return;
        }
        self.kernel.tasks[task].known = true;
        self.enable(task);
    }

    /// Detaches the scheduler as an operator does.
    ///
    /// # Errors
    /// A broken invariant: one that the way out breaks, such as something that the scheduler does not give back, or one that
    /// broke since the last step. Nobody may let time pass afterwards, so it is told here.
    pub fn detach(&mut self) -> Result<(), Violation> {
        self.kernel.request_exit(SCX_EXIT_UNREG, 0, "unregistered from user space", "");
        if self.kernel.scheduler.is_some() {
            self.end_scheduler();
        }
        self.kernel.violation.take().map_or(Ok(()), Err)
    }

    /// Carries out the requested end: dump, everybody to the default scheduler, ops.exit.
    pub(crate) fn end_scheduler(&mut self) {
        self.kernel.note(What::Scheduler, 0, 0, 0);
        self.kernel.dump.clear();
        self.call(Within::Other, O::dump);
        let dump = std::mem::take(&mut self.kernel.dump);
        if let Some(exit) = &mut self.kernel.exit {
            exit.dump = dump;
        }
        // Cgroups first, children before parents: nobody moves any more while tasks leave.
        for cgroup in self.kernel.cgroups.descendants_post(ROOT) {
            self.take_leave_of_cgroup(cgroup);
        }
        let tasks: Vec<TaskIdx> = self.kernel.tasks.live().map(|(task, _)| task).collect();
        for &task in &tasks {
            self.part_with(task);
            self.hand_to_default(task);
            if std::mem::take(&mut self.kernel.tasks[task].known) {
                self.call(Within::Other, |ops, kernel| {
                    ops.disable(kernel, task);
                    ops.exit_task(kernel, task);
                });
            }
        }
        let info = self.kernel.exit.clone();
        if let Some(info) = &info {
            self.call(Within::Other, |ops, kernel| ops.exit(kernel, info));
        }
        if let Some(Some(what)) = self.call(Within::Other, O::leftovers) {
            self.kernel.violate(what);
        }
        self.kernel.timers = Timers::default();
        self.kernel.scheduler = None;
        self.kernel.dsqs.clear_user();
        for cpu in 0..self.kernel.cpus.len() {
            if self.kernel.cpus[cpu].executes() && self.kernel.cpus[cpu].curr == Curr::Idle {
                self.set_idle(cpu, true, false);
                self.kernel.resched(cpu);
            }
        }
    }

    /// The scheduler sees a runnable task leave, as for any change.
    fn part_with(&mut self, task: TaskIdx) {
        let entry = &mut self.kernel.tasks[task];
        if !entry.queued || !entry.known {
            return;
        }
        let (running, custody) = (entry.place == Place::Running, std::mem::take(&mut entry.custody));
        let (cpu, flags) = (entry.cpu, DEQUEUE_SAVE | SCX_DEQ_SCHED_CHANGE);
        if running {
            self.kernel.update_curr(cpu);
        }
        self.call_on(cpu, Within::Other, |ops, kernel| {
            if custody {
                ops.dequeue(kernel, task, flags);
            }
            if running {
                ops.stopping(kernel, task, false);
            } else {
                // Off its queue before it is told, as everywhere else.
                kernel.take(task);
            }
            ops.quiescent(kernel, task, flags);
        });
    }

    fn hand_to_default(&mut self, task: TaskIdx) {
        let kernel = &mut self.kernel;
        if kernel.tasks[task].slice == SCX_SLICE_INF {
            kernel.tasks[task].slice = SCX_SLICE_DFL;
        }
        if kernel.tasks[task].waits() && kernel.tasks[task].queued {
            kernel.take(task);
            let global = Target::Queue(kernel.global_dsq(task));
            kernel.put(task, global, 0);
        }
    }

    fn watchdog_ns(&self) -> u64 {
        let own = self.kernel.scheduler.map_or(u64::MAX, |traits| traits.timeout_ns);
        let own = if own == 0 { u64::MAX } else { own };
        own.min(self.kernel.config.watchdog_max_ns)
    }

    /// Ends the scheduler when a task has waited too long.
    pub(crate) fn watchdog(&mut self) {
        if self.kernel.scheduler.is_none() {
            return;
        }
        let (now, timeout) = (self.kernel.now, self.watchdog_ns());
        let stalled =
            self.kernel.tasks.live().find(|(_, task)| task.waits() && now - task.waiting_since > timeout);
        if let Some((_, task)) = stalled {
            let waited = (now - task.waiting_since) as f64 / 1e9;
            let message = format!("{}[{}] failed to run for {waited:.3}s", task.name, task.pid);
            self.kernel.request_exit(SCX_EXIT_ERROR_STALL, 0, "runnable task stall", &message);
        }
        self.kernel.events.push(now + timeout / 2, Event::Watchdog);
    }

    /// The end of the scheduler, once it has come.
    pub fn ended(&self) -> Option<&ExitInfo> {
        self.kernel.exit.as_ref().filter(|_| self.kernel.scheduler.is_none())
    }
}

impl crate::kernel::Kernel {
    fn all_unknown(&mut self) {
        self.cgroups.live().into_iter().for_each(|cgroup| self.cgroups[cgroup].known = false);
        let tasks: Vec<TaskIdx> = self.tasks.live().map(|(task, _)| task).collect();
        tasks.into_iter().for_each(|task| self.tasks[task].known = false);
    }
}
