// SPDX-License-Identifier: GPL-2.0-only
//! Owned copies of what the BPF side counted, and the table it is given. Nothing here points into its memory.

use std::ops::{Add, Sub};

/// The BPF side as a whole at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Time on the BPF clock, ns.
    pub at_ns: u64,
    /// Sequence number of the table in use.
    pub sequence: u64,
    /// Tasks the scheduler keeps a context for, sleeping ones included.
    pub nr_tasks: u64,
    /// Callbacks that met a task without context or without any CPU it could use.
    pub nr_no_context: u64,
}

/// Decisions and other events, cumulative since the BPF side was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Placed on an idle CPU of the own cell.
    pub local: u64,
    /// Queued on the queue of the only CPU allowed.
    pub cpu_queue: u64,
    /// Queued on the cell's queue.
    pub cell_queue: u64,
    /// Runs on CPUs of other cells.
    pub borrowed: u64,
    /// Wake-ups that took back a lent CPU.
    pub reclaimed: u64,
    /// Placements outside of the own cell because the affinity names none of its CPUs.
    pub violations: u64,
    /// Runs on a CPU of the own cell at another cache.
    pub steals: u64,
    /// Taken out of queues that lost their CPUs.
    pub drained: u64,
    /// Slices of others cut for waiting single-CPU tasks.
    pub shrunk: u64,
    /// Slices renewed.
    pub kept: u64,
    /// Tasks that changed cell.
    pub moved: u64,
}

/// Waits by length: bucket i holds those of [2^i, 2^(i+1)) µs, the first everything shorter.
pub const WAIT_BUCKETS: usize = crate::kernel::abi::cs_limits_CS_WAIT_BUCKETS as usize;

/// What a member's tasks did, cumulative, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU time used, ns.
    pub used_ns: u64,
    /// CPU time used, ns of a CPU of full speed.
    pub work_ns: u64,
    /// What of `used_ns` was on CPUs of other cells.
    pub borrowed_ns: u64,
    /// Time waited for a CPU, ns, summed over tasks.
    pub waited_ns: u64,
    /// Tasks at the moment.
    pub nr_tasks: u64,
    /// Events.
    pub counters: Counters,
    /// Number of waits by length.
    pub waits: [u64; WAIT_BUCKETS],
}

/// What a cell may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its idle CPUs may be used by others.
    pub lend: bool,
    /// Its tasks may use idle CPUs of others.
    pub borrow: bool,
    /// Its share of what is lent when others borrow, too.
    pub weight: u32,
}

/// A configuration: who owns which CPU, and which member lives where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Sequence number.
    pub sequence: u64,
    /// Cell of each CPU number; `None` for CPUs that are offline.
    pub cpu_cell: Vec<Option<u32>>,
    /// Cell of each slot.
    pub slot_cell: Vec<u32>,
    /// Policy of each cell, by id.
    pub policies: Vec<Policy>,
}

/// What applying a table did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// CPUs that changed cell.
    pub moved_cpus: u32,
    /// Tasks taken out of queues that lost their CPUs.
    pub drained: u32,
}

/// Applies a binary function to every field.
macro_rules! fieldwise {
    ($a:expr, $b:expr, $f:expr, $($field:ident),+) => {
        Self { $($field: $f($a.$field, $b.$field)),+ }
    };
}

impl Counters {
    fn combine(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        fieldwise!(
            self, other, f, local, cpu_queue, cell_queue, borrowed, reclaimed, violations, steals, drained,
            shrunk, kept, moved
        )
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, u64::wrapping_add)
    }
}

impl Figures {
    fn combine(self, other: Self, f: impl Fn(u64, u64) -> u64 + Copy) -> Self {
        let mut waits = self.waits;
        waits.iter_mut().zip(other.waits).for_each(|(mine, theirs)| *mine = f(*mine, theirs));
        Self {
            used_ns: f(self.used_ns, other.used_ns),
            work_ns: f(self.work_ns, other.work_ns),
            borrowed_ns: f(self.borrowed_ns, other.borrowed_ns),
            waited_ns: f(self.waited_ns, other.waited_ns),
            nr_tasks: f(self.nr_tasks, other.nr_tasks),
            counters: self.counters.combine(other.counters, f),
            waits,
        }
    }

    /// The wait in µs that a share of `quantile` (0..=1) of all waits did not exceed: the upper end of its bucket; 0
    /// without any waits.
    pub fn wait_us(&self, quantile: f64) -> u64 {
        let total: u64 = self.waits.iter().sum();
        let rank = (quantile.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.waits.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return 1 << (bucket + 1);
            }
        }
        0
    }
}

impl Add for Figures {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, u64::wrapping_add)
    }
}

impl Sub for Figures {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combine(other, u64::saturating_sub)
    }
}

#[cfg(test)]
mod tests;
