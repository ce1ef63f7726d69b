// SPDX-License-Identifier: GPL-2.0-only
//! The doors to the BPF side: figures out, members and tables in, over any [`BpfObject`].
//!
//! Written against the seam, not against libbpf, so that the same code runs wherever the object can be executed.

use std::collections::BTreeMap;

use bytemuck::Zeroable;
use runtime::seam::{self, BpfObject, SeamError};
use thiserror::Error;

use crate::kernel::abi;
use crate::snapshot::{Applied, Counters, Figures, Table, Totals};
use crate::weigher::Changes;

/// Why a table did not become the one in use. The one before it still is.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The two halves do not fit together, or the kernel refused.
    #[error(transparent)]
    Seam(#[from] SeamError),
    /// It was made for another sequence number.
    #[error("table {0} is not the next one")]
    Stale(u64),
    /// It names a cell, CPU or member that cannot be.
    #[error("table {0} is not valid")]
    Invalid(u64),
    /// A queue could not be created.
    #[error("no queue could be created for table {0}")]
    NoQueue(u64),
}

/// Reads the totals.
///
/// # Errors
/// As [`BpfObject::run_syscall`].
pub fn totals(object: &mut dyn BpfObject) -> Result<Totals, SeamError> {
    let mut args = abi::cs_totals_args::zeroed();
    seam::run(object, "read_totals", &mut args)?;
    Ok(Totals {
        at_ns: args.at_ns,
        sequence: args.sequence,
        nr_tasks: args.nr_tasks,
        nr_no_context: args.nr_no_context,
    })
}

/// Reads the figures of a slot. `capacities` are those of the CPUs as fractions of the fastest.
///
/// # Errors
/// As [`BpfObject::map_lookup_percpu`].
pub fn figures(object: &dyn BpfObject, slot: u32, capacities: &[f64]) -> Result<Figures, SeamError> {
    let values: Option<Vec<abi::cs_figures>> = seam::lookup_percpu(object, "figures", &slot)?;
    let mut sum = Figures::default();
    // Tasks that came on one CPU leave on another: only the sum is a number of tasks.
    let mut nr_tasks = 0i64;
    for (cpu, value) in values.unwrap_or_default().iter().enumerate() {
        let capacity = capacities.get(cpu).copied().unwrap_or(1.0);
        nr_tasks = nr_tasks.wrapping_add(value.nr_tasks);
        let mut part = Figures {
            used_ns: value.used_ns,
            work_ns: (value.used_ns as f64 * capacity) as u64,
            borrowed_ns: value.borrowed_ns,
            waited_ns: value.waited_ns,
            nr_tasks: 0,
            counters: counters(&value.counters),
            waits: Default::default(),
        };
        part.waits.iter_mut().zip(value.waits).for_each(|(to, from)| *to = from.into());
        sum = sum + part;
    }
    sum.nr_tasks = u64::try_from(nr_tasks).unwrap_or(0);
    Ok(sum)
}

fn counters(raw: &[u64; abi::cs_counter_CS_NR_COUNTERS as usize]) -> Counters {
    let of = |counter: u32| raw[counter as usize];
    Counters {
        local: of(abi::cs_counter_CS_LOCAL),
        cpu_queue: of(abi::cs_counter_CS_CPU_QUEUE),
        cell_queue: of(abi::cs_counter_CS_CELL_QUEUE),
        borrowed: of(abi::cs_counter_CS_BORROWED),
        reclaimed: of(abi::cs_counter_CS_RECLAIMED),
        violations: of(abi::cs_counter_CS_VIOLATION),
        steals: of(abi::cs_counter_CS_STEAL),
        drained: of(abi::cs_counter_CS_DRAINED),
        shrunk: of(abi::cs_counter_CS_SHRUNK),
        kept: of(abi::cs_counter_CS_KEPT),
        moved: of(abi::cs_counter_CS_MOVED),
    }
}

/// CPU time that others used on CPUs of a cell, ns, cumulative.
///
/// # Errors
/// As [`BpfObject::map_lookup_percpu`].
pub fn lent_ns(object: &dyn BpfObject, cell: u32) -> Result<u64, SeamError> {
    let values: Option<Vec<abi::cs_lending>> = seam::lookup_percpu(object, "lendings", &cell)?;
    Ok(values.unwrap_or_default().iter().fold(0, |sum, value| sum.wrapping_add(value.lent_ns)))
}

/// Says that a cgroup belongs to a slot, from the next table on.
///
/// # Errors
/// As [`BpfObject::map_update`]; also when there are more than fit.
pub fn set_member(object: &mut dyn BpfObject, cgroup: u64, slot: u32) -> Result<(), SeamError> {
    seam::update(object, "members", &cgroup, &abi::cs_member { slot, pad: 0 })
}

/// Says that a cgroup belongs to no slot any more; one that never did is fine.
///
/// # Errors
/// As [`BpfObject::map_delete`].
pub fn remove_member(object: &mut dyn BpfObject, cgroup: u64) -> Result<(), SeamError> {
    object.map_delete("members", bytemuck::bytes_of(&cgroup)).map(drop)
}

/// Claims of the tasks directly in each cgroup since the BPF side was loaded: runnable ns times weight / 100, by cgroup.
///
/// # Errors
/// As [`BpfObject::map_entries`].
pub fn cgroup_loads(object: &dyn BpfObject) -> Result<BTreeMap<u64, u64>, SeamError> {
    Ok(seam::entries(object, "cgroup_loads")?.into_iter().collect())
}

/// Forgets the load of a cgroup that is gone.
///
/// # Errors
/// As [`BpfObject::map_delete`].
pub fn forget_load(object: &mut dyn BpfObject, cgroup: u64) -> Result<(), SeamError> {
    object.map_delete("cgroup_loads", bytemuck::bytes_of(&cgroup)).map(drop)
}

/// Sets and removes factors of cgroups and makes them count. One that is refused does not keep the others from it: gives what
/// counts from now on beside the first error.
///
/// # Errors
/// As [`BpfObject::map_update`], [`BpfObject::map_delete`] and [`BpfObject::run_syscall`].
pub fn set_factors(object: &mut dyn BpfObject, changes: &Changes) -> (Changes, Result<(), SeamError>) {
    let mut done = Changes::default();
    let mut outcome: Result<(), SeamError> = Ok(());
    for cgroup in &changes.removed {
        match object.map_delete("cgroup_factors", bytemuck::bytes_of(cgroup)) {
            Ok(_) => done.removed.push(*cgroup),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    for (cgroup, factor) in &changes.set {
        match seam::update(object, "cgroup_factors", cgroup, factor) {
            Ok(()) => done.set.push((*cgroup, *factor)),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    if done == Changes::default() {
        return (done, outcome);
    }
    match seam::run(object, "renew_factors", &mut 0u64) {
        Ok(_) => (done, outcome),
        // Tasks do not look for new factors before that.
        Err(error) => (Changes::default(), outcome.and(Err(error))),
    }
}

/// Makes `table` the one in use; its sequence number must be the present one plus 1. Tasks that wait in queues that lost
/// their CPUs by it are moved.
///
/// # Errors
/// [`ApplyError`]; nothing has changed then.
pub fn apply(object: &mut dyn BpfObject, table: &Table) -> Result<Applied, ApplyError> {
    let raw = encode(table);
    seam::update(object, "tables", &((table.sequence & 1) as u32), &*raw)?;
    let mut args = abi::cs_apply_args::zeroed();
    args.sequence = table.sequence;
    match seam::run(object, "apply_table", &mut args)?.cast_unsigned() {
        abi::cs_apply_result_CS_APPLY_OK => {
            Ok(Applied { moved_cpus: args.nr_moved_cpus, drained: drain_orphans(object)? })
        }
        abi::cs_apply_result_CS_APPLY_STALE => Err(ApplyError::Stale(table.sequence)),
        abi::cs_apply_result_CS_APPLY_NO_QUEUE => Err(ApplyError::NoQueue(table.sequence)),
        _ => Err(ApplyError::Invalid(table.sequence)),
    }
}

fn encode(table: &Table) -> Box<abi::cs_table> {
    let mut raw: Box<abi::cs_table> = Box::new(abi::cs_table::zeroed());
    raw.sequence = table.sequence;
    raw.nr_cells = u32::try_from(table.policies.len()).unwrap_or(u32::MAX);
    raw.nr_slots = u32::try_from(table.slot_cell.len()).unwrap_or(u32::MAX);
    // What does not fit is no cell at all, so that the BPF side refuses the table.
    let narrow = |cell: u32| u16::try_from(cell).unwrap_or(abi::cs_limits_CS_NONE as u16);
    raw.cpu_cell.fill(abi::cs_limits_CS_NONE as u16);
    for (to, from) in raw.cpu_cell.iter_mut().zip(&table.cpu_cell) {
        *to = narrow(from.unwrap_or(abi::cs_limits_CS_NONE));
    }
    for (to, from) in raw.slot_cell.iter_mut().zip(&table.slot_cell) {
        *to = narrow(*from);
    }
    for (to, from) in raw.cell_flags.iter_mut().zip(&table.policies) {
        let lend = if from.lend { abi::cs_cell_flags_CS_CELL_LEND } else { 0 };
        let borrow = if from.borrow { abi::cs_cell_flags_CS_CELL_BORROW } else { 0 };
        *to = (lend | borrow) as u8;
    }
    for (to, from) in raw.cell_weight.iter_mut().zip(&table.policies) {
        *to = from.weight;
    }
    raw
}

/// Moves tasks that wait where no CPU serves any more; returns how many.
///
/// # Errors
/// As [`BpfObject::run_syscall`].
pub fn drain_orphans(object: &mut dyn BpfObject) -> Result<u32, SeamError> {
    let mut drained = 0;
    let mut search = abi::cs_orphans_args::zeroed();
    loop {
        seam::run(object, "find_orphans", &mut search)?;
        if search.found == 0 {
            return Ok(drained);
        }
        let mut args = abi::cs_drain_args { queue: search.queue, nr_drained: 0 };
        seam::run(object, "drain_queue", &mut args)?;
        drained += args.nr_drained;
        search.queue += 1;
    }
}
