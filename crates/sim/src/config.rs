// SPDX-License-Identifier: GPL-2.0-only
//! What can be set about the modelled kernel: its tick, what things cost, and how strictly it is checked.

use bpf_vm::Engine;
use serde::Serialize;

/// Costs of the modelled hardware and kernel. Times in ns unless said otherwise. The defaults are the order of
/// magnitude of current server CPUs, not those of one product.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// A switch to another task.
    pub context_switch_ns: u64,
    /// Cold-cache time when a task runs on: another thread of its core, another core of its LLC, another LLC of its
    /// node, another node at distance 20 (more in proportion to the distance).
    pub migration_ns: [u64; 4],
    /// From a request to reschedule another CPU until it does.
    pub ipi_ns: u64,
    /// More of that when the CPU is idle and must wake up.
    pub idle_exit_ns: u64,
    /// Delay of a remote insert that waits for the run queue's lock to be dropped.
    pub deferred_ns: u64,
    /// Speed of a hardware thread while a sibling works, in 1/1024 of its speed alone.
    pub smt_speed_1024: u64,
    /// Time of one BPF instruction, ps.
    pub instruction_ps: u64,
    /// Time to enter and leave one callback.
    pub callback_ns: u64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            context_switch_ns: 1_200,
            migration_ns: [500, 5_000, 20_000, 60_000],
            ipi_ns: 800,
            idle_exit_ns: 1_500,
            deferred_ns: 200,
            smt_speed_1024: 640,
            instruction_ps: 400,
            callback_ns: 20,
        }
    }
}

impl Costs {
    /// Nothing costs anything: for tests of exact times.
    pub fn none() -> Self {
        Self {
            context_switch_ns: 0,
            migration_ns: [0; 4],
            ipi_ns: 0,
            idle_exit_ns: 0,
            deferred_ns: 0,
            smt_speed_1024: 1024,
            instruction_ps: 0,
            callback_ns: 0,
        }
    }
}

/// The modelled kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Ticks a second: slices end at ticks only.
    pub hz: u64,
    /// Where randomness starts.
    pub seed: u64,
    /// What things cost.
    pub costs: Costs,
    /// All tasks and queues are checked after every so many events; 1: after each.
    pub check_every: u64,
    /// Events kept for the report of a violation.
    pub history: usize,
    /// How BPF code runs; what it does is the same.
    #[serde(skip)]
    pub engine: Engine,
    /// Timeline entries kept for pictures; 0: none.
    pub timeline: usize,
    /// Tasks that real-time tasks starve get 5 % of their CPU, as on kernels from 7.0 on.
    pub ext_server: bool,
    /// Before real-time work takes a CPU from a task or from idling, the scheduler is asked for work all the same, as before
    /// 7.0. Schedulers see by the kernel's types that it is such a kernel.
    pub asks_before_rt: bool,
    /// A task whose slice ends while it is alone, and that goes back to the local queue of its CPU, runs on by itself, as from 7.3
    /// on; before, the CPU idles beside it until somebody kicks it.
    pub last_runs_on: bool,
    /// Work of the kernel thread that brings a CPU up, on that CPU and before sched_ext counts it as online, ns; 0: CPUs are
    /// there at once.
    pub bring_up_ns: u64,
    /// A task that has waited for longer than this beside CPUs that have all been asleep for as long, and of which it may use
    /// each, is a broken invariant: nobody will wake one. 0: it is not looked for.
    pub idle_beside_ns: u64,
    /// A scheduler's own watchdog timeout is cut to this, ns.
    pub watchdog_max_ns: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hz: 250,
            seed: 1,
            costs: Costs::default(),
            check_every: 4096,
            history: 64,
            engine: Engine::Auto,
            timeline: 0,
            ext_server: true,
            asks_before_rt: false,
            last_runs_on: true,
            bring_up_ns: 0,
            idle_beside_ns: 100_000_000,
            watchdog_max_ns: 30_000_000_000,
        }
    }
}

impl Config {
    /// What differs in the oldest kernel that the schedulers support, 6.18.
    pub fn oldest_kernel() -> Self {
        Self { ext_server: false, asks_before_rt: true, last_runs_on: false, ..Self::default() }
    }

    /// Time between ticks, ns.
    pub fn tick_ns(&self) -> u64 {
        1_000_000_000 / self.hz.max(1)
    }
}
