// SPDX-License-Identifier: GPL-2.0-only
//! Putting tasks on queues and taking them off, as the kernel does behind the scheduler's wishes.

use crate::abi::{
    SCX_DSQ_FLAG_BUILTIN, SCX_DSQ_FLAG_LOCAL_ON, SCX_DSQ_GLOBAL, SCX_DSQ_INVALID, SCX_DSQ_LOCAL,
    SCX_DSQ_LOCAL_CPU_MASK, SCX_ENQ_DSQ_PRIQ, SCX_ENQ_HEAD, SCX_ENQ_PREEMPT,
};
use crate::events::{CpuId, Event};
use crate::kernel::{Curr, Kernel, Within};
use crate::task::{Place, TaskIdx};
use crate::trace::What;

/// A queue that a dispatch names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A local queue.
    Local(CpuId),
    /// A global or user queue, by index.
    Queue(usize),
}

impl Kernel {
    /// The global queue for a task.
    pub fn global_dsq(&self, task: TaskIdx) -> usize {
        self.machine.places[self.tasks[task].cpu].node
    }

    /// Which queue a dispatch of a task means; a bad one ends the scheduler and means the global queue.
    pub fn target(&mut self, dsq: u64, task: TaskIdx, local: CpuId) -> Target {
        if dsq == SCX_DSQ_LOCAL {
            return Target::Local(local);
        }
        if dsq & SCX_DSQ_FLAG_BUILTIN != 0 && dsq & SCX_DSQ_FLAG_LOCAL_ON != 0 {
            let cpu = (dsq & SCX_DSQ_LOCAL_CPU_MASK) as usize;
            if self.cpus.get(cpu).is_some() && self.machine.places[cpu].present {
                return Target::Local(cpu);
            }
            self.error(&format!("invalid CPU {cpu} in SCX_DSQ_LOCAL_ON"));
            return Target::Queue(self.global_dsq(task));
        }
        if dsq == SCX_DSQ_GLOBAL {
            return Target::Queue(self.global_dsq(task));
        }
        if dsq & SCX_DSQ_FLAG_BUILTIN == 0
            && let Some(index) = self.dsqs.find(dsq)
        {
            return Target::Queue(index);
        }
        let task_name = self.describe(task);
        self.error(&format!("non-existent DSQ {dsq:#x} for {task_name}"));
        Target::Queue(self.global_dsq(task))
    }

    /// `name[pid]`.
    pub fn describe(&self, task: TaskIdx) -> String {
        let task = &self.tasks[task];
        format!("{}[{}]", task.name, task.pid)
    }

    /// Puts a task that is on no queue on one.
    pub fn put(&mut self, task: TaskIdx, target: Target, flags: u64) {
        let place = self.tasks[task].place;
        if !matches!(place, Place::Transit | Place::Scheduler | Place::Deferred(_)) {
            let who = self.describe(task);
            self.violate(format!("{who} is put on {target:?} while it is {place:?}"));
        }
        let entry = &mut self.tasks[task];
        entry.ddsp_dsq = SCX_DSQ_INVALID;
        entry.ddsp_flags = 0;
        let of_scheduler = matches!(target, Target::Queue(index) if index >= self.dsqs.globals());
        if !of_scheduler && std::mem::take(&mut entry.custody) {
            self.left_custody.push(task);
        }
        match target {
            Target::Local(cpu) => self.put_local(task, cpu, flags),
            Target::Queue(index) => self.put_queue(task, index, flags),
        }
    }

    fn put_local(&mut self, task: TaskIdx, cpu: CpuId, flags: u64) {
        if !self.may_run(task, cpu) {
            let who = self.describe(task);
            self.violate(format!("{who} is put on the local queue of CPU {cpu}, which it may not use"));
        }
        if flags & (SCX_ENQ_HEAD | SCX_ENQ_PREEMPT) != 0 {
            self.cpus[cpu].local.push_front(task);
        } else {
            self.cpus[cpu].local.push_back(task);
        }
        self.tasks[task].cpu = cpu;
        self.set_place(task, Place::Local(cpu));
        let pid = self.tasks[task].pid;
        self.note(What::Local, cpu, pid, flags);
        match self.cpus[cpu].curr {
            Curr::Idle => self.resched(cpu),
            Curr::Task(curr) if flags & SCX_ENQ_PREEMPT != 0 && curr != task => {
                self.update_curr(cpu);
                self.tasks[curr].slice = 0;
                self.resched(cpu);
            }
            _ => {}
        }
    }

    fn put_queue(&mut self, task: TaskIdx, index: usize, flags: u64) {
        let ordered = flags & SCX_ENQ_DSQ_PRIQ != 0;
        let queue = &mut self.dsqs[index];
        if !queue.is_empty() && queue.is_ordered() != ordered {
            let id = queue.id;
            self.error(&format!("DSQ {id:#x} is used both in order of arrival and of vtime"));
        }
        let queue = &mut self.dsqs[index];
        if ordered {
            queue.push_ordered(task, self.tasks[task].vtime);
        } else {
            queue.push(task, flags & (SCX_ENQ_HEAD | SCX_ENQ_PREEMPT) != 0);
        }
        let id = queue.id;
        self.set_place(task, Place::Queue(index));
        let (pid, cpu) = (self.tasks[task].pid, self.tasks[task].cpu);
        self.note(What::Queue, cpu, pid, id);
    }

    /// Takes a task off whatever queue it is on, into transit.
    pub fn take(&mut self, task: TaskIdx) {
        let place = self.tasks[task].place;
        let found = match place {
            Place::Local(cpu) => remove_from(&mut self.cpus[cpu].local, task),
            Place::Queue(index) => self.take_from_queue(task, index),
            Place::Deferred(cpu) => remove_from(&mut self.cpus[cpu].deferred, task),
            Place::Scheduler | Place::Transit => true,
            Place::Sleeping | Place::Running | Place::Dead => false,
        };
        if !found {
            let who = self.describe(task);
            self.violate(format!("{who} is taken off a queue while it is {place:?} and not found there"));
        }
        self.tasks[task].ddsp_dsq = SCX_DSQ_INVALID;
        self.tasks[task].ddsp_flags = 0;
        self.set_place(task, Place::Transit);
    }

    /// False if the task is not there. Its vtime must still be the one that the queue's order is made of.
    fn take_from_queue(&mut self, task: TaskIdx, index: usize) -> bool {
        let vtime = self.tasks[task].vtime;
        let Some(inserted) = self.dsqs[index].remove(task, vtime) else { return false };
        if inserted != vtime {
            let what = self.out_of_order(self.dsqs[index].id, task, inserted);
            self.violate(what);
        }
        true
    }

    /// What to say of a vtime that was written while its task waited: the kernel's tree of the queue would be out of order.
    pub(crate) fn out_of_order(&self, dsq: u64, task: TaskIdx, inserted: u64) -> String {
        let (who, vtime) = (self.describe(task), self.tasks[task].vtime);
        format!("DSQ {dsq:#x} is out of order: {who} went in with vtime {inserted} and has {vtime} now")
    }

    /// Carries out the direct dispatch of a task that is being enqueued on `rq`.
    pub fn direct_dispatch(&mut self, task: TaskIdx, rq: CpuId, enq_flags: u64) {
        let (dsq, flags) = (self.tasks[task].ddsp_dsq, self.tasks[task].ddsp_flags | enq_flags);
        match self.target(dsq, task, rq) {
            Target::Local(cpu) if cpu != rq => {
                // The remote run queue cannot be locked here: the insert waits until this one is unlocked.
                self.tasks[task].ddsp_flags = flags;
                self.set_place(task, Place::Deferred(rq));
                self.cpus[rq].deferred.push_back(task);
                self.events.push(self.now + self.config.costs.deferred_ns, Event::Deferred(rq));
            }
            target => self.put(task, target, flags),
        }
    }

    /// Carries out the remote inserts that wait at a CPU.
    pub fn run_deferred(&mut self, rq: CpuId) {
        while let Some(task) = self.cpus[rq].deferred.pop_front() {
            let (dsq, flags) = (self.tasks[task].ddsp_dsq, self.tasks[task].ddsp_flags);
            let target = self.target(dsq, task, rq);
            self.dispatch_to(task, target, flags);
        }
    }

    /// Dispatches a task with the checks for CPUs it may not use.
    pub fn dispatch_to(&mut self, task: TaskIdx, target: Target, flags: u64) {
        if let Target::Local(cpu) = target
            && cpu != self.tasks[task].cpu
        {
            if self.tasks[task].migration_disabled > 0 || !self.may_run(task, cpu) {
                let who = self.describe(task);
                self.error(&format!("SCX_DSQ_LOCAL[_ON] target CPU {cpu} not allowed for {who}"));
                let global = Target::Queue(self.global_dsq(task));
                return self.put(task, global, flags);
            }
            if !self.cpus[cpu].online {
                self.metrics.kernel_events.dispatch_offline += 1;
                let global = Target::Queue(self.global_dsq(task));
                return self.put(task, global, flags & !SCX_ENQ_DSQ_PRIQ);
            }
        }
        self.put(task, target, flags);
    }

    /// Moves the first task of a queue that may run on `cpu` to its local queue.
    pub fn consume(&mut self, index: usize, cpu: CpuId) -> bool {
        let found = self.dsqs[index].iter().find(|&task| self.may_run(task, cpu));
        let Some(task) = found else { return false };
        self.take(task);
        self.put(task, Target::Local(cpu), 0);
        true
    }

    /// Carries out what ops.dispatch inserted.
    pub fn flush_dispatches(&mut self) {
        let Within::Dispatch(cpu) = self.within else { return };
        for (task, dsq, flags) in std::mem::take(&mut self.dispatch_buffer) {
            self.dispatched += 1;
            // Only a task in the scheduler's hands can be dispatched; others were dequeued or dispatched meanwhile.
            if self.tasks[task].place == Place::Scheduler {
                let target = self.target(dsq, task, cpu);
                self.dispatch_to(task, target, flags);
            }
        }
    }
}

fn remove_from(queue: &mut std::collections::VecDeque<TaskIdx>, task: TaskIdx) -> bool {
    match queue.iter().position(|&other| other == task) {
        Some(at) => queue.remove(at).is_some(),
        None => false,
    }
}
