// SPDX-License-Identifier: GPL-2.0-only
//! Owned copies of what the BPF side counted. Nothing here points into its memory.

use balancer::TaskId;

/// The domains at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainLoads {
    /// Time of the snapshot on the BPF clock, ns.
    pub at_ns: u64,
    /// Tasks the scheduler keeps a context for, sleeping ones included.
    pub nr_tasks: u64,
    /// Indexed by domain.
    pub domains: Vec<DomainLoad>,
}

/// One domain's load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DomainLoad {
    /// Planned moves into this domain that were applied since the BPF side was loaded.
    pub moved_in: u64,
    /// The same out of it.
    pub moved_out: u64,
    /// Tasks that wait or run, as counted at the moment.
    pub nr_runnable: u32,
    /// Tasks in the domain's queue.
    pub nr_queued: u32,
    /// Sum of the tasks' duty cycles by weight bucket; 1.0 is one task that is always runnable.
    pub duty: Vec<f64>,
}

/// The tasks that carry load, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tasks {
    /// Time of the snapshot on the BPF clock, ns.
    pub at_ns: u64,
    /// The tasks, in no order.
    pub tasks: Vec<TaskState>,
    /// Tasks that carried load and found no room in the snapshot.
    pub dropped: u32,
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskState {
    /// Thread id in the initial namespace.
    pub pid: i32,
    /// Tells apart tasks that used the same pid one after another.
    pub generation: u64,
    /// Home domain.
    pub domain: usize,
    /// Effective weight, 1..=10000, 100 = nice 0: its own times the factor of its cgroup.
    pub weight: u32,
    /// Its own weight.
    pub own_weight: u32,
    /// Share of time it is runnable, 0..=1.
    pub duty_cycle: f64,
    /// When a planned move last changed its home, BPF clock; 0 = never.
    pub last_moved_ns: u64,
    /// When it last ran, BPF clock; 0 = never.
    pub last_ran_ns: u64,
    /// Id of its cgroup in the default hierarchy.
    pub cgroup: u64,
    /// A kernel thread.
    pub kthread: bool,
    /// Bound to one CPU, or not migratable at the moment.
    pub pinned: bool,
    /// Domains the affinity leaves it, 64 to a word; `None` = all of them.
    pub allowed: Option<Vec<u64>>,
    /// Its name, as far as the kernel keeps it; ends at the first zero.
    pub comm: [u8; 16],
}

impl TaskState {
    /// What the balancer calls it.
    pub fn id(&self) -> TaskId {
        TaskId { pid: self.pid, generation: self.generation }
    }

    /// Its name as text.
    pub fn name(&self) -> String {
        let bytes = self.comm.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).escape_debug().to_string()
    }
}

/// Cumulative counters of the BPF side since it was loaded, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Wake-ups that found their previous CPU idle.
    pub direct_prev: u64,
    /// Placed on another idle CPU of the home domain.
    pub direct_idle: u64,
    /// Placed on an idle CPU of another domain.
    pub direct_greedy: u64,
    /// Queued on the home domain's queue.
    pub enqueued: u64,
    /// Queued on the queue of the only CPU allowed.
    pub pinned: u64,
    /// Per-CPU kernel threads, straight to their CPU.
    pub kthread: u64,
    /// Taken by a CPU of another domain of the same node.
    pub steal: u64,
    /// Taken by a CPU of another node.
    pub steal_x_node: u64,
    /// The running task went on.
    pub kept: u64,
    /// New tasks that started in another domain than their parent.
    pub fork_spread: u64,
    /// Tasks that woke in a crowded home and made another domain theirs.
    pub wake_spread: u64,
    /// Homes changed because the affinity excluded the old one.
    pub rehomed: u64,
    /// Planned moves carried out.
    pub applied: u64,
    /// Planned moves that came too late or were replaced.
    pub expired: u64,
    /// Planned moves that did not fit any more.
    pub refused: u64,
    /// Callbacks that met a task without context.
    pub no_context: u64,
}

/// What became of asking for one move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveAnswer {
    /// Noted; it will be applied, expire or be refused later.
    Accepted,
    /// The task is gone.
    Stale,
    /// Not possible.
    Refused,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            direct_prev: self.direct_prev + other.direct_prev,
            direct_idle: self.direct_idle + other.direct_idle,
            direct_greedy: self.direct_greedy + other.direct_greedy,
            enqueued: self.enqueued + other.enqueued,
            pinned: self.pinned + other.pinned,
            kthread: self.kthread + other.kthread,
            steal: self.steal + other.steal,
            steal_x_node: self.steal_x_node + other.steal_x_node,
            kept: self.kept + other.kept,
            fork_spread: self.fork_spread + other.fork_spread,
            wake_spread: self.wake_spread + other.wake_spread,
            rehomed: self.rehomed + other.rehomed,
            applied: self.applied + other.applied,
            expired: self.expired + other.expired,
            refused: self.refused + other.refused,
            no_context: self.no_context + other.no_context,
        }
    }
}
