// SPDX-License-Identifier: GPL-2.0-only
//! push_policy.h, the very C code of the kernel side, compiled for this machine.

use proptest::prelude::*;

/// `struct push_group`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    load: u64,
    capacity: u64,
    nr_free: u32,
    nr_running: u32,
    nr_waiting: u32,
    nr_idle: u32,
    nr_overfull: u32,
    nr_misfit: u32,
}

// SAFETY: native/policy.c has these functions with these signatures; they only read through the references.
unsafe extern "C" {
    safe fn active_push_group_kind(group: &Group) -> u32;
    safe fn active_push_busier(a: &Group, b: &Group) -> bool;
    safe fn active_push_heavier(a_load: u64, a_capacity: u64, b_load: u64, b_capacity: u64, pct: u32)
    -> bool;
    safe fn active_push_move_helps(
        src: u64,
        src_capacity: u64,
        dst: u64,
        dst_capacity: u64,
        task: u64,
    ) -> bool;
    safe fn active_push_evens_out(local: &Group, busiest: &Group) -> bool;
    safe fn active_push_imbalance(local: &Group, busiest: &Group, load: u64, capacity: u64) -> u64;
    safe fn active_push_fits(util: u64, capacity: u64) -> bool;
    safe fn active_push_next_interval(
        interval: u64,
        min: u64,
        max: u64,
        moved: bool,
        all_pinned: bool,
    ) -> u64;
    safe fn active_push_round_interval(
        interval: u64,
        min: u64,
        max: u64,
        busy_factor: u32,
        busy: bool,
    ) -> u64;
    safe fn active_push_newidle_cost(estimate: u64, measured: u64, limit: u64) -> u64;
    safe fn active_push_decayed_cost(estimate: u64) -> u64;
    safe fn active_push_average_idle(average: u64, period: u64, max: u64) -> u64;
    safe fn active_push_latency_bucket(ns: u64, nr_buckets: u32) -> u32;
}

const HAS_SPARE: u32 = 0;
const FULLY_BUSY: u32 = 1;
const SMT_OVERFULL: u32 = 2;
const MISFIT_TASK: u32 = 3;
const OVERLOADED: u32 = 4;

fn group() -> Group {
    Group { load: 200, capacity: 2048, nr_running: 2, ..Group::default() }
}

#[test]
fn kinds_rise_with_what_helps_most() {
    assert_eq!(active_push_group_kind(&Group { nr_idle: 1, ..group() }), HAS_SPARE);
    assert_eq!(active_push_group_kind(&group()), FULLY_BUSY);
    assert_eq!(active_push_group_kind(&Group { nr_overfull: 2, nr_idle: 1, ..group() }), SMT_OVERFULL);
    assert_eq!(active_push_group_kind(&Group { nr_misfit: 1, nr_overfull: 2, ..group() }), MISFIT_TASK);
    assert_eq!(active_push_group_kind(&Group { nr_waiting: 1, nr_misfit: 1, ..group() }), OVERLOADED);
}

#[test]
fn among_groups_with_room_fewer_idle_cpus_are_busier() {
    let (few, many) = (Group { nr_idle: 1, ..group() }, Group { nr_idle: 2, load: 900, ..group() });
    assert!(active_push_busier(&few, &many) && !active_push_busier(&many, &few));
    let (light, heavy) = (group(), Group { load: 300, ..group() });
    assert!(active_push_busier(&heavy, &light) && !active_push_busier(&light, &heavy));
}

#[test]
fn running_tasks_even_out_only_when_two_cpus_differ() {
    let busiest = |nr_idle| Group { nr_idle, ..group() };
    let local = |nr_idle| Group { nr_idle, nr_running: 0, ..group() };
    assert!(active_push_evens_out(&local(2), &busiest(0)));
    assert!(!active_push_evens_out(&local(1), &busiest(0)));
    assert!(!active_push_evens_out(&local(2), &Group { nr_running: 1, ..busiest(0) }));
}

#[test]
fn the_imbalance_brings_nobody_past_its_share() {
    let local = Group { load: 100, capacity: 1024, ..group() };
    let busiest = Group { load: 500, capacity: 1024, ..group() };
    assert_eq!(active_push_imbalance(&local, &busiest, 600, 2048), 200);
    // A third group has the rest: the span's average is 400.
    assert_eq!(active_push_imbalance(&local, &busiest, 1200, 3072), 100);
    // The local group has more than the other, or both have the same.
    assert_eq!(active_push_imbalance(&busiest, &local, 600, 2048), 0);
    assert_eq!(active_push_imbalance(&local, &Group { load: 100, ..busiest }, 200, 2048), 0);
    // A third group has so much that it cannot give away, or so little though it may take none, that only these two can even out.
    assert_eq!(active_push_imbalance(&local, &busiest, 3600, 3072), 200);
    assert_eq!(active_push_imbalance(&local, &busiest, 600, 9216), 200);
    // Capacity counts: a CPU of half the capacity has a share of half the size.
    assert_eq!(active_push_imbalance(&Group { load: 0, capacity: 512, ..local }, &busiest, 600, 1536), 100);
}

#[test]
fn the_margin_of_fitting_is_a_fifth() {
    assert!(active_push_fits(819, 1024) && !active_push_fits(820, 1024));
    assert!(active_push_fits(0, 1));
}

#[test]
fn intervals_double_and_fall_back() {
    let next = |interval, moved, pinned| active_push_next_interval(interval, 4, 16, moved, pinned);
    assert_eq!([next(0, false, false), next(4, false, false), next(8, false, false)], [4, 8, 16]);
    assert_eq!(next(16, false, false), 16);
    assert_eq!(next(16, true, false), 4);
    assert_eq!(next(16, false, true), 32, "all pinned backs off further");
    assert_eq!(active_push_next_interval(500_000_000, 4, 16, false, true), 512_000_000);
}

#[test]
fn busy_cpus_wait_longer_but_not_for_pinned_tasks() {
    let wait = |interval, busy| active_push_round_interval(interval, 4, 8, 16, busy);
    assert_eq!([wait(0, false), wait(4, false), wait(8, false), wait(512, false)], [4, 4, 8, 512]);
    assert_eq!([wait(0, true), wait(4, true), wait(8, true)], [64, 64, 128]);
    assert_eq!([wait(64, true), wait(128, true), wait(256, true), wait(512, true)], [128, 128, 256, 512]);
}

#[test]
fn the_cost_rises_at_once_and_falls_slowly() {
    assert_eq!(active_push_newidle_cost(100, 300, 1000), 300);
    assert_eq!(active_push_newidle_cost(100, 3000, 1000), 1000);
    assert_eq!(active_push_newidle_cost(512, 10, 1000), 512);
    assert_eq!(active_push_decayed_cost(512), 506);
}

#[test]
fn latency_buckets_are_powers_of_two() {
    let bucket = |us: u64| active_push_latency_bucket(us * 1000, 24);
    assert_eq!(
        [bucket(0), bucket(1), bucket(2), bucket(3), bucket(4), bucket(255), bucket(256)],
        [0, 1, 2, 2, 3, 8, 9]
    );
    assert_eq!(bucket(65535), 16);
    assert_eq!(active_push_latency_bucket(u64::MAX, 24), 23);
}

proptest! {
    #[test]
    fn a_move_that_helps_is_never_undone(
        src in 1..100_000u64, dst in 1..100_000u64, task in 1..10_000u64,
        src_capacity in 1..=1024u64, dst_capacity in 1..=1024u64,
    ) {
        prop_assume!(task <= src);
        if active_push_move_helps(src, src_capacity, dst, dst_capacity, task) {
            // After the move the task's way back must not look good; an emptied source takes anything, but then nothing is
            // left there that the move could have relieved.
            prop_assume!(src > task);
            prop_assert!(!active_push_move_helps(dst + task, dst_capacity, src - task, src_capacity, task));
        }
    }

    #[test]
    fn heavier_is_strict(a in 0..1_000_000u64, b in 0..1_000_000u64, ca in 1..200_000u64, cb in 1..200_000u64) {
        let (ab, ba) = (active_push_heavier(a, ca, b, cb, 100), active_push_heavier(b, cb, a, ca, 100));
        prop_assert!(!(ab && ba));
        prop_assert_eq!(ab, a as f64 / ca as f64 > b as f64 / cb as f64 && a * cb > b * ca);
    }

    #[test]
    fn the_average_stays_between_what_it_saw(average in 0..1_000_000u64, period in 0..10_000_000u64) {
        let next = active_push_average_idle(average, period, 1_000_000);
        prop_assert!(next >= average.min(period) && next <= average.max(period).min(1_000_000));
    }

    #[test]
    fn buckets_hold_their_times(us in 0..8_000_000u64) {
        let bucket = active_push_latency_bucket(us * 1000, 24);
        prop_assert!(us < 1 << bucket || bucket == 23);
        prop_assert!(bucket == 0 || us >= 1 << (bucket - 1));
    }
}
