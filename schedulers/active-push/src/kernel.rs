// SPDX-License-Identifier: GPL-2.0-only
//! Owns the BPF skeleton: opens, configures, loads and attaches it, and detaches it again.
//!
//! Skeleton types stop here. What the rest of the program sees is a [`BpfObject`](runtime::seam::BpfObject) for as long as
//! the scheduler is attached.

use anyhow::{Result, ensure};
use bytemuck::Zeroable;
use runtime::setup::Setup;

use crate::machine::Machine;
use crate::options::Options;

pub mod abi;

runtime::skeleton!(active_push, active_push_mut);

/// What this machine and these options mean for the BPF object.
///
/// # Errors
/// When the machine has more CPUs, caches or spans than the object can hold.
pub fn setup(machine: &Machine, options: &Options) -> Result<Setup> {
    let nr_cpu_ids = u32::try_from(machine.topology.nr_cpu_ids())?;
    let (nr_spans, nr_llcs) = (machine.spans.len(), machine.topology.llcs.len());
    ensure!(
        nr_cpu_ids <= abi::ap_limits_AP_MAX_CPUS,
        "CPU numbers up to {nr_cpu_ids}; at most {} fit",
        abi::ap_limits_AP_MAX_CPUS
    );
    ensure!(
        nr_spans <= abi::ap_limits_AP_MAX_SPANS as usize,
        "{nr_spans} spans of scheduling domains; at most {} fit",
        abi::ap_limits_AP_MAX_SPANS
    );
    ensure!(
        nr_llcs <= abi::ap_limits_AP_MAX_LLCS as usize,
        "{nr_llcs} last-level caches; at most {} fit",
        abi::ap_limits_AP_MAX_LLCS
    );
    let mut order = vec![0u32; abi::ap_limits_AP_MAX_CPUS as usize];
    for (at, &cpu) in machine.order.iter().enumerate() {
        order[at] = u32::try_from(cpu)?;
    }
    // CPUs that are offline now are in no span: past the end of the order there is nobody.
    for at in &mut order[machine.order.len()..] {
        *at = u32::MAX;
    }
    Ok(options.common.complete(Setup {
        read_only: vec![
            ("conf", bytemuck::bytes_of(&config(machine, options, nr_cpu_ids)?).to_vec()),
            ("places", bytemuck::cast_slice(&places(machine)?).to_vec()),
            ("cpu_order", bytemuck::cast_slice(&order).to_vec()),
            ("spans", bytemuck::cast_slice(&spans(machine)?).to_vec()),
        ],
        map_entries: vec![("cpus", nr_cpu_ids), ("level_states", nr_cpu_ids + u32::try_from(nr_spans)?)],
        ops: "active_push",
        // A task that was asked to go passes through enqueue even when it is alone on its CPU; one that exits is as much worth
        // rescuing as any other.
        ops_flags: vec!["SCX_OPS_ENQ_LAST", "SCX_OPS_ENQ_EXITING"],
        ..Setup::default()
    }))
}

fn config(machine: &Machine, options: &Options, nr_cpu_ids: u32) -> Result<abi::ap_config> {
    let mut config = abi::ap_config::zeroed();
    let nanoseconds = |micros: u64| micros * 1000;
    config.slice_ns = nanoseconds(options.slice_us);
    config.migration_cost_ns = nanoseconds(options.migration_cost_us);
    config.request_expiry_ns = nanoseconds(options.request_expiry_us);
    config.wakeup_granularity_ns = nanoseconds(options.wakeup_granularity_us);
    config.spread_after_ns = nanoseconds(options.spread_after_us);
    config.util_half_life_ns = nanoseconds(options.util_half_life_us);
    config.watch_ns = nanoseconds(options.watch_us);
    config.nr_cpu_ids = nr_cpu_ids;
    config.nr_levels = u32::try_from(machine.levels.len())?;
    config.nr_llcs = u32::try_from(machine.topology.llcs.len())?;
    config.max_moves = options.max_moves;
    config.prompt = options.prompt.into();
    config.no_push = options.no_push.into();
    config.smt = machine.has_smt().into();
    for (slot, level) in config.levels.iter_mut().zip(&machine.levels) {
        *slot = abi::ap_level {
            min_interval_ns: level.params.min_interval_ms * 1_000_000,
            max_interval_ns: level.params.max_interval_ms * 1_000_000,
            newidle_cost_max_ns: nanoseconds(level.params.newidle_cost_max_us),
            newidle_decay_ns: level.params.newidle_decay_ms * 1_000_000,
            busy_factor: level.params.busy_factor,
            imbalance_pct: level.params.imbalance_pct,
            cache_nice_tries: level.params.cache_nice_tries,
            push_failures: level.params.push_failures,
        };
    }
    let classes = thinned(&machine.classes, config.classes.len());
    config.nr_classes = u32::try_from(classes.len())?;
    config.classes[..classes.len()].copy_from_slice(&classes);
    Ok(config)
}

/// At most `max` of these ascending capacities, evenly picked, the smallest and the largest among them.
fn thinned(capacities: &[u32], max: usize) -> Vec<u32> {
    if capacities.len() <= max {
        return capacities.to_vec();
    }
    (0..max).map(|index| capacities[index * (capacities.len() - 1) / (max - 1)]).collect()
}

fn places(machine: &Machine) -> Result<Vec<abi::ap_place>> {
    let mut places = vec![abi::ap_place::zeroed(); abi::ap_limits_AP_MAX_CPUS as usize];
    for place in &machine.places {
        let slot = &mut places[place.cpu];
        slot.capacity = place.capacity;
        slot.online = 1;
        slot.llc = u32::try_from(place.llc)?;
        slot.core_first = u32::try_from(place.core.0)?;
        slot.core_nr = u32::try_from(place.core.1)?;
        for (to, &span) in slot.spans.iter_mut().zip(&place.spans) {
            *to = u32::try_from(span)?;
        }
    }
    Ok(places)
}

fn spans(machine: &Machine) -> Result<Vec<abi::ap_span>> {
    let mut spans = vec![abi::ap_span::zeroed(); abi::ap_limits_AP_MAX_SPANS as usize];
    for (slot, span) in spans.iter_mut().zip(&machine.spans) {
        *slot = abi::ap_span {
            first: u32::try_from(span.first)?,
            nr: u32::try_from(span.nr)?,
            first_group: u32::try_from(span.first_group)?,
            nr_groups: u32::try_from(span.nr_groups)?,
        };
    }
    Ok(spans)
}

#[cfg(test)]
mod tests;
