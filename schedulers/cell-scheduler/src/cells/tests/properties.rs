// SPDX-License-Identifier: GPL-2.0-only
//! Random machines, cells and cpusets: the postcondition holds, input order does not matter, a settled layout stays.

use proptest::prelude::*;

use super::super::LlcPolicy;
use super::*;

/// Machines of up to 64 CPUs, with offline and unequal CPUs.
pub fn machines() -> impl Strategy<Value = Topology> {
    let shape = (1usize..=3, 1usize..=3, 1usize..=5, 1usize..=3, any::<u64>(), 0u8..4);
    shape.prop_filter_map("too many CPUs", |(nodes, llcs, cores, threads, salt, kind)| {
        let mut machine = topology::MachineSpec::new(nodes, llcs, cores, threads)?.topology();
        if machine.cpus.len() > 64 {
            return None;
        }
        for cpu in machine.cpus.iter_mut().skip(1) {
            cpu.online = kind & 1 == 0 || salt.rotate_left(cpu.id as u32 * 5) & 3 != 0;
            if kind & 2 != 0 {
                cpu.capacity = 1024 >> (salt.rotate_right(cpu.core as u32 * 3) % 3);
            }
        }
        Some(machine)
    })
}

/// A cpuset as people make them: none, ranges, anything, nothing that exists.
fn cpusets() -> impl Strategy<Value = Option<CpuSet>> {
    prop_oneof![
        4 => Just(None),
        3 => (0usize..64, 1usize..32).prop_map(|(from, len)| Some((from..from + len).collect())),
        2 => (0usize..4).prop_map(|quarter| Some((quarter * 8..quarter * 8 + 8).collect())),
        1 => any::<u64>().prop_map(|bits| Some(CpuSet::from_words(&[bits]))),
        1 => Just(Some(CpuSet::from_iter([1000]))),
    ]
}

fn cell() -> impl Strategy<Value = Cell> {
    let demand = prop_oneof![Just(0.0), 0.0f64..1.0, 0.0f64..80.0];
    let bounds = (
        prop_oneof![4 => Just(0u32), 1 => 0u32..20],
        prop_oneof![4 => Just(None), 1 => (0u32..20).prop_map(Some)],
    );
    let policy = (any::<bool>(), any::<bool>(), any::<bool>());
    (demand, prop_oneof![Just(100u32), 1u32..=10_000], bounds, cpusets(), policy).prop_map(
        |(demand, weight, (min_cpus, max_cpus), cpuset, (lend, borrow, spread))| Cell {
            demand,
            weight,
            min_cpus,
            max_cpus,
            cpuset,
            lend,
            borrow,
            llc: if spread { LlcPolicy::Spread } else { LlcPolicy::Pack },
            ..Cell::new(CellId::ROOT)
        },
    )
}

/// Up to `most` cells with slots from 0 on; the first is cell 0.
pub fn cells(most: usize) -> impl Strategy<Value = Vec<Cell>> {
    proptest::collection::vec(cell(), 0..most).prop_map(|cells| {
        cells.into_iter().zip(0..).map(|(cell, slot)| Cell { id: id(slot), ..cell }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_machine_and_any_cells(machine in machines(), cells in cells(40), max_cells in prop_oneof![Just(256u32), 1u32..10]) {
        let mut world = World::of(machine);
        world.params.max_cells = max_cells;
        let first = world.assign(&cells);
        prop_assert!(first.assignment.sequence == 1);

        // Another order, the same answer.
        let reversed: Vec<Cell> = cells.iter().rev().cloned().collect();
        let other = World { previous: None, ..World::of(world.topology.clone()) };
        let other = World { params: world.params.clone(), ..other };
        prop_assert_eq!(other.try_assign(&reversed).assignment, first.assignment);
    }

    #[test]
    fn what_has_settled_stays(machine in machines(), cells in cells(30)) {
        let mut world = World::of(machine);
        let settled = world.settle(&cells);
        for _ in 0..3 {
            world.now_ns += 1 << 40;
            let again = world.assign(&cells);
            prop_assert!(!again.changed && again.moved.is_empty() && again.merges + again.splits == 0);
            prop_assert_eq!(&again.assignment, &settled);
        }
    }

    #[test]
    fn whole_cores_where_there_are_enough(
        shape in (1usize..=2, 1usize..=3, 1usize..=4), demands in proptest::collection::vec(0.0f64..40.0, 1..8),
    ) {
        let machine = topology::MachineSpec::new(shape.0, shape.1, shape.2, 2).unwrap().topology();
        let mut world = World::of(machine);
        let cells: Vec<Cell> = demands.iter().zip(1..).map(|(&demand, slot)| busy(slot, demand)).collect();
        let assignment = world.assign(&cells).assignment;
        prop_assume!(assignment.cells.len() <= world.topology.cores.len());
        for core in &world.topology.cores {
            let owners = assignment.cells.iter().filter(|cell| cell.cpus.intersects(&core.cpus)).count();
            prop_assert_eq!(owners, 1, "core {} in {:?}", &core.cpus, &assignment);
        }
    }
}
