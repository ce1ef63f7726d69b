// SPDX-License-Identifier: GPL-2.0-only
//! The loop: statistics whenever somebody asks, and a look at whether the kernel has ended the scheduler.
//!
//! All scheduling happens on the kernel side; nothing here must be quick or even alive for it.

use std::collections::BTreeMap;
use std::time::Duration;

pub use runtime::daemon::Ending;
use runtime::host::Host;
use runtime::seam::{BpfObject, SeamError};
use runtime::signals::Wake;
use tracing::{debug, warn};

use crate::doors::{self, Counters, IDLE_TYPES};
use crate::kernel::abi;
use crate::machine::Machine;
use crate::stats::{CpuMetrics, LevelMetrics, Metrics};

/// How often the loop looks whether the kernel has ended the scheduler.
const EXIT_POLL: Duration = Duration::from_millis(100);

/// Figures that outlive one attachment: a restart in place goes on counting.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// BPF counters of former attachments.
    pub counters: Counters,
    /// Restarts in place.
    pub restarts: u64,
}

/// Runs until a shutdown or until the kernel ends the scheduler.
///
/// # Errors
/// When the exit record cannot be read: the two halves do not fit together.
pub fn run(
    object: &mut dyn BpfObject,
    machine: &Machine,
    host: &mut dyn Host<Metrics>,
    totals: &mut Totals,
) -> Result<Ending, SeamError> {
    report(object, machine, host, totals);
    loop {
        let wake = host.wait(EXIT_POLL);
        let ending = match object.exit_record()? {
            Some(record) => Some(Ending::Kernel(record)),
            None if wake == Wake::Shutdown => Some(Ending::Shutdown),
            None => None,
        };
        if let Some(ending) = ending {
            retire(object, totals);
            return Ok(ending);
        }
        if host.wants_metrics() {
            report(object, machine, host, totals);
        }
    }
}

/// Keeps the counters of this attachment for the next one.
fn retire(object: &dyn BpfObject, totals: &mut Totals) {
    match doors::counters(object) {
        Ok(counters) => totals.counters.add(&counters),
        Err(error) => debug!("the last counters are lost: {error}"),
    }
}

fn report(object: &dyn BpfObject, machine: &Machine, host: &mut dyn Host<Metrics>, totals: &Totals) {
    match metrics(object, machine, host, totals) {
        Ok(metrics) => host.publish(&metrics),
        Err(error) => warn!("no statistics this time: {error:#}"),
    }
}

fn metrics(
    object: &dyn BpfObject,
    machine: &Machine,
    host: &mut dyn Host<Metrics>,
    totals: &Totals,
) -> Result<Metrics, SeamError> {
    let mut counters = totals.counters.clone();
    counters.add(&doors::counters(object)?);
    let mut cpus = BTreeMap::new();
    for &cpu in &machine.order {
        let state = doors::cpu(object, cpu)?;
        cpus.insert(cpu, CpuMetrics { running: state.nr_running.into(), load: state.load.into() });
    }
    let mut metrics = Metrics {
        restarts: totals.restarts,
        at_ns: host.now_ns(),
        cpu_busy_pct: host.cpu_busy_pct(),
        nr_tasks: doors::nr_tasks(object)?,
        nr_runnable: cpus.values().map(|cpu| cpu.running).sum(),
        levels: levels(machine, &counters),
        cpus,
        ..Metrics::default()
    };
    fill_placement(&mut metrics, &counters);
    fill_pushes(&mut metrics, &counters);
    Ok(metrics)
}

fn fill_placement(metrics: &mut Metrics, counters: &Counters) {
    metrics.wake_prev = counters.get(abi::ap_counter_AP_WAKE_PREV);
    metrics.wake_llc = counters.get(abi::ap_counter_AP_WAKE_LLC);
    metrics.wake_far = counters.get(abi::ap_counter_AP_WAKE_FAR);
    metrics.fork_spread = counters.get(abi::ap_counter_AP_WAKE_SPREAD_FORK);
    metrics.wake_misfit = counters.get(abi::ap_counter_AP_WAKE_MISFIT);
    metrics.wake_affine = counters.get(abi::ap_counter_AP_WAKE_AFFINE);
    metrics.wake_evaded = counters.get(abi::ap_counter_AP_WAKE_EVADED);
    metrics.enqueued = counters.get(abi::ap_counter_AP_ENQUEUED);
    metrics.pinned = counters.get(abi::ap_counter_AP_PINNED);
    metrics.kthread = counters.get(abi::ap_counter_AP_KTHREAD);
    metrics.wake_preempt = counters.get(abi::ap_counter_AP_WAKE_PREEMPT);
    metrics.kept = counters.get(abi::ap_counter_AP_KEPT);
    metrics.requeued_idle = counters.get(abi::ap_counter_AP_REQUEUED_IDLE);
    metrics.rescued = counters.get(abi::ap_counter_AP_RESCUED);
    metrics.rescue_no_cpu = counters.get(abi::ap_counter_AP_RESCUE_NO_CPU);
    metrics.kicked_for_work = counters.get(abi::ap_counter_AP_KICKED_FOR_WORK);
    metrics.kicked_for_balance = counters.get(abi::ap_counter_AP_KICKED_FOR_BALANCE);
    metrics.called_for_help = counters.get(abi::ap_counter_AP_CALLED_FOR_HELP);
    metrics.helped = counters.get(abi::ap_counter_AP_HELPED);
    metrics.no_context = counters.get(abi::ap_counter_AP_NO_CONTEXT);
}

fn fill_pushes(metrics: &mut Metrics, counters: &Counters) {
    metrics.push_spread = counters.get(abi::ap_counter_AP_PUSH_SPREAD);
    metrics.push_misfit = counters.get(abi::ap_counter_AP_PUSH_MISFIT);
    metrics.push_imbalance = counters.get(abi::ap_counter_AP_PUSH_IMBALANCE);
    metrics.push_arrived = counters.get(abi::ap_counter_AP_PUSH_ARRIVED);
    metrics.push_collision = counters.get(abi::ap_counter_AP_PUSH_COLLISION);
    metrics.prompt_kicks = counters.get(abi::ap_counter_AP_PROMPT_KICKS);
    metrics.stale_slept = counters.get(abi::ap_counter_AP_STALE_SLEPT);
    metrics.stale_other_task = counters.get(abi::ap_counter_AP_STALE_OTHER_TASK);
    metrics.stale_affinity = counters.get(abi::ap_counter_AP_STALE_AFFINITY);
    metrics.stale_migration_disabled = counters.get(abi::ap_counter_AP_STALE_MIGRATION_DISABLED);
    metrics.stale_target_offline = counters.get(abi::ap_counter_AP_STALE_TARGET_OFFLINE);
    metrics.stale_target_busy = counters.get(abi::ap_counter_AP_STALE_TARGET_BUSY);
    metrics.stale_expired = counters.get(abi::ap_counter_AP_STALE_EXPIRED);
    let (out, running) = (counters.to_schedule_out(), counters.to_running());
    metrics.push_out_p50_us = out.quantile_us(0.5);
    metrics.push_out_p99_us = out.quantile_us(0.99);
    metrics.push_run_p50_us = running.quantile_us(0.5);
    metrics.push_run_p99_us = running.quantile_us(0.99);
    let filled = running.buckets().iter().enumerate().filter(|(_, times)| **times > 0);
    metrics.push_run_us = filled.map(|(bucket, &times)| (bucket as u64, times)).collect();
}

fn levels(machine: &Machine, counters: &Counters) -> BTreeMap<String, LevelMetrics> {
    let mut levels = BTreeMap::new();
    for (depth, level) in machine.levels.iter().enumerate() {
        for (idle, idle_name) in IDLE_TYPES.iter().enumerate() {
            let get = |counter| counters.level(depth, idle, counter);
            let figures = LevelMetrics {
                lb_count: get(abi::ap_lb_AP_LB_COUNT),
                lb_failed: get(abi::ap_lb_AP_LB_FAILED),
                lb_balanced: get(abi::ap_lb_AP_LB_BALANCED),
                lb_imbalance: get(abi::ap_lb_AP_LB_IMBALANCE),
                lb_gained: get(abi::ap_lb_AP_LB_GAINED),
                lb_hot_gained: get(abi::ap_lb_AP_LB_HOT_GAINED),
                lb_nobusyg: get(abi::ap_lb_AP_LB_NOBUSYG),
                lb_nobusyq: get(abi::ap_lb_AP_LB_NOBUSYQ),
                lb_all_pinned: get(abi::ap_lb_AP_LB_ALL_PINNED),
                alb_count: get(abi::ap_lb_AP_ALB_COUNT),
                alb_failed: get(abi::ap_lb_AP_ALB_FAILED),
                alb_pushed: get(abi::ap_lb_AP_ALB_PUSHED),
            };
            levels.insert(format!("{depth} {} {idle_name}", level.name), figures);
        }
    }
    levels
}
