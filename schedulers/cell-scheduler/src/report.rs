// SPDX-License-Identifier: GPL-2.0-only
//! Statistics from a round's state. Everything about cells and members belongs to one configuration.

use runtime::seam::SeamError;

use crate::cells::PhysicalCell;
use crate::doors;
use crate::round::Round;
use crate::snapshot::{Counters, Totals};
use crate::stats::{CellMetrics, MemberMetrics, Metrics};
use crate::tenants::Member;

/// The statistics of this moment; the members' figures are those last observed.
///
/// # Errors
/// As [`Round::lent_ns`].
pub fn metrics(
    round: &Round<'_>,
    totals: &Totals,
    at_ns: u64,
    cpu_busy_pct: f64,
) -> Result<Metrics, SeamError> {
    let (counters, borrowed_ns) = round.tenants.sums();
    let running = &*round.running;
    let counters = running.counters + counters;
    let physical =
        round.assignment.as_ref().map(|assignment| assignment.cells.as_slice()).unwrap_or_default();
    let mut cells = std::collections::BTreeMap::new();
    for cell in physical {
        cells.insert(cell.id, cell_metrics(round, cell, round.lent_ns(cell)?));
    }
    if physical.is_empty() {
        // Before the first configuration the BPF side has everything in one cell.
        let lent_ns = doors::lent_ns(&*round.object, 0)?;
        cells.insert(0, first_cell(round, lent_ns));
    }
    let members = round.tenants.iter().map(|member| (member.name.clone(), member_metrics(round, member)));
    Ok(Metrics {
        round: running.rounds,
        rounds_failed: running.rounds_failed,
        restarts: running.restarts,
        at_ns,
        cpu_busy_pct,
        sequence: round.sequence,
        reconfigurations: running.reconfigurations,
        moved_cpus: running.moved_cpus,
        merges: running.merges,
        splits: running.splits,
        nr_tasks: totals.nr_tasks,
        nr_cells: cells.len() as u64,
        nr_members: round.tenants.len() as u64,
        members_refused: round.tenants.refused() as u64,
        discovery_errors: running.discovery_errors,
        weight_errors: running.weight_errors,
        unmet: round.unmet as u64,
        borrowed_ns: running.borrowed_ns + borrowed_ns,
        placed_local: counters.local,
        placed_cpu_queue: counters.cpu_queue,
        placed_cell_queue: counters.cell_queue,
        borrowed: counters.borrowed,
        reclaimed: counters.reclaimed,
        violations: counters.violations,
        steals: counters.steals,
        drained: counters.drained,
        shrunk: counters.shrunk,
        kept: counters.kept,
        moved: counters.moved,
        no_context: running.no_context + totals.nr_no_context,
        cells,
        members: members.collect(),
    })
}

fn first_cell(round: &Round<'_>, lent_ns: u64) -> CellMetrics {
    let online = round.machine.topology.online();
    CellMetrics {
        cpus: online.to_string(),
        nr_cpus: online.len() as u64,
        lend: 1,
        borrow: 1,
        lent_ns,
        ..shared_by(round, &round.tenants.iter().collect::<Vec<_>>())
    }
}

fn cell_metrics(round: &Round<'_>, cell: &PhysicalCell, lent_ns: u64) -> CellMetrics {
    let members: Vec<&Member> = cell.members.iter().filter_map(|id| round.tenants.get(*id)).collect();
    CellMetrics {
        cpus: cell.cpus.to_string(),
        nr_cpus: cell.cpus.len() as u64,
        generation: cell.generation.into(),
        lend: cell.lend.into(),
        borrow: cell.borrow.into(),
        lent_ns,
        ..shared_by(round, &members)
    }
}

/// What a cell has from those who live in it.
fn shared_by(round: &Round<'_>, members: &[&Member]) -> CellMetrics {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    CellMetrics {
        members: names.join(","),
        nr_tasks: members.iter().map(|member| member.live.nr_tasks).sum(),
        utilisation: members.iter().map(|member| round.demand.utilisation(member.id)).sum(),
        demand: members.iter().map(|member| round.demand.demand(member.id)).sum(),
        ..CellMetrics::default()
    }
}

fn member_metrics(round: &Round<'_>, member: &Member) -> MemberMetrics {
    let cell = round.assignment.as_ref().and_then(|assignment| assignment.physical_of(member.id));
    let (live, counters) = (&member.live, &member.live.counters);
    let placed = placements(counters);
    MemberMetrics {
        cell: cell.map_or(0, |cell| cell.id.into()),
        merged: cell.map_or(round.tenants.len() > 1, |cell| cell.members.len() > 1).into(),
        cpus: cell.map_or_else(|| round.machine.topology.online().to_string(), |cell| cell.cpus.to_string()),
        cgroups: member.paths.join(","),
        nr_cgroups: member.paths.len() as u64,
        weight: member.template.weight.into(),
        nr_tasks: live.nr_tasks,
        utilisation: round.demand.utilisation(member.id),
        demand: round.demand.demand(member.id),
        used_ns: live.used_ns,
        borrowed_ns: live.borrowed_ns,
        waited_ns: live.waited_ns,
        wait_p50_us: member.recent.wait_us(0.50),
        wait_p95_us: member.recent.wait_us(0.95),
        wait_p99_us: member.recent.wait_us(0.99),
        local_pct: percent(counters.local, placed),
        cpu_queue_pct: percent(counters.cpu_queue, placed),
        cell_queue_pct: percent(counters.cell_queue, placed),
        borrowed_pct: percent(counters.borrowed, placed),
        reclaimed: counters.reclaimed,
        violations: counters.violations,
        steals: counters.steals,
        drained: counters.drained,
        shrunk: counters.shrunk,
        kept: counters.kept,
        moved: counters.moved,
        merges: member.merges,
        splits: member.splits,
    }
}

/// All decisions that the percentages are shares of.
fn placements(counters: &Counters) -> u64 {
    counters.local + counters.cpu_queue + counters.cell_queue + counters.borrowed
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}
