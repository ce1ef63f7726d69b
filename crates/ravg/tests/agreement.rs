// SPDX-License-Identifier: GPL-2.0-only
//! The C code that runs in the kernel (compiled natively) against this crate, over random sequences of updates.

use bpf_common::native;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence::WithSource;
use ravg::{HALF_LIFE_MAX_NS, Ravg, RavgData};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// One unit of the fixed-point average.
const UNIT: f64 = 1.0 / 4_294_967_296.0;

/// A failing seed is printed, and kept beside this file until the failure is understood.
fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(WithSource("proptest-regressions")) as Box<_>);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Forward(u64),
    Backward(u64),
}

impl Step {
    fn from(self, now: u64) -> u64 {
        match self {
            Step::Forward(ns) => now.saturating_add(ns),
            Step::Backward(ns) => now.saturating_sub(ns),
        }
    }
}

/// Any magnitude is as likely as any other: tiny and huge values both occur all the time.
fn any_magnitude(bits: u32) -> impl Strategy<Value = u64> {
    (any::<u64>(), 64 - bits..=63).prop_map(|(random, shift)| random >> shift)
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_magnitude(40).prop_map(Step::Forward),
        2 => (0..5 * MILLISECOND).prop_map(Step::Forward),
        1 => any_magnitude(64).prop_map(Step::Forward),
        1 => Just(Step::Forward(0)),
        1 => any_magnitude(36).prop_map(Step::Backward),
    ]
}

fn any_value() -> impl Strategy<Value = u32> {
    prop_oneof![
        any_magnitude(32).prop_map(|value| u32::try_from(value).expect("32 bits")),
        Just(0),
        Just(1),
        Just(100),
        Just(u32::MAX)
    ]
}

fn any_half_life() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (any_magnitude(40)).prop_map(|ns| ns.clamp(MILLISECOND, 1000 * SECOND)),
        2 => prop_oneof![Just(MILLISECOND), Just(SECOND), Just(1000 * SECOND), Just((1 << 32) - 1), Just(1 << 32)],
        1 => any_magnitude(64),
        1 => prop_oneof![Just(0), Just(1), Just(HALF_LIFE_MAX_NS), Just(HALF_LIFE_MAX_NS + 1), Just(u64::MAX)],
    ]
}

/// Both sides fed with the same updates.
#[derive(Default)]
struct Pair {
    c: bpf_common::Ravg,
    twin: Ravg,
    updates: u32,
}

impl Pair {
    fn update(&mut self, value: u32, now_ns: u64, half_life_ns: u64) {
        native::ravg_update(&mut self.c, value, now_ns, half_life_ns);
        self.twin.update(value, now_ns, half_life_ns);
        self.updates += 1;
    }

    fn data(&self) -> RavgData {
        RavgData { avg: self.c.avg, val_at: self.c.val_at, val: self.c.val }
    }

    /// How far C is from the twin, as a share of what is tolerated.
    fn error(&self, now_ns: u64, half_life_ns: u64) -> f64 {
        let c = native::ravg_read(&self.c, now_ns, half_life_ns) as f64 * UNIT;
        let twin = self.twin.read(now_ns, half_life_ns);
        (c - twin).abs() / tolerance(twin, self.updates)
    }
}

fn tolerance(expected: f64, updates: u32) -> f64 {
    expected * 1e-6 + f64::from(updates + 1) * UNIT
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn c_and_rust_agree(
        start in any_magnitude(64),
        half_life in any_half_life(),
        steps in prop::collection::vec((any_step(), any_value()), 1..100),
        last in any_step(),
    ) {
        let mut pair = Pair::default();
        let mut now = start;
        for (step, value) in steps {
            now = step.from(now);
            pair.update(value, now, half_life);
            let error = pair.error(now, half_life);
            prop_assert!(error <= 1.0, "at {now}: {error} times the tolerance");
            prop_assert_eq!((pair.c.val, pair.c.val_at), (pair.twin.val(), pair.twin.val_at_ns()));
        }
        now = last.from(now);
        let error = pair.error(now, half_life);
        prop_assert!(error <= 1.0, "read at {now}: {error} times the tolerance");
        // The reader starts from what C has stored, so only one rounding separates the two.
        let read = pair.data().read(now, half_life);
        let c = native::ravg_read(&pair.c, now, half_life) as f64 * UNIT;
        prop_assert!((c - read).abs() <= tolerance(read, 0), "C reads {c}, Rust {read}");
    }

    /// The half-life may be another one at every call; neither side remembers it.
    #[test]
    fn c_and_rust_agree_when_the_half_life_changes(
        steps in prop::collection::vec((any_step(), any_value(), any_half_life()), 1..60),
    ) {
        let mut pair = Pair::default();
        let mut now = 0;
        for (step, value, half_life) in steps {
            now = step.from(now);
            pair.update(value, now, half_life);
            let error = pair.error(now, half_life);
            prop_assert!(error <= 1.0, "at {now}: {error} times the tolerance");
        }
    }

    /// Tasks that change their value and move between two aggregates, on both sides.
    #[test]
    fn c_and_rust_agree_on_aggregates(
        half_life in any_half_life(),
        steps in prop::collection::vec((any_step(), 0..20_000u32, 0..4usize, any::<bool>()), 1..60),
    ) {
        let mut tasks = [(bpf_common::Ravg::default(), Ravg::default(), 0usize); 4];
        let mut domains = [(bpf_common::Ravg::default(), Ravg::default()); 2];
        let mut now = 0;
        let mut operations = 0;
        for (step, value, task, moves) in steps {
            now = step.from(now);
            let (c, twin, home) = &mut tasks[task];
            let [left, right] = &mut domains;
            let (here, there) = if *home == 0 { (left, right) } else { (right, left) };
            if moves {
                native::ravg_transfer(&mut here.0, &mut there.0, c, now, half_life);
                here.1.transfer(&mut there.1, twin, now, half_life);
                *home = 1 - *home;
            } else {
                native::ravg_sub(&mut here.0, c, now, half_life);
                native::ravg_update(c, value, now, half_life);
                native::ravg_add(&mut here.0, c, now, half_life);
                here.1.sub(twin, now, half_life);
                twin.update(value, now, half_life);
                here.1.add(twin, now, half_life);
            }
            operations += 3;
            for (c, twin) in domains {
                let (c_avg, twin_avg) = (native::ravg_read(&c, now, half_life) as f64 * UNIT, twin.read(now, half_life));
                // What is left of a difference cannot be better than the numbers it came from: 80,000 at most.
                let tolerance = 80_000.0 * 1e-12 + f64::from(operations + 1) * UNIT;
                prop_assert!((c_avg - twin_avg).abs() <= tolerance, "C {c_avg}, Rust {twin_avg} at {now}");
                prop_assert_eq!((c.val, c.val_at), (twin.val(), twin.val_at_ns()));
            }
        }
    }
}

/// Hundreds of thousands of steps that are each far too short to be seen alone.
#[test]
fn tiny_steps_add_up() {
    for (half_life, step) in
        [(SECOND, 1), (SECOND, 1000), (1000 * SECOND, 1), (1000 * SECOND, 777), (MILLISECOND, 3)]
    {
        let mut pair = Pair::default();
        let mut now = 12_345;
        for round in 0..200_000u32 {
            now += step;
            pair.update(if round % 1000 < 300 { u32::MAX } else { 100 }, now, half_life);
        }
        let error = pair.error(now, half_life);
        assert!(error <= 0.1, "half-life {half_life}, step {step}: {error} times the tolerance");
    }
}

#[test]
fn both_sides_share_the_longest_half_life() {
    assert_eq!(native::constants().ravg_half_life_max_ns, HALF_LIFE_MAX_NS);
}
