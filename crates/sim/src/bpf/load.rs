// SPDX-License-Identifier: GPL-2.0-only
//! A compiled scheduler is configured and loaded. What the model lacks fails here, by name: functions and fields in the
//! loader of `bpf-vm`, callbacks and flags here.

use std::sync::Arc;

use bpf_vm::{Btf, Fault, LoadError, LoadOptions, Machine, Object, ProgramId, StructOps, UsageError};
use runtime::setup::Setup;
use thiserror::Error;

use crate::bpf::{BpfScheduler, KERNEL_TYPES, OLDEST_KERNEL_TYPES, registry};
use crate::config::Config;
use crate::kernel::{Kernel, MODELLED_FLAGS, Traits};

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
    /// A callback that the model does not call.
    #[error("callback ops.{0} is not modelled")]
    Callback(String),
    /// A flag that the model does not know or does no justice to.
    #[error("flag '{0}' is not modelled")]
    Flag(String),
    /// An address ran out, or a type is missing.
    #[error("objects of the kernel cannot be made: {0}")]
    Objects(Fault),
}

/// The callbacks of `struct sched_ext_ops` that the model calls, one row a callback.
macro_rules! callbacks {
    ($($field:ident = $member:literal),* $(,)?) => {
        /// Programs by member of `struct sched_ext_ops`.
        #[derive(Debug, Default)]
        pub(super) struct Callbacks {
            $(pub $field: Option<ProgramId>,)*
        }

        impl Callbacks {
            const MEMBERS: &[&str] = &[$($member),*];

            fn of(machine: &Machine<Kernel>, ops: &str) -> Self {
                Self { $($field: machine.ops_program(ops, $member),)* }
            }
        }
    };
}

callbacks! {
    select_cpu = "select_cpu",
    enqueue = "enqueue",
    dequeue = "dequeue",
    dispatch = "dispatch",
    tick = "tick",
    runnable = "runnable",
    running = "running",
    stopping = "stopping",
    quiescent = "quiescent",
    yields = "yield",
    set_weight = "set_weight",
    set_cpumask = "set_cpumask",
    update_idle = "update_idle",
    cpu_acquire = "cpu_acquire",
    cpu_release = "cpu_release",
    cpu_online = "cpu_online",
    cpu_offline = "cpu_offline",
    init_task = "init_task",
    exit_task = "exit_task",
    enable = "enable",
    disable = "disable",
    dump = "dump",
    dump_cpu = "dump_cpu",
    dump_task = "dump_task",
    cgroup_init = "cgroup_init",
    cgroup_exit = "cgroup_exit",
    cgroup_prep_move = "cgroup_prep_move",
    cgroup_move = "cgroup_move",
    cgroup_cancel_move = "cgroup_cancel_move",
    cgroup_set_weight = "cgroup_set_weight",
    cgroup_set_bandwidth = "cgroup_set_bandwidth",
    cgroup_set_idle = "cgroup_set_idle",
    init = "init",
    exit = "exit",
}

impl BpfScheduler {
    /// Loads `bytes` for a machine with `nr_cpu_ids` CPU numbers.
    ///
    /// # Errors
    /// See [`SetupError`]; a function, field, callback or flag that the model lacks is named.
    pub fn load(bytes: &[u8], setup: &Setup, nr_cpu_ids: usize) -> Result<Self, SetupError> {
        Self::load_on(bytes, setup, nr_cpu_ids, &Config::default())
    }

    /// As [`BpfScheduler::load`], with the types of the kernel that is configured.
    ///
    /// # Errors
    /// See [`BpfScheduler::load`].
    pub fn load_on(
        bytes: &[u8],
        setup: &Setup,
        nr_cpu_ids: usize,
        config: &Config,
    ) -> Result<Self, SetupError> {
        let types = if config.asks_before_rt { OLDEST_KERNEL_TYPES } else { KERNEL_TYPES };
        let target = Arc::new(Btf::from_elf(types).map_err(LoadError::from)?);
        let mut object = Object::parse(bytes)?;
        let is_scheduler = |ops: &&StructOps| {
            ops.type_name == "sched_ext_ops" && (setup.ops.is_empty() || ops.name == setup.ops)
        };
        let schedulers: Vec<StructOps> = object.struct_ops().iter().filter(is_scheduler).cloned().collect();
        let [ops] = schedulers.as_slice() else { return Err(SetupError::Schedulers(schedulers.len())) };
        let unknown = ops.programs.iter().find(|(member, _)| !Callbacks::MEMBERS.contains(&member.as_str()));
        if let Some((member, _)) = unknown {
            return Err(SetupError::Callback(member.clone()));
        }
        configure(&mut object, &ops.name, setup, &target)?;
        let field = |path: &str| object.ops_field(&ops.name, path).unwrap_or(0);
        let timeout_ms = match field("timeout_ms") {
            0 => DEFAULT_TIMEOUT_MS,
            own => own,
        };
        let flags = field("flags");
        refuse_flags(flags & !MODELLED_FLAGS, &target)?;
        let options = LoadOptions {
            kernel_version: KERNEL_VERSION,
            nr_cpus: nr_cpu_ids as u32,
            ksyms: [("runqueues".to_owned(), "rq".to_owned())].into(),
            ..LoadOptions::default()
        };
        let machine = object.load(&target, &registry(), &options)?;
        let callbacks = Callbacks::of(&machine, &ops.name);
        let traits = Traits {
            flags,
            timeout_ns: timeout_ms * 1_000_000,
            select_cpu: callbacks.select_cpu.is_some(),
            enqueue: callbacks.enqueue.is_some(),
            dequeue: callbacks.dequeue.is_some(),
            dispatch: callbacks.dispatch.is_some(),
            update_idle: callbacks.update_idle.is_some(),
            yields: callbacks.yields.is_some(),
            tick: callbacks.tick.is_some(),
            preempt: callbacks.cpu_acquire.is_some() || callbacks.cpu_release.is_some(),
            hotplug: callbacks.cpu_online.is_some() && callbacks.cpu_offline.is_some(),
        };
        Self::new(machine, callbacks, traits, ops.name.clone()).map_err(SetupError::Objects)
    }
}

/// Names the first flag, if there is any; one that the modelled kernel has no name for goes by its number.
fn refuse_flags(flags: u64, target: &Btf) -> Result<(), SetupError> {
    if flags == 0 {
        return Ok(());
    }
    let flag = 1u64 << flags.trailing_zeros();
    let mut named = target.enumerators().filter(|(_, value)| value.cast_unsigned() == flag);
    let name = named.find(|(name, _)| name.starts_with("SCX_OPS_"));
    Err(SetupError::Flag(name.map_or_else(|| format!("{flag:#x}"), |(name, _)| name.to_owned())))
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
    if setup.timeout_ms > 0 {
        object.set_ops_field(ops, "timeout_ms", setup.timeout_ms.into())?;
    }
    let dump = if setup.exit_dump_len == 0 { DEFAULT_DUMP_BYTES } else { setup.exit_dump_len };
    if object.global("uei_dump").is_ok() {
        object.set_global("uei_dump_len", &dump.to_le_bytes())?;
        object.resize_global("uei_dump", dump)?;
    }
    Ok(())
}
