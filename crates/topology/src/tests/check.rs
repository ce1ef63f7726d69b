// SPDX-License-Identifier: GPL-2.0-only
//! What must hold for every machine and every set of domains.

use std::collections::BTreeMap;

use crate::{CAPACITY_MAX, CpuSet, DomainSet, Topology};

/// The set of a list.
pub fn set(list: &str) -> CpuSet {
    CpuSet::parse_list(list).unwrap()
}

/// Fails unless every level is a partition of the machine, nested in the level above, and all references agree.
pub fn machine(t: &Topology) {
    let all = t.all_cpus();
    assert_eq!(all.len(), t.cpus.len(), "a CPU id twice");
    assert!(t.online().is_subset(&all) && !t.online().is_empty());
    assert!(t.cpus.is_sorted_by(|a, b| a.id < b.id));
    assert!(t.nodes.is_sorted_by(|a, b| a.id < b.id));
    assert!(t.nr_cpu_ids() > all.last().unwrap());
    partition(&all, t.nodes.iter().map(|n| &n.cpus));
    partition(&all, t.llcs.iter().map(|l| &l.cpus));
    partition(&all, t.l2s.iter().map(|l| &l.cpus));
    partition(&all, t.cores.iter().map(|c| &c.cpus));
    for llc in &t.llcs {
        assert!(!llc.cpus.is_empty() && llc.cpus.is_subset(&t.nodes[llc.node].cpus));
    }
    for l2 in &t.l2s {
        assert!(!l2.cpus.is_empty() && l2.cpus.is_subset(&t.llcs[l2.llc].cpus));
    }
    for core in &t.cores {
        assert!(!core.cpus.is_empty() && core.cpus.is_subset(&t.l2s[core.l2].cpus));
        assert_eq!(core.llc, t.l2s[core.l2].llc);
    }
    for cpu in &t.cpus {
        assert!(t.cores[cpu.core].cpus.contains(cpu.id));
        assert_eq!((cpu.l2, cpu.llc), (t.cores[cpu.core].l2, t.cores[cpu.core].llc));
        assert_eq!(cpu.node, t.llcs[cpu.llc].node);
        assert!((1..=CAPACITY_MAX).contains(&cpu.capacity));
        assert_eq!(t.cpu(cpu.id), Some(cpu));
        assert_eq!(t.siblings(cpu.id), Some(&t.cores[cpu.core].cpus));
    }
    for node in &t.nodes {
        let ids: Vec<usize> = node.distances.iter().map(|d| d.0).collect();
        assert_eq!(ids, t.nodes.iter().map(|n| n.id).collect::<Vec<_>>());
    }
    assert!(t.cpu(t.nr_cpu_ids()).is_none());
}

/// Fails unless the sets are disjoint and make up the whole.
pub fn partition<'a>(whole: &CpuSet, parts: impl Iterator<Item = &'a CpuSet>) {
    let mut seen = CpuSet::new();
    for part in parts {
        assert!(!seen.intersects(part), "{part:?} overlaps what came before");
        seen.extend_from(part);
    }
    assert_eq!(&seen, whole);
}

/// Fails unless every online CPU is in exactly one domain, the figures agree, and the levels nest.
pub fn domains(t: &Topology, d: &DomainSet) {
    partition(&t.online(), d.domains.iter().map(|x| &x.cpus));
    for (id, domain) in d.domains.iter().enumerate() {
        assert_eq!(domain.id, id);
        assert!(!domain.cpus.is_empty());
        assert_eq!(domain.capacity, t.capacity(&domain.cpus));
        let on_node = |n: usize| t.nodes[n].cpus.intersection(&domain.cpus).len();
        assert!((0..t.nodes.len()).all(|n| on_node(n) <= on_node(domain.node)));
        assert!((0..domain.node).all(|n| on_node(n) < on_node(domain.node)), "of equal nodes the lower one");
        let llcs: Vec<usize> =
            (0..t.llcs.len()).filter(|&l| t.llcs[l].cpus.intersects(&domain.cpus)).collect();
        assert_eq!(domain.llc, if llcs.len() == 1 { Some(llcs[0]) } else { None });
        assert!(domain.cpus.iter().all(|cpu| d.domain_of(cpu) == Some(id)));
    }
    for cpu in t.cpus.iter().filter(|c| !c.online) {
        assert_eq!(d.domain_of(cpu.id), None);
    }
    levels(t, d);
}

fn levels(t: &Topology, d: &DomainSet) {
    let levels = d.levels(t);
    assert_eq!(levels.paths.len(), d.len());
    assert!(!levels.names.is_empty());
    let order = ["node", "llc", "domain"];
    assert!(levels.names.is_sorted_by_key(|name| order.iter().position(|o| o == name).unwrap()));
    let mut groups_before = 1;
    for level in 0..levels.names.len() {
        let mut outer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for path in &levels.paths {
            let above = path[..level].to_vec();
            assert_eq!(
                outer.entry(path[level]).or_insert(above.clone()),
                &above,
                "a group in two outer groups"
            );
        }
        assert!(outer.len() > groups_before || d.len() == 1, "level {} adds nothing", levels.names[level]);
        groups_before = outer.len();
    }
    for (id, path) in levels.paths.iter().enumerate() {
        assert_eq!(path.len(), levels.names.len());
        assert_eq!(path.last(), Some(&id));
    }
}
