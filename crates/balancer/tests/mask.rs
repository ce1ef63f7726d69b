// SPDX-License-Identifier: GPL-2.0-only
//! The domain mask against a plain set.

use balancer::DomainMask;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn all_and_edges() {
    for n in [0, 1, 63, 64, 65, 127, 128, 129, 1000, 1024] {
        let mask = DomainMask::all(n);
        assert_eq!(mask, (0..n).collect());
        assert_eq!((mask.len(), mask.last(), mask.is_empty()), (n, n.checked_sub(1), n == 0));
        assert!(!mask.contains(n) && !mask.contains(usize::MAX));
    }
    assert_eq!(DomainMask::single(64), DomainMask::from_words(&[0, 1, 0, 0]));
    assert_eq!(format!("{:?}", DomainMask::from_words(&[5, 2])), "{0, 2, 65}");
    assert_eq!(DomainMask::from_words(&[]), DomainMask::empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_set(steps in proptest::collection::vec((any::<bool>(), 0usize..300), 0..60)) {
        let (mut mask, mut set) = (DomainMask::empty(), BTreeSet::new());
        for (add, domain) in steps {
            if add {
                mask.insert(domain);
                set.insert(domain);
            } else {
                mask.remove(domain);
                set.remove(&domain);
            }
            prop_assert_eq!(mask.contains(domain), add);
            prop_assert_eq!(mask.len(), set.len());
            let others = set.iter().any(|&other| other != domain);
            prop_assert_eq!(mask.has_other(domain), others);
            prop_assert_eq!(mask.has_other(1000), !set.is_empty());
            prop_assert_eq!(mask.last(), set.last().copied());
        }
        prop_assert!(mask.iter().eq(set.iter().copied()));
        prop_assert_eq!(mask, set.into_iter().collect::<DomainMask>());
    }
}
