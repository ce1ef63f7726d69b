// SPDX-License-Identifier: GPL-2.0-only
//! What an operator sees: the statistics served over the socket, and their form as text.

use std::collections::BTreeMap;
use std::io::{self, Write};

use runtime::stats::Figures;
use scx_stats::{Meta, StatsMeta};
use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};

/// One cell: CPUs of its own, used by one member or by several that are merged.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "cell_", _om_label = "cell")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct CellMetrics {
    #[stat(desc = "CPUs, as a list")]
    pub cpus: String,
    #[stat(desc = "Number of CPUs", _om_gauge)]
    pub nr_cpus: u64,
    #[stat(desc = "Members that live in it, by name")]
    pub members: String,
    #[stat(
        desc = "Tasks of its members, sleeping ones included; each counts where it was last seen runnable",
        _om_gauge
    )]
    pub nr_tasks: u64,
    #[stat(desc = "CPUs of full speed that its members used, averaged")]
    pub utilisation: f64,
    #[stat(desc = "CPUs of full speed that its members could keep busy, averaged")]
    pub demand: f64,
    #[stat(desc = "How often its id was given to a new cell before", _om_gauge)]
    pub generation: u64,
    #[stat(desc = "Whether its idle CPUs may be used by others: 0 or 1", _om_gauge)]
    pub lend: u64,
    #[stat(desc = "Whether its tasks may use idle CPUs of others: 0 or 1", _om_gauge)]
    pub borrow: u64,
    #[stat(desc = "CPU time that tasks of other cells used on its CPUs, ns")]
    pub lent_ns: u64,
}

/// One member: a cgroup, a named cell of the configuration file, or `/`, which is everything else.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(_om_prefix = "member_", _om_label = "member")]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct MemberMetrics {
    #[stat(desc = "The cell it lives in", _om_gauge)]
    pub cell: u64,
    #[stat(desc = "Whether it shares that cell with other members: 0 or 1", _om_gauge)]
    pub merged: u64,
    #[stat(desc = "CPUs of that cell, as a list")]
    pub cpus: String,
    #[stat(desc = "Paths of the cgroups that belong to it, separated by commas")]
    pub cgroups: String,
    #[stat(desc = "Cgroups that belong to it", _om_gauge)]
    pub nr_cgroups: u64,
    #[stat(desc = "Weight", _om_gauge)]
    pub weight: u64,
    #[stat(desc = "Tasks, sleeping ones included; each counts where it was last seen runnable", _om_gauge)]
    pub nr_tasks: u64,
    #[stat(desc = "CPUs of full speed it used, averaged")]
    pub utilisation: f64,
    #[stat(desc = "CPUs of full speed it could keep busy, averaged")]
    pub demand: f64,
    #[stat(desc = "CPU time used, ns")]
    pub used_ns: u64,
    #[stat(desc = "CPU time used on CPUs of other cells, ns")]
    pub borrowed_ns: u64,
    #[stat(desc = "Time waited for a CPU, ns, summed over tasks")]
    pub waited_ns: u64,
    #[stat(desc = "Median wait in the last round, µs, rounded up to a power of two", _om_gauge)]
    pub wait_p50_us: u64,
    #[stat(desc = "95th percentile of waits in the last round, µs, rounded up to a power of two", _om_gauge)]
    pub wait_p95_us: u64,
    #[stat(desc = "99th percentile of waits in the last round, µs, rounded up to a power of two", _om_gauge)]
    pub wait_p99_us: u64,
    #[stat(desc = "Placements on an idle CPU of the own cell, percent of all")]
    pub local_pct: f64,
    #[stat(desc = "Placements on the queue of the only CPU allowed, percent of all")]
    pub cpu_queue_pct: f64,
    #[stat(desc = "Placements on the cell's queue, percent of all")]
    pub cell_queue_pct: f64,
    #[stat(desc = "Runs on a CPU of another cell, percent of all placements and those runs")]
    pub borrowed_pct: f64,
    #[stat(desc = "Wake-ups that took back a lent CPU")]
    pub reclaimed: u64,
    #[stat(desc = "Placements outside of the own cell because the affinity names none of its CPUs")]
    pub violations: u64,
    #[stat(desc = "Runs on a CPU of the own cell at another cache")]
    pub steals: u64,
    #[stat(desc = "Taken out of queues that had lost their CPUs")]
    pub drained: u64,
    #[stat(desc = "Slices of others that were cut because single-CPU tasks waited")]
    pub shrunk: u64,
    #[stat(desc = "Slices renewed because nobody waited or the task's vtime was still the earliest")]
    pub kept: u64,
    #[stat(desc = "Tasks that changed cell")]
    pub moved: u64,
    #[stat(desc = "How often it came to share a cell with others")]
    pub merges: u64,
    #[stat(desc = "How often it got a cell to itself again")]
    pub splits: u64,
}

/// The whole scheduler. Counters are cumulative since the program started, across restarts in place; those of a member since
/// it was found.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(top)]
#[allow(
    missing_docs,
    reason = "each field is described by its stat attribute, which becomes its documentation"
)]
pub struct Metrics {
    #[stat(desc = "Rounds so far")]
    pub round: u64,
    #[stat(desc = "Rounds that failed and were skipped")]
    pub rounds_failed: u64,
    #[stat(desc = "Restarts in place after CPU hotplug")]
    pub restarts: u64,
    #[stat(desc = "Time of these figures, ns of CLOCK_MONOTONIC", _om_gauge)]
    pub at_ns: u64,
    #[stat(desc = "CPU time used by anybody since the last report, percent of all CPUs")]
    pub cpu_busy_pct: f64,
    #[stat(
        desc = "Sequence number of the configuration these figures belong to; begins anew at a restart in place",
        _om_gauge
    )]
    pub sequence: u64,
    #[stat(desc = "Configurations that were applied")]
    pub reconfigurations: u64,
    #[stat(desc = "CPUs that changed cell")]
    pub moved_cpus: u64,
    #[stat(desc = "Members that came to share a cell")]
    pub merges: u64,
    #[stat(desc = "Members that got a cell of their own again")]
    pub splits: u64,
    #[stat(desc = "Tasks that have a context, sleeping ones included", _om_gauge)]
    pub nr_tasks: u64,
    #[stat(desc = "Cells", _om_gauge)]
    pub nr_cells: u64,
    #[stat(desc = "Members, everything else included", _om_gauge)]
    pub nr_members: u64,
    #[stat(
        desc = "Cgroups for which there was no room, at the moment; they belong to everything else",
        _om_gauge
    )]
    pub members_refused: u64,
    #[stat(desc = "Errors while looking for cgroups or reading the configuration file")]
    pub discovery_errors: u64,
    #[stat(desc = "Rounds in which cpu.weight could not be made to count in full")]
    pub weight_errors: u64,
    #[stat(
        desc = "Wishes that the configuration in force does not meet, such as minima and cpusets; the log names them",
        _om_gauge
    )]
    pub unmet: u64,
    #[stat(desc = "Placements on an idle CPU of the own cell")]
    pub placed_local: u64,
    #[stat(desc = "Placements on the queue of the only CPU allowed")]
    pub placed_cpu_queue: u64,
    #[stat(desc = "Placements on a cell's queue")]
    pub placed_cell_queue: u64,
    #[stat(desc = "CPU time used on CPUs of other cells, ns")]
    pub borrowed_ns: u64,
    #[stat(desc = "Runs on CPUs of other cells")]
    pub borrowed: u64,
    #[stat(desc = "Wake-ups that took back a lent CPU")]
    pub reclaimed: u64,
    #[stat(desc = "Placements outside of the own cell because the affinity names none of its CPUs")]
    pub violations: u64,
    #[stat(desc = "Runs on a CPU of the own cell at another cache")]
    pub steals: u64,
    #[stat(desc = "Tasks taken out of queues that had lost their CPUs")]
    pub drained: u64,
    #[stat(desc = "Slices of others that were cut because single-CPU tasks waited")]
    pub shrunk: u64,
    #[stat(desc = "Slices renewed because nobody waited or the task's vtime was still the earliest")]
    pub kept: u64,
    #[stat(desc = "Tasks that changed cell")]
    pub moved: u64,
    #[stat(desc = "Callbacks that met a task without context or without any CPU")]
    pub no_context: u64,
    #[stat(desc = "The cells by id: every online CPU is in exactly one")]
    pub cells: BTreeMap<u32, CellMetrics>,
    #[stat(
        desc = "The members by name: paths of cgroups, or names of the configuration file; '/' is everything else"
    )]
    pub members: BTreeMap<String, MemberMetrics>,
}

impl Metrics {}

impl Figures for Metrics {
    fn descriptions() -> Vec<StatsMeta> {
        vec![CellMetrics::meta(), MemberMetrics::meta(), <Self as Meta>::meta()]
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "round {}  cpu {:.1}%  tasks {}  cells {} members {}  sequence {}",
            self.round, self.cpu_busy_pct, self.nr_tasks, self.nr_cells, self.nr_members, self.sequence
        )?;
        writeln!(
            out,
            "  changes {} cpus moved {} merges {} splits {}   rounds failed {} restarts {} refused {} errors {}",
            self.reconfigurations,
            self.moved_cpus,
            self.merges,
            self.splits,
            self.rounds_failed,
            self.restarts,
            self.members_refused,
            self.discovery_errors
        )?;
        writeln!(
            out,
            "  local {} cpu queue {} cell queue {} borrowed {} ({:.1} s) reclaimed {} kept {} moved {}",
            self.placed_local,
            self.placed_cpu_queue,
            self.placed_cell_queue,
            self.borrowed,
            self.borrowed_ns as f64 / 1e9,
            self.reclaimed,
            self.kept,
            self.moved
        )?;
        writeln!(
            out,
            "  steals {} drained {} shrunk {} violations {} without context {} unmet wishes {}",
            self.steals, self.drained, self.shrunk, self.violations, self.no_context, self.unmet
        )?;
        for (id, cell) in &self.cells {
            writeln!(
                out,
                "  cell {id:>3}  cpus {:>3} ({})  used {:.2} demand {:.2}  lent {:.1} s  {}",
                cell.nr_cpus,
                cell.cpus,
                cell.utilisation,
                cell.demand,
                cell.lent_ns as f64 / 1e9,
                cell.members
            )?;
        }
        for (name, member) in &self.members {
            writeln!(
                out,
                "  {name:<24} cell {:>3}{} tasks {:>5} used {:>6.2} demand {:>6.2}  wait µs p50 {} p95 {} p99 {}  \
                 local {:.0}% cpu {:.0}% queue {:.0}% borrowed {:.0}%",
                member.cell,
                if member.merged > 0 { "*" } else { " " },
                member.nr_tasks,
                member.utilisation,
                member.demand,
                member.wait_p50_us,
                member.wait_p95_us,
                member.wait_p99_us,
                member.local_pct,
                member.cpu_queue_pct,
                member.cell_queue_pct,
                member.borrowed_pct
            )?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests;
