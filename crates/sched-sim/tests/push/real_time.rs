// SPDX-License-Identifier: GPL-2.0-only
//! Real-time work takes CPUs away: who loses one goes on at once where a CPU is idle, and nobody waits behind real-time work
//! for longer than it takes to notice.

use sim::program::Dist;
use sim::world::Outside;

use crate::scene::{FREE_AT, MS, Run, S, Scene};

/// One tick, and what a kick and a switch take.
const TICK_AND_KICK_MS: f64 = 4.1;

/// Half as many hogs as CPUs; real-time work of 20 to 40 ms comes to the CPU of a hog and elsewhere, one at a time.
fn robbed(words: &[&str]) -> Run {
    let storm =
        Outside::RealTime { cpu: None, every: Dist::Const(50 * MS), length: Dist::Uniform(20 * MS, 40 * MS) };
    Scene::new("1n1l4c2t", 3 * S)
        .hogs_on(&[0, 2, 4, 6], false)
        .with(storm, FREE_AT + 50 * MS)
        .options(words)
        .run()
}

#[test]
fn a_robbed_task_goes_on_at_once() {
    let run = robbed(&[]);
    let metrics = &run.outcome.metrics;
    assert!(metrics.rescued >= 10, "{metrics:?}");
    assert_eq!(metrics.rescue_no_cpu, 0);
    assert!(run.longest_wait_ms() <= TICK_AND_KICK_MS, "{:?}", run.report.longest_wait);
    println!("{} rescues, longest wait {:.3} ms", metrics.rescued, run.longest_wait_ms());
    // The same without rescue, so that the bound above means something.
    let run = robbed(&["--no-push"]);
    assert_eq!(run.outcome.metrics.rescued, 0);
    assert!(run.longest_wait_ms() >= 20.0, "{:?}", run.report.longest_wait);
}

/// Real-time work for as long as the run lasts on one CPU, every other CPU busy, no server: what wakes up there and what waits
/// there gets its turn elsewhere.
#[test]
fn nobody_waits_behind_endless_real_time_work() {
    let endless = Outside::RealTime { cpu: Some(3), every: Dist::Const(10 * S), length: Dist::Const(10 * S) };
    let mut scene = Scene::new("1n2l2c2t", 3 * S).load("hogs:12+sleepers:16").with(endless, FREE_AT);
    scene.config.ext_server = false;
    let run = scene.run();
    let metrics = &run.outcome.metrics;
    assert!(metrics.helped > 0, "{metrics:?}");
    assert!(run.longest_wait_ms() < 300.0, "{:?}", run.report.longest_wait);
    println!(
        "endless real-time work: longest wait {:.1} ms, helped {}, evaded {}",
        run.longest_wait_ms(),
        metrics.helped,
        metrics.wake_evaded
    );
}

/// Real-time work comes at the very moments at which tasks wake up for that CPU.
#[test]
fn a_wake_up_and_real_time_work_on_one_cpu() {
    for seed in 1..=5 {
        let storm =
            Outside::RealTime { cpu: None, every: Dist::Exp(8 * MS), length: Dist::Uniform(MS, 30 * MS) };
        let mut scene = Scene::new("1n1l8c1t", 2 * S).load("sleepers:16").with(storm, MS).seed(seed);
        scene.config.ext_server = false;
        let run = scene.run();
        // One watch period (10 ms), a slice, a tick each to notice; real-time work queues up to more than that.
        assert!(run.longest_wait_ms() < 60.0, "seed {seed}: {:?}", run.report.longest_wait);
    }
}
