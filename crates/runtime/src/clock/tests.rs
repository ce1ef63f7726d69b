// SPDX-License-Identifier: GPL-2.0-only
//! Clocks and pacing.

use proptest::prelude::*;

use super::*;

#[test]
fn monotonic_clock_moves_and_is_the_uptime() {
    let first = MonotonicClock.now_ns();
    std::thread::sleep(Duration::from_millis(2));
    let second = MonotonicClock.now_ns();
    assert!(second >= first + 2_000_000, "{first} {second}");
    // /proc/uptime counts suspend as well, so it can only be ahead.
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    assert!(first as f64 / 1e9 <= uptime + 1.0, "{first} against {uptime}");
}

#[test]
fn clones_of_a_manual_clock_share_the_time() {
    let clock = ManualClock::new(5);
    let seen: Box<dyn Clock> = Box::new(clock.clone());
    clock.advance(Duration::from_nanos(7));
    assert_eq!(seen.now_ns(), 12);
}

#[test]
fn periodic_work_skips_what_it_missed_and_keeps_the_beat() {
    let mut work = Periodic::new(Duration::from_nanos(100), 1000);
    assert!(!work.due(1000));
    assert_eq!(work.remaining(1040), Duration::from_nanos(60));
    assert!(!work.due(1099));
    assert!(work.due(1100));
    assert!(!work.due(1199));
    assert!(work.due(1450));
    assert!(!work.due(1499));
    assert_eq!(work.remaining(1499), Duration::from_nanos(1));
    assert!(work.due(1500));
    assert_eq!(work.remaining(9999), Duration::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_due_twice_at_once_and_never_later_than_one_interval(
        interval in 1u64..1_000_000,
        steps in proptest::collection::vec(0u64..5_000_000, 1..50),
    ) {
        let mut now = 0;
        let mut work = Periodic::new(Duration::from_nanos(interval), now);
        for step in steps {
            now += step;
            if work.due(now) {
                prop_assert!(!work.due(now));
            }
            prop_assert!(work.remaining(now) <= Duration::from_nanos(interval));
            prop_assert!(work.remaining(now) > Duration::ZERO);
        }
    }
}

#[test]
fn extreme_intervals_do_not_overflow() {
    let mut zero = Periodic::new(Duration::ZERO, 10);
    assert!(zero.due(11));
    let mut never = Periodic::new(Duration::MAX, 10);
    assert!(!never.due(u64::MAX - 1));
}
