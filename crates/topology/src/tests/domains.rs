// SPDX-License-Identifier: GPL-2.0-only
//! Domains, their levels, masks and scheduling domains on machines whose answer is known.

use super::check::{self, set};
use crate::builder::{Group, RawCpu, RawNode, build};
use crate::{CpuSet, DomainError, DomainSpec, ModelError, SchedLevelKind, Topology};

fn lists(t: &Topology, spec: &str, max: usize) -> Vec<String> {
    let d = t.domains(&spec.parse().unwrap(), max).unwrap();
    check::domains(t, &d);
    d.domains.iter().map(|d| d.cpus.to_string()).collect()
}

#[test]
fn domains_by_level() {
    let t = Topology::from_spec("2n2l2c2t").unwrap();
    assert_eq!(lists(&t, "llc", 16), ["0-3", "4-7", "8-11", "12-15"]);
    assert_eq!(lists(&t, "node", 16), ["0-7", "8-15"]);
    assert_eq!(lists(&t, "machine", 16), ["0-15"]);
    assert_eq!(lists(&t, "core", 1).len(), 8);
    assert_eq!(lists(&t, "l2", 0).len(), 8);
    assert_eq!(lists(&t, " llc\n", 2).len(), 8);
    let text = t.describe_domains(&t.domains(&DomainSpec::Node, 0).unwrap());
    assert_eq!(
        text,
        "domain 0: CPUs 0-7 (8 CPUs), node 0, several LLCs, capacity 8192\n\
         domain 1: CPUs 8-15 (8 CPUs), node 1, several LLCs, capacity 8192"
    );
}

#[test]
fn large_llcs_split_evenly() {
    let t = Topology::from_spec("20c").unwrap();
    assert_eq!(lists(&t, "llc", 16), ["0-9", "10-19"]);
    assert_eq!(lists(&t, "llc", 6), ["0-4", "5-9", "10-14", "15-19"]);
    assert_eq!(lists(&t, "llc", 20), ["0-19"]);
    assert_eq!(lists(&t, "llc", 0), ["0-19"]);
    // Borders are at the nearest core: 3.33 and 6.67 of 10.
    assert_eq!(lists(&Topology::from_spec("10c").unwrap(), "llc", 4), ["0-2", "3-6", "7-9"]);
    // Siblings stay together even where that costs a part more, or a part over the limit.
    let smt = Topology::from_spec("6c2t").unwrap();
    assert_eq!(lists(&smt, "llc", 5), ["0-3", "4-7", "8-11"]);
    assert_eq!(lists(&smt, "llc", 3).len(), 6);
    assert_eq!(lists(&smt, "llc", 1).len(), 6);
}

#[test]
fn levels_that_add_nothing_are_dropped() {
    for (machine, spec, max, names) in [
        ("2n2l2c", "llc", 0, vec!["node", "llc"]),
        ("2n2l4c", "llc", 2, vec!["node", "llc", "domain"]),
        ("2n1l4c", "llc", 2, vec!["node", "domain"]),
        ("1n2l4c", "llc", 2, vec!["llc", "domain"]),
        ("1n2l4c", "llc", 0, vec!["llc"]),
        ("2n1l4c", "llc", 0, vec!["node"]),
        ("2n2l4c", "node", 0, vec!["node"]),
        ("1n1l4c", "llc", 2, vec!["domain"]),
        ("2n2l4c", "machine", 0, vec!["domain"]),
        ("1c", "llc", 0, vec!["domain"]),
        ("2n2l4c", "core", 0, vec!["node", "llc", "domain"]),
    ] {
        let t = Topology::from_spec(machine).unwrap();
        let d = t.domains(&spec.parse().unwrap(), max).unwrap();
        check::domains(&t, &d);
        assert_eq!(d.levels(&t).names, names, "{machine} {spec} {max}");
    }
    let t = Topology::from_spec("2n2l4c").unwrap();
    let paths = t.domains(&DomainSpec::Llc, 2).unwrap().levels(&t).paths;
    assert_eq!(paths[0], [0, 0, 0]);
    assert_eq!(paths[3], [0, 1, 3]);
    assert_eq!(paths[7], [1, 3, 7]);
}

#[test]
fn masks_make_domains_in_their_order() {
    let t = Topology::from_spec("2n2l2c").unwrap();
    assert_eq!(lists(&t, "4-7;0-3", 2), ["4-7", "0-3"]);
    assert_eq!(lists(&t, "0xf;0xf0", 16), ["0-3", "4-7"]);
    assert_eq!(lists(&t, " 0-2 ; 3,4 ; 0xe0", 16), ["0-2", "3-4", "5-7"]);
    let d = t.domains(&"0-2;3-7".parse().unwrap(), 16).unwrap();
    // Three CPUs on node 0 beat none; four on node 1 beat one on node 0.
    assert_eq!(d.domains.iter().map(|d| (d.node, d.llc)).collect::<Vec<_>>(), [(0, None), (1, None)]);
    let d = t.domains(&"3-4;0-2,5-7".parse().unwrap(), 16).unwrap();
    assert_eq!(d.domains.iter().map(|d| d.node).collect::<Vec<_>>(), [0, 0], "of equal nodes the lower one");
    assert_eq!("0-3;0xf0".parse::<DomainSpec>().unwrap().to_string(), "0-3;4-7");
}

#[test]
fn wrong_masks_name_the_cpu() {
    let mut t = Topology::from_spec("2n2l2c").unwrap();
    t.cpus[6].online = false;
    for (text, part) in [
        ("0-3;3-5,7", "CPU 3 is in domain 0 and in domain 1"),
        ("0-3;4-5", "CPU 7 is online but in no domain: add it to one of the masks (online CPUs: 0-5,7)"),
        ("0-3;4-7", "domain 1 names CPU 6, which is offline"),
        ("0-5,7;12", "domain 1 names CPU 12, which this machine does not have"),
    ] {
        let line = t.domains(&text.parse().unwrap(), 16).unwrap_err().to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
    let empty = DomainSpec::Masks(vec![set("0-5,7"), CpuSet::new()]);
    assert!(matches!(t.domains(&empty, 0), Err(DomainError::EmptyMask { domain: 1, .. })));
    assert!(matches!(t.domains(&DomainSpec::Masks(Vec::new()), 0), Err(DomainError::Missing { cpu: 0, .. })));
}

#[test]
fn wrong_domain_texts_name_the_character() {
    for (text, part) in [
        ("lcc", "domains \"lcc\": not a level"),
        ("", "not a level"),
        ("LLC", "not a level"),
        ("-1", "not a level"),
        ("0-3;x", "domain 1: CPU list \"0-3;x\": character 5 ('x')"),
        ("0-3; 4-é", "domain 1: CPU list \"0-3; 4-é\": character 8 ('é')"),
        ("0xf;0xg0", "character 7 ('g')"),
        ("0-3;4-", "character 7 is missing"),
        ("0-3;;4", "domain 1 (from character 5) has no CPU"),
        ("0-3;", "domain 1 (from character 5) has no CPU"),
        (";0", "domain 0 (from character 1) has no CPU"),
        ("0-3;0x0", "domain 1 (from character 5) has no CPU"),
    ] {
        let line = text.parse::<DomainSpec>().unwrap_err().to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{text:?}: {line}");
    }
}

#[test]
fn masks_adapt_to_hotplug() {
    let mut t = Topology::from_spec("2n2l1c2t").unwrap();
    let masks: DomainSpec = "0-1;2-5;6;7".parse().unwrap();
    assert_eq!(masks.adapted(&t), masks);
    for cpu in [1, 6] {
        t.cpus[cpu].online = false;
    }
    assert_eq!(masks.adapted(&t).to_string(), "0;2-5;7");
    assert_eq!(DomainSpec::Llc.adapted(&t), DomainSpec::Llc);
    // New ones go to their core's mask, else their LLC's, else their node's (the one with most), else the smallest.
    let t = Topology::from_spec("3n2l2c2t").unwrap();
    let masks: DomainSpec = "0,2-3;4;6,9;12-15;99".parse().unwrap();
    assert_eq!(masks.adapted(&t).to_string(), "0-3;4-5,16-23;6-11;12-15");
    let flat = Topology::from_spec("4c").unwrap();
    let tie = "0;1".parse::<DomainSpec>().unwrap();
    assert_eq!(tie.adapted(&flat).to_string(), "0,2-3;1", "of equal ones the first");
    assert_eq!(DomainSpec::Masks(Vec::new()).adapted(&t).to_string(), "0-23");
    for spec in [masks, DomainSpec::Masks(vec![set("50-60")])] {
        check::domains(&t, &t.domains(&spec.adapted(&t), 16).unwrap());
    }
}

#[test]
fn scheduling_domains() {
    use SchedLevelKind::{Llc, Machine, Node, Smt};
    for (machine, kinds) in [
        ("2n2l2c2t", vec![Smt, Llc, Node, Machine]),
        ("2n1l2c2t", vec![Smt, Llc, Machine]),
        ("1n2l2c1t", vec![Llc, Node]),
        ("1n1l4c1t", vec![Llc]),
        ("1n1l1c2t", vec![Smt]),
        ("4n", vec![Machine]),
        ("1c", vec![]),
    ] {
        let levels = Topology::from_spec(machine).unwrap().sched_domains();
        assert_eq!(levels.iter().map(|l| l.kind).collect::<Vec<_>>(), kinds, "{machine}");
    }
    let mut t = Topology::from_spec("2n2l2c2t").unwrap();
    t.cpus[1].online = false;
    let levels = t.sched_domains();
    assert_eq!((levels[0].span_of(0), levels[0].span_of(1), levels[0].span_of(99)), (Some(0), None, None));
    assert_eq!(levels[0].spans[0].groups, [set("0")]);
    assert_eq!(levels[1].spans[0].groups, [set("0"), set("2-3")]);
    assert_eq!((levels[1].spans[0].capacity, levels[3].spans[0].capacity), (3 * 1024, 15 * 1024));
    assert_eq!(levels[3].spans[0].groups, [set("0,2-7"), set("8-15")]);
    assert_eq!(
        levels.iter().map(|l| l.kind.to_string()).collect::<Vec<_>>(),
        ["SMT", "LLC", "NODE", "MACHINE"]
    );
}

#[test]
fn the_model_refuses_what_is_no_machine() {
    let cpu = |id: usize| RawCpu {
        id,
        node: 0,
        llc: Group::same(0),
        l2: Group::same(0),
        core: Group::same(0),
        capacity: 1024,
        online: true,
    };
    let node = |id| RawNode { id, distances: Vec::new(), has_memory: true };
    let off = RawCpu { online: false, ..cpu(0) };
    assert_eq!(build(vec![node(0)], vec![], 0), Err(ModelError::NoCpu));
    assert_eq!(build(vec![node(0)], vec![off], 0), Err(ModelError::NoOnlineCpu));
    assert_eq!(build(vec![node(0)], vec![cpu(3), cpu(3)], 0), Err(ModelError::DuplicateCpu { cpu: 3 }));
    assert_eq!(build(vec![node(1), node(1)], vec![cpu(3)], 0), Err(ModelError::DuplicateNode { node: 1 }));
    assert_eq!(build(vec![node(1)], vec![cpu(3)], 0), Err(ModelError::UnknownNode { cpu: 3, node: 0 }));
    assert_eq!(build(vec![node(0)], vec![cpu(70000)], 0), Err(ModelError::CpuTooLarge { cpu: 70000 }));
}

#[test]
fn long_machines_print_short() {
    let text = Topology::from_spec("2n64l4c2t").unwrap().to_string();
    assert_eq!(text.lines().count(), 1 + 2 * (1 + 16));
    assert!(text.contains("│  └─ 49 more LLCs: CPUs 120-511"), "{text}");
    assert_eq!(
        Topology::from_spec("1c").unwrap().to_string(),
        "machine: 1 CPU, 1 core, 1 LLC, 1 node\n└─ node 0\n   └─ LLC 0: CPUs 0, 1 core"
    );
}
