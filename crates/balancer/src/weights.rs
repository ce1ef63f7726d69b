// SPDX-License-Identifier: GPL-2.0-only
//! Weight buckets and the infeasible-weights solution.
//!
//! The kernel side keeps duty cycles by weight bucket, because the clamp below is known only after all loads are. The
//! bucket functions equal `bpf-common/include/weight.h`; a test compares them over the whole range.

/// Smallest weight.
pub const WEIGHT_MIN: u32 = 1;
/// Largest weight.
pub const WEIGHT_MAX: u32 = 10_000;
/// Weight of nice 0; load 1.0 is one always-runnable task of this weight.
pub const WEIGHT_NORMAL: u32 = 100;
/// Number of weight buckets.
pub const BUCKETS: usize = 90;

/// Bucket of a weight; weights outside 1..=10000 count as the nearest inside.
///
/// Weights below 8 have a bucket each; above, every power of two is cut into eight equal parts, so a bucket spans at
/// most 1/8 of its weight.
pub fn weight_bucket(weight: u32) -> usize {
    let weight = weight.clamp(WEIGHT_MIN, WEIGHT_MAX);
    let exponent = weight.ilog2();
    if exponent < 3 {
        return weight as usize;
    }
    ((exponent - 2) * 8 + ((weight >> (exponent - 3)) & 7)) as usize
}

/// The weight that stands for a bucket: the middle of the weights it holds, rounded down. Exact below 16. Buckets past
/// the last count as the last; bucket 0 holds no weight and answers the smallest.
pub fn bucket_weight(bucket: usize) -> u32 {
    let bucket = bucket.min(BUCKETS - 1) as u32;
    if bucket < 8 {
        return bucket.max(WEIGHT_MIN);
    }
    let shift = bucket / 8 - 1;
    let low = (8 + bucket % 8) << shift;
    let high = (low + (1 << shift) - 1).min(WEIGHT_MAX);
    (low + high) / 2
}

/// The weight every larger weight has to be clamped to, or `None` when all weights together fit: when the duty cycles
/// leave no queue (`duty_by_bucket` sums to no more than `cpus`).
///
/// A task cannot use more than one CPU, whatever its weight. With `W` the sum of duty × weight over the machine, a
/// weight above `W / cpus` claims more than that: it is infeasible, and it makes everybody else's load look too small.
/// The answer is the fixed point `lambda = (sum of duty × min(weight, lambda)) / cpus`. With the weights above lambda
/// known, it is closed form: `lambda = rest / (cpus - d)`, where `d` is the duty of the clamped weights and `rest` the
/// duty × weight of the others; the scan from the heaviest bucket finds the one split that is consistent.
/// (Vernet, "Solving the infeasible weights problem", Linux Plumbers Conference 2023, states the problem.)
///
/// The result may lie above every weight present; then nothing is clamped.
pub fn infeasible_lambda(duty_by_bucket: &[f64; BUCKETS], cpus: f64) -> Option<f64> {
    let total_duty: f64 = duty_by_bucket.iter().sum();
    if !is_saturated(total_duty, cpus) {
        return None;
    }
    let weight = |bucket: usize| f64::from(bucket_weight(bucket));
    let mut rest: f64 = duty_by_bucket.iter().enumerate().map(|(bucket, duty)| duty * weight(bucket)).sum();
    let mut spare_cpus = cpus;
    let mut lambda = rest / spare_cpus;
    for bucket in (0..BUCKETS).rev().filter(|b| duty_by_bucket[*b] > 0.0) {
        if weight(bucket) <= lambda || spare_cpus <= duty_by_bucket[bucket] {
            break;
        }
        rest -= duty_by_bucket[bucket] * weight(bucket);
        spare_cpus -= duty_by_bucket[bucket];
        lambda = rest / spare_cpus;
    }
    Some(lambda)
}

/// Whether work has to wait: the duty cycles together exceed the machine's CPUs.
pub fn is_saturated(total_duty: f64, cpus: f64) -> bool {
    // At equality every weight is clamped to the smallest one, which is the same as counting duty alone; a hair of
    // slack keeps the closed form away from 0 / 0.
    total_duty > cpus * (1.0 + 1e-9)
}
