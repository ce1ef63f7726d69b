// SPDX-License-Identifier: GPL-2.0-only
//! `--dry-run`: prints what a start would use, without rights and without sched_ext.

use std::fmt::Write;

use anyhow::Result;
use runtime::exit::UsageError;

use crate::cells::{Cell, CellId, Input, assign};
use crate::finder::Finder;
use crate::machine::Machine;
use crate::options::Options;
use crate::round;
use crate::tenants::Tenants;

/// The report: topology, cache blocks, cells, options.
///
/// # Errors
/// When cells are asked for and cannot be read.
pub fn report(machine: &Machine, options: &Options) -> Result<String> {
    let mut text = format!("topology\n{}\n", indented(&machine.topology.to_string()));
    text.push_str("cache blocks\n");
    for block in &machine.blocks.domains {
        let _ = writeln!(
            text,
            "  {}: node {} cpus {}",
            block.id, machine.topology.nodes[block.node].id, block.cpus
        );
    }
    text.push_str(&cells(machine, options)?);
    text.push_str("options\n");
    for (name, value) in settings(options) {
        let _ = writeln!(text, "  --{name} {value}");
    }
    Ok(text)
}

/// The cells as they would be before anybody has shown any demand.
fn cells(machine: &Machine, options: &Options) -> Result<String> {
    let mut finder = Finder::new(options)?;
    let found = finder.find().map_err(UsageError)?;
    let mut tenants = Tenants::new(options.max_members, Cell::new(CellId::ROOT));
    tenants.update(&found);
    let wishes: Vec<Cell> = tenants.iter().map(|member| member.template.clone()).collect();
    let params = round::params(machine, options);
    let outcome = assign(&Input {
        topology: &machine.topology,
        domains: &machine.blocks,
        cells: &wishes,
        previous: None,
        params: &params,
        now_ns: 0,
    });
    let mut text = String::from("cells, without any demand yet\n");
    for cell in &outcome.assignment.cells {
        let members: Vec<String> = cell.members.iter().map(|id| tenants.name_of(*id)).collect();
        let _ = writeln!(text, "  {}: cpus {} members {}", cell.id, cell.cpus, members.join(" "));
    }
    for warning in &found.warnings {
        let _ = writeln!(text, "  {warning}");
    }
    for note in &outcome.notes {
        let _ = writeln!(text, "  {}", note.line(&|id| tenants.name_of(id)));
    }
    Ok(text)
}

fn settings(options: &Options) -> Vec<(&'static str, String)> {
    let seconds = |duration: std::time::Duration| duration.as_secs_f64().to_string();
    vec![
        ("reconfiguration-interval", seconds(options.reconfiguration_interval)),
        ("rebalance-interval", seconds(options.rebalance_interval)),
        ("rebalance-threshold", options.rebalance_threshold.to_string()),
        ("cool-down", seconds(options.cool_down)),
        ("demand-half-life", seconds(options.demand_half_life)),
        ("headroom", options.headroom.to_string()),
        ("no-borrowing", options.no_borrowing.to_string()),
        ("no-cgroup-weights", options.no_cgroup_weights.to_string()),
        ("max-members", options.max_members.to_string()),
        ("max-cpus-per-queue", options.max_cpus_per_queue.to_string()),
        ("slice-us", options.slice_us.to_string()),
        ("slice-min-us", options.slice_min_us.to_string()),
        ("borrow-slice-us", options.borrow_slice_us.to_string()),
        ("pinned-slice-us", options.pinned_slice_us.to_string()),
        ("stats-socket", options.common.socket_path(crate::NAME).display().to_string()),
        ("exit-dump-len", options.common.exit_dump_len.to_string()),
    ]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
