// SPDX-License-Identifier: GPL-2.0-only
//! The postcondition of an assignment.

use std::collections::HashMap;

use topology::CpuSet;

use super::types::{Assignment, Cell, CellId, Input};

/// What is wrong with an assignment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// There is no cell 0, or it does not hold [`CellId::ROOT`].
    #[error("cell 0 is missing")]
    NoRoot,
    /// Ids do not rise, or reach the limit.
    #[error("cell id {id} is out of order or beyond the table")]
    BadId {
        /// The id.
        id: u32,
    },
    /// A CPU belongs to two cells.
    #[error("CPU {cpu} is in two cells")]
    TwoOwners {
        /// The CPU.
        cpu: usize,
    },
    /// An online CPU belongs to no cell.
    #[error("CPU {cpu} is in no cell")]
    NoOwner {
        /// The CPU.
        cpu: usize,
    },
    /// A cell has a CPU that is not online.
    #[error("CPU {cpu} is not online")]
    Offline {
        /// The CPU.
        cpu: usize,
    },
    /// A physical cell has no CPU.
    #[error("cell {id} has no CPU")]
    Empty {
        /// The cell.
        id: u32,
    },
    /// A logical cell is in no physical cell, in two, or unknown.
    #[error("logical cell {slot} is not in exactly one cell")]
    BadMember {
        /// Its slot.
        slot: u32,
    },
    /// A cell has a CPU that the cpuset of a member forbids, or, for a member of cell 0, none that it admits.
    #[error("logical cell {slot} does not fit the CPUs of its cell")]
    OutsideCpuset {
        /// Its slot.
        slot: u32,
    },
    /// A cell has more CPUs than its members' maxima.
    #[error("cell {id} has more CPUs than its maximum")]
    AboveMaximum {
        /// The cell.
        id: u32,
    },
}

/// Checks that every online CPU is in exactly one cell and no other CPU in any, that no cell is without a CPU, that
/// every logical cell is in exactly one physical one, that cpusets and maxima are kept, and that cell 0 is there.
///
/// A cell's CPUs are all in the cpuset of each of its members. Members of physical cell 0 besides cell 0 itself need one
/// CPU of theirs there; those without any online CPU in their cpuset need none, nor do any if there are more logical
/// cells than table entries. On a machine without online CPUs, cell 0
/// alone may be empty.
///
/// # Errors
/// The first thing that does not hold.
pub fn check(input: &Input<'_>, assignment: &Assignment) -> Result<(), Violation> {
    let online = input.topology.online();
    ids(input, assignment)?;
    let mut owned = CpuSet::new();
    for cell in &assignment.cells {
        if let Some(cpu) = cell.cpus.intersection(&owned).first() {
            return Err(Violation::TwoOwners { cpu });
        }
        if cell.cpus.is_empty() && !(cell.id == 0 && online.is_empty()) {
            return Err(Violation::Empty { id: cell.id });
        }
        owned.extend_from(&cell.cpus);
    }
    if let Some(cpu) = owned.difference(&online).first() {
        return Err(Violation::Offline { cpu });
    }
    if let Some(cpu) = online.difference(&owned).first() {
        return Err(Violation::NoOwner { cpu });
    }
    members(input, assignment, &online)
}

fn ids(input: &Input<'_>, assignment: &Assignment) -> Result<(), Violation> {
    let root = assignment.cells.first().filter(|cell| cell.id == 0);
    if root.is_none_or(|cell| !cell.members.contains(&CellId::ROOT)) {
        return Err(Violation::NoRoot);
    }
    let limit = input.params.max_cells.max(1);
    let rises = |pair: &&[super::PhysicalCell]| pair[0].id >= pair[1].id;
    if let Some(pair) = assignment.cells.windows(2).find(rises) {
        return Err(Violation::BadId { id: pair[1].id });
    }
    match assignment.cells.iter().find(|cell| cell.id >= limit) {
        Some(cell) => Err(Violation::BadId { id: cell.id }),
        None => Ok(()),
    }
}

fn members(input: &Input<'_>, assignment: &Assignment, online: &CpuSet) -> Result<(), Violation> {
    // The first of those with the same id counts.
    let mut cells: HashMap<CellId, &Cell> = HashMap::new();
    for cell in input.cells {
        cells.entry(cell.id).or_insert(cell);
    }
    let known = cells.len() + usize::from(!cells.contains_key(&CellId::ROOT));
    let crowded = known > input.params.max_cells as usize;
    let mut missing: HashMap<CellId, ()> = cells.keys().map(|id| (*id, ())).collect();
    missing.insert(CellId::ROOT, ());
    for physical in &assignment.cells {
        let mut most = Some(0usize);
        for member in &physical.members {
            let bad = Violation::BadMember { slot: member.slot };
            missing.remove(member).ok_or(bad)?;
            let cell = cells.get(member).filter(|_| *member != CellId::ROOT);
            let max = cell.and_then(|cell| Some(cell.max_cpus?.max(cell.min_cpus).max(1) as usize));
            most = most.and_then(|most| Some(most + max?));
            if let Some(set) = cell.and_then(|cell| cell.cpuset.as_ref()) {
                let usable = set.intersection(online);
                let fits = match physical.id {
                    0 => crowded || usable.is_empty() || usable.intersects(&physical.cpus),
                    _ => physical.cpus.is_subset(&usable),
                };
                if !fits {
                    return Err(Violation::OutsideCpuset { slot: member.slot });
                }
            }
        }
        if most.is_some_and(|most| physical.cpus.len() > most) {
            return Err(Violation::AboveMaximum { id: physical.id });
        }
    }
    match missing.keys().min() {
        Some(id) => Err(Violation::BadMember { slot: id.slot }),
        None => Ok(()),
    }
}
