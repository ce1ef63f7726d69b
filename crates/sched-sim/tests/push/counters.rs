// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's counters against what the model saw.

use active_push::stats::LevelMetrics;

use crate::scene::{Run, S, Scene};

fn levels(run: &Run, wanted: impl Fn(&str) -> bool) -> Vec<&LevelMetrics> {
    let levels = run.outcome.metrics.levels.iter().filter(|(name, _)| wanted(name));
    levels.map(|(_, level)| level).collect()
}

/// Hogs never wake up, so every move is a pull, a push or a way out of a CPU that was left, and the model knows how far each
/// went. Each machine has one level, so that a move can count on no other, and so few hogs that each has run when they are set
/// free. A task that is pulled and pulled again before it runs counts twice and moves once.
#[test]
fn gained_and_pushed_are_the_moves_of_the_model() {
    for (level, machine, hogs) in
        [("smt", "1n1l1c2t", 4), ("llc", "1n1l4c1t", 8), ("node", "1n4l1c1t", 8), ("machine", "4n1l1c1t", 8)]
    {
        let run = Scene::new(machine, S).hogs_on(&vec![0; hogs], false).run();
        let moved = &run.report.migrations;
        let [smt, llc, node, remote] = [moved.core, moved.llc, moved.node, moved.remote];
        let seen = match level {
            "smt" => smt,
            "llc" => llc,
            "node" => node,
            _ => remote,
        };
        assert_eq!(seen, smt + llc + node + remote, "{machine} has one level: {moved:?}");
        let own = levels(&run, |name| name.contains(level));
        let balanced: u64 = own.iter().map(|level| level.lb_gained + level.alb_pushed).sum();
        let metrics = &run.outcome.metrics;
        let placed = metrics.requeued_idle + metrics.rescued;
        println!("{level}: {balanced} by balancing and {placed} by placement counted, {seen} seen");
        let counted = balanced + placed;
        assert!(seen > 0 && counted >= seen && counted <= seen + seen / 10, "{level}: {counted} for {seen}");
    }
}

/// Every round ends as one of balanced, failed or gained; idle ones gain one task at a time.
#[test]
fn rounds_add_up() {
    let run = Scene::new("2n2l2c2t", S).load("mixed:40").run();
    let metrics = &run.outcome.metrics;
    for (name, level) in &metrics.levels {
        let ended = level.lb_balanced + level.lb_failed;
        if name.ends_with("busy") {
            assert!(
                ended <= level.lb_count && level.lb_count <= ended + level.lb_gained,
                "{name}: {level:?}"
            );
            assert!(level.lb_gained <= 32 * (level.lb_count - ended), "{name}: {level:?}");
        } else {
            assert_eq!(level.lb_count, ended + level.lb_gained, "{name}: {level:?}");
        }
        assert!(
            level.lb_hot_gained <= level.lb_gained && level.lb_nobusyg <= level.lb_balanced,
            "{name}: {level:?}"
        );
    }
    let all = levels(&run, |_| true);
    let requests: u64 = all.iter().map(|level| level.alb_count).sum();
    let ends: u64 = all.iter().map(|level| level.alb_failed + level.alb_pushed).sum();
    assert!(
        requests >= ends && requests <= ends + 16,
        "{requests} requests, {ends} ended: one may be open on each CPU"
    );
    assert_eq!(metrics.push_arrived, all.iter().map(|level| level.alb_pushed).sum::<u64>());
    assert_eq!(metrics.stale(), all.iter().map(|level| level.alb_failed).sum::<u64>());
    assert_eq!(requests, metrics.push_spread + metrics.push_misfit + metrics.push_imbalance);
    assert_eq!(metrics.push_run_us.values().sum::<u64>(), metrics.push_arrived);
}
