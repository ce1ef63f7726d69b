// SPDX-License-Identifier: GPL-2.0-only
//! More cells than CPUs: merging, splitting, ids.

use super::*;

fn idle(count: u32) -> Vec<Cell> {
    (1..=count).map(|slot| busy(slot, 0.0)).collect()
}

#[test]
fn three_hundred_cells_on_64_cpus_merge_and_split() {
    let mut world = World::new("2n4l8c1t");
    let mut cells = idle(300);
    let first = world.assign(&cells);
    assert!(first.assignment.cells.len() <= 64 && first.assignment.cells.len() > 32);
    assert_eq!(first.assignment.cells[0].members, [CellId::ROOT], "nobody shares with cell 0 without need");
    assert!(first.merges >= 236);
    assert_eq!(world.settle(&cells), first.assignment, "nothing happens without a reason");

    // One of them wakes up.
    cells[17].demand = 20.0;
    world.rest();
    let woken = world.assign(&cells);
    assert_eq!(woken.splits, 1);
    let alone = woken.assignment.physical_of(id(18)).unwrap();
    assert_eq!(alone.members, [id(18)]);
    // Two dozen other groups are worth less than a CPU then, and give way over time.
    let settled = world.settle(&cells);
    let grown = cpus(&settled, 18).len();
    assert!(grown >= 18, "{grown} CPUs");

    // It sleeps again: shares again.
    cells[17].demand = 0.0;
    let asleep = world.settle(&cells);
    assert!(asleep.physical_of(id(18)).unwrap().members.len() > 1 || cpus(&asleep, 18).len() <= 2);

    // All but a few go away: everybody who is left is alone.
    let left = world.settle(&cells[..20]);
    assert_eq!(left.cells.len(), 21);
    assert!(left.cells.iter().all(|cell| cell.members.len() == 1));
}

#[test]
fn the_least_demanding_share() {
    let mut world = World::new("1n1l4c1t");
    let cells: Vec<Cell> =
        [3.0, 0.1, 2.0, 0.2, 0.1].iter().zip(1..).map(|(&demand, slot)| busy(slot, demand)).collect();
    let settled = world.settle(&cells);
    for slot in [1, 3] {
        assert_eq!(settled.physical_of(id(slot)).unwrap().members, [id(slot)]);
    }
    let together = settled.physical_of(id(2)).unwrap();
    assert_eq!(together.members, [id(2), id(4), id(5)]);
}

#[test]
fn a_demand_on_the_edge_does_not_flap() {
    let mut world = World::new("1n2l4c1t");
    let mut cells = idle(30);
    cells[0].demand = 5.0;
    world.settle(&cells);
    let mut changes = 0;
    for round in 0..100 {
        // Swings around the level at which a cell is worth a CPU of its own, well above and well below.
        cells[1].demand = if round % 2 == 0 { 1.5 } else { 0.1 };
        world.now_ns += world.params.cool_down_ns / 10;
        let outcome = world.assign(&cells);
        changes += outcome.merges + outcome.splits;
    }
    // 100 rounds are 10 cool-downs.
    assert!(changes <= 40, "{changes} merges and splits");
}

#[test]
fn the_table_limits_the_cells() {
    let mut world = World::new("2n4l8c1t");
    world.params.max_cells = 5;
    let cells: Vec<Cell> = (1..=40).map(|slot| busy(slot, 2.0)).collect();
    let settled = world.settle(&cells);
    assert_eq!(settled.cells.len(), 5);
    world.params.max_cells = 1;
    let one = world.settle(&cells);
    assert_eq!(one.cells.len(), 1);
    assert_eq!(one.cells[0].members.len(), 41);
    // Disjoint cpusets share cell 0 if there is no other way, and no CPU is lost.
    world.params.max_cells = 3;
    let apart: Vec<Cell> =
        (0..8).map(|at| confined(at + 1, 4.0, &format!("{}-{}", at * 4, at * 4 + 3))).collect();
    assert_eq!(world.settle(&apart).cells.len(), 3);
}

#[test]
fn a_physical_id_is_reused_with_another_generation() {
    let mut world = World::new("1n1l4c1t");
    let before = world.settle(&[busy(1, 2.0), busy(2, 1.0)]);
    let gone = before.physical_of(id(1)).unwrap().clone();
    world.settle(&[busy(2, 1.0)]);
    let again = CellId { slot: 1, generation: 1 };
    let mut cells = vec![busy(2, 1.0), Cell { demand: 2.0, ..Cell::new(again) }];
    let after = world.settle(&cells);
    let new = after.physical_of(again).unwrap();
    assert!(new.id != gone.id || new.generation == gone.generation + 1, "{new:?} after {gone:?}");
    assert_eq!(after.physical_of(id(2)).unwrap().generation, before.physical_of(id(2)).unwrap().generation);
    // At once, in one step: still another identity.
    cells[1].id.generation = 2;
    let swapped = world.assign(&cells).assignment;
    let third = swapped.physical_of(cells[1].id).unwrap();
    assert_ne!((third.id, third.generation), (new.id, new.generation));
}

#[test]
fn thousands_of_cells_are_no_reason_to_fail() {
    let mut world = World::new("1n2l4c1t");
    let cells: Vec<Cell> = (1..=3000).map(|slot| busy(slot, f64::from(slot % 7) / 100.0)).collect();
    let outcome = world.assign(&cells);
    assert_eq!(outcome.assignment.cells.iter().map(|cell| cell.members.len()).sum::<usize>(), 3001);
}
