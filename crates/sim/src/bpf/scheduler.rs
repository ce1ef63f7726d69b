// SPDX-License-Identifier: GPL-2.0-only
//! A compiled scheduler: configured, loaded, and called as the kernel calls it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bpf_vm::{Addr, Btf, Fault, LoadError, LoadOptions, Machine, Object, ProgramId, StructOps, UsageError};
use runtime::setup::Setup;
use thiserror::Error;

use crate::abi::ENOMEM;
use crate::bpf::objects::{Objects, text};
use crate::bpf::{KERNEL_TYPES, registry};
use crate::events::CpuId;
use crate::kernel::{ExitInfo, Kernel, Traits};
use crate::ops::{Cost, Ops};
use crate::task::TaskIdx;

/// The modelled kernel's version: 7.3.
const KERNEL_VERSION: u32 = 7 << 16 | 3 << 8;
/// Size of the debug dump when the scheduler does not say.
const DEFAULT_DUMP_BYTES: u32 = 32_768;
/// Watchdog timeout when the scheduler does not say, ms.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// Why a scheduler cannot be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The object is wrong or needs what the model lacks.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The setup names what the object does not have.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The object has no, or several, schedulers.
    #[error("the object has {0} sched_ext_ops; one was expected")]
    Schedulers(usize),
    /// A flag that the model does not know.
    #[error("flag '{0}' is not modelled")]
    Flag(String),
    /// An address ran out, or a type is missing.
    #[error("objects of the kernel cannot be made: {0}")]
    Objects(Fault),
}

/// Programs by member of `struct sched_ext_ops`.
#[derive(Debug, Default)]
struct Callbacks {
    select_cpu: Option<ProgramId>,
    enqueue: Option<ProgramId>,
    dequeue: Option<ProgramId>,
    dispatch: Option<ProgramId>,
    tick: Option<ProgramId>,
    runnable: Option<ProgramId>,
    running: Option<ProgramId>,
    stopping: Option<ProgramId>,
    quiescent: Option<ProgramId>,
    yields: Option<ProgramId>,
    set_weight: Option<ProgramId>,
    set_cpumask: Option<ProgramId>,
    update_idle: Option<ProgramId>,
    init_task: Option<ProgramId>,
    exit_task: Option<ProgramId>,
    enable: Option<ProgramId>,
    disable: Option<ProgramId>,
    cpu_online: Option<ProgramId>,
    cpu_offline: Option<ProgramId>,
    dump: Option<ProgramId>,
    dump_task: Option<ProgramId>,
    init: Option<ProgramId>,
    exit: Option<ProgramId>,
}

/// A loaded scheduler.
pub struct BpfScheduler {
    pub(crate) machine: Machine<Kernel>,
    callbacks: Callbacks,
    traits: Traits,
    name: String,
    cost: Cost,
    /// Arguments of ops.init_task and the like: one object of each, reused.
    init_args: Addr,
    exit_args: Addr,
    dump_ctx: Addr,
}

impl fmt::Debug for BpfScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BpfScheduler").field("name", &self.name).finish_non_exhaustive()
    }
}

impl BpfScheduler {
    /// Loads `bytes` for a machine with `nr_cpu_ids` CPU numbers.
    ///
    /// # Errors
    /// See [`SetupError`]; a function or field that the model lacks is named.
    pub fn load(bytes: &[u8], setup: &Setup, nr_cpu_ids: usize) -> Result<Self, SetupError> {
        let target = Arc::new(Btf::from_elf(KERNEL_TYPES).map_err(LoadError::from)?);
        let mut object = Object::parse(bytes)?;
        let is_scheduler = |ops: &&StructOps| {
            ops.type_name == "sched_ext_ops" && (setup.ops.is_empty() || ops.name == setup.ops)
        };
        let schedulers: Vec<String> =
            object.struct_ops().iter().filter(is_scheduler).map(|ops| ops.name.clone()).collect();
        let [ops] = schedulers.as_slice() else { return Err(SetupError::Schedulers(schedulers.len())) };
        configure(&mut object, ops, setup, &target)?;
        let field = |path: &str| object.ops_field(ops, path).unwrap_or(0);
        let timeout_ms = match field("timeout_ms") {
            0 => DEFAULT_TIMEOUT_MS,
            own => own,
        };
        let flags = field("flags");
        let options = LoadOptions {
            kernel_version: KERNEL_VERSION,
            nr_cpus: nr_cpu_ids as u32,
            ..LoadOptions::default()
        };
        let mut machine = object.load(&target, &registry(), &options)?;
        let callbacks = callbacks(&machine, ops);
        let traits = Traits {
            flags,
            timeout_ns: timeout_ms * 1_000_000,
            select_cpu: callbacks.select_cpu.is_some(),
            enqueue: callbacks.enqueue.is_some(),
            dispatch: callbacks.dispatch.is_some(),
            update_idle: callbacks.update_idle.is_some(),
            yields: callbacks.yields.is_some(),
            tick: callbacks.tick.is_some(),
            hotplug: callbacks.cpu_online.is_some() && callbacks.cpu_offline.is_some(),
        };
        let memory = machine.memory_mut();
        let mut make = |name: &str| memory.alloc(name).map_err(SetupError::Objects);
        let (init_args, exit_args) = (make("scx_init_task_args")?, make("scx_exit_task_args")?);
        let dump_ctx = make("scx_dump_ctx")?;
        let name = ops.clone();
        Ok(Self { machine, callbacks, traits, name, cost: Cost::default(), init_args, exit_args, dump_ctx })
    }

    /// Name of the `sched_ext_ops` variable.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn call(&mut self, kernel: &mut Kernel, program: Option<ProgramId>, args: &[u64]) -> u64 {
        let Some(program) = program else { return 0 };
        self.machine.memory_mut().set_cpu(kernel.this_cpu as u32);
        let result = self.machine.call(program, args, kernel);
        self.cost.callbacks += 1;
        self.cost.instructions += self.machine.stats().instructions;
        let result = result.and_then(|value| {
            let Kernel { objects, tasks, .. } = kernel;
            objects.take_back(self.machine.memory(), tasks)?;
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
        self.machine.memory_mut().set_cpu(kernel.this_cpu as u32);
        let value = self.machine.call_bytes(program, context, kernel)?;
        let Kernel { objects, tasks, .. } = kernel;
        objects.take_back(self.machine.memory(), tasks)?;
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

fn configure(object: &mut Object, ops: &str, setup: &Setup, target: &Btf) -> Result<(), SetupError> {
    for (name, bytes) in &setup.read_only {
        object.set_global(name, bytes)?;
    }
    for (name, entries) in &setup.map_entries {
        object.set_max_entries(name, *entries)?;
    }
    // Enumerators of the running kernel; one that the model does not know stays 0, as on a kernel without it.
    let enumerators: Vec<String> =
        object.variables().filter(|name| name.starts_with("__SCX_")).map(str::to_owned).collect();
    for variable in enumerators {
        let value = target.enumerator(&variable[2..]).unwrap_or(0);
        let size = object.global(&variable)?.len();
        let bytes = value.to_le_bytes();
        object.set_global(&variable, &bytes[..size.min(8)])?;
    }
    let mut flags = object.ops_field(ops, "flags")?;
    for name in &setup.ops_flags {
        flags |= target.enumerator(name).ok_or_else(|| SetupError::Flag((*name).to_owned()))?.cast_unsigned();
    }
    object.set_ops_field(ops, "flags", flags)?;
    let dump = if setup.exit_dump_len == 0 { DEFAULT_DUMP_BYTES } else { setup.exit_dump_len };
    if object.global("uei_dump").is_ok() {
        object.set_global("uei_dump_len", &dump.to_le_bytes())?;
        object.resize_global("uei_dump", dump)?;
    }
    Ok(())
}

fn callbacks(machine: &Machine<Kernel>, ops: &str) -> Callbacks {
    let get = |member: &str| machine.ops_program(ops, member);
    Callbacks {
        select_cpu: get("select_cpu"),
        enqueue: get("enqueue"),
        dequeue: get("dequeue"),
        dispatch: get("dispatch"),
        tick: get("tick"),
        runnable: get("runnable"),
        running: get("running"),
        stopping: get("stopping"),
        quiescent: get("quiescent"),
        yields: get("yield"),
        set_weight: get("set_weight"),
        set_cpumask: get("set_cpumask"),
        update_idle: get("update_idle"),
        init_task: get("init_task"),
        exit_task: get("exit_task"),
        enable: get("enable"),
        disable: get("disable"),
        cpu_online: get("cpu_online"),
        cpu_offline: get("cpu_offline"),
        dump: get("dump"),
        dump_task: get("dump_task"),
        init: get("init"),
        exit: get("exit"),
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
        match Objects::new(self.machine.memory_mut(), kernel.machine.nr_cpu_ids(), &kernel.cgroups) {
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
        let args = self.init_args;
        if let Ok(field) = self.machine.memory().field("scx_init_task_args", "fork")
            && let Err(fault) = self.machine.memory_mut().write(args, &field, fork.into())
        {
            kernel.violate(format!("arguments of init_task: {fault}"));
        }
        self.call_for(kernel, self.callbacks.init_task, task, &[args.0]) as i32
    }

    fn exit_task(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        let args = self.exit_args;
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

    fn cpu_online(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.call(kernel, self.callbacks.cpu_online, &[cpu as u64]);
    }

    fn cpu_offline(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.call(kernel, self.callbacks.cpu_offline, &[cpu as u64]);
    }

    fn dump(&mut self, kernel: &mut Kernel) {
        let ctx = self.dump_ctx.0;
        self.call(kernel, self.callbacks.dump, &[ctx]);
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
