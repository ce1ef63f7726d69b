// SPDX-License-Identifier: GPL-2.0-only
//! CPU lists as the kernel writes them.
use super::*;
use proptest::prelude::*;

#[test]
fn reads_what_the_kernel_writes() {
    assert_eq!(parse("0-2,5\n"), Some(Cpus::from([0, 1, 2, 5])));
    assert_eq!(parse("\n"), Some(Cpus::new()));
    assert_eq!(parse("3-1"), None);
    assert_eq!(parse("a"), None);
    assert_eq!(parse("-1"), None);
    assert_eq!(format(&Cpus::from([0, 1, 3])), "0-1,3");
}

proptest! {
    #[test]
    fn a_set_survives_its_text(cpus in prop::collection::btree_set(0usize..200, 0..50)) {
        prop_assert_eq!(parse(&format(&cpus)), Some(cpus));
    }
}
