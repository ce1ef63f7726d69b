// SPDX-License-Identifier: GPL-2.0-only
//! `--dry-run`: prints what a start would use, without rights and without sched_ext.

use std::fmt::Write;

use topology::CpuSet;

use crate::machine::Machine;
use crate::options::Options;

/// The report: topology, levels with their spans and groups, options.
pub fn report(machine: &Machine, options: &Options) -> String {
    let mut text = String::from("topology\n");
    for line in machine.topology.to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("levels, innermost first\n");
    for (depth, level) in machine.levels.iter().enumerate() {
        let _ = writeln!(text, "  {}: {}", level.name, level.params);
        for index in level.spans.clone() {
            let _ = writeln!(text, "    {}", span_text(machine, depth, index));
        }
    }
    text.push_str("options\n");
    for (name, value) in settings(options) {
        let _ = writeln!(text, "  --{name} {value}");
    }
    text
}

/// `cpus 0-3 capacity 4.00: 0-1 | 2-3`
fn span_text(machine: &Machine, depth: usize, index: usize) -> String {
    let cpus =
        |first: usize, nr: usize| -> CpuSet { machine.order[first..first + nr].iter().copied().collect() };
    let span = &machine.spans[index];
    let groups = (span.first_group..span.first_group + span.nr_groups).map(|group| match depth {
        0 => cpus(group, 1),
        _ => cpus(machine.spans[group].first, machine.spans[group].nr),
    });
    let all = cpus(span.first, span.nr);
    let capacity = machine.topology.capacity(&all) as f64 / f64::from(topology::CAPACITY_MAX);
    let groups: Vec<String> = groups.map(|group| group.to_string()).collect();
    format!("cpus {all} capacity {capacity:.2}: {}", groups.join(" | "))
}

fn settings(options: &Options) -> Vec<(&'static str, String)> {
    let socket = options.common.socket_path(crate::NAME);
    vec![
        ("slice-us", options.slice_us.to_string()),
        ("migration-cost-us", options.migration_cost_us.to_string()),
        ("max-moves", options.max_moves.to_string()),
        ("request-expiry-us", options.request_expiry_us.to_string()),
        ("spread-after-us", options.spread_after_us.to_string()),
        ("wakeup-granularity-us", options.wakeup_granularity_us.to_string()),
        ("util-half-life-us", options.util_half_life_us.to_string()),
        ("watch-us", options.watch_us.to_string()),
        ("prompt", options.prompt.to_string()),
        ("no-push", options.no_push.to_string()),
        ("stats-socket", socket.display().to_string()),
        ("exit-dump-len", options.common.exit_dump_len.to_string()),
    ]
}
