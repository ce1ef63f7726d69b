// SPDX-License-Identifier: GPL-2.0-only
//! Tasks: what the kernel knows of each, and where it is at the moment.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use topology::CpuSet;

use crate::abi::{SCHED_NORMAL, SCX_DSQ_INVALID};
use crate::events::CpuId;
use crate::program::{Position, Program};
use crate::rng::Rng;

/// Index of a task in the table; reused after it is gone.
pub type TaskIdx = usize;

/// Where a task is, as the scheduler core sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not runnable.
    Sleeping,
    /// Runs on its CPU.
    Running,
    /// On the local queue of a CPU.
    Local(CpuId),
    /// On a global or user queue, by index.
    Queue(usize),
    /// In the scheduler's own hands (enqueued, not yet dispatched).
    Scheduler,
    /// Remote insert under way, noted at a CPU.
    Deferred(CpuId),
    /// Between two of these inside one operation of the kernel.
    Transit,
    /// Gone.
    Dead,
}

/// What a new task is like.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    /// Name, at most 15 bytes are kept by kernels.
    pub name: String,
    /// What it does.
    pub program: Rc<Program>,
    /// 1 to 10000; 100 is nice 0.
    pub weight: u32,
    /// `SCHED_NORMAL`, `SCHED_BATCH` or `SCHED_IDLE`.
    pub policy: u32,
    /// Allowed CPUs; `None`: all.
    pub cpus: Option<Rc<CpuSet>>,
    /// Index of its cgroup. A task that another one starts and that names the root here begins in its parent's cgroup.
    pub cgroup: usize,
    /// A kernel thread.
    pub kthread: bool,
    /// Group in the report.
    pub group: usize,
}

impl TaskSpec {
    /// A task of weight 100 that may run anywhere.
    pub fn new(name: &str, program: Rc<Program>) -> Self {
        Self {
            name: name.to_owned(),
            program,
            weight: 100,
            policy: SCHED_NORMAL,
            cpus: None,
            cgroup: 0,
            kthread: false,
            group: 0,
        }
    }
}

/// One task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Unique for the whole run.
    pub pid: i32,
    /// Name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// On a run queue in the kernel's sense (`SCX_TASK_QUEUED`).
    pub queued: bool,
    /// The CPU whose run queue it belongs to.
    pub cpu: CpuId,
    /// The CPU it ran on last.
    pub last_ran: Option<CpuId>,
    /// Allowed CPUs.
    pub mask: Rc<CpuSet>,
    /// What it asked for itself; `mask` is what its cpuset leaves of it.
    pub user_mask: Rc<CpuSet>,
    /// How many CPUs that is.
    pub nr_allowed: usize,
    /// Nesting of "must not migrate"; while above 0 only `cpu` is allowed.
    pub migration_disabled: u32,
    /// 1 to 10000.
    pub weight: u32,
    /// `SCHED_NORMAL`, `SCHED_BATCH` or `SCHED_IDLE`.
    pub policy: u32,
    /// Index of its cgroup.
    pub cgroup: usize,
    /// The cgroup as the scheduler sees it: the nearest one with the cpu controller.
    pub sched_cgroup: usize,
    /// `PF_*`.
    pub flags: u32,
    /// Group in the report.
    pub group: usize,
    /// Time left in the slice.
    pub slice: u64,
    /// Its vtime.
    pub vtime: u64,
    /// Time on a CPU so far.
    pub exec_ns: u64,
    /// Work done so far.
    pub work_ns: u64,
    /// Work left in the current step.
    pub remaining_ns: u64,
    /// Direct dispatch: queue and flags.
    pub ddsp_dsq: u64,
    /// Flags of the direct dispatch.
    pub ddsp_flags: u64,
    /// The CPU that ops.select_cpu chose.
    pub selected_cpu: CpuId,
    /// Since when it waits, while it waits.
    pub waiting_since: u64,
    /// When it last became the scheduler's to place: a change of what it may use enqueues it again.
    pub enqueued_at: u64,
    /// Time waited so far.
    pub wait_ns: u64,
    /// When it was woken, until it runs.
    pub woken_at: Option<u64>,
    /// When it was made.
    pub born_at: u64,
    /// Where it is in its program.
    pub position: Position,
    /// Distinguishes sleeps.
    pub sleep_generation: u64,
    /// First and next release of its periodic steps.
    pub period_from: Option<(u64, u64)>,
    /// When it starts.
    pub starts_at: u64,
    /// Its own timers that keep a beat: number and next beat.
    pub beats: Vec<(usize, u64)>,
    /// The token that it sleeps for is a unit of work.
    pub awaits_work: bool,
    /// Start of the unit of work under way.
    pub unit_from: u64,
    /// Who made it.
    pub parent: Option<TaskIdx>,
    /// Live children.
    pub children: u32,
    /// It sleeps until its children are gone.
    pub awaits_children: bool,
    /// In the scheduler's hands or on one of its queues: ops.dequeue is due when it leaves otherwise than by ops.enqueue.
    pub custody: bool,
    /// Known to the scheduler (ops.init_task was called).
    pub known: bool,
    /// Its object for BPF code lacks a change of affinity, weight or flags.
    pub stale: bool,
    /// Its own randomness: what it does does not depend on when others run.
    pub rng: Rng,
}

impl Task {
    /// Whether it waits for a CPU.
    pub fn waits(&self) -> bool {
        !matches!(self.place, Place::Sleeping | Place::Running | Place::Dead)
    }

    /// Whether it has no direct dispatch under way.
    pub fn undispatched(&self) -> bool {
        self.ddsp_dsq == SCX_DSQ_INVALID
    }
}

/// All tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    slots: Vec<Task>,
    free: Vec<TaskIdx>,
    by_pid: HashMap<i32, TaskIdx>,
    next_pid: i32,
    live: usize,
}

impl Tasks {
    /// Adds a task made by `make`, which is given the pid.
    pub fn add(&mut self, make: impl FnOnce(i32) -> Task) -> TaskIdx {
        self.next_pid += 1;
        let task = make(self.next_pid);
        self.live += 1;
        let idx = match self.free.pop() {
            Some(idx) => {
                self.slots[idx] = task;
                idx
            }
            None => {
                self.slots.push(task);
                self.slots.len() - 1
            }
        };
        self.by_pid.insert(self.next_pid, idx);
        idx
    }

    /// Gives the slot back.
    pub fn remove(&mut self, idx: TaskIdx) {
        self.by_pid.remove(&self.slots[idx].pid);
        self.slots[idx].place = Place::Dead;
        self.free.push(idx);
        self.live -= 1;
    }

    /// The live task of that pid.
    pub fn by_pid(&self, pid: i32) -> Option<TaskIdx> {
        self.by_pid.get(&pid).copied()
    }

    /// Live tasks by slot.
    pub fn live(&self) -> impl Iterator<Item = (TaskIdx, &Task)> {
        self.slots.iter().enumerate().filter(|(_, task)| task.place != Place::Dead)
    }

    /// The first live task at `from` or behind.
    pub fn live_from(&self, from: TaskIdx) -> Option<TaskIdx> {
        (from..self.slots.len()).find(|&idx| self.slots[idx].place != Place::Dead)
    }

    /// How many are alive.
    pub fn count(&self) -> usize {
        self.live
    }

    /// One more than the highest slot in use so far.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }
}

impl std::ops::Index<TaskIdx> for Tasks {
    type Output = Task;
    fn index(&self, idx: TaskIdx) -> &Task {
        &self.slots[idx]
    }
}

impl std::ops::IndexMut<TaskIdx> for Tasks {
    fn index_mut(&mut self, idx: TaskIdx) -> &mut Task {
        &mut self.slots[idx]
    }
}

/// A channel: tokens with the time they were given, and who waits for one.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// Tokens not taken.
    pub tokens: VecDeque<u64>,
    /// Sleepers in the order they came.
    pub waiters: VecDeque<TaskIdx>,
}
