// SPDX-License-Identifier: GPL-2.0-only
//! The running model: a kernel, a scheduler, and the world of tasks around them.
//!
//! - [`schedule`](self): which task a CPU runs next, in the kernel's order;
//! - `wake`: how a task becomes runnable;
//! - `advance`: what tasks do when they run;
//! - `meet`: how they wait for each other and for a time;
//! - `change`: affinity, weight and CPUs that come and go;
//! - `cgroups`: the tree changes and tasks move in it;
//! - `real_time`: what real-time tasks and interrupts take;
//! - `reenqueue`: queued tasks are enqueued again, BPF timers fire;
//! - `outside`: the world acts;
//! - `attach`: the beginning and the end of a scheduler;
//! - `check`: invariants.

mod advance;
mod attach;
mod cgroups;
mod change;
mod check;
mod meet;
mod outside;
mod real_time;
mod reenqueue;
mod schedule;
mod wake;

pub use attach::AttachError;

use topology::Topology;

use crate::config::Config;
use crate::events::{CpuId, Event};
use crate::kernel::{Curr, Kernel, Violation, Within};
use crate::ops::Ops;
use crate::world::World;

/// Events at one moment after which the model is taken to run in circles.
const MAX_EVENTS_AT_ONCE: u64 = 5_000_000;

/// Virtual time between two looks whether to stop.
const LOOK_EVERY_NS: u64 = 1_000_000;

/// A machine with a scheduler of type `O` on it.
#[derive(Debug)]
pub struct Sim<O> {
    /// The kernel.
    pub kernel: Kernel,
    /// The scheduler; stays after its end, so that its state can be read.
    pub ops: Option<O>,
    /// Templates, arrivals, scripted changes.
    pub world: World,
    events_at_once: u64,
    next_sleep: u64,
}

impl<O: Ops> Sim<O> {
    /// An idle machine.
    pub fn new(topology: &Topology, config: Config) -> Self {
        let kernel = Kernel::new(topology, config);
        Self { kernel, ops: None, world: World::default(), events_at_once: 0, next_sleep: 0 }
    }

    /// Lets time pass up to `until_ns`, or up to the end of the scheduler if that comes first (then true is returned).
    ///
    /// # Errors
    /// A broken invariant.
    pub fn run_until(&mut self, until_ns: u64) -> Result<bool, Violation> {
        let attached = self.kernel.scheduler.is_some();
        while self.step(until_ns)? {
            if attached && self.kernel.scheduler.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`Sim::run_until`], but `look` is told the time every virtual millisecond and stops it by true.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn run_watched(&mut self, until_ns: u64, look: impl Fn(u64) -> bool) -> Result<bool, Violation> {
        while self.kernel.now < until_ns && !look(self.kernel.now) {
            if self.run_until(until_ns.min(self.kernel.now + LOOK_EVERY_NS))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One event; false when none is left up to `until_ns`, which is then the time.
    ///
    /// # Errors
    /// A broken invariant.
    pub fn step(&mut self, until_ns: u64) -> Result<bool, Violation> {
        match self.kernel.events.next_at() {
            Some(at) if at <= until_ns => {}
            _ => {
                self.kernel.integrate(until_ns.max(self.kernel.now));
                return Ok(false);
            }
        }
        let Some((at, event)) = self.kernel.events.pop() else { return Ok(false) };
        if at > self.kernel.now {
            self.events_at_once = 0;
        }
        self.events_at_once += 1;
        if self.events_at_once > MAX_EVENTS_AT_ONCE {
            self.kernel.violate("time stands still: the model or the scheduler runs in circles".to_owned());
        }
        self.kernel.integrate(at);
        self.kernel.metrics.events += 1;
        self.kernel.settles = true;
        self.handle(event);
        self.kernel.settle();
        self.kernel.settles = false;
        if self.kernel.exit.is_some() && self.kernel.scheduler.is_some() {
            self.end_scheduler();
            self.kernel.settle();
        }
        if self.kernel.metrics.events.is_multiple_of(self.kernel.config.check_every.max(1)) {
            self.check();
        }
        match self.kernel.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(true),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(cpu) => self.tick(cpu),
            Event::WorkDone { cpu, generation } => {
                if self.kernel.cpus[cpu].work_generation == generation {
                    self.kernel.this_cpu = cpu;
                    self.work_done(cpu);
                }
            }
            Event::Timer { task, generation } => self.timer(task, generation),
            Event::Resched(cpu) => {
                if self.kernel.cpus[cpu].need_resched {
                    self.kernel.this_cpu = cpu;
                    self.schedule(cpu);
                }
            }
            Event::Kick { cpu, flags, from } => {
                self.kernel.this_cpu = from;
                self.kernel.kicked(cpu, flags);
            }
            Event::Deferred(cpu) => {
                self.kernel.this_cpu = cpu;
                self.kernel.run_deferred(cpu);
            }
            Event::RtStart { cpu, length_ns } => self.rt_start(cpu, length_ns),
            Event::RtEnd(cpu) => self.rt_end(cpu),
            Event::Interrupt { cpu, length_ns } => self.interrupt(cpu, length_ns),
            Event::ServerStart(cpu) => self.server_start(cpu),
            Event::ServerEnd(cpu) => self.server_end(cpu),
            Event::BpfTimer { timer, generation } => self.fire_timer(timer, generation),
            Event::Reenqueue { cpu, dsq } => {
                self.kernel.this_cpu = cpu;
                self.reenqueue(cpu, dsq);
            }
            Event::World(index) => self.world_event(index),
            Event::Watchdog => self.watchdog(),
            Event::Nop => {}
        }
    }

    fn tick(&mut self, cpu: CpuId) {
        let kernel = &mut self.kernel;
        kernel.this_cpu = cpu;
        kernel.cpus[cpu].ticking = false;
        match kernel.cpus[cpu].curr {
            Curr::Idle => {}
            Curr::Rt => kernel.arm_tick(cpu),
            Curr::Task(task) => {
                kernel.arm_tick(cpu);
                kernel.update_curr(cpu);
                if kernel.scheduler.as_ref().is_some_and(|traits| traits.tick) {
                    self.call_on(cpu, Within::Other, |ops, kernel| ops.tick(kernel, task));
                }
                if self.kernel.tasks[task].slice == 0 {
                    self.kernel.metrics.slice_ends += 1;
                    self.schedule(cpu);
                }
            }
        }
    }

    /// Calls the scheduler, if one is attached, and counts what it cost to the CPU at hand.
    pub(crate) fn call<R>(
        &mut self,
        within: Within,
        callback: impl FnOnce(&mut O, &mut Kernel) -> R,
    ) -> Option<R> {
        self.kernel.scheduler.as_ref()?;
        let ops = self.ops.as_mut()?;
        let outer = std::mem::replace(&mut self.kernel.within, within);
        let result = callback(ops, &mut self.kernel);
        self.kernel.within = outer;
        if !self.kernel.left_custody.is_empty() {
            self.tell_departures();
        }
        let ops = self.ops.as_mut()?;
        let cost = ops.take_cost();
        let costs = &self.kernel.config.costs;
        let time = cost.callbacks * costs.callback_ns + cost.instructions * costs.instruction_ps / 1000;
        self.kernel.metrics.callbacks += cost.callbacks;
        self.kernel.metrics.instructions += cost.instructions;
        self.kernel.cpus[self.kernel.this_cpu].pending_ns += time;
        Some(result)
    }

    /// As [`Sim::call`], for a callback that the kernel calls with the run queue of a CPU locked.
    pub(crate) fn call_on<R>(
        &mut self,
        rq: CpuId,
        within: Within,
        callback: impl FnOnce(&mut O, &mut Kernel) -> R,
    ) -> Option<R> {
        let outer = self.kernel.locked.replace(rq);
        let result = self.call(within, callback);
        self.kernel.locked = outer;
        result
    }

    /// ops.dequeue of tasks that were dispatched to a local or global queue. The kernel calls it inside the dispatch, the
    /// model right behind the callback that dispatched.
    fn tell_departures(&mut self) {
        let left = std::mem::take(&mut self.kernel.left_custody);
        if self.kernel.scheduler.is_some_and(|traits| traits.dequeue) {
            for task in left {
                self.call(Within::Other, |ops, kernel| ops.dequeue(kernel, task, 0));
            }
        }
    }
}
