// SPDX-License-Identifier: GPL-2.0-only
//! Demand over made-up histories.

use super::*;

const MS: u64 = 1_000_000;
const CELL: CellId = CellId { slot: 1, generation: 0 };

fn sample(used_ns: u64, waited_ns: u64) -> Sample {
    Sample { cell: CELL, used_ns, waited_ns }
}

#[test]
fn demand_is_running_plus_waiting_over_real_time() {
    let mut tracker = DemandTracker::new(DemandParams::default());
    tracker.observe(1000 * MS, &[sample(7, 9)]);
    assert_eq!(tracker.demand(CELL), 0.0);
    // Late by 50 %: 150 ms passed, 300 ms were used, 600 ms waited.
    tracker.observe(1150 * MS, &[sample(7 + 300 * MS, 9 + 600 * MS)]);
    assert!((tracker.utilisation(CELL) - 2.0).abs() < 1e-9);
    assert!((tracker.demand(CELL) - 6.0).abs() < 1e-9);
}

#[test]
fn the_half_life_does_not_depend_on_the_sampling() {
    let value_after = |step_ms: u64| {
        let mut tracker = DemandTracker::new(DemandParams::default());
        tracker.observe(0, &[sample(0, 0)]);
        tracker.observe(100 * MS, &[sample(400 * MS, 0)]);
        for at in (100 + step_ms..=2100).step_by(step_ms as usize) {
            tracker.observe(at * MS, &[sample(400 * MS, 0)]);
        }
        tracker.demand(CELL)
    };
    for step_ms in [10, 100, 2000] {
        assert!((value_after(step_ms) - 1.0).abs() < 1e-6, "two half-lives of 4: {}", value_after(step_ms));
    }
}

#[test]
fn an_idle_cell_settles_at_nothing() {
    let mut tracker = DemandTracker::new(DemandParams { threshold_cpus: 0.5, ..DemandParams::default() });
    tracker.observe(0, &[sample(0, 0)]);
    tracker.observe(1000 * MS, &[sample(600 * MS, 0)]);
    assert!(tracker.settle(1000 * MS));
    assert!((tracker.settled(CELL) - 0.6).abs() < 1e-9);
    let mut settled = 0;
    for second in 2..20 {
        tracker.observe(second * 1000 * MS, &[sample(600 * MS, 0)]);
        settled += u32::from(tracker.settle(second * 1000 * MS));
    }
    assert_eq!(tracker.settled(CELL), 0.0);
    assert!(settled <= 2, "settled {settled} times");
}

#[test]
fn small_swings_and_hot_ones_change_nothing() {
    let mut tracker = DemandTracker::new(DemandParams { half_life_ns: 0, ..DemandParams::default() });
    let mut used = 0;
    tracker.observe(0, &[sample(0, 0)]);
    let mut settled = Vec::new();
    for round in 1..=20u64 {
        // Around 4 CPUs, 5 % up and down; then a jump.
        used += match round {
            11.. => 800,
            _ => 400 + 20 * (round % 2),
        } * MS;
        tracker.observe(round * 100 * MS, &[sample(used, 0)]);
        if tracker.settle(round * 100 * MS) {
            settled.push(round);
        }
    }
    assert_eq!(settled, [1, 11], "once at first, once after the jump");
    // Within the cool-down nothing settles, however large the change.
    tracker.observe(2020 * MS, &[sample(used + 2000 * MS, 0)]);
    assert!(!tracker.settle(2020 * MS));
    assert!(tracker.settle(2100 * MS));
}

#[test]
fn strange_counters_do_no_harm() {
    let mut tracker = DemandTracker::new(DemandParams::default());
    tracker.observe(0, &[sample(500 * MS, 0)]);
    tracker.observe(100 * MS, &[sample(600 * MS, 0)]);
    let before = tracker.demand(CELL);
    assert!((before - 1.0).abs() < 1e-9);
    // The same time again, a time before, counters that begin anew.
    tracker.observe(100 * MS, &[sample(900 * MS, 0)]);
    tracker.observe(50 * MS, &[sample(900 * MS, 0)]);
    tracker.observe(200 * MS, &[sample(5 * MS, 0)]);
    assert_eq!(tracker.demand(CELL), before);
    tracker.observe(300 * MS, &[sample(105 * MS, 0)]);
    assert!((tracker.demand(CELL) - 1.0).abs() < 1e-9);
    // Gone and back under another generation: another cell, from the beginning.
    let other = CellId { generation: 1, ..CELL };
    tracker.observe(400 * MS, &[Sample { cell: other, used_ns: 0, waited_ns: 0 }]);
    assert_eq!((tracker.demand(CELL), tracker.demand(other)), (0.0, 0.0));
}
