// SPDX-License-Identifier: GPL-2.0-only
//! Reading, updating and moving contributions between aggregates: what `ravg.h` promises for any input.

use bpf_common::{Ravg, native};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence::WithSource;

const SECOND: u64 = 1_000_000_000;

fn any_ravg() -> impl Strategy<Value = Ravg> {
    let avg = prop_oneof![any::<u64>(), 0..1u64 << 40, Just(0), Just(u64::MAX)];
    let val = prop_oneof![any::<u32>(), 0..20_000u32, Just(0), Just(u32::MAX)];
    (avg, 0..3000 * SECOND, val).prop_map(|(avg, val_at, val)| Ravg { avg, val_at, val, pad: 0 })
}

fn any_half_life() -> impl Strategy<Value = u64> {
    prop_oneof![1_000_000..1000 * SECOND, any::<u64>(), Just(0), Just(1), Just(SECOND), Just(u64::MAX)]
}

fn any_now() -> impl Strategy<Value = u64> {
    prop_oneof![0..4000 * SECOND, any::<u64>(), Just(0), Just(u64::MAX)]
}

fn at(avg: u64, val_at: u64, val: u32) -> Ravg {
    Ravg { avg, val_at, val, pad: 0 }
}

/// A failing seed is printed, and kept beside this file until the failure is understood.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(WithSource("proptest-regressions")) as Box<_>);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

#[test]
fn one_half_life_halves_the_gap_to_the_last_bit() {
    let mut average = at(0, 7, 0);
    native::ravg_update(&mut average, 100, 7, SECOND);
    assert_eq!(average, at(0, 7, 100));
    assert_eq!(native::ravg_read(&average, 7 + SECOND, SECOND), 50 << 32);
    native::ravg_update(&mut average, 0, 7 + 2 * SECOND, SECOND);
    assert_eq!(average, at(75 << 32, 7 + 2 * SECOND, 0));
    assert_eq!(native::ravg_read(&average, 7 + 5 * SECOND, SECOND), (75 << 32) / 8);
}

#[test]
fn time_going_backwards_decays_nothing() {
    let mut average = at(9 << 32, 100, 2);
    assert_eq!(native::ravg_read(&average, 99, SECOND), 9 << 32);
    native::ravg_update(&mut average, 5, 3, SECOND);
    assert_eq!(average, at(9 << 32, 100, 5));
}

#[test]
fn no_half_life_makes_the_average_the_value() {
    let mut average = at(9 << 32, 100, 2);
    assert_eq!(native::ravg_read(&average, 0, 0), 2 << 32);
    native::ravg_update(&mut average, 5, 200, 0);
    assert_eq!(average, at(2 << 32, 200, 5));
}

#[test]
fn ends_of_the_range_do_not_overflow() {
    let full = u64::from(u32::MAX) << 32;
    assert_eq!(native::ravg_read(&at(0, 0, u32::MAX), u64::MAX, 1), full);
    assert_eq!(native::ravg_read(&at(full, 0, 0), u64::MAX, 1), 0);
    assert_eq!(native::ravg_read(&at(full, 0, u32::MAX), u64::MAX, u64::MAX), full);
    // A saturated aggregate exceeds what its value could reach; it still comes down to the value.
    assert_eq!(native::ravg_read(&at(u64::MAX, 0, 0), SECOND, SECOND), 1 << 63);
    assert_eq!(native::ravg_read(&at(u64::MAX, 0, 3), u64::MAX, SECOND), 3 << 32);
}

#[test]
fn sums_saturate_at_both_ends() {
    let mut aggregate = at(u64::MAX - 1, 5, u32::MAX - 1);
    native::ravg_add(&mut aggregate, &mut at(2, 5, 2), 5, SECOND);
    assert_eq!(aggregate, at(u64::MAX, 5, u32::MAX));
    let mut aggregate = at(1, 5, 1);
    native::ravg_sub(&mut aggregate, &mut at(2, 5, 2), 5, SECOND);
    assert_eq!(aggregate, at(0, 5, 0));
}

#[test]
fn aggregates_follow_the_sum_of_their_parts() {
    let half_life = SECOND;
    let mut parts = [at(0, 0, 0); 3];
    let mut aggregate = at(0, 0, 0);
    let mut now = 0;
    for round in 0..3000u64 {
        now += 1 + (round * 7_919) % 40_000_000;
        let part = &mut parts[(round % 3) as usize];
        native::ravg_sub(&mut aggregate, part, now, half_life);
        native::ravg_update(part, (round * 31 % 101) as u32, now, half_life);
        native::ravg_add(&mut aggregate, part, now, half_life);
    }
    assert_eq!(aggregate.val, parts.iter().map(|part| part.val).sum::<u32>());
    let sum: u64 = parts.iter().map(|part| native::ravg_read(part, now, half_life)).sum();
    // Every round may round four times by less than one unit; what is older than a half-life counts less.
    assert!(aggregate.avg.abs_diff(sum) <= 400, "{} instead of {sum}", aggregate.avg);
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn average_stays_between_old_average_and_value(
        r in any_ravg(), now in any_now(), half_life in any_half_life(),
    ) {
        let value = u64::from(r.val) << 32;
        let average = native::ravg_read(&r, now, half_life);
        prop_assert!(average >= r.avg.min(value) && average <= r.avg.max(value), "{average}");
    }

    #[test]
    fn update_is_read_then_set(
        r in any_ravg(), now in any_now(), half_life in any_half_life(), new_val in any::<u32>(),
    ) {
        let mut updated = r;
        native::ravg_update(&mut updated, new_val, now, half_life);
        let expected = at(native::ravg_read(&r, now, half_life), r.val_at.max(now), new_val);
        prop_assert_eq!(updated, expected);
        let mut settled = r;
        native::ravg_settle(&mut settled, now, half_life);
        prop_assert_eq!(settled, Ravg { val: r.val, ..expected });
    }

    /// Unless one end saturates, not one bit is lost or gained, whatever the clocks say.
    #[test]
    fn transfer_conserves_the_sum(
        from in any_ravg(), to in any_ravg(), part in any_ravg(), now in any_now(), half_life in any_half_life(),
    ) {
        let moment = now.max(from.val_at).max(to.val_at).max(part.val_at);
        let settled = [from, to, part].map(|mut r| {
            native::ravg_settle(&mut r, moment, half_life);
            r
        });
        let (mut from, mut to, mut part) = (from, to, part);
        native::ravg_transfer(&mut from, &mut to, &mut part, now, half_life);

        prop_assert_eq!(part, settled[2]);
        prop_assert_eq!((from.val_at, to.val_at), (moment, moment));
        prop_assert_eq!(from.avg, settled[0].avg.saturating_sub(part.avg));
        prop_assert_eq!(from.val, settled[0].val.saturating_sub(part.val));
        prop_assert_eq!(to.avg, settled[1].avg.saturating_add(part.avg));
        prop_assert_eq!(to.val, settled[1].val.saturating_add(part.val));
        let saturates = settled[0].avg < part.avg || settled[1].avg.checked_add(part.avg).is_none();
        if !saturates {
            let sum = |a: Ravg, b: Ravg| u128::from(a.avg) + u128::from(b.avg);
            prop_assert_eq!(sum(from, to), sum(settled[0], settled[1]));
        }
    }

    #[test]
    fn add_and_sub_are_inverse_at_one_moment(
        aggregate in any_ravg(), part in any_ravg(), now in any_now(), half_life in any_half_life(),
    ) {
        let (mut sum, mut part) = (aggregate, part);
        // Room at the top, so that nothing saturates.
        sum.avg /= 2;
        sum.val /= 2;
        part.avg /= 2;
        part.val /= 2;
        let mut settled = sum;
        native::ravg_settle(&mut settled, now.max(part.val_at).max(sum.val_at), half_life);
        native::ravg_add(&mut sum, &mut part, now, half_life);
        native::ravg_sub(&mut sum, &mut part, now, half_life);
        prop_assert_eq!(sum, settled);
    }
}
