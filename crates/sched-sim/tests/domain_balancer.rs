// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer's shipped object and its own loop, in virtual time: what holds it together.

mod common;

use common::{MS, S, Scene};
use sched_sim::domain_balancer;
use sim::world::Outside;

#[test]
fn hogs_freed_from_one_domain_spread_over_all() {
    let run = Scene::new("2n2l2c1t", "one-domain:16", 9 * S).run();
    assert!(run.outcome.exits.is_empty(), "{:?}", run.outcome.exits);
    assert_eq!(run.runnable(), [4, 4, 4, 4]);
    let metrics = &run.outcome.metrics;
    assert!(metrics.round >= 4 && metrics.rounds_failed == 0, "{metrics:?}");
    assert!(metrics.applied >= 12 && metrics.no_context == 0, "{metrics:?}");
    assert!(run.report.idle_beside_waiting_pct < 2.0, "{}", run.report.idle_beside_waiting_pct);
}

#[test]
fn without_balancing_and_stealing_they_stay() {
    let words = ["--no-load-balance", "--greedy-threshold", "0"];
    let run = Scene::new("2n2l2c1t", "one-domain:16", 5 * S).options(&words).run();
    assert_eq!(run.runnable(), [16, 0, 0, 0], "{:?}", run.outcome.metrics);
}

#[test]
fn statistics_come_often_enough_for_a_chart() {
    let run = Scene::new("2l2c", "hogs:8", 4 * S).run();
    let times: Vec<u64> = run.outcome.history.iter().map(|(at, _)| *at).collect();
    assert!((20..=400).contains(&times.len()), "{}", times.len());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 200 * MS), "{times:?}");
}

#[test]
fn attached_again_in_place() {
    let hotplug = |online| Outside::Hotplug { cpu: 3, online };
    let run = Scene::new("2l2c", "hogs:8+sleepers:8", 2 * S)
        .options(&["--interval", "0.2"])
        .with(hotplug(false), 700 * MS)
        .with(hotplug(true), 1400 * MS)
        .run();
    assert_eq!(run.outcome.exits.len(), 2);
    assert!(run.outcome.exits.iter().all(|exit| exit.should_restart()), "{:?}", run.outcome.exits);
    assert_eq!(run.outcome.metrics.restarts, 2);
    assert_eq!(run.outcome.metrics.domains[&1].cpus, "2-3");
    // Three CPUs for a third of the time.
    assert!(run.report.busy_pct > 85.0, "{}", run.report.busy_pct);
    // Detached at the end: every object of the scheduler's tasks is gone.
    run.session.with(|sim| assert_eq!(sim.kernel.inconsistency(), None));
}

#[test]
fn bad_options_are_the_schedulers_own_errors() {
    let error =
        domain_balancer::options(&["--slice-us".to_owned(), "0".to_owned()]).expect_err("a slice of 0");
    assert!(error.to_string().contains("--slice-us"), "{error}");
}
