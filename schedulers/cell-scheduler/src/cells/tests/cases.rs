// SPDX-License-Identifier: GPL-2.0-only
//! Single situations, with the answer that is wanted.

use super::super::{LlcPolicy, Note};
use super::*;

#[test]
fn without_cells_everything_is_cell_0s() {
    let mut world = World::new("1n2l4c2t");
    let outcome = world.assign(&[]);
    assert_eq!(outcome.assignment.cells.len(), 1);
    assert_eq!(cpus(&outcome.assignment, 0), set("0-15"));
    assert!(outcome.changed && outcome.notes.is_empty());
    assert!(!world.assign(&[]).changed);
}

#[test]
fn a_sensitive_cell_gets_what_it_needs_beside_a_hog() {
    let mut world = World::new("2n2l2c1t");
    let assignment = world.assign(&[busy(1, 2.0), busy(2, 32.0)]).assignment;
    let (root, sensitive, hog) = (cpus(&assignment, 0), cpus(&assignment, 1), cpus(&assignment, 2));
    assert_eq!((root.len(), sensitive.len(), hog.len()), (1, 2, 5));
    // A cache to itself.
    assert!(world.domains.domains.iter().any(|domain| domain.cpus == sensitive), "{sensitive}");
}

#[test]
fn whole_caches_then_whole_cores() {
    let mut world = World::new("2n4l4c2t");
    let full = |slot| Cell { max_cpus: Some(16), ..busy(slot, 16.0) };
    let assignment = world.assign(&[full(1), full(2), busy(3, 4.0), busy(4, 24.0)]).assignment;
    for slot in [1, 2, 4] {
        let cell = cpus(&assignment, slot);
        let whole = world.domains.domains.iter().filter(|domain| domain.cpus.is_subset(&cell)).count();
        assert_eq!(whole, cell.len() / 8, "cell {slot} has {cell}");
    }
    for core in &world.topology.cores {
        assert_eq!(assignment.cells.iter().filter(|cell| cell.cpus.intersects(&core.cpus)).count(), 1);
    }
    // Cells that fit on a node are on one.
    for slot in [1, 2, 3] {
        let cell = cpus(&assignment, slot);
        let nodes = world.topology.nodes.iter().filter(|node| node.cpus.intersects(&cell)).count();
        assert_eq!(nodes, 1, "cell {slot} has {cell}");
    }
}

#[test]
fn spreading_uses_all_caches() {
    let mut world = World::new("1n4l4c2t");
    let spread = Cell { llc: LlcPolicy::Spread, max_cpus: Some(8), ..busy(1, 8.0) };
    let assignment = world.assign(std::slice::from_ref(&spread)).assignment;
    let cell = cpus(&assignment, 1);
    for llc in &world.topology.llcs {
        assert_eq!(llc.cpus.intersection(&cell).len(), 2, "{cell}");
    }
    // Shrunk, it gives back evenly.
    let shrunk = world.assign(&[Cell { max_cpus: Some(4), ..spread }, busy(2, 40.0)]).assignment;
    let cell = cpus(&shrunk, 1);
    assert_eq!(cell.len(), 4);
    assert!(world.topology.llcs.iter().all(|llc| llc.cpus.intersection(&cell).len() <= 2), "{cell}");
}

#[test]
fn minima_and_maxima_hold() {
    let mut world = World::new("1n2l4c1t");
    let least = Cell { min_cpus: 3, ..busy(1, 0.0) };
    let most = Cell { max_cpus: Some(2), ..busy(2, 20.0) };
    let assignment = world.assign(&[least, most]).assignment;
    assert!(cpus(&assignment, 1).len() >= 3);
    assert_eq!(cpus(&assignment, 2).len(), 2);

    let greedy = |slot| Cell { min_cpus: 6, ..busy(slot, 0.0) };
    let outcome = World::new("1n2l4c1t").assign(&[greedy(1), greedy(2)]);
    assert!(outcome.notes.iter().any(|note| matches!(note, Note::BelowMinimum { wanted: 6, .. })));
    let lengths: Vec<usize> = (0..3).map(|slot| cpus(&outcome.assignment, slot).len()).collect();
    assert!(lengths[1] >= 3 && lengths[2] >= 3 && lengths[0] >= 1, "{lengths:?}");
}

#[test]
fn cell_0_keeps_a_cpu_when_cpusets_cover_all() {
    let mut world = World::new("1n2l4c1t");
    let cells = [confined(1, 8.0, "0-3"), confined(2, 8.0, "4-7")];
    let assignment = world.assign(&cells).assignment;
    assert_eq!(assignment.cells.len(), 3);
    assert_eq!(cpus(&assignment, 0).len(), 1);
    assert_eq!(cpus(&assignment, 1).len() + cpus(&assignment, 2).len(), 7);
}

#[test]
fn cell_0_shares_when_nobody_can_give_a_cpu() {
    let mut world = World::new("1n1l4c1t");
    let cells: Vec<Cell> = (0..4).map(|cpu| confined(cpu + 1, f64::from(cpu), &cpu.to_string())).collect();
    let outcome = world.assign(&cells);
    assert_eq!(outcome.assignment.cells.len(), 4);
    // With the least demanding one, which is on CPU 0.
    assert_eq!(outcome.assignment.physical_of(CellId::ROOT), outcome.assignment.physical_of(id(1)));
    assert_eq!(cpus(&outcome.assignment, 0), set("0"));
    assert!(outcome.notes.contains(&Note::Crowded { cells: 5, room: 4 }));
    world.rest();
    assert!(!world.assign(&cells).changed);
    // When a CPU is free again, cell 0 is alone.
    let fewer = world.settle(&cells[..3]);
    assert_eq!(fewer.cells[0].members, [CellId::ROOT]);
    assert_eq!(cpus(&fewer, 0), set("3"));
}

#[test]
fn overlapping_cpusets_are_shared_out() {
    let mut world = World::new("1n2l4c1t");
    let cells = [confined(1, 8.0, "0-5"), confined(2, 8.0, "2-7"), confined(3, 8.0, "2-5")];
    let assignment = world.assign(&cells).assignment;
    let lengths: Vec<usize> = (0..4).map(|slot| cpus(&assignment, slot).len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 8);
    assert!(lengths[1] >= 2 && lengths[2] >= 2 && lengths[3] >= 2, "{lengths:?}");
    // Equal cpusets that are too small for all: they share, and stay with each other.
    let tiny: Vec<Cell> = (1..5).map(|slot| confined(slot, 4.0, "6-7")).collect();
    let settled = world.settle(&tiny);
    let with_6_or_7 = settled.cells.iter().filter(|cell| cell.cpus.intersects(&set("6-7"))).count();
    assert_eq!(with_6_or_7, 2);
    assert_eq!(cpus(&settled, 0), set("0-5"));
}

#[test]
fn a_cell_without_online_cpus_lives_in_cell_0() {
    let mut topology = Topology::from_spec("1n2l2c1t").unwrap();
    topology.cpus[3].online = false;
    let mut world = World::of(topology);
    let cells = [confined(1, 2.0, "3"), confined(2, 2.0, "77"), confined(3, 2.0, ""), busy(4, 2.0)];
    let outcome = world.assign(&cells);
    assert_eq!(outcome.assignment.cells.len(), 2);
    assert_eq!(outcome.assignment.cells[0].members, [CellId::ROOT, id(1), id(2), id(3)]);
    let offline = |slot| Note::CpusetOffline { cell: id(slot) };
    assert_eq!(outcome.notes[..3], [offline(1), offline(2), offline(3)]);
    assert_eq!(offline(2).to_string().lines().count(), 1);
    // It comes online: the cell gets it.
    let mut back = World { previous: world.previous, ..World::new("1n2l2c1t") };
    let settled = back.settle(&cells);
    assert_eq!(cpus(&settled, 1), set("3"));
    assert_eq!(settled.cells[0].members, [CellId::ROOT, id(2), id(3)]);
}

#[test]
fn a_machine_without_online_cpus_is_one_empty_cell() {
    let mut topology = Topology::from_spec("1n1l2c1t").unwrap();
    topology.cpus.iter_mut().for_each(|cpu| cpu.online = false);
    let domains = topology.domains(&DomainSpec::Llc, 16).unwrap();
    let world = World { domains, ..World::of(Topology::from_spec("1n1l2c1t").unwrap()) };
    let world = World { topology, ..world };
    let outcome = world.try_assign(&[busy(1, 3.0), confined(2, 1.0, "0")]);
    assert_eq!(outcome.assignment.cells.len(), 1);
    assert!(outcome.assignment.cells[0].cpus.is_empty());
}

#[test]
fn unequal_cpus_are_shared_by_what_they_can_do() {
    let mut topology = Topology::from_spec("1n1l8c1t").unwrap();
    topology.cpus[4..].iter_mut().for_each(|cpu| cpu.capacity = 512);
    let mut world = World::of(topology);
    let cells = [busy(1, 20.0), busy(2, 20.0)];
    let assignment = world.assign(&cells).assignment;
    let worth: Vec<u64> = (1..3).map(|slot| world.topology.capacity(&cpus(&assignment, slot))).collect();
    assert!(worth[0].abs_diff(worth[1]) <= 512, "{worth:?}: {assignment:?}");
    // On little CPUs only, a cell needs more of them for the same work.
    let little = [confined(1, 1.5, "4-7"), busy(2, 20.0)];
    let mut fresh = World { previous: None, ..world };
    assert!(cpus(&fresh.assign(&little).assignment, 1).len() >= 3);
}

#[test]
fn figures_that_make_no_sense_are_corrected() {
    let mut world = World::new("1n1l4c1t");
    let cells = [
        Cell { weight: 0, ..busy(1, f64::NAN) },
        Cell { weight: u32::MAX, ..busy(2, -3.0) },
        busy(3, f64::INFINITY),
        Cell { min_cpus: u32::MAX, max_cpus: Some(0), ..busy(4, 1e300) },
        busy(4, 1.0),
    ];
    let outcome = world.assign(&cells);
    let bad = |slot| Note::BadFigure { cell: id(slot) };
    assert!([bad(1), bad(2), bad(3)].iter().all(|note| outcome.notes.contains(note)), "{:?}", outcome.notes);
    assert!(outcome.notes.contains(&Note::Duplicate { cell: id(4) }));
    assert!(outcome.notes.contains(&Note::MaximumBelowMinimum { cell: id(4) }));
}

#[test]
fn lending_is_refused_for_all_who_share_if_one_refuses() {
    let mut world = World::new("1n1l2c1t");
    let cells: Vec<Cell> =
        (1..5).map(|slot| Cell { lend: slot != 2, borrow: slot != 3, ..busy(slot, 0.0) }).collect();
    let assignment = world.assign(&cells).assignment;
    for cell in &assignment.cells {
        assert_eq!(cell.lend, !cell.members.contains(&id(2)));
        assert_eq!(cell.borrow, !cell.members.contains(&id(3)));
    }
}

#[test]
fn shared_cores_are_joined() {
    let mut world = World::new("1n1l4c2t");
    let cells = [busy(1, 4.0), busy(2, 4.0)];
    let mut bad = world.try_assign(&cells).assignment;
    // The same counts, but every core of the two is shared.
    for (cell, cpus) in bad.cells.iter_mut().zip([set("6-7"), set("0,2,4"), set("1,3,5")]) {
        cell.cpus = cpus;
    }
    world.previous = Some(bad);
    let settled = world.settle(&cells);
    let shared = |core: &&topology::Core| {
        settled.owner_of(core.cpus.first().unwrap()) != settled.owner_of(core.cpus.last().unwrap())
    };
    assert!(world.topology.cores.iter().filter(shared).count() <= 1, "{settled:?}");
}

#[test]
fn a_quota_that_wavers_between_two_counts_moves_nothing() {
    let mut world = World::new("1n2l8c1t");
    let first = world.assign(&[busy(0, 1.0), busy(1, 7.4), busy(2, 7.4)]).assignment;
    assert_eq!(cpus(&first, 1).len(), 8);
    let wavered = [busy(0, 1.0), busy(1, 7.3), busy(2, 7.5)];
    assert!(!world.assign(&wavered).changed);
    // Without a past it is the other cell that is rounded up.
    let fresh = World::new("1n2l8c1t").assign(&wavered).assignment;
    assert_eq!(cpus(&fresh, 2).len(), 8);
}
