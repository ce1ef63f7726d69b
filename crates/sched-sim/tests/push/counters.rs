// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler's counters against what the model saw.

use active_push::stats::LevelMetrics;

use crate::scene::{Run, S, Scene};

fn levels(run: &Run, wanted: impl Fn(&str) -> bool) -> Vec<&LevelMetrics> {
    let levels = run.outcome.metrics.levels.iter().filter(|(name, _)| wanted(name));
    levels.map(|(_, level)| level).collect()
}

/// Hogs never wake up, so every move is a pull or a push, and the model knows how far each went. A task that is pulled and
/// pulled again before it runs is counted twice by the scheduler, on two levels perhaps, and moves once.
#[test]
fn gained_and_pushed_are_the_moves_of_the_model() {
    let run = Scene::new("2n2l2c2t", S).hogs_on(&[0; 24], false).run();
    let (moved, mut all) = (&run.report.migrations, (0, 0));
    for (level, model) in
        [("smt", moved.core), ("llc", moved.llc), ("node", moved.node), ("machine", moved.remote)]
    {
        let own = levels(&run, |name| name.contains(level));
        let counted: u64 = own.iter().map(|level| level.lb_gained + level.alb_pushed).sum();
        println!("{level}: {counted} counted, {model} seen");
        assert!(model > 0 && counted.abs_diff(model) <= model / 10 + 1, "{level}: {counted} against {model}");
        all = (all.0 + counted, all.1 + model);
    }
    assert!(all.0 >= all.1, "{} counted, {} seen", all.0, all.1);
    let metrics = &run.outcome.metrics;
    assert_eq!(metrics.requeued_idle + metrics.rescued, 0, "{metrics:?}");
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
