// SPDX-License-Identifier: GPL-2.0-only
//! The spec parser and the machines that it makes.

use super::check::{machine, set};
use crate::{MAX_CPUS, MachineSpec, Topology};

#[test]
fn any_part_may_be_left_out() {
    for (text, full) in [
        ("2n4l8c2t", "2n4l8c2t"),
        ("4c", "1n1l4c1t"),
        ("2n", "2n1l1c1t"),
        ("3l", "1n3l1c1t"),
        ("2t", "1n1l1c2t"),
        ("2n2t", "2n1l1c2t"),
        ("02n", "2n1l1c1t"),
        ("4096c", "1n1l4096c1t"),
    ] {
        assert_eq!(text.parse::<MachineSpec>().unwrap().to_string(), full);
    }
}

#[test]
fn errors_name_the_character() {
    for (text, position, part) in [
        ("", 1, "the spec is empty"),
        ("n", 1, "is 'n', a number must come"),
        ("2", 2, "needs its letter: 'n' or 'l' or 'c' or 't'"),
        ("2n4", 4, "needs its letter: 'l' or 'c' or 't'"),
        ("2n4x", 4, "is 'x', expected 'l' or 'c' or 't'"),
        ("2n1l1c1x", 8, "is 'x', expected 't'"),
        ("2n1l1c1t1", 10, "the end, all four parts"),
        ("2n1l1c1t ", 9, "is ' ', a number must come"),
        ("4c2n", 4, "out of order"),
        ("2n2n", 4, "a second time"),
        ("0n", 1, "count 0 for 'n'"),
        ("2n00l", 3, "count 0 for 'l'"),
        ("4097c", 1, "more than 4096 CPUs"),
        ("2n4096c", 3, "more than 4096 CPUs"),
        ("99999999999999999999999n", 1, "more than 4096 CPUs"),
        ("2N", 2, "is 'N'"),
        ("é2n", 1, "is 'é'"),
        ("2n٣c", 3, "is '٣'"),
        ("2n\n", 3, "is '\\n'"),
        ("-1n", 1, "is '-'"),
    ] {
        let error = text.parse::<MachineSpec>().unwrap_err();
        assert_eq!(error.position(), position, "{text:?}: {error}");
        let line = error.to_string();
        assert!(line.contains(part) && line.contains(&format!("character {position} ")), "{line}");
        assert!(line.contains("write it like 2n4l8c2t") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn cpus_are_dense_with_siblings_adjacent() {
    let t = Topology::from_spec("2n2l2c2t").unwrap();
    machine(&t);
    assert_eq!((t.nodes.len(), t.llcs.len(), t.cores.len(), t.cpus.len()), (2, 4, 8, 16));
    assert_eq!(t.siblings(5), Some(&set("4-5")));
    assert_eq!(t.llcs[1].cpus, set("4-7"));
    assert_eq!(t.nodes[1].cpus, set("8-15"));
    assert_eq!((t.node_distance(0, 0), t.node_distance(0, 1)), (10, 20));
    assert_eq!(t.online(), set("0-15"));
    assert_eq!(t.nr_cpu_ids(), 16);
    assert_eq!(t.siblings(16), None);
}

#[test]
fn numbers_are_checked() {
    assert_eq!(MachineSpec::new(2, 2, 2, 1).unwrap().cpus(), 8);
    assert!(MachineSpec::new(1, 1, MAX_CPUS, 1).is_some());
    assert!(MachineSpec::new(1, 1, MAX_CPUS, 2).is_none());
    assert!(MachineSpec::new(0, 1, 1, 1).is_none());
    assert!(MachineSpec::new(usize::MAX, 2, 1, 1).is_none());
}
