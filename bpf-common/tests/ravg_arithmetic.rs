// SPDX-License-Identifier: GPL-2.0-only
//! The fixed-point arithmetic of `ravg.h`, piece by piece: tables, product, power, decay.
//!
//! Whole sequences of updates are compared with `f64` by the tests of the `ravg` crate.

use std::num::NonZeroU64;

use bpf_common::native;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence::WithSource;

/// One in 1.63 fixed point.
const ONE: u64 = 1 << 63;
/// What `f64` itself may be off: half a unit in the last of 53 digits, twice (powf and the fixed-point value).
const F64_ERROR: f64 = 2.5e-16;

fn product_rounded(a: u64, b: u64) -> u64 {
    let exact = u128::from(a) * u128::from(b);
    u64::try_from((exact + (1 << 62)) >> 63).expect("b is at most 2^63")
}

fn fraction(fixed: u64) -> f64 {
    fixed as f64 / ONE as f64
}

/// The factor of `f64` for the exponent -x / 2^64.
fn power(x: u64) -> f64 {
    (-(x as f64) / 18_446_744_073_709_551_616.0).exp2()
}

/// A failing seed is printed, and kept beside this file until the failure is understood.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(WithSource("proptest-regressions")) as Box<_>);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

#[test]
fn tables_hold_the_powers_of_two() {
    for index in 0..64u32 {
        let coarse = 2f64.powf(-f64::from(index) / 64.0);
        let fine = 2f64.powf(-f64::from(index) / 4096.0);
        let (coarse_error, fine_error) = (
            (fraction(native::ravg_pow2_coarse(index)) / coarse - 1.0).abs(),
            (fraction(native::ravg_pow2_fine(index)) / fine - 1.0).abs(),
        );
        assert!(coarse_error <= F64_ERROR, "coarse {index}: off by {coarse_error:e}");
        assert!(fine_error <= F64_ERROR, "fine {index}: off by {fine_error:e}");
    }
}

/// `f64` sees 53 of the 63 digits; the law of exponents checks the rest. The anchors are exact: 1, and 2^-(32/64)
/// whose square is a half.
#[test]
fn tables_are_exact_to_the_last_digits() {
    let coarse: Vec<u64> = (0..64).map(native::ravg_pow2_coarse).collect();
    let fine: Vec<u64> = (0..64).map(native::ravg_pow2_fine).collect();
    assert_eq!((coarse[0], fine[0]), (ONE, ONE));
    assert!(product_rounded(coarse[32], coarse[32]).abs_diff(ONE / 2) <= 1);
    for table in [&coarse, &fine] {
        for a in 0..64 {
            for b in 0..64 - a {
                let off = product_rounded(table[a], table[b]).abs_diff(table[a + b]);
                assert!(off <= 2, "entries {a} and {b}: off by {off} * 2^-63");
            }
        }
    }
    for a in 1..64 {
        let off = product_rounded(fine[a], fine[64 - a]).abs_diff(coarse[1]);
        assert!(off <= 2, "fine entries {a} and {}: off by {off} * 2^-63", 64 - a);
    }
}

#[test]
fn constants_are_those_of_the_documentation() {
    let constants = native::constants();
    assert_eq!(constants.ravg_fraction_bits, 32);
    assert_eq!(constants.ravg_half_life_max_ns, 1 << 42);
}

#[test]
fn power_at_the_ends_of_its_range() {
    assert_eq!(native::ravg_pow2_neg(0), ONE);
    let last = native::ravg_pow2_neg(u64::MAX);
    assert!(last.abs_diff(ONE / 2) < 512, "2^-(1 - 2^-64) is {last:#x}");
}

/// Where one table entry hands over to the next: no step up, and none down beyond the precision.
#[test]
fn power_is_smooth_across_table_entries() {
    for entry in 1..4096u64 {
        let x = entry << 52;
        let (before, at) = (native::ravg_pow2_neg(x - 1), native::ravg_pow2_neg(x));
        assert!(before.abs_diff(at) <= 512, "from {before:#x} to {at:#x} at {entry} / 4096");
    }
}

fn wide() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), 0..64u32).prop_map(|(bits, shift)| bits >> shift),
        (0..64u32, -2i64..=2).prop_map(|(bit, off)| (1u64 << bit).wrapping_add_signed(off)),
        Just(u64::MAX),
    ]
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn product_is_exact(a in wide(), b in wide()) {
        let b = b.min(ONE);
        prop_assert_eq!(native::ravg_mul63(a, b), product_rounded(a, b));
    }

    #[test]
    fn power_agrees_with_f64(x in wide()) {
        let error = (fraction(native::ravg_pow2_neg(x)) / power(x) - 1.0).abs();
        prop_assert!(error <= 4e-16, "off by {error:e}");
    }

    /// The quotient elapsed / half-life, by long division in C, against the exact one in 128 bits.
    #[test]
    fn decay_divides_exactly(elapsed in wide(), half_life in wide(), distance in wide()) {
        let half_life = NonZeroU64::new(half_life).unwrap_or(NonZeroU64::MIN);
        let limited = half_life.get().min(native::constants().ravg_half_life_max_ns);
        let halvings = elapsed / limited;
        let x = u64::try_from((u128::from(elapsed % limited) << 64) / u128::from(limited)).expect("below one");
        let kept = u128::from(native::ravg_mul63(distance, native::ravg_pow2_neg(x)));
        let expected = match halvings {
            0 => kept,
            1..=63 => (kept + (1 << (halvings - 1))) >> halvings,
            _ => 0,
        };
        prop_assert_eq!(u128::from(native::ravg_decay(distance, elapsed, half_life)), expected);
    }

    #[test]
    fn decay_never_grows(elapsed in wide(), half_life in wide(), distance in wide()) {
        let half_life = NonZeroU64::new(half_life).unwrap_or(NonZeroU64::MIN);
        prop_assert!(native::ravg_decay(distance, elapsed, half_life) <= distance);
    }
}
