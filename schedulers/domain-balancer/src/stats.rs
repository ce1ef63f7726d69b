// SPDX-License-Identifier: GPL-2.0-only
//! What an operator sees: the statistics served over the socket, and their form as text.

use std::collections::BTreeMap;
use std::io::{self, Write};

use runtime::stats::Figures;
use scx_stats::{Meta, StatsMeta};
use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};

/// One domain.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "domain_", _om_label = "domain")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct DomainMetrics {
    #[stat(desc = "CPUs, as a list")]
    pub cpus: String,
    #[stat(desc = "NUMA node of the domain", _om_gauge)]
    pub node: u64,
    #[stat(desc = "Load: duty cycle times weight / 100; 1.0 is one nice-0 task that is always runnable")]
    pub load: f64,
    #[stat(desc = "Load the domain would have if all shared evenly by capacity")]
    pub average: f64,
    #[stat(desc = "Load minus average")]
    pub imbalance: f64,
    #[stat(desc = "Load the last round planned to add (negative: to take away)")]
    pub delta: f64,
    #[stat(desc = "Tasks that wait or run, at the moment", _om_gauge)]
    pub runnable: u64,
    #[stat(desc = "Tasks in the queue, at the moment", _om_gauge)]
    pub queued: u64,
    #[stat(desc = "Applied moves into the domain")]
    pub moved_in: u64,
    #[stat(desc = "Applied moves out of the domain")]
    pub moved_out: u64,
}

/// One cgroup.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "cgroup_", _om_label = "cgroup")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct CgroupMetrics {
    #[stat(desc = "Load of the cgroup's tasks in all domains, in the unit of a domain's load")]
    pub load: f64,
    #[stat(desc = "What the weights of its tasks are multiplied with, from cpu.weight along its path")]
    pub factor: f64,
}

/// The whole scheduler. Counters are cumulative since the program started, across restarts in place.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(top)]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct Metrics {
    #[stat(desc = "Balancing rounds so far")]
    pub round: u64,
    #[stat(desc = "Rounds that failed and were skipped")]
    pub rounds_failed: u64,
    #[stat(desc = "Restarts in place after CPU hotplug")]
    pub restarts: u64,
    #[stat(desc = "Time of these figures, ns of CLOCK_MONOTONIC", _om_gauge)]
    pub at_ns: u64,
    #[stat(desc = "CPU time used by anybody since the last report, percent of all CPUs")]
    pub cpu_busy_pct: f64,
    #[stat(desc = "Tasks that wait or run, at the moment", _om_gauge)]
    pub nr_runnable: u64,
    #[stat(desc = "Tasks that have a context, sleeping ones included", _om_gauge)]
    pub nr_tasks: u64,
    #[stat(
        desc = "Whether all duty cycles together exceed the machine, so that weights count: 0 or 1",
        _om_gauge
    )]
    pub saturated: u64,
    #[stat(desc = "Moves planned")]
    pub planned: u64,
    #[stat(desc = "Planned moves that changed the task's domain")]
    pub applied: u64,
    #[stat(desc = "Planned moves not taken up in time, or replaced by a later plan")]
    pub expired: u64,
    #[stat(desc = "Planned moves that did not fit any more (affinity changed, task gone)")]
    pub refused: u64,
    #[stat(desc = "Tasks with load that the last snapshot had no room for", _om_gauge)]
    pub tasks_unseen: u64,
    #[stat(desc = "Wake-ups on their idle previous CPU")]
    pub direct_prev: u64,
    #[stat(desc = "Placed on another idle CPU of their domain")]
    pub direct_idle: u64,
    #[stat(desc = "Placed on an idle CPU of another domain")]
    pub direct_greedy: u64,
    #[stat(desc = "Queued on their domain's queue")]
    pub enqueued: u64,
    #[stat(desc = "Queued on the queue of their only CPU")]
    pub pinned: u64,
    #[stat(desc = "Per-CPU kernel threads, straight to their CPU")]
    pub kthread: u64,
    #[stat(desc = "Taken by a CPU of another domain of the same node")]
    pub steals: u64,
    #[stat(desc = "Taken by a CPU of another node")]
    pub steals_x_node: u64,
    #[stat(desc = "Slices renewed because nobody waited or the task's vtime was still the earliest")]
    pub kept: u64,
    #[stat(desc = "New tasks started in another domain than their parent")]
    pub fork_spread: u64,
    #[stat(desc = "Tasks that woke in a crowded domain and made another theirs")]
    pub wake_spread: u64,
    #[stat(desc = "Home domains changed because the affinity excluded the old one")]
    pub rehomed: u64,
    #[stat(desc = "Callbacks that met a task without context")]
    pub no_context: u64,
    #[stat(desc = "Cgroups whose cpu.weight counted in the last round", _om_gauge)]
    pub cgroups_weighed: u64,
    #[stat(desc = "Changed factors of cgroups that were passed on")]
    pub factor_changes: u64,
    #[stat(desc = "The domains by number")]
    pub domains: BTreeMap<usize, DomainMetrics>,
    #[stat(
        desc = "Cgroups that carried load in the last round, by id (the inode number of their directory)"
    )]
    pub cgroups: BTreeMap<u64, CgroupMetrics>,
}

impl Metrics {
    /// Load of the fullest domain minus that of the emptiest, over the mean; 0 for an idle machine.
    pub fn spread(&self) -> f64 {
        let loads: Vec<f64> = self.domains.values().map(|domain| domain.load).collect();
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        if mean <= 0.0 {
            return 0.0;
        }
        let max = loads.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = loads.iter().copied().fold(f64::INFINITY, f64::min);
        (max - min) / mean
    }
}

impl Figures for Metrics {
    fn descriptions() -> Vec<StatsMeta> {
        vec![DomainMetrics::meta(), CgroupMetrics::meta(), <Self as Meta>::meta()]
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "round {}  cpu {:.1}%  tasks {} runnable {}  spread {:.2}{}",
            self.round,
            self.cpu_busy_pct,
            self.nr_tasks,
            self.nr_runnable,
            self.spread(),
            if self.saturated > 0 { "  saturated" } else { "" },
        )?;
        writeln!(
            out,
            "  moves: planned {} applied {} expired {} refused {}   tasks unseen {}   rounds failed {}   restarts {}",
            self.planned,
            self.applied,
            self.expired,
            self.refused,
            self.tasks_unseen,
            self.rounds_failed,
            self.restarts,
        )?;
        writeln!(
            out,
            "  idle: prev {} home {} greedy {}   queue: home {} pinned {} kthread {}   steals {} across nodes {}",
            self.direct_prev,
            self.direct_idle,
            self.direct_greedy,
            self.enqueued,
            self.pinned,
            self.kthread,
            self.steals,
            self.steals_x_node,
        )?;
        writeln!(
            out,
            "  kept {} fork spread {} wake spread {} rehomed {} without context {}   cgroups weighed {}",
            self.kept,
            self.fork_spread,
            self.wake_spread,
            self.rehomed,
            self.no_context,
            self.cgroups_weighed,
        )?;
        for (id, domain) in &self.domains {
            writeln!(
                out,
                "  domain {id:>3} node {:>2}  load {:>7.2} ({:>+7.2})  delta {:>+6.2}  runnable {:>4} queued {:>4}  in {} out {}  cpus {}",
                domain.node,
                domain.load,
                domain.imbalance,
                domain.delta,
                domain.runnable,
                domain.queued,
                domain.moved_in,
                domain.moved_out,
                domain.cpus,
            )?;
        }
        writeln!(out)
    }
}
