// SPDX-License-Identifier: GPL-2.0-only
//! What a scheduler may ask the kernel for: the `scx_bpf_*` functions. Breaking their rules ends the scheduler, as in the
//! kernel.

use std::rc::Rc;

use crate::abi::{
    EBUSY, EEXIST, EINVAL, ENOENT, SCX_DSQ_FLAG_BUILTIN, SCX_DSQ_FLAG_LOCAL_ON, SCX_DSQ_GLOBAL,
    SCX_DSQ_INVALID, SCX_DSQ_LOCAL, SCX_DSQ_LOCAL_CPU_MASK, SCX_ENQ_DSQ_PRIQ, SCX_EXIT_ERROR,
    SCX_EXIT_ERROR_BPF, SCX_EXIT_UNREG_BPF, SCX_KICK_IDLE, SCX_KICK_PREEMPT, SCX_KICK_WAIT,
    SCX_PICK_IDLE_IN_NODE,
};
use crate::events::{CpuId, Event};
use crate::idle::Sets;
use crate::kernel::{Curr, ExitInfo, Kernel, Within};
use crate::queueing::Target;
use crate::task::{Place, TaskIdx};
use crate::trace::What;

impl Kernel {
    /// Asks for the end of the scheduler; the first request counts.
    pub fn request_exit(&mut self, kind: i32, code: i64, reason: &str, message: &str) {
        if self.exit.is_none() && self.scheduler.is_some() {
            self.exit = Some(ExitInfo {
                kind,
                code,
                cpu: self.this_cpu,
                reason: reason.to_owned(),
                message: message.to_owned(),
                dump: String::new(),
            });
        }
    }

    /// The kernel's own `scx_error`.
    pub fn error(&mut self, message: &str) {
        self.request_exit(SCX_EXIT_ERROR, 0, "runtime error", message);
    }

    /// `scx_bpf_error`.
    pub fn bpf_error(&mut self, message: &str) {
        self.request_exit(SCX_EXIT_ERROR_BPF, 0, "scx_bpf_error", message);
    }

    /// `scx_bpf_exit`.
    pub fn bpf_exit(&mut self, code: i64, message: &str) {
        self.request_exit(SCX_EXIT_UNREG_BPF, code, "unregistered from BPF", message);
    }

    /// `scx_bpf_create_dsq`.
    pub fn create_dsq(&mut self, id: u64) -> i32 {
        if id & SCX_DSQ_FLAG_BUILTIN != 0 {
            return -EINVAL;
        }
        if self.dsqs.create(id) { 0 } else { -EEXIST }
    }

    /// `scx_bpf_destroy_dsq`.
    pub fn destroy_dsq(&mut self, id: u64) {
        if self.dsqs.find(id).is_none() || !self.dsqs.destroy(id) {
            self.error(&format!("DSQ {id:#x} cannot be destroyed: it does not exist or is in use"));
        }
    }

    /// `scx_bpf_dsq_nr_queued`.
    pub fn dsq_nr_queued(&self, id: u64) -> i32 {
        let length = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
        if id == SCX_DSQ_LOCAL {
            return length(self.cpus[self.this_cpu].local.len());
        }
        if id & SCX_DSQ_FLAG_BUILTIN != 0 && id & SCX_DSQ_FLAG_LOCAL_ON != 0 {
            let cpu = (id & SCX_DSQ_LOCAL_CPU_MASK) as usize;
            return self.cpus.get(cpu).map_or(-ENOENT, |cpu| length(cpu.local.len()));
        }
        self.dsqs.find(id).map_or(-ENOENT, |index| length(self.dsqs[index].len()))
    }

    /// `scx_bpf_dsq_peek`.
    pub fn dsq_peek(&mut self, id: u64) -> Option<TaskIdx> {
        match self.dsqs.find(id) {
            Some(index) => self.dsqs[index].first(),
            None => {
                self.error(&format!("peek into non-existent DSQ {id:#x}"));
                None
            }
        }
    }

    /// `scx_bpf_dsq_insert`.
    pub fn dsq_insert(&mut self, task: TaskIdx, dsq: u64, slice: u64, enq_flags: u64) -> bool {
        self.insert(task, dsq, slice, None, enq_flags)
    }

    /// `scx_bpf_dsq_insert_vtime`.
    pub fn dsq_insert_vtime(
        &mut self,
        task: TaskIdx,
        dsq: u64,
        slice: u64,
        vtime: u64,
        enq_flags: u64,
    ) -> bool {
        if dsq & SCX_DSQ_FLAG_BUILTIN != 0 {
            self.error(&format!("DSQ {dsq:#x} of the kernel cannot be ordered by vtime"));
            return false;
        }
        self.insert(task, dsq, slice, Some(vtime), enq_flags | SCX_ENQ_DSQ_PRIQ)
    }

    fn insert(&mut self, task: TaskIdx, dsq: u64, slice: u64, vtime: Option<u64>, flags: u64) -> bool {
        if dsq == SCX_DSQ_INVALID {
            self.error("insert into SCX_DSQ_INVALID");
            return false;
        }
        let who = match self.within {
            Within::SelectCpu(who) | Within::Enqueue { task: who, .. } => who,
            Within::Dispatch(_) => task,
            Within::Other => {
                self.error("scx_bpf_dsq_insert outside select_cpu, enqueue and dispatch");
                return false;
            }
        };
        if who != task {
            let (other, who) = (self.describe(task), self.describe(who));
            self.error(&format!("direct dispatch of {other} while {who} is enqueued"));
            return false;
        }
        let dispatching = matches!(self.within, Within::Dispatch(_));
        if !dispatching && !self.tasks[task].undispatched() {
            let who = self.describe(task);
            self.error(&format!("{who} is dispatched twice"));
            return false;
        }
        let entry = &mut self.tasks[task];
        entry.slice = if slice != 0 { slice } else { entry.slice.max(1) };
        if let Some(vtime) = vtime {
            entry.vtime = vtime;
        }
        if dispatching {
            self.dispatch_buffer.push((task, dsq, flags));
        } else {
            entry.ddsp_dsq = dsq;
            entry.ddsp_flags = flags;
        }
        true
    }

    /// `scx_bpf_dsq_move_to_local`.
    pub fn dsq_move_to_local(&mut self, id: u64) -> bool {
        let Within::Dispatch(cpu) = self.within else {
            self.error("scx_bpf_dsq_move_to_local outside dispatch");
            return false;
        };
        self.flush_dispatches();
        let Some(index) = self.dsqs.find(id) else {
            self.error(&format!("move from non-existent DSQ {id:#x}"));
            return false;
        };
        let moved = self.consume(index, cpu);
        self.dispatched += u32::from(moved);
        moved
    }

    /// `scx_bpf_dsq_move` and `_vtime`: moves a task that waits on the user queue `from`, if it still does.
    pub fn dsq_move(&mut self, task: TaskIdx, from: u64, to: u64, vtime: Option<u64>, flags: u64) -> bool {
        let (Some(index), Place::Queue(at)) = (self.dsqs.find(from), self.tasks[task].place) else {
            return false;
        };
        if index != at {
            return false;
        }
        let cpu = match self.within {
            Within::Dispatch(cpu) => cpu,
            _ => self.this_cpu,
        };
        let target = self.target(to, task, cpu);
        if let Target::Local(cpu) = target
            && !(self.may_run(task, cpu) && self.cpus[cpu].online)
        {
            return false;
        }
        self.take(task);
        let mut flags = flags;
        if let Some(vtime) = vtime {
            self.tasks[task].vtime = vtime;
            flags |= SCX_ENQ_DSQ_PRIQ;
        }
        self.put(task, target, flags);
        self.dispatched += u32::from(matches!(self.within, Within::Dispatch(_)));
        true
    }

    /// `scx_bpf_select_cpu_and`, in select_cpu and enqueue.
    pub fn select_cpu_and(
        &mut self,
        task: TaskIdx,
        prev: CpuId,
        wake: u64,
        allowed: &[u64],
        flags: u64,
    ) -> i32 {
        if !self.needs_idle_tracking() {
            return -EBUSY;
        }
        let again = matches!(self.within, Within::Enqueue { selected: true, .. });
        self.metrics.idle_searches += 1;
        self.metrics.repeated_idle_searches += u64::from(again);
        self.select_cpu_dfl(task, prev, wake, Some(allowed), flags)
    }

    /// `scx_bpf_test_and_clear_cpu_idle`.
    pub fn test_and_clear_cpu_idle(&mut self, cpu: i32) -> bool {
        if !self.needs_idle_tracking() {
            return false;
        }
        match self.valid_cpu(cpu) {
            Some(cpu) => self.idle.test_and_clear(&self.machine, cpu),
            None => false,
        }
    }

    /// `scx_bpf_pick_idle_cpu`; negative if there is none.
    pub fn pick_idle_cpu(&mut self, allowed: &[u64], flags: u64) -> i32 {
        if !self.needs_idle_tracking() {
            return -EBUSY;
        }
        number(self.pick_idle(Some(&Sets::new(allowed, None)), flags))
    }

    /// `scx_bpf_pick_any_cpu`; negative if the set is empty. Without idle tracking any CPU of the set is as good.
    pub fn pick_any_cpu(&mut self, allowed: &[u64], flags: u64) -> i32 {
        let allowed = Sets::new(allowed, None);
        let idle = if self.tracks_idle() { self.pick_idle(Some(&allowed), flags) } else { None };
        number(idle.or_else(|| self.any_and_distribute(&allowed)))
    }

    /// `scx_bpf_pick_idle_cpu_node`: on the node, or beginning there without `SCX_PICK_IDLE_IN_NODE`; negative if there is none.
    pub fn pick_idle_cpu_node(&mut self, allowed: &[u64], node: i32, flags: u64) -> i32 {
        if !self.needs_idle_tracking() {
            return -EBUSY;
        }
        match self.valid_node(node) {
            Ok(node) => number(self.pick_idle_from(allowed, node, flags)),
            Err(errno) => -errno,
        }
    }

    /// `scx_bpf_pick_any_cpu_node`: an idle one as `scx_bpf_pick_idle_cpu_node` finds it, else any; negative if the set is empty.
    pub fn pick_any_cpu_node(&mut self, allowed: &[u64], node: i32, flags: u64) -> i32 {
        let node = match self.valid_node(node) {
            Ok(node) => node,
            Err(errno) => return -errno,
        };
        let idle = if self.tracks_idle() { self.pick_idle_from(allowed, node, flags) } else { None };
        let span = Rc::clone(&self.machine.nodes[node]);
        let near = Sets::new(span.words(), None);
        let within = (flags & SCX_PICK_IDLE_IN_NODE != 0).then_some(&near);
        number(idle.or_else(|| self.any_and_distribute(&Sets::new(allowed, within))))
    }

    /// `scx_pick_idle_cpu()`: the node first, then the others, the nearer ones before.
    fn pick_idle_from(&mut self, allowed: &[u64], node: usize, flags: u64) -> Option<CpuId> {
        let mut nodes = self.machine.nodes_from(node);
        if flags & SCX_PICK_IDLE_IN_NODE != 0 {
            nodes.truncate(1);
        }
        nodes.into_iter().find_map(|node| {
            let span = Rc::clone(&self.machine.nodes[node]);
            self.pick_idle(Some(&Sets::new(allowed, Some(&Sets::new(span.words(), None)))), flags)
        })
    }

    /// `validate_node()`: a node, or an errno. No node at all (-1) is no fault.
    fn valid_node(&mut self, node: i32) -> Result<usize, i32> {
        if node == -1 {
            return Err(ENOENT);
        }
        let valid = usize::try_from(node).ok().filter(|&node| node < self.machine.nodes.len());
        valid.ok_or_else(|| {
            self.error(&format!("invalid node {node}"));
            EINVAL
        })
    }

    fn valid_cpu(&mut self, cpu: i32) -> Option<CpuId> {
        let valid = usize::try_from(cpu)
            .ok()
            .filter(|&cpu| self.cpus.get(cpu).is_some() && self.machine.places[cpu].present);
        if valid.is_none() {
            self.error(&format!("invalid CPU {cpu}"));
        }
        valid
    }

    /// `scx_bpf_kick_cpu`.
    pub fn kick_cpu(&mut self, cpu: i32, flags: u64) {
        let Some(cpu) = self.valid_cpu(cpu) else { return };
        if flags & SCX_KICK_IDLE != 0 && flags & (SCX_KICK_PREEMPT | SCX_KICK_WAIT) != 0 {
            self.error("SCX_KICK_IDLE cannot be combined with PREEMPT or WAIT");
            return;
        }
        self.metrics.kicks += 1;
        self.note(What::Kick, cpu, 0, flags);
        if flags & SCX_KICK_IDLE != 0 && self.seen_busy(cpu) {
            return;
        }
        // From irq_work, once the run queue at hand is unlocked.
        self.cpus[cpu].kicks += 1;
        self.events
            .push(self.now + self.config.costs.deferred_ns, Event::Kick { cpu, flags, from: self.this_cpu });
    }

    /// Whether a kick for an idle CPU has no effect at once. To look, the kernel tries to lock the run queue; when the callback
    /// itself holds that lock, as a CPU that puts its last task aside, the kick is judged once the lock is dropped.
    fn seen_busy(&self, cpu: CpuId) -> bool {
        let entry = &self.cpus[cpu];
        self.locked != Some(cpu) && entry.curr != Curr::Idle && !entry.in_balance
    }

    /// A kick from the CPU `self.this_cpu` takes effect.
    pub fn kicked(&mut self, cpu: CpuId, flags: u64) {
        self.cpus[cpu].kicks -= 1;
        let curr = self.cpus[cpu].curr;
        if flags & SCX_KICK_IDLE != 0 && curr != Curr::Idle {
            return;
        }
        if flags & SCX_KICK_PREEMPT != 0
            && let Curr::Task(task) = curr
        {
            self.update_curr(cpu);
            self.tasks[task].slice = 0;
        }
        let from = self.this_cpu;
        if flags & SCX_KICK_WAIT != 0 && from != cpu && self.cpus[cpu].online {
            self.cpus[cpu].kick_waiters.push((from, self.now));
        }
        self.resched(cpu);
    }

    /// `scx_bpf_dsq_reenq`: all tasks on a local or user queue go through ops.enqueue again, from irq_work.
    pub fn dsq_reenq(&mut self, dsq: u64, flags: u64) {
        if flags != 0 {
            self.error(&format!("invalid flags {flags:#x} given to scx_bpf_dsq_reenq"));
            return;
        }
        let cpu = self.this_cpu;
        if self.reenq_target(dsq, cpu).is_none() {
            self.error(&format!("tasks on DSQ {dsq:#x} cannot be enqueued again: no local or user DSQ"));
            return;
        }
        self.events.push(self.now + self.config.costs.deferred_ns, Event::Reenqueue { cpu, dsq });
    }

    pub(crate) fn reenq_target(&self, dsq: u64, cpu: CpuId) -> Option<Target> {
        if dsq == SCX_DSQ_LOCAL {
            return Some(Target::Local(cpu));
        }
        if dsq & SCX_DSQ_FLAG_BUILTIN != 0 && dsq & SCX_DSQ_FLAG_LOCAL_ON != 0 {
            let on = (dsq & SCX_DSQ_LOCAL_CPU_MASK) as usize;
            return self.cpus.get(on).map(|_| Target::Local(on));
        }
        self.dsqs.find(dsq).map(Target::Queue)
    }

    /// `scx_bpf_task_running`.
    pub fn task_running(&self, task: TaskIdx) -> bool {
        self.tasks[task].place == Place::Running
    }

    /// `scx_bpf_cpu_curr`: the task a CPU runs.
    pub fn cpu_curr(&self, cpu: CpuId) -> Option<TaskIdx> {
        match self.cpus.get(cpu)?.curr {
            Curr::Task(task) => Some(task),
            Curr::Idle | Curr::Rt => None,
        }
    }

    /// Whether an id means the global queue.
    pub fn is_global(id: u64) -> bool {
        id == SCX_DSQ_GLOBAL
    }
}

/// A CPU as BPF code is told it.
fn number(cpu: Option<CpuId>) -> i32 {
    cpu.map_or(-EBUSY, |cpu| cpu as i32)
}
