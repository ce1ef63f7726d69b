// SPDX-License-Identifier: GPL-2.0-only
//! The assignment: its steps put together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use topology::CpuSet;

use super::check::check;
use super::counts::{Wish, counts};
use super::ground::Ground;
use super::merge::{Group, Member, groups};
use super::note::Note;
use super::place::{Want, place};
use super::quota::{Claim, Limit, quotas};
use super::tidy::tidy;
use super::types::{Assignment, Cell, CellId, Input, LlcPolicy, Outcome, PhysicalCell};

/// The range of the kernel's `cpu.weight`.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Who gets which CPU. Never panics and always answers with an assignment that passes [`check`]; what could not be done
/// as asked is in the notes. The order of the cells does not matter.
pub fn assign(input: &Input<'_>) -> Outcome {
    let mut notes = Vec::new();
    let ground = Ground::new(input.topology, input.domains);
    let cells = usable_cells(input, &mut notes);
    let members = members(&ground, &cells, &mut notes);
    let previous = input.previous.filter(|previous| previous.cells.first().is_some_and(|cell| cell.id == 0));
    let groups = groups(&ground, &members, previous, input.params, input.now_ns);
    let room = (input.params.max_cells as usize).clamp(1, ground.online.len().max(1));
    if cells.len() > room {
        notes.push(Note::Crowded { cells: cells.len(), room });
    }
    let owned = hand_out(&ground, &cells, &groups, previous, input, &mut notes);
    let mut assignment = named(&cells, &groups, owned, previous, input.params.max_cells.max(1));
    if let Err(violation) = check(input, &assignment) {
        notes.push(Note::Fallback { violation });
        assignment = everything_shared(&ground, &cells, previous, input.now_ns);
    }
    finish(assignment, input.previous, notes)
}

/// The cells by rising id, cell 0 first, without double ones and with figures that can be reckoned with.
fn usable_cells(input: &Input<'_>, notes: &mut Vec<Note>) -> Vec<Cell> {
    let mut cells: BTreeMap<CellId, Cell> = BTreeMap::new();
    for cell in input.cells {
        match cells.entry(cell.id) {
            Entry::Occupied(_) => notes.push(Note::Duplicate { cell: cell.id }),
            Entry::Vacant(free) => _ = free.insert(cell.clone()),
        }
    }
    let root = cells.remove(&CellId::ROOT).unwrap_or_else(|| Cell::new(CellId::ROOT));
    let root = Cell {
        cpuset: None,
        max_cpus: None,
        min_cpus: root.min_cpus.max(input.params.root_min_cpus).max(1),
        ..root
    };
    let mut cells: Vec<Cell> = std::iter::once(root).chain(cells.into_values()).collect();
    for cell in &mut cells {
        if !(cell.demand.is_finite() && cell.demand >= 0.0 && WEIGHTS.contains(&cell.weight)) {
            notes.push(Note::BadFigure { cell: cell.id });
            cell.demand = if cell.demand.is_finite() { cell.demand.max(0.0) } else { 0.0 };
            cell.weight = cell.weight.clamp(*WEIGHTS.start(), *WEIGHTS.end());
        }
        if cell.max_cpus.is_some_and(|max| max < cell.min_cpus) {
            notes.push(Note::MaximumBelowMinimum { cell: cell.id });
            cell.max_cpus = Some(cell.min_cpus);
        }
    }
    cells
}

/// The cells with their quotas and the CPUs they may use.
fn members(ground: &Ground<'_>, cells: &[Cell], notes: &mut Vec<Note>) -> Vec<Member> {
    let all = ground.online.len() as f64;
    let mut claims = Vec::with_capacity(cells.len());
    let mut members: Vec<Member> = Vec::with_capacity(cells.len());
    for cell in cells {
        let allowed = cell
            .cpuset
            .as_ref()
            .map_or_else(|| ground.online.clone(), |set| set.intersection(&ground.online));
        if allowed.is_empty() && !ground.online.is_empty() {
            notes.push(Note::CpusetOffline { cell: cell.id });
        }
        let bound = if allowed.is_empty() { all } else { ground.worth(&allowed) };
        let most = cell.max_cpus.map_or(bound, |max| f64::from(max.max(1)).min(bound));
        claims.push(Claim {
            weight: f64::from(cell.weight),
            demand: ground.average_cpus(cell.demand).min(f64::from(u32::MAX)),
            min: f64::from(cell.min_cpus).min(most),
            max: if cell.id == CellId::ROOT { all } else { most },
        });
        members.push(Member { id: cell.id, quota: 0.0, allowed });
    }
    let sets: BTreeSet<&CpuSet> = members
        .iter()
        .map(|member| &member.allowed)
        .filter(|set| !set.is_empty() && **set != ground.online)
        .collect();
    let confined = |set: &CpuSet| {
        let inside = |at: &usize| !members[*at].allowed.is_empty() && members[*at].allowed.is_subset(set);
        (0..members.len()).filter(inside).collect()
    };
    let mut limits: Vec<Limit> =
        sets.into_iter().map(|set| Limit { capacity: ground.worth(set), claims: confined(set) }).collect();
    limits.push(Limit { capacity: all, claims: (0..members.len()).collect() });
    // Small sets first: their minima are scaled before those of sets around them.
    limits.sort_by(|a, b| a.capacity.total_cmp(&b.capacity));
    let found = quotas(&claims, &limits);
    members.iter_mut().zip(found).for_each(|(member, quota)| member.quota = quota);
    members
}

/// CPUs for every group.
fn hand_out(
    ground: &Ground<'_>,
    cells: &[Cell],
    groups: &[Group],
    previous: Option<&Assignment>,
    input: &Input<'_>,
    notes: &mut Vec<Note>,
) -> Vec<CpuSet> {
    let keep: Vec<CpuSet> = groups
        .iter()
        .map(|group| {
            let had = group.lineage.iter().filter_map(|&at| previous?.cells.get(at));
            had.fold(CpuSet::new(), |all, cell| all.union(&cell.cpus)).intersection(&group.allowed)
        })
        .collect();
    // CPUs worth little count as less than one; cells that may use only those need more of them.
    let per_cpu = |group: &Group| ground.worth(&group.allowed) / group.allowed.len().max(1) as f64;
    let wishes: Vec<Wish<'_>> = groups
        .iter()
        .zip(&keep)
        .enumerate()
        .map(|(at, (group, keep))| {
            let of = |member: &usize| &cells[*member];
            let min: u32 =
                group.members.iter().map(|member| of(member).min_cpus).fold(0, u32::saturating_add);
            let max: Option<u32> = group
                .members
                .iter()
                .try_fold(0u32, |sum, member| Some(sum.saturating_add(of(member).max_cpus?.max(1))));
            let max = max.filter(|_| at != 0).map_or(usize::MAX, |max| max as usize);
            Wish {
                quota: group.quota / per_cpu(group).max(f64::MIN_POSITIVE),
                min: (min as usize).clamp(1, group.allowed.len().max(1)),
                max: max.min(group.allowed.len()),
                allowed: &group.allowed,
                has: keep.len(),
            }
        })
        .collect();
    let settled = groups.iter().all(|group| group.lineage.len() == 1);
    let counts = counts(ground, &wishes, settled, input.params.keep_within);
    for (group, &count) in groups.iter().zip(&counts) {
        let short = group.members.iter().find(|&&member| cells[member].min_cpus as usize > count);
        if let Some(&member) = short.filter(|_| !ground.online.is_empty()) {
            let Cell { id, min_cpus, .. } = cells[member];
            notes.push(Note::BelowMinimum { cell: id, wanted: min_cpus, got: count as u32 });
        }
    }
    let policy = |group: &Group| {
        let spread = group.members.iter().all(|&member| cells[member].llc == LlcPolicy::Spread);
        if spread { LlcPolicy::Spread } else { LlcPolicy::Pack }
    };
    let wants: Vec<Want<'_>> = groups
        .iter()
        .zip(keep)
        .zip(&counts)
        .map(|((group, keep), &count)| Want {
            count,
            worth: group.quota,
            allowed: &group.allowed,
            keep,
            llc: policy(group),
        })
        .collect();
    let mut owned = place(ground, &wants);
    let allowed: Vec<&CpuSet> = groups.iter().map(|group| &group.allowed).collect();
    tidy(ground, &mut owned, &allowed, input.params.tidy_moves);
    owned
}

/// Physical cells with ids: a group keeps the id of the largest cell it came from; new ones get ids that nobody had just
/// now, if there are any.
fn named(
    cells: &[Cell],
    groups: &[Group],
    owned: Vec<CpuSet>,
    previous: Option<&Assignment>,
    max_cells: u32,
) -> Assignment {
    let before = previous.map_or(&[][..], |previous| &previous.cells);
    let mut generations = previous.map_or_else(Vec::new, |previous| previous.generations.clone());
    let inherited = |(at, group): (usize, &Group)| {
        let ids = group.lineage.iter().filter_map(|&at| before.get(at)).filter(|cell| cell.id < max_cells);
        let largest =
            ids.max_by_key(|cell| (cell.cpus.len(), std::cmp::Reverse(cell.id))).map(|cell| cell.id);
        if at == 0 { Some(0) } else { largest }
    };
    let mut ids: Vec<Option<u32>> = groups.iter().enumerate().map(inherited).collect();
    let kept: BTreeSet<u32> = ids.iter().flatten().copied().collect();
    let recent: BTreeSet<u32> = before.iter().map(|cell| cell.id).collect();
    let (unused, just_freed): (Vec<u32>, Vec<u32>) =
        (1..max_cells).filter(|id| !kept.contains(id)).partition(|id| !recent.contains(id));
    let mut fresh = unused.into_iter().chain(just_freed);
    let mut physical: Vec<PhysicalCell> = Vec::with_capacity(groups.len());
    for ((group, id), cpus) in groups.iter().zip(&mut ids).zip(owned) {
        let old = *id;
        let Some(id) = old.or_else(|| fresh.next()) else { continue };
        let slot = id as usize;
        if generations.len() <= slot {
            generations.resize(slot + 1, u32::MAX);
        }
        // Never used counts as one before 0.
        if old.is_none() || generations[slot] == u32::MAX {
            generations[slot] = generations[slot].wrapping_add(1);
        }
        let mut members: Vec<CellId> = group.members.iter().map(|&member| cells[member].id).collect();
        members.sort_unstable();
        physical.push(PhysicalCell {
            id,
            generation: generations[slot],
            cpus,
            members,
            lend: group.members.iter().all(|&member| cells[member].lend),
            borrow: group.members.iter().all(|&member| cells[member].borrow),
            since_ns: group.since_ns,
        });
    }
    physical.sort_by_key(|cell| cell.id);
    Assignment { sequence: 0, cells: physical, generations }
}

/// One physical cell for everybody: what holds when nothing better can be found.
fn everything_shared(
    ground: &Ground<'_>,
    cells: &[Cell],
    previous: Option<&Assignment>,
    now_ns: u64,
) -> Assignment {
    let everybody = Group {
        members: (0..cells.len()).collect(),
        quota: ground.online.len() as f64,
        allowed: ground.online.clone(),
        lineage: previous.map(|_| 0).into_iter().collect(),
        since_ns: Some(now_ns),
    };
    named(cells, &[everybody], vec![ground.online.clone()], previous, 1)
}

/// Compares with what was before.
fn finish(mut assignment: Assignment, previous: Option<&Assignment>, notes: Vec<Note>) -> Outcome {
    let Some(previous) = previous else {
        assignment.sequence = 1;
        let merges = assignment.cells.iter().map(|cell| cell.members.len() as u32 - 1).sum();
        return Outcome { assignment, changed: true, moved: CpuSet::new(), merges, splits: 0, notes };
    };
    let changed = assignment.cells != previous.cells;
    assignment.sequence = previous.sequence + u64::from(changed);
    let mut moved = CpuSet::new();
    let mut now: HashMap<usize, (u32, u32)> = HashMap::new();
    for cell in &assignment.cells {
        cell.cpus.iter().for_each(|cpu| _ = now.insert(cpu, (cell.id, cell.generation)));
    }
    for cell in &previous.cells {
        let lost = |cpu: &usize| now.get(cpu).is_some_and(|owner| *owner != (cell.id, cell.generation));
        moved.extend(cell.cpus.iter().filter(lost));
    }
    let merges = crossings(&assignment, previous, true);
    let splits = crossings(previous, &assignment, false);
    Outcome { assignment, changed, moved, merges, splits, notes }
}

/// How many cells of `other` the cells of `these` are made of, beyond one each. Members that `other` does not know count
/// as a cell each if `strangers` is set.
fn crossings(these: &Assignment, other: &Assignment, strangers: bool) -> u32 {
    let home: HashMap<CellId, u32> =
        other.cells.iter().flat_map(|cell| cell.members.iter().map(|member| (*member, cell.id))).collect();
    let parts = |cell: &PhysicalCell| {
        let known: BTreeSet<u32> =
            cell.members.iter().filter_map(|member| home.get(member).copied()).collect();
        let unknown = cell.members.iter().filter(|member| strangers && !home.contains_key(member)).count();
        (known.len() + unknown).saturating_sub(1) as u32
    };
    these.cells.iter().map(parts).sum()
}
