// SPDX-License-Identifier: GPL-2.0-only
//! `--dry-run`: prints what a start would use, without rights and without sched_ext.

use std::fmt::Write;

use crate::machine::Machine;
use crate::options::Options;

/// The report: topology, domains, levels, options.
pub fn report(machine: &Machine, options: &Options) -> String {
    let mut text = format!("topology\n{}\n", indented(&machine.topology.to_string()));
    text.push_str("domains\n");
    for domain in &machine.domains.domains {
        let node = &machine.topology.nodes[domain.node];
        let line = format!(
            "  {}: node {} cpus {} capacity {:.2}",
            domain.id,
            node.id,
            domain.cpus,
            domain.capacity as f64 / f64::from(topology::CAPACITY_MAX)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("balancing levels, outermost first\n");
    for level in (0..machine.tree.depth()).filter_map(|level| machine.tree.level(level)) {
        let _ = writeln!(
            text,
            "  {}: threshold {} transfer ratio {} push limit {}",
            level.name, level.imbalance_threshold, level.transfer_ratio, level.push_limit
        );
    }
    text.push_str("options\n");
    for (name, value) in settings(options) {
        let _ = writeln!(text, "  --{name} {value}");
    }
    text
}

fn settings(options: &Options) -> Vec<(&'static str, String)> {
    let socket = options.common.socket_path(crate::NAME);
    vec![
        ("domains", options.domains.to_string()),
        ("max-cpus-per-domain", options.max_cpus_per_domain.to_string()),
        ("slice-us", options.slice_us.to_string()),
        ("slice-min-us", options.slice_min_us.to_string()),
        ("interval", options.interval.as_secs_f64().to_string()),
        ("load-half-life", options.load_half_life.as_secs_f64().to_string()),
        ("greedy-threshold", options.greedy_threshold.to_string()),
        ("greedy-threshold-x-node", options.greedy_threshold_x_node.to_string()),
        ("cost", options.cost.to_string()),
        ("no-load-balance", options.no_load_balance.to_string()),
        ("no-cgroups", options.no_cgroups.to_string()),
        ("fifo", options.fifo.to_string()),
        ("stats-socket", socket.display().to_string()),
        ("exit-dump-len", options.common.exit_dump_len.to_string()),
    ]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
