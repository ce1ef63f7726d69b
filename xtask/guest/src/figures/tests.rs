// SPDX-License-Identifier: GPL-2.0-only
//! Spreads, means and the random numbers that a seed repeats.
use super::*;
use proptest::prelude::*;

#[test]
fn spread_is_range_over_mean() {
    assert_eq!(spread(&[6.0, 6.0, 6.0]), Some(0.0));
    assert_eq!(spread(&[5.0, 7.0]), Some(2.0 / 6.0));
    assert_eq!(spread(&[24.0, 0.0, 0.0, 0.0]), Some(4.0));
    assert_eq!(spread(&[0.0, 0.0]), None);
    assert_eq!(spread(&[]), None);
}

#[test]
fn a_starved_one_makes_the_ratio_infinite() {
    assert_eq!(max_over_min(&[2.0, 1.0, 3.0]), Some(3.0));
    assert_eq!(max_over_min(&[2.0, 0.0]), Some(f64::INFINITY));
    assert_eq!(max_over_min(&[]), None);
}

#[test]
fn columns_are_averaged() {
    assert_eq!(column_means(&[vec![1.0, 0.0], vec![3.0, 2.0]]), [2.0, 1.0]);
    assert!(column_means(&[]).is_empty());
    assert_eq!(rounded(0.12345), 0.123);
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let draw = |seed| -> Vec<u64> {
        let mut random = Random::new(seed);
        (0..8).map(|_| random.next()).collect()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    // Reference value of the published generator for seed 0.
    assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf);
}

proptest! {
    #[test]
    fn spread_does_not_depend_on_scale_or_order(mut values in prop::collection::vec(0.1f64..100.0, 1..20), scale in 0.1f64..10.0) {
        let original = spread(&values).unwrap();
        values.reverse();
        values.iter_mut().for_each(|value| *value *= scale);
        let other = spread(&values).unwrap();
        prop_assert!((original - other).abs() < 1e-9, "{original} against {other}");
        prop_assert!(original >= 0.0 && original <= values.len() as f64);
    }
}
