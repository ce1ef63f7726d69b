// SPDX-License-Identifier: GPL-2.0-only
//! The state of the modelled kernel, and the small changes everything else is made of.
//!
//! Time stands still inside an operation; what operations cost is added to what the CPU does next. Rules of the kernel are
//! in the `sim` modules; what a scheduler may ask for is in [`crate::kfuncs`].

use std::collections::VecDeque;
use std::rc::Rc;

use topology::{CpuSet, Topology};

use crate::abi::{
    SCX_OPS_ALLOW_QUEUED_WAKEUP, SCX_OPS_ENQ_EXITING, SCX_OPS_ENQ_LAST, SCX_OPS_ENQ_MIGRATION_DISABLED,
    SCX_OPS_KEEP_BUILTIN_IDLE,
};
use crate::bpf::Objects;
use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::dsq::Dsqs;
use crate::events::{CpuId, Event, EventQueue};
use crate::idle::IdleMasks;
use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::rng::Rng;
use crate::task::{Channel, Place, TaskIdx, Tasks};
use crate::timers::Timers;
use crate::trace::{Record, Trace, What};

/// What a CPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curr {
    /// Nothing.
    Idle,
    /// Runs a task.
    Task(TaskIdx),
    /// Runs a real-time task.
    Rt,
}

/// One CPU and its run queue.
#[derive(Debug)]
pub struct Cpu {
    /// Whether it takes part.
    pub online: bool,
    /// The kernel thread that brings it up, while that is at work; the CPU is not online then.
    pub coming_up: Option<TaskIdx>,
    /// What it does.
    pub curr: Curr,
    /// Its local queue.
    pub local: VecDeque<TaskIdx>,
    /// It has to reschedule; an event is on its way.
    pub need_resched: bool,
    /// Up to when the running task's time is accounted.
    pub accounted_at: u64,
    /// Time the running task still loses to overhead.
    pub overhead_ns: u64,
    /// Overhead of the operation under way, not yet given to a task.
    pub pending_ns: u64,
    /// Which `WorkDone` event counts.
    pub work_generation: u64,
    /// A tick is on its way.
    pub ticking: bool,
    /// Speed of the running task in 1/1024.
    pub speed: u64,
    /// Real-time work that waits for or holds the CPU, ns.
    pub rt_wanted_ns: u64,
    /// Since when real-time tasks hold it.
    pub rt_since: u64,
    /// A look of the server for starved tasks is on its way.
    pub server_armed: bool,
    /// The server for starved tasks has the CPU: real-time work waits.
    pub server_runs: bool,
    /// ops.cpu_release was called and ops.cpu_acquire is due.
    pub released: bool,
    /// Interrupts hold the idle CPU up to here.
    pub interrupted_until: u64,
    /// Kicks of this CPU that are under way.
    pub kicks: u32,
    /// CPUs that wait until this one reschedules, and since when.
    pub kick_waiters: Vec<(CpuId, u64)>,
    /// Tasks inserted on other CPUs that are not there yet.
    pub deferred: VecDeque<TaskIdx>,
    /// Where the last distributing search stopped.
    pub distribute_prev: CpuId,
    /// Since when it does what it does.
    pub since: u64,
    /// The CPU is inside its dispatch path.
    pub in_balance: bool,
    /// Time it ran tasks, ns.
    pub busy_ns: u64,
}

/// Flags of a scheduler that the model does justice to. `SCX_OPS_ALLOW_QUEUED_WAKEUP` is a permission, which the model never
/// needs; a scheduler with any other flag is not taken on.
pub const MODELLED_FLAGS: u64 = SCX_OPS_KEEP_BUILTIN_IDLE
    | SCX_OPS_ENQ_LAST
    | SCX_OPS_ENQ_EXITING
    | SCX_OPS_ENQ_MIGRATION_DISABLED
    | SCX_OPS_ALLOW_QUEUED_WAKEUP;

/// How a scheduler wants to be treated, and what it offers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// `SCX_OPS_*`, of [`MODELLED_FLAGS`].
    pub flags: u64,
    /// Watchdog timeout, ns.
    pub timeout_ns: u64,
    /// Has ops.select_cpu.
    pub select_cpu: bool,
    /// Has ops.enqueue.
    pub enqueue: bool,
    /// Has ops.dequeue.
    pub dequeue: bool,
    /// Has ops.dispatch.
    pub dispatch: bool,
    /// Has ops.update_idle.
    pub update_idle: bool,
    /// Has ops.yield.
    pub yields: bool,
    /// Has ops.tick.
    pub tick: bool,
    /// Has ops.cpu_acquire or ops.cpu_release.
    pub preempt: bool,
    /// Has ops.cpu_online and ops.cpu_offline.
    pub hotplug: bool,
}

/// Why a scheduler ended (`struct scx_exit_info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitInfo {
    /// `SCX_EXIT_*`.
    pub kind: i32,
    /// `SCX_ECODE_*` and the scheduler's own code.
    pub code: i64,
    /// The CPU at hand.
    pub cpu: CpuId,
    /// The kind in words.
    pub reason: String,
    /// The message.
    pub message: String,
    /// Debug dump.
    pub dump: String,
}

/// A broken invariant of the model or of the scheduler in it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is broken.
    pub what: String,
    /// Number of the event that broke it.
    pub event: u64,
    /// Virtual time.
    pub at_ns: u64,
    /// The seed of the run.
    pub seed: u64,
    /// The last happenings.
    pub history: Vec<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} (seed {}, event {}, {} ns)", self.what, self.seed, self.event, self.at_ns)?;
        self.history.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl std::error::Error for Violation {}

/// Which callback the scheduler is in: it decides what it may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Within {
    /// None, or one that may not dispatch.
    #[default]
    Other,
    /// ops.select_cpu for a task.
    SelectCpu(TaskIdx),
    /// ops.enqueue for a task.
    Enqueue {
        /// The task.
        task: TaskIdx,
        /// ops.select_cpu has just been called for it.
        selected: bool,
    },
    /// ops.dispatch of a CPU.
    Dispatch(CpuId),
}

/// The modelled kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Virtual time, ns.
    pub now: u64,
    /// Settings.
    pub config: Config,
    /// Places and distances.
    pub machine: Machine,
    /// CPUs by number.
    pub cpus: Vec<Cpu>,
    /// Tasks.
    pub tasks: Tasks,
    /// Global and user queues.
    pub dsqs: Dsqs,
    /// Idle masks.
    pub idle: IdleMasks,
    /// What is to happen.
    pub events: EventQueue,
    /// Randomness of the workload.
    pub rng: Rng,
    /// Channels of the workload.
    pub channels: Vec<Channel>,
    /// The tree of cgroups.
    pub cgroups: Cgroups,
    /// What has happened.
    pub trace: Trace,
    /// Figures.
    pub metrics: Metrics,
    /// What the attached scheduler is like; `None` when there is none.
    pub scheduler: Option<Traits>,
    /// The end of the scheduler that has been asked for or has happened.
    pub exit: Option<ExitInfo>,
    /// The first broken invariant.
    pub violation: Option<Violation>,
    /// The CPU that executes.
    pub this_cpu: CpuId,
    /// The operation under way ends with [`Kernel::settle`].
    pub(crate) settles: bool,
    /// CPUs whose event for the end of a step waits for that, and which event that is.
    pub(crate) unarmed: Vec<(CpuId, u64)>,
    /// Best total speed (1/1024) of 0, 1, 2, … tasks on the CPUs that tasks can have, see [`Machine::best_rates`].
    best_rate: Vec<u64>,
    /// Other CPUs can be had than when it was made.
    best_rate_stale: bool,
    /// The callback that executes.
    pub within: Within,
    /// The CPU whose run queue is locked while a callback executes.
    pub locked: Option<CpuId>,
    /// Tasks dispatched since ops.dispatch began.
    pub dispatched: u32,
    /// Dispatches not yet carried out: task, queue, flags.
    pub dispatch_buffer: Vec<(TaskIdx, u64, u64)>,
    /// Runnable tasks.
    pub nr_runnable: usize,
    /// Waiting tasks that may run anywhere.
    pub nr_waiting: usize,
    /// Idle CPUs that are not about to reschedule.
    pub nr_idle: usize,
    /// Online CPUs.
    pub online: CpuSet,
    /// Timers of BPF code.
    pub timers: Timers,
    /// Tasks that left the scheduler's hands during the callback under way: ops.dequeue is due.
    pub left_custody: Vec<TaskIdx>,
    /// Text for the debug dump under way.
    pub dump: String,
    /// Objects that BPF code sees.
    pub objects: Objects,
}

impl Kernel {
    /// An idle machine without scheduler or tasks.
    pub fn new(topology: &Topology, config: Config) -> Self {
        let machine = Machine::new(topology);
        let online = topology.online();
        let cpus = (0..machine.nr_cpu_ids()).map(|id| Cpu::new(online.contains(id))).collect();
        let mut kernel = Self {
            now: 0,
            cpus,
            tasks: Tasks::default(),
            dsqs: Dsqs::new(machine.nodes.len()),
            idle: IdleMasks::default(),
            events: EventQueue::default(),
            rng: Rng::stream(config.seed, 1),
            channels: Vec::new(),
            cgroups: Cgroups::new(Rc::clone(&machine.all)),
            trace: Trace::new(config.history, config.timeline),
            metrics: Metrics::default(),
            scheduler: None,
            exit: None,
            violation: None,
            this_cpu: online.first().unwrap_or(0),
            settles: false,
            unarmed: Vec::new(),
            best_rate: Vec::new(),
            best_rate_stale: true,
            within: Within::Other,
            locked: None,
            dispatched: 0,
            dispatch_buffer: Vec::new(),
            nr_runnable: 0,
            nr_waiting: 0,
            nr_idle: online.len(),
            timers: Timers::default(),
            left_custody: Vec::new(),
            dump: String::new(),
            objects: Objects::default(),
            online,
            machine,
            config,
        };
        for cpu in &kernel.online.clone() {
            kernel.idle.update(&kernel.machine, cpu, true);
        }
        kernel
    }

    /// The CPUs a task may use at the moment.
    pub fn allowed(&self, task: TaskIdx) -> Rc<CpuSet> {
        let task = &self.tasks[task];
        if task.migration_disabled > 0 {
            Rc::clone(&self.machine.places[task.cpu].only)
        } else {
            Rc::clone(&task.mask)
        }
    }

    /// Whether a task may use a CPU at the moment.
    pub fn may_run(&self, task: TaskIdx, cpu: CpuId) -> bool {
        let task = &self.tasks[task];
        if task.migration_disabled > 0 { task.cpu == cpu } else { task.mask.contains(cpu) }
    }

    /// Notes a happening.
    pub fn note(&mut self, what: What, cpu: CpuId, pid: i32, arg: u64) {
        self.trace.add(Record { at: self.now, what, cpu, pid, arg });
    }

    /// Puts a task somewhere, keeping the counts.
    pub fn set_place(&mut self, task: TaskIdx, place: Place) {
        let everywhere = self.machine.all.len();
        let entry = &mut self.tasks[task];
        let counts =
            |place| !matches!(place, Place::Sleeping | Place::Running | Place::Dead | Place::Transit);
        let anywhere = entry.nr_allowed >= everywhere && entry.migration_disabled == 0;
        if anywhere && counts(entry.place) {
            self.nr_waiting -= 1;
        }
        entry.place = place;
        if anywhere && counts(place) {
            self.nr_waiting += 1;
        }
    }

    fn counts_idle(&self, cpu: CpuId) -> usize {
        let cpu = &self.cpus[cpu];
        usize::from(cpu.online && cpu.curr == Curr::Idle && !cpu.need_resched)
    }

    /// Changes a CPU, keeping the count of idle ones. Whether tasks can have it changes here and nowhere else.
    pub fn change_cpu<R>(&mut self, cpu: CpuId, change: impl FnOnce(&mut Cpu) -> R) -> R {
        self.nr_idle -= self.counts_idle(cpu);
        let usable = self.cpus[cpu].usable();
        let result = change(&mut self.cpus[cpu]);
        self.best_rate_stale |= self.cpus[cpu].usable() != usable;
        self.nr_idle += self.counts_idle(cpu);
        result
    }

    /// Asks a CPU to reschedule; at once if it is the one that executes, else after an interrupt.
    pub fn resched(&mut self, cpu: CpuId) {
        if self.cpus[cpu].need_resched || !self.cpus[cpu].executes() {
            return;
        }
        self.change_cpu(cpu, |cpu| cpu.need_resched = true);
        let costs = &self.config.costs;
        let mut delay = 0;
        if cpu != self.this_cpu {
            delay = costs.ipi_ns;
            if self.cpus[cpu].curr == Curr::Idle {
                delay += costs.idle_exit_ns;
            }
        }
        let at = (self.now + delay).max(self.cpus[cpu].interrupted_until);
        self.events.push(at, Event::Resched(cpu));
    }

    /// Brings the time and work of a CPU's running task up to now.
    pub fn update_curr(&mut self, cpu: CpuId) {
        let now = self.now;
        let cpu = &mut self.cpus[cpu];
        let delta = now - cpu.accounted_at;
        cpu.accounted_at = now;
        let Curr::Task(task) = cpu.curr else { return };
        if delta == 0 {
            return;
        }
        let task = &mut self.tasks[task];
        let lost = delta.min(cpu.overhead_ns);
        cpu.overhead_ns -= lost;
        cpu.busy_ns += delta;
        task.exec_ns += delta;
        if task.slice != crate::abi::SCX_SLICE_INF {
            task.slice = task.slice.saturating_sub(delta);
        }
        let mut work = (delta - lost) * cpu.speed / 1024;
        if task.remaining_ns != u64::MAX {
            work = work.min(task.remaining_ns);
            task.remaining_ns -= work;
        }
        task.work_ns += work;
        self.cgroups[task.cgroup].own_usage_ns += delta;
        self.metrics.busy_ns += delta;
        self.metrics.overhead_ns += lost;
        self.metrics.work_ns += work;
        if let Some(group) = self.metrics.groups.get_mut(task.group) {
            group.exec_ns += delta;
            group.work_ns += work;
        }
    }

    /// Sets the event for the end of the running task's step anew.
    pub fn arm_work(&mut self, cpu_id: CpuId) {
        let cpu = &mut self.cpus[cpu_id];
        cpu.work_generation += 1;
        if self.settles && cpu_id == self.this_cpu && cpu.pending_ns > 0 {
            // What the operation costs will set it anew at its end.
            self.unarmed.push((cpu_id, cpu.work_generation));
            return;
        }
        self.push_work(cpu_id);
    }

    fn push_work(&mut self, cpu_id: CpuId) {
        let cpu = &mut self.cpus[cpu_id];
        let Curr::Task(task) = cpu.curr else { return };
        let remaining = self.tasks[task].remaining_ns;
        if remaining == u64::MAX {
            return;
        }
        let at = cpu.accounted_at + cpu.overhead_ns + (remaining * 1024).div_ceil(cpu.speed.max(1));
        let generation = cpu.work_generation;
        self.events.push(at.max(self.now), Event::WorkDone { cpu: cpu_id, generation });
    }

    /// What the operation under way cost its CPU delays the task that runs there now.
    pub(crate) fn settle(&mut self) {
        let cpu = self.this_cpu;
        let pending = std::mem::take(&mut self.cpus[cpu].pending_ns);
        if pending > 0 && matches!(self.cpus[cpu].curr, Curr::Task(_)) {
            self.update_curr(cpu);
            self.cpus[cpu].overhead_ns += pending;
            self.arm_work(cpu);
        }
        while let Some((cpu, generation)) = self.unarmed.pop() {
            // The operation went on on another CPU.
            if self.cpus[cpu].work_generation == generation {
                self.push_work(cpu);
            }
        }
    }

    /// Starts ticks on a CPU that is no longer idle.
    pub fn arm_tick(&mut self, cpu: CpuId) {
        if !self.cpus[cpu].ticking {
            self.cpus[cpu].ticking = true;
            let tick = self.config.tick_ns();
            self.events.push((self.now / tick + 1) * tick, Event::Tick(cpu));
        }
    }

    fn speed_of(&self, cpu: CpuId) -> u64 {
        let place = &self.machine.places[cpu];
        let shared = place.siblings.iter().any(|&other| self.cpus[other].curr != Curr::Idle);
        if shared { place.capacity * self.config.costs.smt_speed_1024 / 1024 } else { place.capacity }
    }

    /// Sets what a CPU does; the speeds of its core follow.
    pub fn set_curr(&mut self, cpu: CpuId, curr: Curr) {
        self.update_curr(cpu);
        let was_busy = self.cpus[cpu].curr != Curr::Idle;
        let now = self.now;
        self.change_cpu(cpu, |cpu| {
            cpu.curr = curr;
            cpu.since = now;
            cpu.overhead_ns = 0;
        });
        self.cpus[cpu].speed = self.speed_of(cpu);
        if was_busy != (curr != Curr::Idle) {
            for index in 0..self.machine.places[cpu].siblings.len() {
                let sibling = self.machine.places[cpu].siblings[index];
                if matches!(self.cpus[sibling].curr, Curr::Task(_)) {
                    self.update_curr(sibling);
                    self.cpus[sibling].speed = self.speed_of(sibling);
                    self.arm_work(sibling);
                }
            }
        }
    }

    /// Records a broken invariant; the first one counts.
    pub fn violate(&mut self, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation {
                what,
                event: self.metrics.events,
                at_ns: self.now,
                seed: self.config.seed,
                history: self.trace.recent().map(ToString::to_string).collect(),
            });
        }
    }

    /// Brings the integrals over time up to `to`; nothing changes in between.
    pub fn integrate(&mut self, to: u64) {
        let delta = to - self.now;
        if delta == 0 {
            return;
        }
        if std::mem::take(&mut self.best_rate_stale) {
            let (cpus, costs) = (&self.cpus, &self.config.costs);
            let held = |cpu: CpuId| cpus[cpu].curr == Curr::Rt;
            self.best_rate = self.machine.best_rates(costs, |cpu| cpus[cpu].usable(), held);
        }
        let rate = self.best_rate[self.nr_runnable.min(self.best_rate.len() - 1)];
        self.metrics.fluid_1024 += u128::from(rate) * u128::from(delta);
        let pairs = self.nr_idle.min(self.nr_waiting) as u64;
        if pairs > 0 {
            self.metrics.idle_beside_waiting_ns += delta;
            self.metrics.idle_beside_waiting_cpu_ns += delta * pairs;
        }
        self.now = to;
    }
}

impl Cpu {
    /// Whether it runs anything at all.
    pub fn executes(&self) -> bool {
        self.online || self.coming_up.is_some()
    }

    /// Whether tasks can have it: it is there, and no real-time work holds it.
    pub fn usable(&self) -> bool {
        self.executes() && self.curr != Curr::Rt
    }

    fn new(online: bool) -> Self {
        Self {
            online,
            coming_up: None,
            curr: Curr::Idle,
            local: VecDeque::new(),
            need_resched: false,
            accounted_at: 0,
            overhead_ns: 0,
            pending_ns: 0,
            work_generation: 0,
            ticking: false,
            speed: 1024,
            rt_wanted_ns: 0,
            rt_since: 0,
            server_armed: false,
            server_runs: false,
            released: false,
            interrupted_until: 0,
            kicks: 0,
            kick_waiters: Vec::new(),
            deferred: VecDeque::new(),
            distribute_prev: 0,
            since: 0,
            in_balance: false,
            busy_ns: 0,
        }
    }
}
