// SPDX-License-Identifier: GPL-2.0-only
//! Random machines for the property tests.

use proptest::prelude::*;

use crate::builder::{Group, RawCpu, RawNode, build};
use crate::{MachineSpec, Topology};

/// Even machines of up to 96 CPUs.
pub fn specs() -> impl Strategy<Value = MachineSpec> {
    (1usize..=4, 1usize..=4, 1usize..=6, 1usize..=4).prop_filter_map("too many CPUs", |(n, l, c, t)| {
        MachineSpec::new(n, l, c, t).filter(|s| s.cpus() <= 96)
    })
}

/// Even machines of up to 24 CPUs, for tests that write many files.
pub fn small_specs() -> impl Strategy<Value = MachineSpec> {
    specs().prop_filter("too many CPUs", |s| s.cpus() <= 24)
}

/// Even machines with some CPUs offline.
pub fn specs_with_offline() -> impl Strategy<Value = Topology> {
    (specs(), any::<u64>()).prop_map(|(spec, bits)| {
        let mut machine = spec.topology();
        // The lowest CPU stays online; about a quarter of the others go.
        for cpu in machine.cpus.iter_mut().skip(1) {
            cpu.online = (bits.rotate_left(cpu.id as u32 * 7) & 3) != 0;
        }
        machine
    })
}

/// Machines of any shape: sparse ids, nodes without CPUs, groups that do not nest before they are cut, uneven sizes and
/// capacities, offline CPUs. Threads of one core have one capacity, as in machine files.
pub fn uneven() -> impl Strategy<Value = Topology> {
    let nodes = proptest::collection::btree_map(0usize..20, any::<bool>(), 1..5);
    let group = || (0usize..4, 0usize..3, 0usize..4, 0u32..10);
    let cpus = proptest::collection::btree_map(0usize..300, (any::<prop::sample::Index>(), group()), 1..60);
    (nodes, cpus, 0usize..400, any::<u64>()).prop_map(|(nodes, cpus, nr_cpu_ids, salt)| {
        let ids: Vec<usize> = nodes.keys().copied().collect();
        let distances = |from: usize| {
            ids.iter().map(|&to| (to, 10 + (from * 3 + to * 5 + salt as usize % 7) as u32)).collect()
        };
        let raw_nodes = nodes
            .iter()
            .map(|(&id, &has_memory)| RawNode { id, distances: distances(id), has_memory })
            .collect();
        let first = *cpus.keys().next().unwrap();
        let raw_cpus = cpus
            .into_iter()
            .map(|(id, (node, (llc, l2, core, dice)))| RawCpu {
                id,
                node: ids[node.index(ids.len())],
                llc: Group { key: llc, id: llc * 10 },
                l2: Group { key: l2, id: l2 * 100 },
                core: Group { key: core, id: core * 1000 },
                capacity: 1024 >> ((core + l2) % 4),
                online: id == first || dice > 1,
            })
            .collect();
        build(raw_nodes, raw_cpus, nr_cpu_ids).unwrap()
    })
}

/// Any of the above.
pub fn any_machine() -> impl Strategy<Value = Topology> {
    prop_oneof![specs_with_offline(), uneven()]
}
