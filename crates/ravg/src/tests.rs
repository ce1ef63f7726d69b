// SPDX-License-Identifier: GPL-2.0-only
//! The twin against values worked out by hand; the comparison with the C code is in `tests/`.

use super::{FIXED_ONE, HALF_LIFE_MAX_NS, Ravg, RavgData};

const SECOND: u64 = 1_000_000_000;

fn close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() <= expected.abs() * 1e-12, "{actual} instead of {expected}");
}

#[test]
fn rises_by_half_of_the_gap_per_half_life() {
    let mut average = Ravg::default();
    average.update(100, 5 * SECOND, SECOND);
    close(average.read(5 * SECOND, SECOND), 0.0);
    close(average.read(6 * SECOND, SECOND), 50.0);
    close(average.read(7 * SECOND, SECOND), 75.0);
    close(average.read(15 * SECOND, SECOND), 100.0 * (1.0 - 1.0 / 1024.0));
}

#[test]
fn falls_by_half_per_half_life() {
    let data = RavgData { avg: 64 << 32, val_at: SECOND, val: 0 };
    close(data.read(SECOND, SECOND), 64.0);
    close(data.read(4 * SECOND, SECOND), 8.0);
    close(data.read(3 * SECOND / 2, SECOND), 64.0 / 2f64.sqrt());
}

#[test]
fn reads_fixed_point_in_units_of_the_value() {
    close(RavgData { avg: 3 << 31, val_at: 9, val: 0 }.read(0, SECOND), 1.5);
    close(RavgData { avg: 1, val_at: 9, val: 0 }.read(9, SECOND), 1.0 / FIXED_ONE);
}

#[test]
fn earlier_moment_decays_nothing_and_keeps_the_time() {
    let mut average = Ravg::from(RavgData { avg: 7 << 32, val_at: 10 * SECOND, val: 3 });
    close(average.read(2 * SECOND, SECOND), 7.0);
    average.update(20, 2 * SECOND, SECOND);
    assert_eq!((average.val(), average.val_at_ns()), (20, 10 * SECOND));
    close(average.read(11 * SECOND, SECOND), 13.5);
}

#[test]
fn no_half_life_makes_the_average_the_value() {
    let mut average = Ravg::from(RavgData { avg: 7 << 32, val_at: SECOND, val: 3 });
    close(average.read(0, 0), 3.0);
    average.update(20, SECOND, 0);
    close(average.read(SECOND, SECOND), 3.0);
    close(average.read(SECOND, 0), 20.0);
}

#[test]
fn half_life_is_limited() {
    let data = RavgData { avg: 0, val_at: 0, val: 8 };
    close(data.read(HALF_LIFE_MAX_NS, u64::MAX), 4.0);
    close(data.read(HALF_LIFE_MAX_NS, HALF_LIFE_MAX_NS), 4.0);
}

#[test]
fn transfer_moves_average_and_value() {
    let (mut from, mut to, mut task) = (Ravg::default(), Ravg::default(), Ravg::default());
    task.update(10, 0, SECOND);
    from.update(30, 0, SECOND);
    from.transfer(&mut to, &mut task, SECOND, SECOND);
    assert_eq!((from.val(), to.val(), task.val()), (20, 10, 10));
    close(from.read(SECOND, SECOND), 10.0);
    close(to.read(SECOND, SECOND), 5.0);
    close(to.read(2 * SECOND, SECOND), 7.5);
}

#[test]
fn sums_saturate_at_both_ends() {
    let full = RavgData { avg: u64::MAX, val_at: 0, val: u32::MAX };
    let mut aggregate = Ravg::from(full);
    aggregate.add(&mut Ravg::from(full), 0, SECOND);
    assert_eq!(aggregate.val(), u32::MAX);
    close(aggregate.read(0, SECOND), FIXED_ONE);

    let mut small = Ravg::from(RavgData { avg: 1 << 32, val_at: 0, val: 1 });
    small.sub(&mut Ravg::from(full), 0, SECOND);
    assert_eq!(small.val(), 0);
    assert_eq!(small.read(0, SECOND), 0.0);
}
