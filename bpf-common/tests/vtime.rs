// SPDX-License-Identifier: GPL-2.0-only
//! `vtime.h`: charging, order across the wrap of 64 bits, bounds, and lag.

use bpf_common::native::{
    constants, vtime_base, vtime_before, vtime_charge, vtime_clamp, vtime_delta, vtime_forgive, vtime_rebase,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence::WithSource;

const SLICE: u64 = 20_000_000;
const HALF: u64 = 1 << 63;

/// Moments near the wrap and anywhere else.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (-5 * 20_000_000i64..5 * 20_000_000).prop_map(|off| 0u64.wrapping_add_signed(off))
    ]
}

/// A failing seed is printed, and kept beside this file until the failure is understood.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(WithSource("proptest-regressions")) as Box<_>);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

#[test]
fn constants_are_those_of_the_documentation() {
    let constants = constants();
    assert_eq!(
        (constants.vtime_weight_one, constants.vtime_max_ahead_slices, constants.vtime_slice_max_ns),
        (100, 100, 1 << 55)
    );
}

#[test]
fn charge_is_scaled_by_weight() {
    assert_eq!(vtime_delta(SLICE, 100), SLICE);
    assert_eq!(vtime_delta(SLICE, 200), SLICE / 2);
    assert_eq!(vtime_delta(SLICE, 1), SLICE * 100);
    assert_eq!(vtime_delta(SLICE, 0), SLICE * 100);
    assert_eq!(vtime_delta(SLICE, 10_000), SLICE / 100);
    assert_eq!(vtime_delta(7, 300), 2);
    assert_eq!(vtime_delta(0, 1), 0);
}

#[test]
fn charge_is_exact_for_every_weight() {
    for weight in 1..=20_000u32 {
        for used in [1, 999, SLICE, 86_400_000_000_123] {
            assert_eq!(
                vtime_delta(used, weight),
                used * 100 / u64::from(weight),
                "{used} at weight {weight}"
            );
        }
    }
}

#[test]
fn no_lag_stays_no_lag() {
    for (from_now, to_now) in [(0, 0), (7, 0), (0, u64::MAX), (u64::MAX, 5), (HALF, HALF - 1)] {
        assert_eq!(vtime_rebase(from_now, from_now, to_now), to_now);
    }
}

#[test]
fn order_holds_across_the_wrap() {
    assert!(vtime_before(u64::MAX, 0));
    assert!(!vtime_before(0, u64::MAX));
    assert!(vtime_before(u64::MAX - 10, 10));
    assert!(vtime_before(1, 2) && !vtime_before(2, 1) && !vtime_before(2, 2));
    assert!(vtime_before(0, HALF - 1) && !vtime_before(HALF - 1, 0));
}

#[test]
fn sleeper_earns_one_slice_and_nobody_is_stranded() {
    for now in [0, SLICE / 2, 1000 * SLICE, HALF, u64::MAX - 3, u64::MAX] {
        let ahead = now.wrapping_add(SLICE * 100);
        assert_eq!(vtime_clamp(now.wrapping_sub(3 * SLICE), now, SLICE), now.wrapping_sub(SLICE));
        assert_eq!(vtime_clamp(now.wrapping_sub(SLICE), now, SLICE), now.wrapping_sub(SLICE));
        assert_eq!(vtime_clamp(now.wrapping_add(7), now, SLICE), now.wrapping_add(7));
        assert_eq!(vtime_clamp(ahead, now, SLICE), ahead);
        assert_eq!(vtime_clamp(ahead.wrapping_add(1), now, SLICE), ahead);
        // The farthest future and the farthest past are still told apart.
        assert_eq!(vtime_clamp(now.wrapping_add(HALF - 1), now, SLICE), ahead);
        assert_eq!(vtime_clamp(now.wrapping_add(HALF), now, SLICE), now.wrapping_sub(SLICE));
    }
}

/// The bound ahead is what the lowest weight pays for one slice: an ordinary charge is never cut.
#[test]
fn one_slice_of_the_lowest_weight_fits_under_the_bound() {
    let now = u64::MAX - 5;
    let charged = now.wrapping_add(vtime_delta(SLICE, 1));
    assert_eq!(vtime_clamp(charged, now, SLICE), charged);
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn charge_is_exact_until_it_saturates(used in any::<u64>(), shift in 0..64u32, weight in 0..20_000u32) {
        let used = used >> shift;
        let limited = u128::from(used.min((u64::MAX >> 1) / 100));
        let expected = limited * 100 / u128::from(weight.max(1));
        prop_assert_eq!(u128::from(vtime_delta(used, weight)), expected);
    }

    #[test]
    fn charge_never_makes_a_task_earlier(vtime in any_time(), used in any::<u64>(), weight in any::<u32>()) {
        prop_assert!(!vtime_before(vtime.wrapping_add(vtime_delta(used, weight)), vtime));
    }

    #[test]
    fn charge_falls_with_weight(used in any::<u64>(), weight in 1..10_000u32) {
        prop_assert!(vtime_delta(used, weight) >= vtime_delta(used, weight + 1));
    }

    #[test]
    fn order_is_strict(a in any_time(), off in 1..HALF) {
        let b = a.wrapping_add(off);
        prop_assert!(vtime_before(a, b) && !vtime_before(b, a) && !vtime_before(a, a));
    }

    #[test]
    fn clamp_ends_within_its_bounds(vtime in any_time(), now in any_time(), slice in any::<u64>(), shift in 0..64u32) {
        let slice = slice >> shift;
        let limited = slice.min(constants().vtime_slice_max_ns);
        let clamped = vtime_clamp(vtime, now, slice);
        prop_assert!(!vtime_before(clamped, now.wrapping_sub(limited)), "{clamped} is too early");
        prop_assert!(!vtime_before(now.wrapping_add(limited * 100), clamped), "{clamped} is too late");
        let lag = vtime.wrapping_sub(now).cast_signed();
        let bounded = lag.clamp(-limited.cast_signed(), (limited * 100).cast_signed());
        prop_assert_eq!(clamped, now.wrapping_add_signed(bounded));
        prop_assert_eq!(vtime_clamp(clamped, now, slice), clamped);
    }

    #[test]
    fn forgiving_leaves_two_own_slices_at_most(vtime in any_time(), now in any_time(), weight in 1..10_000u32) {
        let forgiven = vtime_forgive(vtime, now, SLICE, weight);
        let clamped = vtime_clamp(vtime, now, SLICE);
        let latest = now.wrapping_add(vtime_delta(2 * SLICE, weight));
        prop_assert_eq!(forgiven, if vtime_before(latest, clamped) { latest } else { clamped });
        prop_assert_eq!(vtime_forgive(forgiven, now, SLICE, weight), forgiven);
    }

    #[test]
    fn a_cpu_is_at_most_a_slice_behind_the_shared_queue_and_a_task_s_bound_ahead(
        base in any_time(), head in any_time(), lag in -(200 * SLICE as i64)..200 * SLICE as i64, alone in any::<bool>(),
    ) {
        let now = head.wrapping_add(base).wrapping_add_signed(lag);
        let time = head.wrapping_add(vtime_base(base, head, now, SLICE, alone));
        let expected = if lag > SLICE as i64 {
            now.wrapping_sub(SLICE)
        } else if alone && lag < 0 {
            now
        } else if lag < -(100 * SLICE as i64) {
            now.wrapping_add(100 * SLICE)
        } else {
            head.wrapping_add(base)
        };
        prop_assert_eq!(time, expected);
    }

    #[test]
    fn rebase_keeps_the_lag(vtime in any_time(), from_now in any_time(), to_now in any_time()) {
        let there = vtime_rebase(vtime, from_now, to_now);
        prop_assert_eq!(there.wrapping_sub(to_now), vtime.wrapping_sub(from_now));
        prop_assert_eq!(vtime_rebase(there, to_now, from_now), vtime);
    }
}

#[test]
fn a_stretch_far_longer_than_any_slice_is_charged_as_four() {
    assert_eq!(vtime_charge(SLICE, SLICE, 100), SLICE, "an ordinary stretch in full");
    assert_eq!(vtime_charge(4 * SLICE, SLICE, 50), 8 * SLICE);
    assert_eq!(vtime_charge(4 * SLICE + 1, SLICE, 100), 4 * SLICE);
    assert_eq!(vtime_charge(u64::MAX, SLICE, 10_000), 4 * SLICE / 100);
    assert!(vtime_charge(u64::MAX, u64::MAX, 1) <= u64::MAX / 2, "no overflow");
}
