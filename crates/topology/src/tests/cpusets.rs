// SPDX-License-Identifier: GPL-2.0-only
//! CpuSet: text forms, set algebra and errors.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::check::set;
use crate::CpuSet;

#[test]
fn lists_are_read_and_written() {
    for (text, printed) in [
        ("0", "0"),
        ("0-3,8", "0-3,8"),
        ("8,0-3", "0-3,8"),
        ("1,2,3,5", "1-3,5"),
        ("3-3", "3"),
        ("0-1,1-4", "0-4"),
        (" 0 - 3 , 8 \n", "0-3,8"),
        ("", ""),
        ("\n", ""),
        ("63-64", "63-64"),
        ("007", "7"),
        ("4095", "4095"),
        ("65535", "65535"),
    ] {
        assert_eq!(CpuSet::parse_list(text).unwrap().to_string(), printed, "{text:?}");
    }
}

#[test]
fn hex_masks_are_read_and_written() {
    for (text, list) in [
        ("f", "0-3"),
        ("0xF0", "4-7"),
        ("0", ""),
        ("", ""),
        ("ff,00000000", "32-39"),
        ("1,0", "32"),
        ("00000001,00000000,00000003", "0-1,64"),
        ("0x10000000000000000", "64"),
        ("ffffffffffffffff", "0-63"),
    ] {
        assert_eq!(CpuSet::parse_hex(text).unwrap(), set(list), "{text:?}");
    }
    assert_eq!(set("0-1,64").to_hex(), "1,00000000,00000003");
    assert_eq!(set("0-3").to_hex(), "f");
    assert_eq!(CpuSet::new().to_hex(), "0");
    assert_eq!(CpuSet::parse("0x3").unwrap(), set("0-1"));
    assert_eq!(CpuSet::parse("3").unwrap(), set("3"));
}

#[test]
fn errors_name_the_character() {
    for (text, position, part) in [
        ("x", 1, "'x'"),
        ("0-", 3, "ends too early"),
        ("0-3,", 5, "ends too early"),
        ("0,,1", 3, "','"),
        ("0 1", 3, "'1'"),
        ("1-é", 3, "'é'"),
        ("é", 1, "'é'"),
        ("5-3", 3, "range end 3 below its start 5"),
        ("-1", 1, "'-'"),
        ("0-15:2/4", 5, "':'"),
        ("65536", 5, "beyond 65535"),
        ("0-99999999999999999999", 7, "beyond 65535"),
        ("0\n1", 3, "'1'"),
    ] {
        let error = CpuSet::parse_list(text).unwrap_err();
        assert_eq!(error.position(), position, "{text:?}: {error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.to_string().ends_with("write it like 0-3,8"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for (text, position, part) in [
        ("g", 1, "'g'"),
        ("0x", 3, "ends too early"),
        ("1,", 3, "ends too early"),
        (",1", 1, "','"),
        ("123456789,0", 9, "longer than 8"),
        ("0x1,fffffffff", 13, "longer than 8"),
    ] {
        let error = CpuSet::parse_hex(text).unwrap_err();
        assert_eq!(error.position(), position, "{text:?}: {error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = CpuSet::parse_hex(&format!("f{}", "0".repeat(CpuSet::LIMIT / 4))).unwrap_err();
    assert!(error.to_string().contains("character 1 leads to a CPU beyond 65535"), "{error}");
    assert!(error.to_string().len() < 250, "long text is shortened: {error}");
}

#[test]
#[should_panic(expected = "beyond the limit")]
fn inserting_beyond_the_limit_panics() {
    CpuSet::new().insert(CpuSet::LIMIT);
}

#[test]
fn sets_print_and_serialise_as_lists() {
    assert_eq!(format!("{:?}", set("0-3,9")), "CpuSet(0-3,9)");
    assert_eq!(serde_json::to_string(&set("0-3,9")).unwrap(), "\"0-3,9\"");
    assert_eq!(serde_json::from_str::<CpuSet>("\"0-3,9\"").unwrap(), set("0-3,9"));
    assert!(serde_json::from_str::<CpuSet>("\"0-3,x\"").unwrap_err().to_string().contains("character 5"));
}

fn cpus() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![
        proptest::collection::btree_set(0usize..200, 0..40),
        proptest::collection::btree_set(0usize..CpuSet::LIMIT, 0..10),
    ]
}

proptest! {
    #[test]
    fn both_forms_round_trip(cpus in cpus()) {
        let s: CpuSet = cpus.iter().copied().collect();
        prop_assert_eq!(s.iter().collect::<BTreeSet<_>>(), cpus);
        prop_assert_eq!(&CpuSet::parse_list(&s.to_string()).unwrap(), &s);
        prop_assert_eq!(&CpuSet::parse_hex(&s.to_hex()).unwrap(), &s);
        prop_assert_eq!(&CpuSet::parse_hex(&format!("0x{}", s.to_hex())).unwrap(), &s);
        prop_assert_eq!(&CpuSet::from_words(s.words()), &s);
    }

    #[test]
    fn algebra_is_that_of_sets(a in cpus(), b in cpus()) {
        let (x, y): (CpuSet, CpuSet) = (a.iter().copied().collect(), b.iter().copied().collect());
        let of = |s: BTreeSet<usize>| s.into_iter().collect::<CpuSet>();
        prop_assert_eq!(x.union(&y), of(&a | &b));
        prop_assert_eq!(x.intersection(&y), of(&a & &b));
        prop_assert_eq!(x.difference(&y), of(&a - &b));
        prop_assert_eq!(x.intersects(&y), !a.is_disjoint(&b));
        prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
        prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
        prop_assert_eq!((x.first(), x.last()), (a.first().copied(), a.last().copied()));
        // However a set came about, equal sets are equal (also as hash keys): no trailing zero words.
        let mut z = x.union(&y);
        for cpu in &b {
            prop_assert!(z.remove(*cpu));
            prop_assert!(!z.remove(*cpu));
            prop_assert!(!z.contains(*cpu));
        }
        prop_assert_eq!(&z, &x.difference(&y));
        prop_assert!(z.words().last() != Some(&0));
        for cpu in &a {
            prop_assert_eq!(z.insert(*cpu), b.contains(cpu));
        }
        prop_assert_eq!(z, x);
    }
}
