// SPDX-License-Identifier: GPL-2.0-only
//! Weight buckets against the C that runs in the kernel, and the infeasible-weights solution against its definition.

use balancer::weights::*;
use bpf_common::native;
use proptest::prelude::*;

#[test]
fn buckets_equal_the_c_over_the_whole_range() {
    for weight in 0..=WEIGHT_MAX + 1000 {
        let bucket = weight_bucket(weight);
        assert_eq!(bucket as u32, native::weight_bucket(weight), "weight {weight}");
        assert_eq!(bucket_weight(bucket), native::weight_bucket_rep(bucket as u32), "bucket {bucket}");
    }
    assert_eq!(weight_bucket(u32::MAX) as u32, native::weight_bucket(u32::MAX));
}

#[test]
fn buckets_rise_and_stand_for_weights_of_their_own() {
    for weight in WEIGHT_MIN..WEIGHT_MAX {
        let (bucket, next) = (weight_bucket(weight), weight_bucket(weight + 1));
        assert!(next == bucket || next == bucket + 1, "weight {weight}");
        assert!(bucket < BUCKETS);
        let stands_for = f64::from(bucket_weight(bucket));
        assert!((stands_for / f64::from(weight) - 1.0).abs() <= 0.0625, "weight {weight}: {stands_for}");
    }
    assert_eq!(weight_bucket(WEIGHT_MAX), BUCKETS - 1);
    for bucket in 1..BUCKETS {
        assert_eq!(weight_bucket(bucket_weight(bucket)), bucket);
    }
}

#[test]
fn lambda_by_hand() {
    let mut duty = [0.0; BUCKETS];
    assert_eq!(infeasible_lambda(&duty, 4.0), None);
    duty[weight_bucket(1)] = 3.0;
    duty[weight_bucket(8)] = 1.0;
    // Exactly full: no queue, no weights.
    assert_eq!(infeasible_lambda(&duty, 4.0), None);
    // 3 × 1 + 1 × 8 = 11 over 2 CPUs is 5.5 a CPU: 8 is infeasible. Clamped: 3 × 1 / (2 - 1) = 3.
    assert_eq!(infeasible_lambda(&duty, 2.0), Some(3.0));
    // On one CPU every weight is feasible: a CPU's worth of weight is 11.
    assert_eq!(infeasible_lambda(&duty, 1.0), Some(11.0));
}

/// The definition, solved by bisection: `lambda × cpus = sum of duty × min(weight, lambda)`, lambda > 0.
fn lambda_by_bisection(duty: &[f64; BUCKETS], cpus: f64) -> f64 {
    let excess = |lambda: f64| {
        let load = |b: usize| duty[b] * f64::from(bucket_weight(b)).min(lambda);
        lambda * cpus - (0..BUCKETS).map(load).sum::<f64>()
    };
    let (mut low, mut high) = (0.0, 1e12);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if excess(middle) < 0.0 { low = middle } else { high = middle }
    }
    high
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn lambda_solves_its_definition(
        sums in proptest::collection::vec((1usize..BUCKETS, 0.01f64..20.0), 1..30),
        share in 0.001f64..0.999,
    ) {
        let mut duty = [0.0; BUCKETS];
        for (bucket, sum) in sums {
            duty[bucket] += sum;
        }
        let total: f64 = duty.iter().sum();
        let cpus = total * share;
        let lambda = infeasible_lambda(&duty, cpus).unwrap();
        let expected = lambda_by_bisection(&duty, cpus);
        prop_assert!((lambda / expected - 1.0).abs() < 1e-9, "{} instead of {}", lambda, expected);
        // No clamped task claims more than one CPU.
        let load: f64 = (0..BUCKETS).map(|b| duty[b] * f64::from(bucket_weight(b)).min(lambda)).sum();
        prop_assert!(lambda * cpus / load < 1.0 + 1e-9);
        prop_assert_eq!(infeasible_lambda(&duty, total * 1.001), None);
    }
}
