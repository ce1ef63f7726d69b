// SPDX-License-Identifier: GPL-2.0-only
//! What tasks do when they run, and what the world does to them.

use std::rc::Rc;

use topology::CpuSet;

use crate::abi::{PF_EXITING, PF_KTHREAD, SCX_DEQ_SLEEP, SCX_DSQ_INVALID, SCX_SLICE_DFL};
use crate::cgroup::{CgroupIdx, ROOT};
use crate::events::{CpuId, Event};
use crate::kernel::{Curr, Kernel, Within};
use crate::ops::Ops;
use crate::program::{Position, Step};
use crate::rng::Rng;
use crate::sim::Sim;
use crate::sim::outside::random_mask;
use crate::task::{Channel, Place, Task, TaskIdx, TaskSpec};
use crate::trace::What;
use crate::world::{Outside, Source};

/// Steps without work that a task may do in a row before it is made to yield.
const MAX_STEPS: usize = 10_000;
/// Work between two looks at the clock of a task that works until a time.
const LOOK_AT_CLOCK_NS: u64 = 32_000;

/// What a step led to.
pub(super) enum After {
    /// The next step.
    Go,
    /// The task works, or is off its CPU.
    Stop,
}

impl<O: Ops> Sim<O> {
    /// Adds a task that is woken at `at_ns`.
    pub fn add_task(&mut self, spec: &TaskSpec, at_ns: u64) -> TaskIdx {
        let cpu = self.kernel.this_cpu;
        let task = self.make_task(spec, cpu, None);
        self.kernel.tasks[task].starts_at = at_ns;
        self.kernel.tasks[task].unit_from = at_ns;
        self.introduce(task, false);
        self.sleep_until(task, at_ns);
        task
    }

    /// Adds a source of outside happenings, the first at `at_ns`.
    pub fn add_source(&mut self, outside: Outside, at_ns: u64) {
        let index = self.world.sources.len();
        let rng = Rng::stream(self.kernel.config.seed, 0x5000_0000 + index as u64);
        self.world.sources.push(Source { outside, rng });
        self.kernel.events.push(at_ns, Event::World(index));
    }

    /// Adds a channel with so many tokens.
    pub fn add_channel(&mut self, tokens: usize) -> usize {
        let tokens = std::iter::repeat_n(self.kernel.now, tokens).collect();
        self.kernel.channels.push(Channel { tokens, ..Channel::default() });
        self.kernel.channels.len() - 1
    }

    pub(super) fn make_task(&mut self, spec: &TaskSpec, cpu: CpuId, parent: Option<TaskIdx>) -> TaskIdx {
        let kernel = &mut self.kernel;
        let (cgroup, user_mask, mask) = birthplace(kernel, spec, parent);
        kernel.cgroups[cgroup].tasks += 1;
        let sched_cgroup = kernel.cgroups.of_controller(cgroup);
        let (seed, now) = (kernel.config.seed, kernel.now);
        // Where a task starts: where its parent is, if it may.
        let cpu = if mask.contains(cpu) { cpu } else { mask.first().unwrap_or(cpu) };
        self.next_sleep += 1;
        let sleep_generation = self.next_sleep;
        kernel.metrics.forks += 1;
        let task = kernel.tasks.add(|pid| Task {
            pid,
            name: spec.name.clone(),
            place: Place::Sleeping,
            queued: false,
            cpu,
            last_ran: None,
            nr_allowed: mask.len(),
            mask,
            migration_disabled: 0,
            weight: spec.weight.clamp(1, 10_000),
            policy: spec.policy,
            cgroup,
            sched_cgroup,
            user_mask,
            flags: if spec.kthread { PF_KTHREAD } else { 0 },
            group: spec.group,
            slice: SCX_SLICE_DFL,
            vtime: 0,
            exec_ns: 0,
            work_ns: 0,
            remaining_ns: 0,
            ddsp_dsq: SCX_DSQ_INVALID,
            ddsp_flags: 0,
            selected_cpu: cpu,
            waiting_since: now,
            enqueued_at: now,
            wait_ns: 0,
            woken_at: None,
            born_at: now,
            position: Position::new(Rc::clone(&spec.program)),
            sleep_generation,
            period_from: None,
            starts_at: now,
            beats: Vec::new(),
            awaits_work: false,
            unit_from: now,
            parent,
            children: 0,
            awaits_children: false,
            custody: false,
            known: false,
            stale: true,
            rng: Rng::stream(seed, 0x1_0000_0000 + u64::from(pid.cast_unsigned())),
        });
        let pid = kernel.tasks[task].pid;
        kernel.note(What::Fork, cpu, pid, 0);
        task
    }

    pub(super) fn sleep_until(&mut self, task: TaskIdx, at_ns: u64) {
        self.next_sleep += 1;
        self.kernel.tasks[task].sleep_generation = self.next_sleep;
        self.kernel
            .events
            .push(at_ns.max(self.kernel.now), Event::Timer { task, generation: self.next_sleep });
    }

    pub(crate) fn timer(&mut self, task: TaskIdx, generation: u64) {
        let entry = &self.kernel.tasks[task];
        if entry.sleep_generation != generation {
            return;
        }
        if entry.place != Place::Sleeping {
            return self.time_is_up(task);
        }
        // The timer belongs to the CPU the task slept on.
        let cpu = entry.cpu;
        self.kernel.this_cpu =
            if self.kernel.cpus[cpu].online { cpu } else { self.kernel.online.first().unwrap_or(cpu) };
        self.wake(task, 0);
    }

    /// The end of [`Step::RunFor`]: a task that waits for a CPU looks at the clock when it has one again.
    fn time_is_up(&mut self, task: TaskIdx) {
        let cpu = self.kernel.tasks[task].cpu;
        if self.kernel.tasks[task].place != Place::Running {
            self.kernel.tasks[task].remaining_ns = LOOK_AT_CLOCK_NS;
            return;
        }
        self.kernel.this_cpu = cpu;
        self.kernel.update_curr(cpu);
        self.kernel.tasks[task].remaining_ns = 0;
        self.work_done(cpu);
    }

    pub(crate) fn work_done(&mut self, cpu: CpuId) {
        self.kernel.update_curr(cpu);
        let Curr::Task(task) = self.kernel.cpus[cpu].curr else { return };
        if self.kernel.tasks[task].remaining_ns > 0 || self.kernel.cpus[cpu].overhead_ns > 0 {
            // Rounding of speeds, or overhead that came meanwhile.
            self.kernel.arm_work(cpu);
            return;
        }
        for _ in 0..MAX_STEPS {
            let entry = &mut self.kernel.tasks[task];
            let step = entry.position.next(&mut entry.rng);
            if matches!(self.step_of(cpu, task, step), After::Stop) {
                return;
            }
        }
        self.yields(cpu, task);
    }

    fn step_of(&mut self, cpu: CpuId, task: TaskIdx, step: Step) -> After {
        let now = self.kernel.now;
        let entry = &mut self.kernel.tasks[task];
        match step {
            Step::Run(length) => {
                entry.remaining_ns = length.draw(&mut entry.rng);
                if entry.remaining_ns == 0 {
                    return After::Go;
                }
                self.kernel.arm_work(cpu);
                After::Stop
            }
            Step::RunForever => {
                entry.remaining_ns = u64::MAX;
                After::Stop
            }
            Step::RunFor(length) => {
                entry.remaining_ns = u64::MAX;
                let until = now + length.draw(&mut entry.rng);
                self.sleep_until(task, until);
                After::Stop
            }
            Step::Sleep(length) => {
                let until = now + length.draw(&mut entry.rng);
                self.sleep_until(task, until);
                self.block(cpu, task);
                After::Stop
            }
            Step::Periodic(period) => self.periodic(cpu, task, period.max(1)),
            Step::Beat(beat) => self.beat(cpu, task, beat),
            Step::Yield => {
                self.yields(cpu, task);
                After::Stop
            }
            Step::Fork(template) => {
                let spec = self.world.templates[template].clone();
                self.fork(&spec, cpu, Some(task));
                After::Go
            }
            Step::WaitChildren if entry.children == 0 => After::Go,
            Step::WaitChildren => {
                entry.awaits_children = true;
                self.block(cpu, task);
                After::Stop
            }
            Step::ComeUp => {
                self.come_up(cpu);
                After::Go
            }
            Step::Exit => {
                self.exit_task(cpu, task);
                After::Stop
            }
            other => self.meeting_step(cpu, task, other),
        }
    }

    pub(super) fn attribute_step(&mut self, cpu: CpuId, task: TaskIdx, step: Step) -> After {
        let now = self.kernel.now;
        let entry = &mut self.kernel.tasks[task];
        match step {
            Step::Done => {
                let took = now - entry.unit_from;
                entry.unit_from = now;
                let group = entry.group;
                if let Some(group) = self.kernel.metrics.groups.get_mut(group) {
                    group.done += 1;
                    group.response.add(took);
                }
            }
            Step::Begin => entry.unit_from = now,
            // As set_user_nice() and rt-app do: what is so already is not set again.
            Step::SetWeight(weight) if entry.weight == weight => {}
            Step::SetWeight(weight) => self.set_weight(task, weight),
            Step::SetPolicy(policy) => {
                entry.policy = policy;
                entry.stale = true;
            }
            Step::MigrateDisable(true) => {
                entry.migration_disabled += 1;
                entry.stale = true;
            }
            Step::MigrateDisable(false) => {
                entry.migration_disabled = entry.migration_disabled.saturating_sub(1);
                entry.stale = true;
                // The affinity may have changed meanwhile.
                self.leave_forbidden_cpu(task);
            }
            Step::SetAffinity(mask) => self.set_affinity(task, &mask),
            // A cgroup that is gone, or a move that is refused, leaves it where it is.
            Step::EnterCgroup(cgroup) => _ = self.move_task(task, cgroup).is_ok(),
            Step::RandomAffinity(width) => {
                let mut rng = entry.rng.clone();
                let mask = random_mask(&self.kernel.machine.all, width, &mut rng);
                self.kernel.tasks[task].rng = rng;
                self.set_affinity(task, &Rc::new(mask));
            }
            _ => {}
        }
        // A change of affinity may have sent it away.
        if self.kernel.cpus[cpu].curr == Curr::Task(task) { After::Go } else { After::Stop }
    }

    fn yields(&mut self, cpu: CpuId, task: TaskIdx) {
        if self.kernel.scheduler.is_some_and(|traits| traits.yields) {
            self.call_on(cpu, Within::Other, |ops, kernel| ops.yields(kernel, task));
        } else {
            self.kernel.tasks[task].slice = 0;
        }
        // Even a system call that does nothing takes time: a lone task that yields for ever must not stop the clock.
        self.kernel.cpus[cpu].pending_ns += 200;
        self.schedule(cpu);
    }

    pub(super) fn fork(&mut self, spec: &TaskSpec, cpu: CpuId, parent: Option<TaskIdx>) {
        let child = self.make_task(spec, cpu, parent);
        if let Some(parent) = parent {
            self.kernel.tasks[parent].children += 1;
        }
        self.introduce(child, true);
        self.wake_new(child);
    }

    fn exit_task(&mut self, cpu: CpuId, task: TaskIdx) {
        self.kernel.metrics.exits += 1;
        self.kernel.tasks[task].flags |= PF_EXITING;
        self.kernel.tasks[task].stale = true;
        let (pid, parent) = (self.kernel.tasks[task].pid, self.kernel.tasks[task].parent);
        self.kernel.note(What::Exit, cpu, pid, 0);
        self.dequeue_task(task, SCX_DEQ_SLEEP, false);
        self.kernel.set_place(task, Place::Sleeping);
        self.schedule(cpu);
        if self.kernel.tasks[task].known {
            self.call(Within::Other, |ops, kernel| {
                ops.disable(kernel, task);
                ops.exit_task(kernel, task);
            });
        }
        if let Some(ops) = self.ops.as_mut() {
            ops.forget_task(&mut self.kernel, task);
        }
        self.orphan_children(task);
        let cgroup = self.kernel.tasks[task].cgroup;
        self.kernel.cgroups[cgroup].tasks -= 1;
        self.kernel.tasks.remove(task);
        if let Some(parent) = parent {
            let entry = &mut self.kernel.tasks[parent];
            entry.children -= 1;
            if entry.children == 0 && std::mem::take(&mut entry.awaits_children) {
                self.wake(parent, 0);
            }
        }
    }

    fn orphan_children(&mut self, task: TaskIdx) {
        if self.kernel.tasks[task].children == 0 {
            return;
        }
        let children: Vec<TaskIdx> = self
            .kernel
            .tasks
            .live()
            .filter(|(_, child)| child.parent == Some(task))
            .map(|(child, _)| child)
            .collect();
        for child in children {
            self.kernel.tasks[child].parent = None;
        }
    }
}

/// The cgroup a new task begins in, the affinity it asks for, and what its cpuset leaves of that.
fn birthplace(
    kernel: &Kernel,
    spec: &TaskSpec,
    parent: Option<TaskIdx>,
) -> (CgroupIdx, Rc<CpuSet>, Rc<CpuSet>) {
    let named = kernel.cgroups.get(spec.cgroup).filter(|cgroup| cgroup.alive && spec.cgroup != ROOT);
    let cgroup = match (named, parent) {
        (Some(_), _) => spec.cgroup,
        (None, Some(parent)) => kernel.tasks[parent].cgroup,
        (None, None) => ROOT,
    };
    let wanted = spec.cpus.clone().unwrap_or_else(|| Rc::clone(&kernel.machine.all));
    debug_assert!(wanted.is_subset(&kernel.machine.all), "{} on {wanted}", spec.name);
    let mask = if spec.kthread || !kernel.cgroups.restricted(cgroup) {
        Rc::clone(&wanted)
    } else {
        let cpuset = kernel.cgroups.effective_cpuset(cgroup);
        let both = Rc::new(wanted.intersection(&cpuset));
        if both.is_empty() { cpuset } else { both }
    };
    (cgroup, wanted, mask)
}
