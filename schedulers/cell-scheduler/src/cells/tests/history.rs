// SPDX-License-Identifier: GPL-2.0-only
//! Random histories: demands, cpusets, cells and CPUs come and go; the postcondition holds at each step, movement is
//! bounded, and bookkeeping adds up.

use proptest::prelude::*;

use super::properties::{cells, machines};
use super::*;

/// The sum over physical cells of what each had to give up: its former CPUs beyond what it has now. Cells that merged
/// count as one.
fn given_up(before: &Assignment, after: &Assignment, online: &CpuSet) -> usize {
    let mut had: Vec<usize> = vec![0; after.cells.len()];
    let mut lost = 0;
    for cell in &before.cells {
        let still = cell.cpus.intersection(online).len();
        let heir =
            after.cells.iter().position(|new| cell.members.iter().any(|member| new.members.contains(member)));
        match heir {
            // A cell that split counts for one of its heirs, which is the one that keeps the id if any does.
            Some(first) => {
                let same =
                    after.cells.iter().position(|new| new.id == cell.id && new.generation == cell.generation);
                had[same.unwrap_or(first)] += still;
            }
            None => lost += still,
        }
    }
    lost + had.iter().zip(&after.cells).map(|(had, now)| had.saturating_sub(now.cpus.len())).sum::<usize>()
}

#[derive(Debug, Clone)]
enum Step {
    Demand(prop::sample::Index, f64),
    Cells(Vec<Cell>),
    Remove(prop::sample::Index),
    Recreate(prop::sample::Index),
    Toggle(prop::sample::Index),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<prop::sample::Index>(), 0.0f64..30.0).prop_map(|(at, demand)| Step::Demand(at, demand)),
        1 => cells(30).prop_map(Step::Cells),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => any::<prop::sample::Index>().prop_map(Step::Recreate),
        1 => any::<prop::sample::Index>().prop_map(Step::Toggle),
        2 => (0u64..20_000_000_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..12)
}

fn apply(world: &mut World, cells: &mut Vec<Cell>, step: Step) {
    match step {
        Step::Demand(at, demand) if !cells.is_empty() => at.get_mut(cells).demand = demand,
        Step::Remove(at) if !cells.is_empty() => _ = cells.remove(at.index(cells.len())),
        Step::Recreate(at) if !cells.is_empty() => {
            let cell = at.get_mut(cells);
            cell.id.generation += u32::from(cell.id != CellId::ROOT);
        }
        Step::Cells(new) => {
            let slots = new.iter().map(|cell| cell.id.slot);
            let generation =
                |slot| cells.iter().find(|old| old.id.slot == slot).map_or(0, |old| old.id.generation);
            *cells = slots
                .zip(new.clone())
                .map(|(slot, cell)| Cell { id: CellId { slot, generation: generation(slot) }, ..cell })
                .collect();
        }
        Step::Toggle(at) if world.topology.cpus.len() > 1 => {
            let cpu = 1 + at.index(world.topology.cpus.len() - 1);
            world.topology.cpus[cpu].online ^= true;
            world.domains = world.topology.domains(&DomainSpec::Llc, 16).unwrap();
        }
        Step::Wait(time_ns) => world.now_ns += time_ns,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_history(machine in machines(), first in cells(30), steps in steps()) {
        let mut world = World::of(machine);
        let mut cells = first;
        world.assign(&cells);
        for step in steps {
            apply(&mut world, &mut cells, step);
            let before = world.previous.clone().unwrap();
            let outcome = world.assign(&cells);
            let after = &outcome.assignment;
            prop_assert_eq!(outcome.changed, before.cells != after.cells);
            prop_assert_eq!(after.sequence, before.sequence + u64::from(outcome.changed));
            for cpu in &outcome.moved {
                let owner = |assignment: &Assignment| {
                    let cell = assignment.cell(assignment.owner_of(cpu)?)?;
                    Some((cell.id, cell.generation))
                };
                prop_assert!(owner(&before).is_some() && owner(&before) != owner(after));
            }
            // One identity never stands for cells that have no member in common.
            for cell in &after.cells {
                let old = before.cell(cell.id).filter(|old| old.generation == cell.generation);
                let related = old.is_none_or(|old| cell.id == 0 || old.members.iter().any(|m| cell.members.contains(m)));
                prop_assert!(related, "{:?} was {:?}", cell, old);
            }
        }
    }

    #[test]
    fn movement_is_bounded_without_cpusets(machine in machines(), first in cells(30), steps in steps()) {
        let mut world = World::of(machine);
        let free = |cells: Vec<Cell>| -> Vec<Cell> {
            cells.into_iter().map(|cell| Cell { cpuset: None, ..cell }).collect()
        };
        let mut cells = free(first);
        world.assign(&cells);
        for step in steps {
            apply(&mut world, &mut cells, step);
            cells = free(cells);
            let before = world.previous.clone().unwrap();
            let outcome = world.assign(&cells);
            // What a merged-away cell had has another id now, though nothing had to move for it.
            let renamed: usize = before
                .cells
                .iter()
                .filter(|old| outcome.assignment.cell(old.id).is_none_or(|new| new.generation != old.generation))
                .map(|old| old.cpus.len())
                .sum();
            let bound = given_up(&before, &outcome.assignment, &world.topology.online()) + renamed;
            prop_assert!(
                outcome.moved.len() <= bound + world.params.tidy_moves,
                "{} moved, bound {}: {:?} to {:?}", outcome.moved.len(), bound, before, outcome.assignment
            );
        }
    }

    #[test]
    fn one_cell_that_grows_takes_no_more_than_it_grows(
        demands in proptest::collection::vec(1.0f64..8.0, 2..6), grown in 1.0f64..20.0,
    ) {
        let mut world = World::new("2n2l8c1t");
        let mut cells: Vec<Cell> = demands.iter().zip(1..).map(|(&demand, slot)| busy(slot, demand)).collect();
        let before = world.settle(&cells);
        cells[0].demand += grown;
        let outcome = world.assign(&cells);
        // One thread a core: nothing to tidy, so exactly what the others gave.
        prop_assert_eq!(outcome.moved.len(), given_up(&before, &outcome.assignment, &world.topology.online()));
    }
}
