// SPDX-License-Identifier: GPL-2.0-only
//! `weight.h` over its whole input range.

use bpf_common::native::{constants, weight_bucket, weight_bucket_rep, weight_clamp};

/// The definition in its plainest form, without the bit tricks.
fn bucket_by_definition(weight: u32) -> u32 {
    let weight = weight.clamp(1, 10_000);
    if weight < 8 {
        return weight;
    }
    let log = weight.ilog2();
    (log - 2) * 8 + ((weight >> (log - 3)) & 7)
}

/// Lowest and highest weight of every bucket, found by trying all weights.
fn bounds() -> Vec<Option<(u32, u32)>> {
    let mut bounds = vec![None; 90];
    for weight in 1..=10_000 {
        let slot: &mut Option<(u32, u32)> = &mut bounds[weight_bucket(weight) as usize];
        let low = slot.map_or(weight, |(low, _)| low);
        *slot = Some((low, weight));
    }
    bounds
}

#[test]
fn constants_are_those_of_the_documentation() {
    let constants = constants();
    assert_eq!((constants.weight_min, constants.weight_max, constants.weight_buckets), (1, 10_000, 90));
}

#[test]
fn buckets_follow_the_definition_and_never_fall() {
    let mut previous = 0;
    for weight in 0..=20_000 {
        let bucket = weight_bucket(weight);
        assert_eq!(bucket, bucket_by_definition(weight), "weight {weight}");
        assert!(bucket < 90, "weight {weight} in bucket {bucket}");
        assert!(bucket == previous || bucket == previous + 1, "weight {weight}: from {previous} to {bucket}");
        previous = bucket;
    }
    assert_eq!(previous, 89, "the last bucket is in use");
}

#[test]
fn weights_outside_the_range_are_clamped() {
    assert_eq!((weight_clamp(0), weight_clamp(1), weight_clamp(77)), (1, 1, 77));
    for weight in [10_000, 10_001, 1 << 16, 1 << 31, u32::MAX] {
        assert_eq!((weight_clamp(weight), weight_bucket(weight)), (10_000, 89), "weight {weight}");
    }
    assert_eq!(weight_bucket(0), weight_bucket(1));
}

#[test]
fn representative_is_the_middle_of_its_bucket() {
    let bounds = bounds();
    assert_eq!(bounds[0], None, "bucket 0 stays empty");
    assert_eq!(weight_bucket_rep(0), 1);
    for (bucket, bound) in (0..90).zip(bounds).skip(1) {
        let (low, high) = bound.expect("every bucket but 0 is in use");
        let middle = weight_bucket_rep(bucket);
        assert_eq!(middle, (low + high) / 2, "bucket {bucket} of {low}..={high}");
        assert_eq!(weight_bucket(middle), bucket);
    }
    assert_eq!(weight_bucket_rep(89), (9216 + 10_000) / 2);
}

#[test]
fn representative_is_close_to_every_weight() {
    for weight in 1..=10_000u32 {
        let middle = weight_bucket_rep(weight_bucket(weight));
        assert!(weight.abs_diff(middle) * 16 <= weight, "{middle} stands for {weight}");
        assert!(weight >= 16 || middle == weight, "{middle} stands for {weight}");
    }
}

#[test]
fn representatives_rise_and_absent_buckets_count_as_the_last() {
    for bucket in 1..89 {
        assert!(weight_bucket_rep(bucket) < weight_bucket_rep(bucket + 1), "bucket {bucket}");
    }
    for bucket in [90, 91, 1000, u32::MAX] {
        assert_eq!(weight_bucket_rep(bucket), weight_bucket_rep(89), "bucket {bucket}");
    }
}
