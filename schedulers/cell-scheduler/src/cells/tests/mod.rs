// SPDX-License-Identifier: GPL-2.0-only
//! The assignment on machines and histories of all kinds.

mod cases;
mod crowds;
mod history;
mod parts;
mod properties;
mod registry;

use topology::{CpuSet, DomainSet, DomainSpec, Topology};

use super::{Assignment, Cell, CellId, Input, Outcome, Params, assign, check};

/// A machine with its blocks, and a history of assignments on it.
pub struct World {
    pub topology: Topology,
    pub domains: DomainSet,
    pub params: Params,
    pub previous: Option<Assignment>,
    pub now_ns: u64,
}

impl World {
    pub fn of(topology: Topology) -> Self {
        let domains = topology.domains(&DomainSpec::Llc, 16).unwrap();
        Self { topology, domains, params: Params::default(), previous: None, now_ns: 1_000_000_000 }
    }

    pub fn new(spec: &str) -> Self {
        Self::of(Topology::from_spec(spec).unwrap())
    }

    /// What would be assigned now.
    pub fn try_assign(&self, cells: &[Cell]) -> Outcome {
        let input = self.input(cells);
        let outcome = assign(&input);
        check(&input, &outcome.assignment).unwrap();
        let fallback = outcome.notes.iter().find(|note| matches!(note, super::Note::Fallback { .. }));
        assert_eq!(fallback, None);
        outcome
    }

    /// Assigns and keeps the result.
    pub fn assign(&mut self, cells: &[Cell]) -> Outcome {
        let outcome = self.try_assign(cells);
        self.previous = Some(outcome.assignment.clone());
        outcome
    }

    /// Lets every cool-down pass.
    pub fn rest(&mut self) {
        self.now_ns += self.params.cool_down_ns;
    }

    /// Assigns again and again, with time passing, until nothing changes.
    pub fn settle(&mut self, cells: &[Cell]) -> Assignment {
        for _ in 0..200 {
            self.rest();
            if !self.assign(cells).changed {
                return self.previous.clone().unwrap();
            }
        }
        panic!("still changing after 200 rounds: {:?}", self.previous);
    }

    pub fn input<'a>(&'a self, cells: &'a [Cell]) -> Input<'a> {
        Input {
            topology: &self.topology,
            domains: &self.domains,
            cells,
            previous: self.previous.as_ref(),
            params: &self.params,
            now_ns: self.now_ns,
        }
    }
}

pub fn id(slot: u32) -> CellId {
    CellId { slot, generation: 0 }
}

/// A cell with demand.
pub fn busy(slot: u32, demand: f64) -> Cell {
    Cell { demand, ..Cell::new(id(slot)) }
}

/// A cell with demand and a cpuset.
pub fn confined(slot: u32, demand: f64, cpus: &str) -> Cell {
    Cell { cpuset: Some(set(cpus)), ..busy(slot, demand) }
}

pub fn set(list: &str) -> CpuSet {
    CpuSet::parse_list(list).unwrap()
}

/// The CPUs of a logical cell.
pub fn cpus(assignment: &Assignment, slot: u32) -> CpuSet {
    let found = assignment.cells.iter().find(|cell| cell.members.iter().any(|member| member.slot == slot));
    found.unwrap().cpus.clone()
}
