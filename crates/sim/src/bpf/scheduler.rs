// SPDX-License-Identifier: GPL-2.0-only
//! A compiled scheduler: configured, loaded, and called as the kernel calls it.

use std::collections::BTreeMap;
use std::fmt;

use bpf_vm::{Addr, Fault, Machine, ProgramId};

use crate::abi::ENOMEM;
use crate::bpf::load::Callbacks;
use crate::bpf::objects::{Objects, text};
use crate::cgroup::{Bandwidth, CgroupIdx};
use crate::events::CpuId;
use crate::kernel::{Curr, ExitInfo, Kernel, Traits};
use crate::ops::{Cost, Ops};
use crate::task::TaskIdx;
use crate::timers::Callback;

/// A loaded scheduler.
pub struct BpfScheduler {
    pub(crate) machine: Machine<Kernel>,
    callbacks: Callbacks,
    traits: Traits,
    name: String,
    cost: Cost,
    /// Arguments of ops.init_task and the like: one object of each, reused.
    args: Arguments,
}

#[derive(Clone, Copy, Debug)]
struct Arguments {
    init_task: Addr,
    exit_task: Addr,
    dump: Addr,
    cgroup_init: Addr,
    cpu_acquire: Addr,
    cpu_release: Addr,
}

impl fmt::Debug for BpfScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BpfScheduler").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BpfScheduler {
    pub(super) fn new(
        mut machine: Machine<Kernel>,
        callbacks: Callbacks,
        traits: Traits,
        name: String,
    ) -> Result<Self, Fault> {
        let memory = machine.memory_mut();
        let args = Arguments {
            init_task: memory.alloc("scx_init_task_args")?,
            exit_task: memory.alloc("scx_exit_task_args")?,
            dump: memory.alloc("scx_dump_ctx")?,
            cgroup_init: memory.alloc("scx_cgroup_init_args")?,
            cpu_acquire: memory.alloc("scx_cpu_acquire_args")?,
            cpu_release: memory.alloc("scx_cpu_release_args")?,
        };
        Ok(Self { machine, callbacks, traits, name, cost: Cost::default(), args })
    }

    /// Name of the `sched_ext_ops` variable.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn call(&mut self, kernel: &mut Kernel, program: Option<ProgramId>, args: &[u64]) -> u64 {
        let Some(program) = program else { return 0 };
        self.set_scene(kernel);
        let result = self.machine.call(program, args, kernel);
        self.finish(kernel, result)
    }

    /// Where and when BPF code runs next.
    fn set_scene(&mut self, kernel: &Kernel) {
        let memory = self.machine.memory_mut();
        memory.set_cpu(kernel.this_cpu as u32);
        memory.set_time(kernel.now);
    }

    /// The call is over: counts its cost and takes over what the BPF code changed.
    fn finish(&mut self, kernel: &mut Kernel, result: Result<u64, Fault>) -> u64 {
        self.cost.callbacks += 1;
        self.cost.instructions += self.machine.stats().instructions;
        let result = result.and_then(|value| {
            let Kernel { objects, tasks, .. } = kernel;
            objects.take_back(self.machine.memory(), tasks)?;
            objects.release_dropped(self.machine.memory_mut())?;
            Ok(value)
        });
        result.unwrap_or_else(|fault| {
            kernel.violate(format!("the BPF code faulted: {fault}"));
            0
        })
    }

    fn give(&mut self, kernel: &mut Kernel, task: TaskIdx) -> u64 {
        kernel.hand_out(self.machine.memory_mut(), task).unwrap_or_else(|fault| {
            kernel.violate(format!("an object for a task cannot be made: {fault}"));
            0
        })
    }

    fn give_cgroup(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) -> u64 {
        let made = kernel.objects.cgroup(self.machine.memory_mut(), &kernel.cgroups, cgroup);
        made.map(|object| object.group.0).unwrap_or_else(|fault| {
            kernel.violate(format!("an object for a cgroup cannot be made: {fault}"));
            0
        })
    }

    /// Sets fields of an object of arguments.
    fn fill(&mut self, kernel: &mut Kernel, args: Addr, of: &str, fields: &[(&str, u64)]) {
        let memory = self.machine.memory_mut();
        for &(path, value) in fields {
            let written = memory
                .field(of, path)
                .map_err(|error| Fault::violation(error.to_string()))
                .and_then(|field| memory.write(args, &field, value));
            if let Err(fault) = written {
                kernel.violate(format!("arguments of a callback: {fault}"));
            }
        }
    }

    fn call_for_cgroup(
        &mut self,
        kernel: &mut Kernel,
        program: Option<ProgramId>,
        cgroup: CgroupIdx,
        more: &[u64],
    ) -> u64 {
        if program.is_none() {
            return 0;
        }
        let mut args = [0; 4];
        args[0] = self.give_cgroup(kernel, cgroup);
        args[1..=more.len()].copy_from_slice(more);
        self.call(kernel, program, &args[..=more.len()])
    }

    fn call_move(
        &mut self,
        kernel: &mut Kernel,
        program: Option<ProgramId>,
        task: TaskIdx,
        from: CgroupIdx,
        to: CgroupIdx,
    ) -> u64 {
        if program.is_none() {
            return 0;
        }
        let (from, to) = (self.give_cgroup(kernel, from), self.give_cgroup(kernel, to));
        self.call_for(kernel, program, task, &[from, to])
    }

    fn call_for(
        &mut self,
        kernel: &mut Kernel,
        program: Option<ProgramId>,
        task: TaskIdx,
        more: &[u64],
    ) -> u64 {
        if program.is_none() {
            return 0;
        }
        let mut args = [0; 4];
        args[0] = self.give(kernel, task);
        args[1..=more.len()].copy_from_slice(more);
        self.call(kernel, program, &args[..=more.len()])
    }

    /// Runs a syscall program in the name of userspace; its instructions are nobody's cost.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub fn run_syscall(
        &mut self,
        kernel: &mut Kernel,
        program: ProgramId,
        context: &mut [u8],
    ) -> Result<u64, Fault> {
        self.set_scene(kernel);
        let value = self.machine.call_bytes(program, context, kernel)?;
        let Kernel { objects, tasks, .. } = kernel;
        objects.take_back(self.machine.memory(), tasks)?;
        objects.release_dropped(self.machine.memory_mut())?;
        Ok(value)
    }

    /// The loaded object.
    pub fn machine(&self) -> &Machine<Kernel> {
        &self.machine
    }

    /// The loaded object, to change its maps.
    pub fn machine_mut(&mut self) -> &mut Machine<Kernel> {
        &mut self.machine
    }
}

impl BpfScheduler {
    fn exit_info(&mut self, info: &ExitInfo) -> Result<Addr, Fault> {
        let memory = self.machine.memory_mut();
        let addr = memory.alloc("scx_exit_info")?;
        let strings = [("reason", &info.reason), ("msg", &info.message), ("dump", &info.dump)];
        let mut values: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, string) in strings {
            values.insert(name, text(memory, name, string)?.0);
        }
        values.insert("kind", info.kind as u64);
        values.insert("exit_code", info.code.cast_unsigned());
        values.insert("exit_cpu", info.cpu as u64);
        for (path, value) in values {
            let field =
                memory.field("scx_exit_info", path).map_err(|error| Fault::violation(error.to_string()))?;
            memory.write(addr, &field, value)?;
        }
        Ok(addr)
    }
}

impl Ops for BpfScheduler {
    fn traits(&self) -> Traits {
        self.traits
    }

    fn take_cost(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }

    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        self.machine.set_engine(kernel.config.engine);
        match Objects::new(self.machine.memory_mut(), kernel.machine.nr_cpu_ids()) {
            Ok(objects) => kernel.objects = objects,
            Err(fault) => {
                kernel.violate(format!("objects of the kernel cannot be made: {fault}"));
                return -ENOMEM;
            }
        }
        self.call(kernel, self.callbacks.init, &[]) as i32
    }

    fn exit(&mut self, kernel: &mut Kernel, info: &ExitInfo) {
        match self.exit_info(info) {
            Ok(addr) => _ = self.call(kernel, self.callbacks.exit, &[addr.0]),
            Err(fault) => kernel.violate(format!("an exit record cannot be made: {fault}")),
        }
    }

    fn init_task(&mut self, kernel: &mut Kernel, task: TaskIdx, fork: bool) -> i32 {
        let (args, cgroup) = (self.args.init_task, kernel.tasks[task].sched_cgroup);
        let cgroup = self.give_cgroup(kernel, cgroup);
        self.fill(kernel, args, "scx_init_task_args", &[("fork", fork.into()), ("cgroup", cgroup)]);
        self.call_for(kernel, self.callbacks.init_task, task, &[args.0]) as i32
    }

    fn exit_task(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        let args = self.args.exit_task;
        self.call_for(kernel, self.callbacks.exit_task, task, &[args.0]);
    }

    fn enable(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.call_for(kernel, self.callbacks.enable, task, &[]);
    }

    fn disable(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.call_for(kernel, self.callbacks.disable, task, &[]);
    }

    fn select_cpu(&mut self, kernel: &mut Kernel, task: TaskIdx, prev: CpuId, wake_flags: u64) -> i32 {
        self.call_for(kernel, self.callbacks.select_cpu, task, &[prev as u64, wake_flags]) as i32
    }

    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, enq_flags: u64) {
        self.call_for(kernel, self.callbacks.enqueue, task, &[enq_flags]);
    }

    fn dequeue(&mut self, kernel: &mut Kernel, task: TaskIdx, deq_flags: u64) {
        self.call_for(kernel, self.callbacks.dequeue, task, &[deq_flags]);
    }

    fn dispatch(&mut self, kernel: &mut Kernel, cpu: CpuId, prev: Option<TaskIdx>) {
        let prev = prev.map_or(0, |task| self.give(kernel, task));
        self.call(kernel, self.callbacks.dispatch, &[cpu as u64, prev]);
    }

    fn tick(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.call_for(kernel, self.callbacks.tick, task, &[]);
    }

    fn runnable(&mut self, kernel: &mut Kernel, task: TaskIdx, enq_flags: u64) {
        self.call_for(kernel, self.callbacks.runnable, task, &[enq_flags]);
    }

    fn running(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.call_for(kernel, self.callbacks.running, task, &[]);
    }

    fn stopping(&mut self, kernel: &mut Kernel, task: TaskIdx, runnable: bool) {
        self.call_for(kernel, self.callbacks.stopping, task, &[runnable.into()]);
    }

    fn quiescent(&mut self, kernel: &mut Kernel, task: TaskIdx, deq_flags: u64) {
        self.call_for(kernel, self.callbacks.quiescent, task, &[deq_flags]);
    }

    fn yields(&mut self, kernel: &mut Kernel, task: TaskIdx) -> bool {
        self.call_for(kernel, self.callbacks.yields, task, &[0]) != 0
    }

    fn set_weight(&mut self, kernel: &mut Kernel, task: TaskIdx, weight: u32) {
        self.call_for(kernel, self.callbacks.set_weight, task, &[weight.into()]);
    }

    fn set_cpumask(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        let Some(program) = self.callbacks.set_cpumask else { return };
        let task_addr = self.give(kernel, task);
        let mask = kernel.objects.own_mask(task).map_or(0, u64::from);
        self.call(kernel, Some(program), &[task_addr, mask]);
    }

    fn update_idle(&mut self, kernel: &mut Kernel, cpu: CpuId, idle: bool) {
        self.call(kernel, self.callbacks.update_idle, &[cpu as u64, idle.into()]);
    }

    fn cgroup_init(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) -> i32 {
        let entry = &kernel.cgroups[cgroup];
        let fields = [
            ("weight", entry.weight.into()),
            ("bw_period_us", entry.bandwidth.period_us),
            ("bw_quota_us", entry.bandwidth.quota_us),
            ("bw_burst_us", entry.bandwidth.burst_us),
        ];
        let args = self.args.cgroup_init;
        self.fill(kernel, args, "scx_cgroup_init_args", &fields);
        self.call_for_cgroup(kernel, self.callbacks.cgroup_init, cgroup, &[args.0]) as i32
    }

    fn cgroup_exit(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) {
        self.call_for_cgroup(kernel, self.callbacks.cgroup_exit, cgroup, &[]);
    }

    fn cgroup_prep_move(
        &mut self,
        kernel: &mut Kernel,
        task: TaskIdx,
        from: CgroupIdx,
        to: CgroupIdx,
    ) -> i32 {
        self.call_move(kernel, self.callbacks.cgroup_prep_move, task, from, to) as i32
    }

    fn cgroup_move(&mut self, kernel: &mut Kernel, task: TaskIdx, from: CgroupIdx, to: CgroupIdx) {
        self.call_move(kernel, self.callbacks.cgroup_move, task, from, to);
    }

    fn cgroup_cancel_move(&mut self, kernel: &mut Kernel, task: TaskIdx, from: CgroupIdx, to: CgroupIdx) {
        self.call_move(kernel, self.callbacks.cgroup_cancel_move, task, from, to);
    }

    fn cgroup_set_weight(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, weight: u32) {
        self.call_for_cgroup(kernel, self.callbacks.cgroup_set_weight, cgroup, &[weight.into()]);
    }

    fn cgroup_set_bandwidth(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, bandwidth: Bandwidth) {
        let Bandwidth { period_us, quota_us, burst_us } = bandwidth;
        let more = [period_us, quota_us, burst_us];
        self.call_for_cgroup(kernel, self.callbacks.cgroup_set_bandwidth, cgroup, &more);
    }

    fn cgroup_set_idle(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, idle: bool) {
        self.call_for_cgroup(kernel, self.callbacks.cgroup_set_idle, cgroup, &[idle.into()]);
    }

    fn forget_cgroup(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) {
        if let Err(fault) = kernel.objects.forget_cgroup(self.machine.memory_mut(), cgroup) {
            kernel.violate(format!("the object of a cgroup that is gone: {fault}"));
        }
    }

    fn cpu_online(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.call(kernel, self.callbacks.cpu_online, &[cpu as u64]);
    }

    fn cpu_offline(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.call(kernel, self.callbacks.cpu_offline, &[cpu as u64]);
    }

    fn cpu_acquire(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.call(kernel, self.callbacks.cpu_acquire, &[cpu as u64, self.args.cpu_acquire.0]);
    }

    fn cpu_release(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        // The reason stays 0: a real-time task.
        self.call(kernel, self.callbacks.cpu_release, &[cpu as u64, self.args.cpu_release.0]);
    }

    fn timer(&mut self, kernel: &mut Kernel, callback: Callback) {
        let [map, key, value] = callback.args;
        self.set_scene(kernel);
        let result = self.machine.call_address(Addr(callback.function), [map, key, value, 0, 0], kernel);
        self.finish(kernel, result);
    }

    fn leftovers(&mut self, kernel: &mut Kernel) -> Option<String> {
        match kernel.objects.release_dropped(self.machine.memory_mut()) {
            Ok(()) => kernel.objects.leak(self.machine.memory()),
            Err(fault) => Some(fault.to_string()),
        }
    }

    fn dump(&mut self, kernel: &mut Kernel) {
        let ctx = self.args.dump.0;
        self.call(kernel, self.callbacks.dump, &[ctx]);
        for cpu in &kernel.online.clone() {
            let idle = kernel.cpus[cpu].curr == Curr::Idle;
            self.call(kernel, self.callbacks.dump_cpu, &[ctx, cpu as u64, idle.into()]);
        }
        let Some(program) = self.callbacks.dump_task else { return };
        let runnable: Vec<TaskIdx> =
            kernel.tasks.live().filter(|(_, task)| task.queued).map(|(task, _)| task).collect();
        for task in runnable {
            let who = kernel.describe(task);
            let place = kernel.tasks[task].place;
            kernel.dump.push_str(&format!("{who} {place:?}\n"));
            let addr = self.give(kernel, task);
            self.call(kernel, Some(program), &[ctx, addr]);
        }
    }

    fn forget_task(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        if let Err(fault) = kernel.objects.forget(self.machine.memory_mut(), task) {
            kernel.violate(format!("the object of a task that is gone: {fault}"));
        }
    }
}
