// SPDX-License-Identifier: GPL-2.0-only
//! The doors to the BPF side: snapshots in, planned moves out, over any [`BpfObject`].
//!
//! Written against the seam, not against libbpf, so that the same code runs wherever the object can be executed.

use bytemuck::Zeroable;
use ravg::RavgData;
use runtime::seam::{self, BpfObject, SeamError};

use crate::kernel::abi;
use crate::snapshot::{Counters, DomainLoad, DomainLoads, MoveAnswer, TaskState, Tasks};
use crate::weigher::{Changes, Weigher};

/// The map of cgroup factors.
const FACTORS: &str = "cgroup_factors";

/// Duty cycles below this, in 1/1024 of a CPU, are left out of task snapshots: moving such a task evens out nothing.
const DUTY_MIN_1024: u32 = 1;

/// Copies the load of `domains` domains.
///
/// # Errors
/// As [`BpfObject::run_syscall`] and [`BpfObject::map_lookup`].
pub fn domain_loads(
    object: &mut dyn BpfObject,
    domains: usize,
    half_life_ns: u64,
) -> Result<DomainLoads, SeamError> {
    let mut args = abi::db_snapshot_domains_args::zeroed();
    seam::run(object, "snapshot_domains", &mut args)?;
    let domains = (0..domains).map(|domain| domain_load(object, domain, args.at_ns, half_life_ns));
    Ok(DomainLoads {
        at_ns: args.at_ns,
        nr_tasks: args.nr_tasks,
        domains: domains.collect::<Result<_, _>>()?,
    })
}

fn domain_load(
    object: &dyn BpfObject,
    domain: usize,
    at_ns: u64,
    half_life_ns: u64,
) -> Result<DomainLoad, SeamError> {
    let raw: abi::db_domain_snapshot = element(object, "domain_snapshots", domain)?;
    Ok(DomainLoad {
        moved_in: raw.nr_moved_in,
        moved_out: raw.nr_moved_out,
        nr_runnable: raw.nr_runnable,
        nr_queued: raw.nr_queued,
        duty: raw.duty.iter().map(|duty| average(duty).read(at_ns, half_life_ns)).collect(),
    })
}

/// Copies the tasks that carry load.
///
/// # Errors
/// As [`BpfObject::run_syscall`] and [`BpfObject::map_lookup`].
pub fn tasks(object: &mut dyn BpfObject, domains: usize, half_life_ns: u64) -> Result<Tasks, SeamError> {
    let mut args = abi::db_snapshot_tasks_args::zeroed();
    args.capacity = abi::db_limits_DB_MAX_TASK_SNAPSHOTS;
    args.min_duty = DUTY_MIN_1024;
    seam::run(object, "snapshot_tasks", &mut args)?;
    let tasks = (0..args.nr_written as usize).map(|index| {
        let raw: abi::db_task_snapshot = element(object, "task_snapshots", index)?;
        Ok(task_state(&raw, args.at_ns, domains, half_life_ns))
    });
    Ok(Tasks { at_ns: args.at_ns, tasks: tasks.collect::<Result<_, SeamError>>()?, dropped: args.nr_dropped })
}

fn task_state(raw: &abi::db_task_snapshot, at_ns: u64, domains: usize, half_life_ns: u64) -> TaskState {
    let flag = |bit: u32| raw.flags & bit != 0;
    let words = domains.div_ceil(64).min(raw.domains.len());
    TaskState {
        pid: raw.pid,
        generation: raw.generation,
        domain: raw.domain as usize,
        weight: raw.weight,
        own_weight: raw.own_weight,
        duty_cycle: average(&raw.duty).read(at_ns, half_life_ns).clamp(0.0, 1.0),
        last_moved_ns: raw.last_moved_ns,
        last_ran_ns: raw.last_ran_ns,
        cgroup: raw.cgroup_id,
        kthread: flag(abi::db_task_flags_DB_TASK_KTHREAD),
        pinned: flag(abi::db_task_flags_DB_TASK_PINNED),
        allowed: (!flag(abi::db_task_flags_DB_TASK_ANY_DOMAIN)).then(|| raw.domains[..words].to_vec()),
        comm: raw.comm.map(i8::cast_unsigned),
    }
}

/// Asks that a task change its home to `target` when it is next enqueued, and no later than `expires_ns` (BPF clock).
///
/// # Errors
/// As [`BpfObject::run_syscall`].
pub fn plan_move(
    object: &mut dyn BpfObject,
    pid: i32,
    generation: u64,
    target: usize,
    expires_ns: u64,
) -> Result<MoveAnswer, SeamError> {
    let target = u32::try_from(target).unwrap_or(u32::MAX);
    let mut args = abi::db_plan_move_args { generation, expires_ns, pid, target };
    let answer = seam::run(object, "plan_move", &mut args)?.cast_unsigned();
    Ok(match answer {
        abi::db_plan_result_DB_PLAN_ACCEPTED => MoveAnswer::Accepted,
        abi::db_plan_result_DB_PLAN_STALE => MoveAnswer::Stale,
        _ => MoveAnswer::Refused,
    })
}

/// Tells the factors of cgroups that have changed, and lets every task look its own up again. The weigher notes each one that
/// was taken, so that after a failure the next round goes on where this one stopped.
///
/// # Errors
/// As [`BpfObject::map_update`], [`BpfObject::map_delete`] and [`BpfObject::run_syscall`].
pub fn publish_factors(
    object: &mut dyn BpfObject,
    changes: &Changes,
    weigher: &mut Weigher,
) -> Result<(), SeamError> {
    // What goes makes room for what comes.
    for cgroup in &changes.removed {
        object.map_delete(FACTORS, bytemuck::bytes_of(cgroup))?;
        weigher.told(*cgroup, None);
    }
    for &(cgroup, factor) in &changes.set {
        seam::update(object, FACTORS, &cgroup, &factor)?;
        weigher.told(cgroup, Some(factor));
    }
    seam::run(object, "renew_weights", &mut abi::db_renew_weights_args::zeroed())?;
    Ok(())
}

/// Reads the counters, summed over CPUs.
///
/// # Errors
/// As [`BpfObject::map_lookup_percpu`].
pub fn counters(object: &dyn BpfObject) -> Result<Counters, SeamError> {
    let sum = |counter: u32| -> Result<u64, SeamError> {
        let values: Option<Vec<u64>> = seam::lookup_percpu(object, "counters", &counter)?;
        Ok(values.unwrap_or_default().iter().sum())
    };
    Ok(Counters {
        direct_prev: sum(abi::db_counter_DB_DIRECT_PREV)?,
        direct_idle: sum(abi::db_counter_DB_DIRECT_IDLE)?,
        direct_greedy: sum(abi::db_counter_DB_DIRECT_GREEDY)?,
        enqueued: sum(abi::db_counter_DB_ENQUEUED)?,
        pinned: sum(abi::db_counter_DB_PINNED)?,
        kthread: sum(abi::db_counter_DB_KTHREAD)?,
        steal: sum(abi::db_counter_DB_STEAL)?,
        steal_x_node: sum(abi::db_counter_DB_STEAL_X_NODE)?,
        kept: sum(abi::db_counter_DB_KEPT)?,
        fork_spread: sum(abi::db_counter_DB_FORK_SPREAD)?,
        wake_spread: sum(abi::db_counter_DB_WAKE_SPREAD)?,
        rehomed: sum(abi::db_counter_DB_REHOMED)?,
        applied: sum(abi::db_counter_DB_MOVE_APPLIED)?,
        expired: sum(abi::db_counter_DB_MOVE_EXPIRED)?,
        refused: sum(abi::db_counter_DB_MOVE_REFUSED)?,
        no_context: sum(abi::db_counter_DB_NO_CONTEXT)?,
    })
}

fn average(raw: &abi::ravg) -> RavgData {
    RavgData { avg: raw.avg, val_at: raw.val_at, val: raw.val }
}

/// An element of an array map; a missing one means that the two halves disagree about its size.
fn element<V: bytemuck::AnyBitPattern>(
    object: &dyn BpfObject,
    map: &str,
    index: usize,
) -> Result<V, SeamError> {
    let key = u32::try_from(index).unwrap_or(u32::MAX);
    seam::lookup(object, map, &key)?
        .ok_or_else(|| SeamError::Missing { kind: "element", name: format!("{map}[{index}]") })
}
