// SPDX-License-Identifier: GPL-2.0-only
//! A CPU chooses what it runs: the order of callbacks is that of `kernel/sched/ext/`.
//!
//! A higher class that wants the CPU is chosen without asking the scheduler for work first (as from 7.0 on), unless the modelled
//! kernel is older.

use crate::abi::{
    PF_EXITING, SCX_DSP_MAX_LOOPS, SCX_ENQ_CPU_SELECTED, SCX_ENQ_HEAD, SCX_ENQ_LAST, SCX_OPS_ENQ_EXITING,
    SCX_OPS_ENQ_LAST, SCX_OPS_ENQ_MIGRATION_DISABLED, SCX_SLICE_DFL,
};
use crate::events::CpuId;
use crate::kernel::{Curr, Within};
use crate::metrics::Wait;
use crate::ops::Ops;
use crate::queueing::Target;
use crate::sim::Sim;
use crate::task::{Place, TaskIdx};
use crate::trace::{Stretch, What};

/// What the dispatch path found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Keep,
    Local,
    Nothing,
}

impl<O: Ops> Sim<O> {
    /// `__schedule()` on a CPU.
    pub(crate) fn schedule(&mut self, cpu: CpuId) {
        self.kernel.this_cpu = cpu;
        self.kernel.change_cpu(cpu, |cpu| cpu.need_resched = false);
        self.kernel.update_curr(cpu);
        let prev = self.kernel.cpus[cpu].curr;
        if !self.kernel.cpus[cpu].kick_waiters.is_empty() {
            self.release_kick_waiters(cpu);
        }
        let next = self.choose(cpu, prev);
        if prev == Curr::Rt && next != Curr::Rt {
            self.account_rt(cpu);
        }
        if next == prev {
            match next {
                Curr::Idle => self.set_idle(cpu, true, false),
                Curr::Task(_) => self.kernel.arm_work(cpu),
                Curr::Rt => {}
            }
            return;
        }
        self.put_prev(cpu, prev, next);
        self.switch_to(cpu, prev, next);
    }

    pub(super) fn pick(&mut self, cpu: CpuId, prev: Curr) -> Curr {
        let prev_task = task_of(prev);
        let chosen = match self.ask(cpu, prev_task) {
            Found::Keep => prev_task,
            Found::Local => self.kernel.cpus[cpu].local.front().copied(),
            Found::Nothing => None,
        };
        let Some(task) = chosen else { return Curr::Idle };
        if self.kernel.tasks[task].slice == 0 {
            self.kernel.tasks[task].slice = SCX_SLICE_DFL;
            self.kernel.metrics.kernel_events.refill_slice += 1;
        }
        Curr::Task(task)
    }

    /// `prev_balance()` before 7.0: it begins with the class of what ran, or with sched_ext's behind idling, and so asks for work
    /// below the real-time task that comes next. Another real-time task ends the search at once.
    pub(super) fn ask_in_vain(&mut self, cpu: CpuId, prev: Curr) {
        if !self.kernel.config.asks_before_rt || prev == Curr::Rt {
            return;
        }
        let before = self.kernel.cpus[cpu].local.len();
        self.ask(cpu, task_of(prev));
        let given = self.kernel.cpus[cpu].local.len().saturating_sub(before) as u64;
        self.kernel.metrics.asked_in_vain += 1;
        self.kernel.metrics.given_in_vain += given;
    }

    fn ask(&mut self, cpu: CpuId, prev: Option<TaskIdx>) -> Found {
        self.kernel.cpus[cpu].in_balance = true;
        let found = self.balance(cpu, prev);
        self.kernel.cpus[cpu].in_balance = false;
        found
    }

    /// `balance_one()`.
    fn balance(&mut self, cpu: CpuId, prev: Option<TaskIdx>) -> Found {
        if std::mem::take(&mut self.kernel.cpus[cpu].released) {
            self.call_on(cpu, Within::Other, |ops, kernel| ops.cpu_acquire(kernel, cpu));
        }
        let traits = self.kernel.scheduler;
        let keepable = prev.filter(|&task| self.kernel.tasks[task].queued);
        if keepable.is_some_and(|task| self.kernel.tasks[task].slice > 0) {
            return Found::Keep;
        }
        if !self.kernel.cpus[cpu].local.is_empty() || self.consume_global(cpu) {
            return Found::Local;
        }
        if traits.is_some_and(|traits| traits.dispatch) && self.kernel.cpus[cpu].online {
            let mut loops = SCX_DSP_MAX_LOOPS;
            loop {
                self.kernel.dispatched = 0;
                self.call_on(cpu, Within::Dispatch(cpu), |ops, kernel| {
                    ops.dispatch(kernel, cpu, prev);
                    kernel.flush_dispatches();
                });
                if keepable.is_some_and(|task| self.kernel.tasks[task].slice > 0) {
                    return Found::Keep;
                }
                if !self.kernel.cpus[cpu].local.is_empty() || self.consume_global(cpu) {
                    return Found::Local;
                }
                loops -= 1;
                if loops == 0 {
                    self.kernel.kick_cpu(cpu as i32, 0);
                    break;
                }
                if self.kernel.dispatched == 0 {
                    break;
                }
            }
        }
        let enq_last = traits.is_some_and(|traits| traits.flags & SCX_OPS_ENQ_LAST != 0);
        if keepable.is_none() || enq_last {
            return Found::Nothing;
        }
        self.kernel.metrics.kernel_events.keep_last += 1;
        Found::Keep
    }

    fn consume_global(&mut self, cpu: CpuId) -> bool {
        let own = self.kernel.machine.places[cpu].node;
        let nodes = self.kernel.machine.nodes.len();
        // Own node first. The kernel looks into this one only; a task of an emptied node would starve.
        (0..nodes)
            .map(|offset| (own + offset) % nodes)
            .any(|node| !self.kernel.dsqs[node].is_empty() && self.kernel.consume(node, cpu))
    }

    /// `put_prev_task()`.
    fn put_prev(&mut self, cpu: CpuId, prev: Curr, next: Curr) {
        let now = self.kernel.now;
        let (since, pid, group) = match prev {
            Curr::Idle => {
                self.set_idle(cpu, false, true);
                return;
            }
            Curr::Rt => (self.kernel.cpus[cpu].since, -1, usize::MAX),
            Curr::Task(task) => {
                (self.kernel.cpus[cpu].since, self.kernel.tasks[task].pid, self.kernel.tasks[task].group)
            }
        };
        self.kernel.trace.stretch(Stretch { cpu, pid, group, from: since, to: now });
        if let Curr::Task(task) = prev {
            if self.kernel.tasks[task].queued {
                self.put_runnable(cpu, task, next);
            }
            if next == Curr::Rt {
                self.release_cpu(cpu);
            }
        }
    }

    fn put_runnable(&mut self, cpu: CpuId, task: TaskIdx, next: Curr) {
        if next == Curr::Rt {
            self.kernel.metrics.rt_preemptions += 1;
        }
        self.call_on(cpu, Within::Other, |ops, kernel| ops.stopping(kernel, task, true));
        self.kernel.tasks[task].waiting_since = self.kernel.now;
        self.kernel.set_place(task, Place::Transit);
        if self.kernel.tasks[task].slice > 0 {
            self.kernel.put(task, Target::Local(cpu), SCX_ENQ_HEAD);
        } else {
            let flags = if next == Curr::Idle { SCX_ENQ_LAST } else { 0 };
            self.do_enqueue(cpu, task, flags);
        }
    }

    /// `switch_class()`: a higher class takes the CPU.
    fn release_cpu(&mut self, cpu: CpuId) {
        let preempts = self.kernel.scheduler.is_some_and(|traits| traits.preempt);
        if preempts && !self.kernel.cpus[cpu].released {
            self.kernel.cpus[cpu].released = true;
            self.call_on(cpu, Within::Other, |ops, kernel| ops.cpu_release(kernel, cpu));
        }
    }

    fn switch_to(&mut self, cpu: CpuId, prev: Curr, next: Curr) {
        self.kernel.metrics.switches += 1;
        let pid = match next {
            Curr::Idle => 0,
            Curr::Rt => -1,
            Curr::Task(task) => self.kernel.tasks[task].pid,
        };
        self.kernel.note(What::Switch, cpu, pid, 0);
        match next {
            Curr::Task(task) => self.set_next(cpu, task),
            Curr::Rt => self.rt_takes(cpu),
            Curr::Idle => {
                self.kernel.set_curr(cpu, Curr::Idle);
                self.set_idle(cpu, true, prev != Curr::Idle);
                // The last task came back to the own queue.
                if self.kernel.config.last_runs_on && !self.kernel.cpus[cpu].local.is_empty() {
                    self.kernel.resched(cpu);
                }
            }
        }
    }

    /// `set_next_task()`: the task starts to run.
    fn set_next(&mut self, cpu: CpuId, task: TaskIdx) {
        let kernel = &mut self.kernel;
        kernel.take(task);
        if !kernel.may_run(task, cpu) || !kernel.cpus[cpu].executes() {
            let who = kernel.describe(task);
            kernel.violate(format!("{who} runs on CPU {cpu}, which it may not use"));
        }
        let mut overhead = kernel.config.costs.context_switch_ns;
        if let Some(from) = kernel.tasks[task].last_ran {
            kernel.metrics.migrated(kernel.machine.distance(from, cpu));
            overhead += kernel.machine.migration_ns(&kernel.config.costs, from, cpu);
        }
        let now = kernel.now;
        let entry = &mut kernel.tasks[task];
        entry.last_ran = Some(cpu);
        entry.cpu = cpu;
        let waited = now - entry.waiting_since;
        entry.wait_ns += waited;
        kernel.metrics.waits.add(waited);
        if waited > kernel.metrics.longest_wait.wait_ns {
            let (pid, name) = (entry.pid, entry.name.clone());
            kernel.metrics.longest_wait = Wait { wait_ns: waited, pid, name, until_ns: now };
        }
        if let Some(woken) = entry.woken_at.take() {
            kernel.metrics.wake_latency.add(now - woken);
            if let Some(group) = kernel.metrics.groups.get_mut(entry.group) {
                group.wake_latency.add(now - woken);
            }
        }
        kernel.set_place(task, Place::Running);
        kernel.set_curr(cpu, Curr::Task(task));
        kernel.cpus[cpu].overhead_ns = overhead;
        self.call_on(cpu, Within::Other, |ops, kernel| ops.running(kernel, task));
        self.kernel.arm_tick(cpu);
        self.kernel.arm_work(cpu);
    }

    /// `scx_update_idle()`.
    pub(crate) fn set_idle(&mut self, cpu: CpuId, idle: bool, notify: bool) {
        let calls = self.kernel.scheduler.is_some_and(|traits| traits.update_idle);
        if self.kernel.tracks_idle() && self.kernel.cpus[cpu].online {
            self.kernel.idle.update(&self.kernel.machine, cpu, idle);
        }
        if calls && notify {
            self.call_on(cpu, Within::Other, |ops, kernel| ops.update_idle(kernel, cpu, idle));
        }
    }

    /// `do_enqueue_task()` for a task in transit.
    pub(crate) fn do_enqueue(&mut self, rq: CpuId, task: TaskIdx, enq_flags: u64) {
        self.kernel.tasks[task].cpu = rq;
        self.kernel.tasks[task].enqueued_at = self.kernel.now;
        let Some(traits) = self.kernel.scheduler else {
            return self.enqueue_default(task, Target::Queue(self.kernel.global_dsq(task)), enq_flags);
        };
        let entry = &self.kernel.tasks[task];
        if !self.kernel.cpus[rq].online {
            return self.enqueue_default(task, Target::Local(rq), enq_flags);
        }
        if !entry.undispatched() {
            return self.kernel.direct_dispatch(task, rq, enq_flags);
        }
        let exiting = entry.flags & PF_EXITING != 0 && traits.flags & SCX_OPS_ENQ_EXITING == 0;
        let fixed = entry.migration_disabled > 0 && traits.flags & SCX_OPS_ENQ_MIGRATION_DISABLED == 0;
        if exiting || fixed {
            let counters = &mut self.kernel.metrics.kernel_events;
            counters.skip_exiting += u64::from(exiting);
            counters.skip_migration_disabled += u64::from(!exiting);
            return self.enqueue_default(task, Target::Local(rq), enq_flags);
        }
        if !traits.enqueue {
            return self.enqueue_default(task, Target::Queue(self.kernel.global_dsq(task)), enq_flags);
        }
        self.kernel.metrics.enqueues += 1;
        let selected = enq_flags & SCX_ENQ_CPU_SELECTED != 0;
        self.call_on(rq, Within::Enqueue { task, selected }, |ops, kernel| {
            ops.enqueue(kernel, task, enq_flags)
        });
        if self.kernel.tasks[task].undispatched() {
            self.kernel.tasks[task].custody = true;
            self.kernel.set_place(task, Place::Scheduler);
        } else {
            self.kernel.direct_dispatch(task, rq, enq_flags);
            let globals = self.kernel.dsqs.globals();
            let place = self.kernel.tasks[task].place;
            self.kernel.tasks[task].custody = matches!(place, Place::Queue(index) if index >= globals);
        }
    }

    fn enqueue_default(&mut self, task: TaskIdx, target: Target, enq_flags: u64) {
        self.kernel.tasks[task].slice = SCX_SLICE_DFL;
        self.kernel.put(task, target, enq_flags);
    }
}

fn task_of(curr: Curr) -> Option<TaskIdx> {
    match curr {
        Curr::Task(task) => Some(task),
        Curr::Idle | Curr::Rt => None,
    }
}
