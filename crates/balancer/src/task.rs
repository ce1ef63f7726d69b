// SPDX-License-Identifier: GPL-2.0-only
//! Tasks as the balancer sees them: owned values with an id and a generation, no reference into anybody's memory.

use crate::{CgroupLedger, DomainId, DomainMask, SourceError};
use std::fmt;

/// Names one task for as long as it lives. A recycled pid gets another generation, so a stale plan cannot hit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TaskId {
    /// The thread's id.
    pub pid: i32,
    /// Distinguishes tasks that had the same pid one after the other.
    pub generation: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.pid, self.generation)
    }
}

/// What a task is, as far as moving it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TaskKind {
    /// May be moved.
    #[default]
    Normal,
    /// A kernel thread (kworkers included): its place follows from what it serves; never moved.
    Kthread,
    /// Bound to one CPU, or not to be migrated now; never moved.
    Pinned,
}

/// One task of a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Who it is.
    pub id: TaskId,
    /// Effective weight, 1..=10000 (100 = nice 0), cgroup shares along the path already multiplied in. Values outside
    /// count as the nearest inside.
    pub weight: u32,
    /// Share of wall time in which it is runnable, 0.0..=1.0.
    pub duty_cycle: f64,
    /// Domains it may run in.
    pub allowed: DomainMask,
    /// Domains it had better run in (near its memory); empty = no preference.
    pub preferred: DomainMask,
    /// When it last changed its domain, on the clock of [`crate::PlanParams::now_ns`]; 0 = never.
    pub last_moved_ns: u64,
    /// When it last ran (now, if it is running), on the same clock; 0 = never or unknown.
    pub last_ran_ns: u64,
    /// Its cgroup's id; 0 = none, it counts for no cgroup.
    pub cgroup: u64,
    /// What it is.
    pub kind: TaskKind,
}

/// Names the tasks of a domain when asked. A round asks once for each domain that really has to push, and for no other.
pub trait TaskSource {
    /// Appends all tasks of `domain` to `tasks`, in any order. Tasks that cannot be moved may be left out. The vector
    /// comes empty, with the memory it had in the last round: a source that clones from its snapshot allocates nothing.
    fn fill(&mut self, domain: DomainId, tasks: &mut Vec<Task>) -> Result<(), SourceError>;

    /// Names the load of every cgroup by domain. Asked once a round, before the first domain, if anything has to push
    /// or [`crate::PlanParams::cgroup_statistics`] is set. A source that knows nothing leaves the ledger empty.
    fn cgroups(&mut self, _ledger: &mut CgroupLedger) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A closure that answers with a new vector is a source, if not the fastest one.
impl<F> TaskSource for F
where
    F: FnMut(DomainId) -> Result<Vec<Task>, SourceError>,
{
    fn fill(&mut self, domain: DomainId, tasks: &mut Vec<Task>) -> Result<(), SourceError> {
        tasks.append(&mut self(domain)?);
        Ok(())
    }
}
