// SPDX-License-Identifier: GPL-2.0-only
//! The sysfs reader on trees that stand for one kind of machine each, on broken trees, and on this very machine.

use std::path::Path;

use super::check::{self, set};
use super::fake_sysfs::FakeSysfs;
use crate::{DomainSpec, Topology, TopologyError};

#[test]
fn one_cpu() {
    let tree = FakeSysfs::new();
    tree.lists("0", "0", "0").core(0, 0, 0, "0").cache(0, 0, 1, Some(0), "0").cache(0, 2, 3, Some(0), "0");
    tree.node(0, "0", "10");
    let t = tree.read();
    assert_eq!((t.nodes.len(), t.llcs.len(), t.cores.len(), t.cpus.len()), (1, 1, 1, 1));
    assert_eq!((t.cpus[0].capacity, t.nr_cpu_ids()), (1024, 1));
    assert!(t.sched_domains().is_empty());
}

/// First threads first, then second ones, as bare-metal x86 numbers them.
#[test]
fn smt_with_siblings_apart() {
    let tree = FakeSysfs::new();
    tree.lists("0-7", "0-7", "0-7").node(0, "0-7", "10");
    for cpu in 0..8 {
        let siblings = format!("{},{}", cpu % 4, cpu % 4 + 4);
        tree.core(cpu, 0, cpu % 4, &siblings).cache(cpu, 2, 2, Some(cpu % 4), &siblings);
        tree.cache(cpu, 3, 3, Some(0), "0-7");
    }
    let t = tree.read();
    assert_eq!((t.cores.len(), t.l2s.len(), t.llcs.len()), (4, 4, 1));
    assert_eq!(t.siblings(5), Some(&set("1,5")));
    let d = t.domains(&DomainSpec::Llc, 4).unwrap();
    assert_eq!(d.domains.iter().map(|d| d.cpus.to_string()).collect::<Vec<_>>(), ["0-1,4-5", "2-3,6-7"]);
}

#[test]
fn two_llcs_without_numa_or_cache_ids() {
    let tree = FakeSysfs::new();
    tree.lists("0-3", "0-3", "0-3");
    for cpu in 0..4 {
        let shared = if cpu < 2 { "0-1" } else { "2-3" };
        // An L2 of its own must not win over the shared L3, whatever the order of the directories.
        tree.core(cpu, 0, cpu, &cpu.to_string()).cache(cpu, 0, 3, None, shared);
        tree.cache(cpu, 2, 2, None, &cpu.to_string());
        // Nor an instruction cache, however high.
        tree.cache(cpu, 3, 4, None, &cpu.to_string());
        tree.file(&format!("cpu/cpu{cpu}/cache/index3/type"), "Instruction");
    }
    let t = tree.read();
    assert_eq!(
        t.llcs.iter().map(|l| (l.id, l.cpus.clone())).collect::<Vec<_>>(),
        [(0, set("0-1")), (2, set("2-3"))]
    );
    assert_eq!((t.nodes.len(), t.nodes[0].id, t.nodes[0].has_memory), (1, 0, true));
}

#[test]
fn two_by_two_numa_with_distances() {
    let mut machine = Topology::from_spec("2n2l2c1t").unwrap();
    for (node, distance) in [(0, 32), (1, 21)] {
        machine.nodes[node].distances[1 - node].1 = distance;
    }
    let t = FakeSysfs::of(&machine).read();
    assert_eq!(t, machine);
    // Not symmetric, so a mixed-up direction shows.
    assert_eq!((t.node_distance(0, 1), t.node_distance(1, 0), t.node_distance(1, 1)), (32, 21, 10));
}

#[test]
fn cpuless_and_memoryless_nodes_with_sparse_ids() {
    let tree = FakeSysfs::new();
    tree.lists("0-15", "0,2,8-9", "0,2,8-9");
    for (cpu, shared) in [(0, "0,2"), (2, "0,2"), (8, "8-9"), (9, "8-9")] {
        tree.core(cpu, 0, cpu * 4, &cpu.to_string()).cache(cpu, 3, 3, Some(cpu / 8 * 7), shared);
    }
    tree.file("node/online", "0,3,8").file("node/has_memory", "0,8");
    tree.node(0, "0,2", "10 21 17").node(3, "8-9", "21 10 28").node(8, "", "17 28 10");
    let t = tree.read();
    assert_eq!(t.nodes.iter().map(|n| n.id).collect::<Vec<_>>(), [0, 3, 8]);
    assert_eq!(t.nodes.iter().map(|n| n.has_memory).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((t.node_distance(1, 2), t.nodes[2].distances[0]), (28, (0, 17)));
    assert!(t.nodes[2].cpus.is_empty());
    assert_eq!(t.llcs.iter().map(|l| (l.id, l.node)).collect::<Vec<_>>(), [(0, 0), (7, 1)]);
    assert_eq!((t.nr_cpu_ids(), t.cpu(9).unwrap().node, t.cpu(1)), (16, 1, None));
    let d = t.domains(&DomainSpec::Node, 0).unwrap();
    check::domains(&t, &d);
    assert_eq!(d.len(), 2);
}

#[test]
fn offline_cpus_are_kept() {
    let mut machine = Topology::from_spec("2n2l1c2t").unwrap();
    machine.cpus[3].online = false;
    let tree = FakeSysfs::of(&machine);
    let t = tree.read();
    let cpu = t.cpu(3).unwrap();
    assert!(!cpu.online);
    assert_eq!((cpu.node, t.cores[cpu.core].cpus.clone()), (0, set("3")));
    // Its node has two LLCs, so nobody knows which is its own.
    assert_eq!((t.llcs.len(), t.llcs[cpu.llc].cpus.clone()), (5, set("3")));
    assert_eq!(t.online(), set("0-2,4-7"));
    let d = t.domains(&DomainSpec::Llc, 0).unwrap();
    check::domains(&t, &d);
    assert_eq!(d.len(), 4);
    assert!(t.to_string().contains("offline 3"), "{t}");

    // Where its node has one LLC, it must be that one.
    let mut machine = Topology::from_spec("2n1l2c2t").unwrap();
    machine.cpus[7].online = false;
    let t = FakeSysfs::of(&machine).read();
    assert_eq!(t.llcs.iter().map(|l| l.cpus.to_string()).collect::<Vec<_>>(), ["0-3", "4-7"]);
}

#[test]
fn without_cache_directories_packages_then_nodes_are_llcs() {
    let tree = FakeSysfs::new();
    tree.lists("0-7", "0-7", "0-7").node(0, "0-5", "10 20").node(1, "6-7", "20 10");
    for cpu in 0..6 {
        tree.core(cpu, cpu / 2, cpu, &cpu.to_string());
    }
    // A first-level cache alone is no reason for an LLC per core; a package of -1 is none.
    for cpu in 0..2 {
        tree.cache(cpu, 0, 1, Some(cpu), &cpu.to_string());
    }
    for cpu in 6..8 {
        tree.file(&format!("cpu/cpu{cpu}/topology/physical_package_id"), "-1");
    }
    let t = tree.read();
    assert_eq!(t.llcs.iter().map(|l| l.cpus.to_string()).collect::<Vec<_>>(), ["0-1", "2-3", "4-5", "6-7"]);
    assert_eq!(t.cores.len(), 8);
}

#[test]
fn cpu_directories_alone_are_enough() {
    let tree = FakeSysfs::new();
    tree.dir("cpu/cpu0").dir("cpu/cpu4").file("cpu/cpu4/online", "1").file("cpu/cpu5/online", "0");
    let t = tree.read();
    assert_eq!((t.online(), t.all_cpus()), (set("0,4"), set("0,4-5")));
    assert_eq!((t.llcs.len(), t.cores.len(), t.nr_cpu_ids()), (1, 3, 6));
}

#[test]
fn caches_across_nodes_are_cut_at_the_node() {
    let tree = FakeSysfs::new();
    tree.lists("0-3", "0-3", "0-3").node(0, "0-1", "10 12").node(1, "2-3", "12 10");
    for cpu in 0..4 {
        tree.core(cpu, 0, cpu, &cpu.to_string()).cache(cpu, 3, 3, Some(5), "0-3");
    }
    let t = tree.read();
    assert_eq!(
        t.llcs.iter().map(|l| (l.id, l.node, l.cpus.to_string())).collect::<Vec<_>>(),
        [(5, 0, "0-1".to_owned()), (5, 1, "2-3".to_owned())]
    );
}

#[test]
fn clusters_and_capacities_of_hybrid_machines() {
    let tree = FakeSysfs::new();
    tree.lists("0-7", "0-7", "0-7").node(0, "0-7", "10");
    for cpu in 0..8 {
        let (siblings, l2) = if cpu < 4 { (cpu / 2 * 2, cpu / 2 * 2 + 1) } else { (cpu, cpu) };
        let siblings = format!("{siblings}-{l2}");
        let l2 = if cpu < 4 { siblings.clone() } else { "4-7".to_owned() };
        tree.core(cpu, 0, cpu, &siblings).cache(cpu, 2, 2, Some(cpu / 4), &l2).cache(
            cpu,
            3,
            3,
            Some(0),
            "0-7",
        );
        tree.file(&format!("cpu/cpu{cpu}/cpu_capacity"), if cpu < 4 { "1024" } else { "602" });
    }
    tree.file("cpu/cpu6/cpu_capacity", "0").file("cpu/cpu7/cpu_capacity", "4000");
    let t = tree.read();
    assert_eq!(t.l2s.iter().map(|l| l.cpus.to_string()).collect::<Vec<_>>(), ["0-1", "2-3", "4-7"]);
    assert_eq!(
        t.cpus.iter().map(|c| c.capacity).collect::<Vec<_>>(),
        [1024, 1024, 1024, 1024, 602, 602, 1, 1024]
    );
    let d = t.domains(&DomainSpec::L2, 0).unwrap();
    assert_eq!(d.domains.iter().map(|d| d.capacity).collect::<Vec<_>>(), [2048, 2048, 602 * 2 + 1 + 1024]);
}

#[test]
fn distances_that_do_not_fit_the_nodes_fall_back() {
    let tree = FakeSysfs::of(&Topology::from_spec("2n").unwrap());
    tree.file("node/node1/distance", "33 10 44");
    let t = tree.read();
    assert_eq!((t.node_distance(1, 0), t.node_distance(1, 1)), (20, 10));
}

/// The list of nodes and their directories may disagree for a moment when a node comes or goes.
#[test]
fn nodes_without_a_directory_are_left_out() {
    let tree = FakeSysfs::of(&Topology::from_spec("2n").unwrap());
    tree.file("node/online", "0-2");
    assert_eq!(tree.read().nodes.len(), 2);
    tree.file("node/online", "7");
    assert_eq!(tree.read().nodes.len(), 2);
}

#[test]
fn no_sysfs_is_a_typed_error() {
    let tree = FakeSysfs::new();
    for root in [tree.root(), Path::new("/nowhere/at/all")] {
        let error = Topology::from_sysfs(root).unwrap_err();
        assert!(matches!(error, TopologyError::NoSysfs { .. }), "{error}");
        assert!(error.to_string().contains("mount sysfs there, or describe the machine"), "{error}");
    }
    tree.dir("cpu/cpufreq");
    assert!(matches!(Topology::from_sysfs(tree.root()), Err(TopologyError::NoSysfs { .. })));
}

#[test]
fn broken_files_are_named() {
    for (file, text, part) in [
        ("cpu/online", "0-", "ends too early"),
        ("cpu/present", "zero", "'z'"),
        ("cpu/cpu0/cpu_capacity", "lots", "expected a number"),
        ("cpu/cpu1/topology/core_cpus_list", "1;2", "';'"),
        ("cpu/cpu1/cache/index3/level", "", "expected a number"),
        ("node/node1/distance", "10 far", "expected distances"),
        ("node/node1/cpulist", "1-0", "below its start"),
    ] {
        let tree = FakeSysfs::of(&Topology::from_spec("2n").unwrap());
        tree.file(file, text);
        let error = Topology::from_sysfs(tree.root()).unwrap_err();
        assert!(matches!(error, TopologyError::Malformed { .. }), "{error}");
        let line = error.to_string();
        assert!(line.contains(file) && line.contains(part) && !line.contains('\n'), "{line}");
    }
    let tree = FakeSysfs::new();
    tree.lists("0", "0", "").dir("cpu/cpu0");
    assert!(
        Topology::from_sysfs(tree.root())
            .unwrap_err()
            .to_string()
            .contains("no CPU of the machine is online")
    );
    tree.lists("0-4999", "0-4999", "0-4999");
    assert!(Topology::from_sysfs(tree.root()).unwrap_err().to_string().contains("5000 CPUs"));
}

/// A CPU that goes offline while its files are read takes them with it.
#[test]
fn vanished_files_count_as_missing() {
    let machine = Topology::from_spec("1n2l2c1t").unwrap();
    for gone in
        ["cpu/cpu3/topology", "cpu/cpu3/cache", "cpu/cpu3/cache/index3", "cpu/cpu3", "node/node0", "node"]
    {
        let tree = FakeSysfs::of(&machine);
        tree.remove(gone);
        let t = tree.read();
        assert_eq!(t.cpus.len(), 4, "without {gone}");
        check::domains(&t, &t.domains(&DomainSpec::Llc, 0).unwrap());
    }
}

#[test]
fn this_very_machine() {
    let t = Topology::live().unwrap();
    check::machine(&t);
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    assert_eq!(t.online(), set(&online));
    for spec in [DomainSpec::Core, DomainSpec::L2, DomainSpec::Llc, DomainSpec::Node, DomainSpec::Machine] {
        let d = t.domains(&spec, 16).unwrap();
        check::domains(&t, &d);
        assert!(t.describe_domains(&d).lines().count() == d.len());
    }
    assert!(t.to_string().starts_with("machine: "));
}
