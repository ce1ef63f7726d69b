// SPDX-License-Identifier: GPL-2.0-only
//! Numbers of the kernel's sched_ext interface that the model gives to schedulers, by their kernel names.
//!
//! Flags of the scheduler core that ops.enqueue sees have the numbers of 6.18. 7.3, whose header the schedulers are compiled with, has
//! others for most of them ([`SCX_ENQ_HEAD`], [`SCX_ENQ_CPU_SELECTED`]), so a scheduler that does not ask for them reads wrong ones here.

/// Policies of tasks that sched_ext takes over: `SCHED_OTHER`,
pub const SCHED_NORMAL: u32 = 0;
/// the same for work that nobody waits for,
pub const SCHED_BATCH: u32 = 3;
/// and with the least weight there is.
pub const SCHED_IDLE: u32 = 5;

/// Default slice.
pub const SCX_SLICE_DFL: u64 = 20_000_000;
/// A slice that never ends.
pub const SCX_SLICE_INF: u64 = u64::MAX;

/// A queue id with this bit belongs to the kernel.
pub const SCX_DSQ_FLAG_BUILTIN: u64 = 1 << 63;
/// With the bit above: the local queue of the CPU in the low 32 bits.
pub const SCX_DSQ_FLAG_LOCAL_ON: u64 = 1 << 62;
/// No queue.
pub const SCX_DSQ_INVALID: u64 = SCX_DSQ_FLAG_BUILTIN;
/// The global queue.
pub const SCX_DSQ_GLOBAL: u64 = SCX_DSQ_FLAG_BUILTIN | 1;
/// The local queue of the CPU at hand.
pub const SCX_DSQ_LOCAL: u64 = SCX_DSQ_FLAG_BUILTIN | 2;
/// The local queue of the CPU in the low 32 bits.
pub const SCX_DSQ_LOCAL_ON: u64 = SCX_DSQ_FLAG_BUILTIN | SCX_DSQ_FLAG_LOCAL_ON;
/// The CPU of [`SCX_DSQ_LOCAL_ON`].
pub const SCX_DSQ_LOCAL_CPU_MASK: u64 = 0xffff_ffff;

/// Enqueued by a wake-up.
pub const SCX_ENQ_WAKEUP: u64 = 1;
/// Saved and restored around an attribute change.
pub const ENQUEUE_RESTORE: u64 = 2;
/// Goes to the head of a local queue.
pub const SCX_ENQ_HEAD: u64 = 0x10;
/// A new task.
pub const ENQUEUE_INITIAL: u64 = 0x80;
/// The wake-up changed the CPU.
pub const ENQUEUE_MIGRATED: u64 = 0x40;
/// ops.select_cpu has just been called.
pub const SCX_ENQ_CPU_SELECTED: u64 = 0x400;
/// Ends the slice of the task that runs on the destination.
pub const SCX_ENQ_PREEMPT: u64 = 1 << 32;
/// Enqueued again from a local queue.
pub const SCX_ENQ_REENQ: u64 = 1 << 40;
/// The only task its CPU has.
pub const SCX_ENQ_LAST: u64 = 1 << 41;
/// Inserted by vtime.
pub const SCX_ENQ_DSQ_PRIQ: u64 = 1 << 57;

/// Dequeued because it sleeps.
pub const SCX_DEQ_SLEEP: u64 = 1;
/// Dequeued because an attribute changes or it moves to another run queue.
pub const SCX_DEQ_SCHED_CHANGE: u64 = 1 << 33;
/// Dequeued to be enqueued again after an attribute change.
pub const DEQUEUE_SAVE: u64 = 2;

/// A wake-up by fork.
pub const SCX_WAKE_FORK: u64 = 4;
/// A wake-up of a sleeping task.
pub const SCX_WAKE_TTWU: u64 = 8;
/// A wake-up by a task that is about to sleep.
pub const SCX_WAKE_SYNC: u64 = 16;

/// Only if the CPU is idle.
pub const SCX_KICK_IDLE: u64 = 1;
/// End the current slice.
pub const SCX_KICK_PREEMPT: u64 = 2;
/// Wait until the CPU has rescheduled.
pub const SCX_KICK_WAIT: u64 = 4;

/// Only a CPU of a core that is idle as a whole.
pub const SCX_PICK_IDLE_CORE: u64 = 1;
/// Only a CPU of the node.
pub const SCX_PICK_IDLE_IN_NODE: u64 = 2;

/// `p->scx.flags`: on a run queue.
pub const SCX_TASK_QUEUED: u32 = 1;

/// Keep the kernel's idle tracking beside ops.update_idle.
pub const SCX_OPS_KEEP_BUILTIN_IDLE: u64 = 1;
/// ops.enqueue sees a task that is alone on its CPU when its slice ends.
pub const SCX_OPS_ENQ_LAST: u64 = 2;
/// ops.enqueue sees exiting tasks.
pub const SCX_OPS_ENQ_EXITING: u64 = 4;
/// Only tasks of the SCHED_EXT policy.
pub const SCX_OPS_SWITCH_PARTIAL: u64 = 8;
/// ops.enqueue sees tasks that must not migrate.
pub const SCX_OPS_ENQ_MIGRATION_DISABLED: u64 = 16;
/// Wake-ups may be queued to the remote CPU.
pub const SCX_OPS_ALLOW_QUEUED_WAKEUP: u64 = 32;
/// One idle mask a node.
pub const SCX_OPS_BUILTIN_IDLE_PER_NODE: u64 = 64;

/// System reason of an exit code: CPU hotplug.
pub const SCX_ECODE_RSN_HOTPLUG: u64 = 1 << 32;
/// System action of an exit code: load and attach again.
pub const SCX_ECODE_ACT_RESTART: u64 = 1 << 48;

/// Exit kinds (`enum scx_exit_kind`).
pub const SCX_EXIT_UNREG: i32 = 64;
/// The BPF side asked for the end.
pub const SCX_EXIT_UNREG_BPF: i32 = 65;
/// The kernel asked for the end.
pub const SCX_EXIT_UNREG_KERN: i32 = 66;
/// The kernel found a fault.
pub const SCX_EXIT_ERROR: i32 = 1024;
/// The BPF side reported a fault.
pub const SCX_EXIT_ERROR_BPF: i32 = 1025;
/// A task waited beyond the watchdog.
pub const SCX_EXIT_ERROR_STALL: i32 = 1026;

/// `p->flags`: the idle task of a CPU.
pub const PF_IDLE: u32 = 2;
/// `p->flags`: exiting.
pub const PF_EXITING: u32 = 4;
/// `p->flags`: kernel thread.
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// How often the kernel calls ops.dispatch in one go.
pub const SCX_DSP_MAX_LOOPS: u32 = 32;

/// ENOENT, EBUSY, EEXIST, EINVAL, ENOMEM of the kernel.
pub const ENOENT: i32 = 2;
/// Out of memory.
pub const ENOMEM: i32 = 12;
/// Too small.
pub const EACCES: i32 = 13;
/// Nothing idle.
pub const EBUSY: i32 = 16;
/// Is there already.
pub const EEXIST: i32 = 17;
/// Bad argument.
pub const EINVAL: i32 = 22;
