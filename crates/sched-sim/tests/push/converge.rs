// SPDX-License-Identifier: GPL-2.0-only
//! Misplaced hogs find their places at every level, in bounded time and without detours.

use crate::scene::{MS, Run, S, Scene, per_group};

/// Each push is one move, and there are no others: nobody went anywhere twice.
fn no_detours(run: &Run, moves: std::ops::RangeInclusive<u64>) {
    assert!(moves.contains(&run.moves()), "{} moves, expected {moves:?}", run.moves());
}

#[test]
fn threads_of_shared_cores_spread_to_idle_cores() {
    let run = Scene::new("1n1l4c2t", S).hogs_on(&[0, 1, 2, 3], false).run();
    let after = run.settled_after_ms(|cpus| per_group(cpus, 2).values().all(|&hogs| hogs == 1));
    assert!(after < 20.0, "one hog per core only after {after} ms");
    no_detours(&run, 2..=2);
    let metrics = &run.outcome.metrics;
    assert_eq!((metrics.push_spread, metrics.push_arrived), (2, 2), "{metrics:?}");
    println!("SMT: one hog per core after {after} ms, {} moves", run.moves());
}

/// A task that is bound to a thread of a core keeps it; the other one goes, on whichever of the two threads it runs.
#[test]
fn the_free_thread_leaves_the_bound_one() {
    for (bound, free) in [(1, 0), (0, 1)] {
        let run = Scene::new("1n1l4c2t", S).hogs_on(&[bound], true).hogs_on(&[free], false).run();
        let [stays, goes] = [0, 1].map(|group| run.places_of(group, S - MS)[0]);
        assert_eq!(stays, bound);
        assert_ne!(goes / 2, bound / 2, "bound to {bound}: still beside it at the end, on {goes}");
        let after = run.settled_after_ms(|cpus| per_group(cpus, 2).len() == 2);
        assert!(after < 20.0, "bound to {bound}: beside it for {after} ms");
        no_detours(&run, 1..=1);
    }
}

/// Two bound ones cannot be helped, and nobody tries for ever.
#[test]
fn bound_threads_of_a_core_are_left_alone() {
    let run = Scene::new("1n1l4c2t", 4 * S).hogs_on(&[0, 1], true).run();
    assert_eq!(run.moves(), 0);
    let failed: u64 = run.outcome.metrics.levels.values().map(|level| level.lb_failed).sum();
    assert!(failed < 20, "{failed} rounds failed");
}

/// Waiting tasks are pulled: no push is needed.
#[test]
fn waiting_hogs_fill_a_cache() {
    let run = Scene::new("1n1l8c1t", S).hogs_on(&[0, 0, 0, 0, 1, 1, 1, 1], false).run();
    let after = run.settled_after_ms(|cpus| per_group(cpus, 1).values().all(|&hogs| hogs == 1));
    assert!(after < 20.0, "one hog per CPU only after {after} ms");
    no_detours(&run, 6..=9);
    assert_eq!(run.outcome.metrics.push_arrived, 0, "pulling was enough");
    println!("LLC: one hog per CPU after {after} ms, {} moves", run.moves());
}

/// Two caches or nodes of four CPUs, four running hogs in the first: two of them have to be pushed.
fn running_hogs_even_out(machine: &str, bound_ms: f64) {
    let run = Scene::new(machine, 2 * S).hogs_on(&[0, 1, 2, 3], false).run();
    let after = run.settled_after_ms(|cpus| {
        let counts = per_group(cpus, 4);
        counts.len() == 2 && counts.values().all(|&hogs| hogs >= 1)
    });
    assert!(after < bound_ms, "{machine}: still lopsided after {after} ms");
    no_detours(&run, 1..=2);
    let metrics = &run.outcome.metrics;
    assert_eq!(metrics.push_arrived, run.moves(), "{metrics:?}");
    assert_eq!(metrics.push_imbalance, metrics.push_arrived + metrics.stale());
    println!("{machine}: evened out after {after} ms, {} moves", run.moves());
}

#[test]
fn running_hogs_even_out_between_caches() {
    running_hogs_even_out("1n2l4c1t", 100.0);
}

#[test]
fn running_hogs_even_out_between_nodes() {
    running_hogs_even_out("2n1l4c1t", 150.0);
}

/// As many hogs as cores, all on the first eighth of the machine, four to a CPU.
#[test]
fn a_crowd_finds_one_core_each() {
    let crowd: Vec<usize> = (0..32).map(|index| index % 8).collect();
    let run = Scene::new("2n4l4c2t", 2 * S).hogs_on(&crowd, false).run();
    let after = run.settled_after_ms(|cpus| per_group(cpus, 2).values().all(|&hogs| hogs == 1));
    assert!(after < 400.0, "one hog per core only after {after} ms");
    no_detours(&run, 28..=64);
    println!("crowd: one hog per core after {after} ms, {} moves", run.moves());
}

/// A request does not wait for the end of a slice, however long that is.
#[test]
fn long_slices_do_not_hold_pushes_up() {
    let run =
        Scene::new("1n2l4c1t", 2 * S).hogs_on(&[0, 1, 2, 3], false).options(&["--slice-us", "1000000"]).run();
    let after = run.settled_after_ms(|cpus| per_group(cpus, 4).len() == 2);
    assert!(after < 100.0, "still in one cache after {after} ms");
    assert_eq!(run.outcome.metrics.stale_expired, 0);
}

/// Between caches a running hog is pushed only after the configured failures.
#[test]
fn pushes_wait_for_failures() {
    let scene = || Scene::new("1n2l4c1t", 2 * S).hogs_on(&[0, 1, 2, 3], false);
    let never = scene().options(&["--level", "all:push-failures=1000"]).run();
    assert_eq!((never.moves(), never.outcome.metrics.push_arrived), (0, 0));
    let never = scene().options(&["--no-push"]).run();
    assert_eq!(never.moves(), 0);
    let lopsided = |cpus: &[usize]| per_group(cpus, 4).len() == 2;
    let early = scene().options(&["--level", "all:push-failures=0"]).run().settled_after_ms(lopsided);
    let late = scene().options(&["--level", "all:push-failures=20"]).run().settled_after_ms(lopsided);
    assert!(early * 2.0 < late, "without failures after {early} ms, with 20 after {late} ms");
}

/// Prompt mode ends the slice of the running task by a kick, where a request would else wait for the end of a slice.
#[test]
fn prompt_pushes_do_not_wait_for_the_slice() {
    let out_us = |words: &[&str]| {
        let run = Scene::new("1n2l4c1t", 2 * S).hogs_on(&[0, 1, 2, 3], false).options(words).run();
        let metrics = &run.outcome.metrics;
        assert!(metrics.push_arrived > 0, "{metrics:?}");
        (metrics.push_out_p99_us, metrics.prompt_kicks)
    };
    let ((usual_us, none), (prompt_us, kicks)) = (out_us(&[]), out_us(&["--prompt"]));
    assert!(none == 0 && kicks > 0, "{none} and {kicks} kicks");
    assert!(prompt_us <= 64 && usual_us >= 512, "left after {prompt_us} us when prompt, {usual_us} us else");
}

/// Four tasks that need a fast CPU, begun on the slow ones.
#[test]
fn heavy_tasks_go_to_the_fast_cpus() {
    let run = Scene::new("big-little.toml", S).hogs_on(&[4, 5, 6, 7], false).run();
    let after = run.settled_after_ms(|cpus| cpus.iter().all(|&cpu| cpu < 4));
    assert!(after <= 50.0, "all on fast CPUs only after {after} ms");
    let metrics = &run.outcome.metrics;
    assert!(metrics.push_misfit >= 4, "{metrics:?}");
    no_detours(&run, 4..=4);
    println!("misfit: all on fast CPUs after {after} ms");
}

/// Three overfull cores and one idle one: it gets one task, and nobody else moves.
#[test]
fn many_sources_and_one_target() {
    for seed in 1..=10 {
        let run = Scene::new("1n1l4c2t", S).hogs_on(&[0, 1, 2, 3, 4, 5], false).seed(seed).run();
        let metrics = &run.outcome.metrics;
        assert_eq!((run.moves(), metrics.push_arrived), (1, 1), "seed {seed}: {metrics:?}");
        let at_end: Vec<usize> = run.places(S - MS).into_values().collect();
        assert_eq!(per_group(&at_end, 2).len(), 4, "seed {seed}: hogs on {at_end:?}");
    }
}
