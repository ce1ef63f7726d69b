// SPDX-License-Identifier: GPL-2.0-only
//! Load that begins in one place spreads over the machine by what each domain can do, and then stays where it is.

mod common;

use common::{Run, S, Scene, spread};

/// With stealing off only the balancer moves anything, so every figure is its work.
const NO_STEALING: &[&str] = &["--greedy-threshold", "0"];

/// Moves applied up to a moment.
fn applied_at(run: &Run, at_ns: u64) -> u64 {
    let before = run.outcome.history.iter().take_while(|(at, _)| *at <= at_ns);
    before.last().map_or(0, |(_, metrics)| metrics.applied)
}

/// Loads by domain at the first report at or after a moment.
fn loads_at(run: &Run, at_ns: u64) -> Vec<f64> {
    let (_, metrics) = run.outcome.history.iter().find(|(at, _)| *at >= at_ns).expect("the run is longer");
    metrics.domains.values().map(|domain| domain.load).collect()
}

/// Everything planned was done, nothing failed, nobody was lost.
fn no_accidents(run: &Run, tasks: usize) {
    let metrics = &run.outcome.metrics;
    assert!(run.outcome.exits.is_empty(), "{:?}", run.outcome.exits);
    assert_eq!((metrics.rounds_failed, metrics.no_context, metrics.tasks_unseen), (0, 0, 0), "{metrics:?}");
    assert_eq!(metrics.planned, metrics.applied, "{metrics:?}");
    assert_eq!(run.report.tasks, tasks);
    assert_eq!(run.runnable().iter().sum::<u64>(), tasks as u64);
}

#[test]
fn a_machine_of_one_domain_has_nothing_to_move() {
    let run = Scene::new("1n1l4c1t", "one-domain:12", 6 * S).run();
    no_accidents(&run, 12);
    assert_eq!(run.outcome.metrics.planned, 0);
    assert!(run.report.fairness.max_error < 0.02, "{:?}", run.report.fairness);
}

#[test]
fn four_domains_of_one_cache_even_out() {
    let words = ["--domains", "core", "--greedy-threshold", "0"];
    let run = Scene::new("1n1l4c1t", "one-domain:12", 9 * S).options(&words).run();
    no_accidents(&run, 12);
    assert_eq!(run.runnable(), [3, 3, 3, 3]);
    // 9 of 12 have to leave; none goes twice, and two rounds are enough.
    assert_eq!(applied_at(&run, 4 * S + S / 2), 9);
    assert_eq!(run.outcome.metrics.applied, 9, "no move after that");
    assert!(spread(&loads_at(&run, 5 * S)) < 0.05);
}

#[test]
fn a_machine_of_128_cpus_evens_out() {
    let run = Scene::new("2n4l8c2t", "one-domain:384", 7 * S).options(NO_STEALING).run();
    no_accidents(&run, 384);
    assert_eq!(run.runnable(), [48; 8]);
    assert_eq!(applied_at(&run, 4 * S + S / 2), run.outcome.metrics.applied, "two rounds are enough");
    // 7 of 8 have to leave the first domain; half of all has to leave its node, and nobody more than once.
    assert_eq!(run.outcome.metrics.applied, 336);
    assert_eq!(run.report.migrations.remote, 192);
    assert!(spread(&loads_at(&run, 5 * S)) < 0.05, "{:?}", loads_at(&run, 5 * S));
}

#[test]
fn stealing_does_not_keep_it_from_evening_out() {
    let run = Scene::new("2n4l8c2t", "one-domain:384", 7 * S).run();
    no_accidents(&run, 384);
    assert_eq!(run.runnable(), [48; 8]);
    assert!(run.report.idle_beside_waiting_pct < 0.5, "{}", run.report.idle_beside_waiting_pct);
    assert!(run.report.throughput_vs_bound > 0.97, "{}", run.report.throughput_vs_bound);
}

#[test]
fn unequal_domains_are_loaded_by_what_they_can_do() {
    // Capacities 4, 2, 4 × ½ and 2 × ¼ CPUs: 36 hogs are 4.24 a CPU of full speed.
    let run = Scene::new("uneven.toml", "one-domain:36", 12 * S).options(NO_STEALING).run();
    no_accidents(&run, 36);
    let per_capacity: Vec<f64> =
        run.runnable().iter().zip([4.0, 2.0, 2.0, 0.5]).map(|(&tasks, cpus)| tasks as f64 / cpus).collect();
    for (domain, tasks) in per_capacity.iter().enumerate() {
        // One task more or less in the smallest domain is 2 a CPU; elsewhere at most half a task a CPU.
        let error = if domain == 3 { 2.0 } else { 0.5 };
        assert!((tasks - 36.0 / 8.5).abs() <= error, "domain {domain} of {per_capacity:?}");
    }
    let late = applied_at(&run, 6 * S);
    assert_eq!(run.outcome.metrics.applied, late, "it stays so");
}

#[test]
fn an_uneven_machine_is_filled_from_the_start() {
    let run = Scene::new("uneven.toml", "hogs:36", 12 * S).run();
    no_accidents(&run, 36);
    assert!(run.report.throughput_vs_bound > 0.98, "{}", run.report.throughput_vs_bound);
    assert!(run.report.idle_beside_waiting_pct < 0.5, "{}", run.report.idle_beside_waiting_pct);
    let tasks = run.runnable();
    assert!(tasks[0] >= 15 && tasks[3] <= 3, "the fast domain has most, the slow one least: {tasks:?}");
}

#[test]
fn nothing_goes_back_and_forth() {
    // Hogs and noise: loads never stand still, and yet hardly a hog moves once they are even.
    let run = Scene::new("2n2l4c1t", "one-domain:48+sleepers:16", 20 * S).run();
    let metrics = &run.outcome.metrics;
    let early = applied_at(&run, 6 * S);
    let late = metrics.applied - early;
    assert!(early >= 30, "it was balanced at all: {metrics:?}");
    assert!(late <= 14, "{late} moves in 7 rounds over 4 domains, after {early}");
    assert!(spread(&loads_at(&run, 15 * S)) < 0.25, "{:?}", loads_at(&run, 15 * S));
}
