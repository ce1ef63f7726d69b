// SPDX-License-Identifier: GPL-2.0-only
//! What is counted while the model runs.

use serde::Serialize;

use crate::histogram::Histogram;
use crate::machine::Distance;

/// Figures of one group of tasks.
#[derive(Clone, Debug, Default)]
pub struct GroupMetrics {
    /// Name of the group.
    pub name: String,
    /// Units of work completed.
    pub done: u64,
    /// Response time of each unit, ns.
    pub response: Histogram,
    /// From wake-up until it runs, ns.
    pub wake_latency: Histogram,
    /// Time on CPUs, ns; brought up to date when a task leaves a CPU.
    pub exec_ns: u64,
    /// Work done, ns of the fastest CPU.
    pub work_ns: u64,
}

/// One wait for a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// How long, ns.
    pub wait_ns: u64,
    /// Who.
    pub pid: i32,
    /// Name of the task.
    pub name: String,
    /// When it ended, virtual ns; the end of the run if it did not.
    pub until_ns: u64,
}

/// Event counters of the kernel (`struct scx_event_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelEvents {
    /// ops.select_cpu chose a CPU that the task may not use.
    pub select_cpu_fallback: u64,
    /// A dispatch to the local queue of an offline CPU went to the global queue.
    pub dispatch_offline: u64,
    /// A task went on because its CPU had nothing else.
    pub keep_last: u64,
    /// An exiting task was not given to ops.enqueue.
    pub skip_exiting: u64,
    /// A task that must not migrate was not given to ops.enqueue.
    pub skip_migration_disabled: u64,
    /// A task began to run, or went on, without a slice and got the default one.
    pub refill_slice: u64,
}

/// Figures of the whole run.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Steps of the model.
    pub events: u64,
    /// Wake-ups.
    pub wakeups: u64,
    /// Switches from one task to another or to idle.
    pub switches: u64,
    /// Times a task was enqueued to the scheduler.
    pub enqueues: u64,
    /// Calls of `scx_bpf_select_cpu_and`.
    pub idle_searches: u64,
    /// Of these: by ops.enqueue, right after ops.select_cpu had its chance.
    pub repeated_idle_searches: u64,
    /// Slices that ended at a tick.
    pub slice_ends: u64,
    /// Times a real-time task took a CPU from a task.
    pub rt_preemptions: u64,
    /// Times a scheduler was asked for work although a real-time task was next.
    pub asked_in_vain: u64,
    /// Tasks that it gave then: they wait behind that task.
    pub given_in_vain: u64,
    /// Times that tasks got a CPU from real-time tasks which would not leave it.
    pub server_runs: u64,
    /// Time taken by interrupts, ns.
    pub interrupt_ns: u64,
    /// Time CPUs spun for others to reschedule (`SCX_KICK_WAIT`), ns.
    pub kick_wait_ns: u64,
    /// Changes of cgroups by the workload that were not refused.
    pub cgroup_changes: u64,
    /// Tasks made.
    pub forks: u64,
    /// Tasks ended.
    pub exits: u64,
    /// Kicks sent.
    pub kicks: u64,
    /// Times a task ran on a CPU other than its last, by distance (core, LLC, node, remote).
    pub migrations: [u64; 4],
    /// Callbacks called.
    pub callbacks: u64,
    /// BPF instructions executed in callbacks.
    pub instructions: u64,
    /// Time charged for callbacks, switches and cold caches, ns.
    pub overhead_ns: u64,
    /// Time CPUs ran tasks, ns.
    pub busy_ns: u64,
    /// Time real-time tasks had, ns.
    pub rt_ns: u64,
    /// Work done, ns of the fastest CPU.
    pub work_ns: u64,
    /// Work that the best placement would have done with the tasks runnable and the CPUs usable at each moment, ns × 1024.
    pub fluid_1024: u128,
    /// Time during which a CPU was idle while a task that may run anywhere waited, ns.
    pub idle_beside_waiting_ns: u64,
    /// The same times the number of such pairs.
    pub idle_beside_waiting_cpu_ns: u64,
    /// From wake-up until it runs, ns.
    pub wake_latency: Histogram,
    /// Waits for a CPU, of any cause, ns.
    pub waits: Histogram,
    /// The longest wait that has ended.
    pub longest_wait: Wait,
    /// Event counters of the kernel.
    pub kernel_events: KernelEvents,
    /// Groups in the order of the workload.
    pub groups: Vec<GroupMetrics>,
}

impl Metrics {
    /// Counts a migration.
    pub fn migrated(&mut self, distance: Distance) {
        match distance {
            Distance::Same => {}
            Distance::Core => self.migrations[0] += 1,
            Distance::Llc => self.migrations[1] += 1,
            Distance::Node => self.migrations[2] += 1,
            Distance::Remote => self.migrations[3] += 1,
        }
    }
}
