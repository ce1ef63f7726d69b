// SPDX-License-Identifier: GPL-2.0-only
//! What must hold for random machines, and parsers under random text.

use std::fs;

use proptest::prelude::*;

use super::check;
use super::fake_sysfs::FakeSysfs;
use super::machines::{any_machine, small_specs, specs, uneven};
use crate::split::split_even;
use crate::{CpuSet, DomainSpec, MachineSpec, Topology};

fn levels() -> impl Strategy<Value = DomainSpec> {
    use DomainSpec::{Core, L2, Llc, Machine, Node};
    proptest::sample::select(vec![Core, L2, Llc, Node, Machine])
}

/// Text near what the parsers read, and any text at all.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9nlct]{0,12}", "[0-9a-fx,;: \n-]{0,24}", ".{0,24}", "\\PC{0,100}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn specs_round_trip(spec in specs()) {
        prop_assert_eq!(spec.to_string().parse::<MachineSpec>().unwrap(), spec);
        let t = spec.topology();
        check::machine(&t);
        prop_assert_eq!(t.cpus.len(), spec.cpus());
        prop_assert_eq!(t.llcs.len(), spec.nodes() * spec.llcs_per_node());
        prop_assert_eq!(t.cores.len() * spec.threads_per_core(), spec.cpus());
    }

    #[test]
    fn parsers_take_any_text(text in texts()) {
        let length = text.chars().count();
        let mut places = Vec::new();
        let mut lines = Vec::new();
        if let Err(e) = text.parse::<MachineSpec>() {
            places.push(e.position());
            lines.push(e.to_string());
        }
        for parse in [CpuSet::parse, CpuSet::parse_list, CpuSet::parse_hex] {
            match parse(&text) {
                Ok(set) => prop_assert_eq!(CpuSet::parse_list(&set.to_string()).unwrap(), set),
                Err(e) => {
                    places.push(e.position());
                    lines.push(e.to_string());
                }
            }
        }
        match text.parse::<DomainSpec>() {
            Ok(spec) => prop_assert_eq!(spec.to_string().parse::<DomainSpec>().unwrap(), spec),
            Err(e) => lines.push(e.to_string()),
        }
        prop_assert!(places.iter().all(|p| (1..=length + 1).contains(p)), "{places:?} of {length}");
        prop_assert!(lines.iter().all(|l| l.lines().count() == 1), "{lines:?}");
    }

    #[test]
    fn every_machine_nests(t in any_machine()) {
        check::machine(&t);
        prop_assert!(!t.to_string().is_empty());
    }

    #[test]
    fn every_online_cpu_is_in_one_domain(t in any_machine(), spec in levels(), max in 0usize..20) {
        let d = t.domains(&spec, max).unwrap();
        check::domains(&t, &d);
        let online = t.online();
        for domain in &d.domains {
            let cores: Vec<_> = t.cores.iter().filter(|c| c.cpus.intersects(&domain.cpus)).collect();
            for core in &cores {
                prop_assert!(core.cpus.intersection(&online).is_subset(&domain.cpus), "siblings apart");
            }
            prop_assert!(max == 0 || domain.cpus.len() <= max || cores.len() == 1, "too large");
            // No domain crosses the border of its level.
            let inside = |cpus: &CpuSet| domain.cpus.is_subset(cpus);
            let in_border = match spec {
                DomainSpec::Core => t.cores.iter().any(|c| inside(&c.cpus)),
                DomainSpec::L2 => t.l2s.iter().any(|c| inside(&c.cpus)),
                DomainSpec::Llc => t.llcs.iter().any(|c| inside(&c.cpus)),
                DomainSpec::Node => t.nodes.iter().any(|c| inside(&c.cpus)),
                _ => true,
            };
            prop_assert!(in_border, "across a border");
        }
        let again = DomainSpec::Masks(d.domains.iter().map(|d| d.cpus.clone()).collect());
        prop_assert_eq!(t.domains(&again, 1).unwrap(), d);
    }

    #[test]
    fn equal_cores_split_evenly(cores in 1usize..200, threads in 1usize..5, max in 1usize..64) {
        let parts: Vec<usize> = split_even(&vec![threads; cores], max).into_iter().map(|r| r.len()).collect();
        let per_part = (max / threads).max(1);
        prop_assert_eq!(parts.len(), cores.div_ceil(per_part), "as few as possible");
        prop_assert_eq!(parts.iter().sum::<usize>(), cores);
        prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{:?}", parts);
    }

    #[test]
    fn any_cores_split(sizes in proptest::collection::vec(1usize..9, 0..60), max in 0usize..40) {
        let runs = split_even(&sizes, max);
        let sums: Vec<usize> = runs.iter().map(|r| sizes[r.clone()].iter().sum()).collect();
        prop_assert_eq!(runs.iter().cloned().flatten().collect::<Vec<_>>(), (0..sizes.len()).collect::<Vec<_>>());
        for (run, &sum) in runs.iter().zip(&sums) {
            prop_assert!(max == 0 || sum <= max || run.len() == 1);
        }
        if let (Some(most), Some(least)) = (sums.iter().max(), sums.iter().min()) {
            prop_assert!(most - least <= 2 * sizes.iter().max().unwrap(), "{:?}", sums);
        }
    }

    #[test]
    fn scheduling_domains_nest(t in any_machine()) {
        let levels = t.sched_domains();
        prop_assert!(levels.is_sorted_by(|a, b| a.kind < b.kind && a.spans.len() > b.spans.len()));
        for level in &levels {
            check::partition(&t.online(), level.spans.iter().map(|s| &s.cpus));
            prop_assert!(level.spans.is_sorted_by_key(|s| s.cpus.first()));
            for (index, span) in level.spans.iter().enumerate() {
                check::partition(&span.cpus, span.groups.iter());
                prop_assert_eq!(span.capacity, t.capacity(&span.cpus));
                prop_assert!(span.cpus.iter().all(|cpu| level.span_of(cpu) == Some(index)));
            }
        }
        for pair in levels.windows(2) {
            let inner: Vec<&CpuSet> = pair[0].spans.iter().map(|s| &s.cpus).collect();
            prop_assert!(pair[1].spans.iter().flat_map(|s| &s.groups).all(|g| inner.contains(&g)));
        }
        // Whatever the machine, the outermost level holds all online CPUs, unless there is just one.
        prop_assert_eq!(levels.last().map_or(1, |l| l.spans.len()), 1);
        prop_assert_eq!(levels.is_empty(), t.online().len() == 1);
    }

    #[test]
    fn masks_always_adapt(t in any_machine(), masks in proptest::collection::vec(0u64.., 0..5)) {
        // Disjoint masks over CPUs 0-63, whatever the machine has.
        let mut seen = 0;
        let masks = masks.into_iter().map(|m| { let new = m & !seen; seen |= new; CpuSet::from_words(&[new]) });
        let spec = DomainSpec::Masks(masks.collect()).adapted(&t);
        check::domains(&t, &t.domains(&spec, 0).unwrap());
        prop_assert_eq!(spec.adapted(&t), spec);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The spec and the reader agree about every even machine: written as a sysfs tree and read back it is the same.
    #[test]
    fn sysfs_trees_of_specs_read_back(spec in small_specs()) {
        prop_assert_eq!(FakeSysfs::of(&spec.topology()).read(), spec.topology());
    }

    /// Whatever is offline, the online CPUs keep their groups.
    #[test]
    fn sysfs_trees_of_any_machine_read_back(t in uneven()) {
        let read = FakeSysfs::of(&t).read();
        let online = t.online();
        prop_assert_eq!(read.online(), online.clone());
        prop_assert_eq!(read.all_cpus(), t.all_cpus());
        prop_assert_eq!(read.nr_cpu_ids(), t.nr_cpu_ids());
        for (a, b) in read.nodes.iter().zip(&t.nodes) {
            prop_assert_eq!(a, b);
        }
        for cpu in t.cpus.iter().filter(|c| c.online) {
            let found = read.cpu(cpu.id).unwrap();
            let same = |a: &CpuSet, b: &CpuSet| a.intersection(&online) == b.intersection(&online);
            prop_assert_eq!(found.capacity, cpu.capacity);
            prop_assert!(same(&read.cores[found.core].cpus, &t.cores[cpu.core].cpus));
            prop_assert!(same(&read.l2s[found.l2].cpus, &t.l2s[cpu.l2].cpus));
            prop_assert!(same(&read.llcs[found.llc].cpus, &t.llcs[cpu.llc].cpus));
            prop_assert_eq!(read.cores[found.core].id, t.cores[cpu.core].id);
            prop_assert_eq!(read.llcs[found.llc].id, t.llcs[cpu.llc].id);
        }
    }

    #[test]
    fn machine_files_round_trip(t in uneven()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine.toml");
        fs::write(&path, t.to_toml()).unwrap();
        prop_assert_eq!(Topology::from_file(&path).unwrap(), t);
    }

    /// No file of a tree, whatever its text, brings the reader down.
    #[test]
    fn the_sysfs_reader_takes_any_text(text in ".{0,12}|[0-9,-]{0,8}", file in proptest::sample::select(vec![
        "cpu/present", "cpu/possible", "cpu/online", "cpu/cpu1/cpu_capacity", "cpu/cpu1/topology/core_id",
        "cpu/cpu1/topology/core_cpus_list", "cpu/cpu1/topology/physical_package_id", "cpu/cpu1/cache/index3/level",
        "cpu/cpu1/cache/index3/type", "cpu/cpu1/cache/index3/id", "cpu/cpu1/cache/index3/shared_cpu_list",
        "node/online", "node/has_memory", "node/node1/cpulist", "node/node1/distance",
    ])) {
        let tree = FakeSysfs::of(&Topology::from_spec("2n2l1c2t").unwrap());
        tree.file(file, &text);
        match Topology::from_sysfs(tree.root()) {
            Ok(t) => check::machine(&t),
            Err(e) => prop_assert_eq!(e.to_string().lines().count(), 1),
        }
    }
}
