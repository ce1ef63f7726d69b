// SPDX-License-Identifier: GPL-2.0-only
//! What users feel: shares by weight, no idle CPU beside waiting work, short waits, and none of it lost when CPUs go.

mod common;

use common::{MS, Run, S, Scene, US};
use sim::program::{Program, Step};
use sim::task::TaskSpec;
use sim::workload::Workload;
use sim::world::Outside;

fn hotplug(cpu: usize, online: bool) -> Outside {
    Outside::Hotplug { cpu, online }
}

#[test]
fn shares_follow_weights_in_a_domain() {
    let run = Scene::new("4c", "weighted-hogs:16", 20 * S).run();
    let fairness = &run.report.fairness;
    assert_eq!(fairness.tasks, 16);
    assert!(fairness.max_error < 0.05, "{fairness:?}");
    assert!(run.report.throughput_vs_bound > 0.98, "{}", run.report.throughput_vs_bound);
}

#[test]
fn shares_follow_weights_across_domains() {
    // Weights 50 to 400: a domain can be one light task above the average, 50 of 750, until it is balanced 3 % better.
    let run = Scene::new("2n2l2c1t", "weighted-hogs:32", 20 * S).run();
    let fairness = &run.report.fairness;
    assert_eq!(fairness.tasks, 32);
    assert!(fairness.max_error < 0.2 && fairness.mean_error < 0.12, "{fairness:?}");
}

/// CPU time of the hogs of each cgroup, s. Cgroups are named by path, weight and hogs.
fn used_by_cgroups(machine: &str, cgroups: &[(&str, u32, usize)], words: &[&str]) -> Vec<f64> {
    let mut workload = Workload::default();
    for (index, (path, weight, hogs)) in cgroups.iter().enumerate() {
        workload.cgroups.push(((*path).to_owned(), *weight));
        let group = workload.group(path);
        let hog =
            TaskSpec { group, cgroup: index + 1, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
        workload.tasks.extend((0..*hogs).map(|_| (hog.clone(), 0)));
    }
    let run = Scene { workload, ..Scene::new(machine, "hogs:1", 40 * S) }.options(words).run();
    let used = |path: &str| {
        run.report.groups.iter().find(|group| group.name == path).map_or(0.0, |group| group.cpu_s)
    };
    cgroups.iter().map(|(path, ..)| used(path)).collect()
}

#[test]
fn shares_follow_the_weights_of_cgroups_and_not_the_number_of_tasks() {
    // The first rounds still know nothing, and in between a domain is as even as whole tasks make it.
    for (machine, hogs) in [("4c", 4), ("2l4c", 8)] {
        let cgroups = [("/heavy", 300, hogs), ("/light", 100, 3 * hogs)];
        let ratio = |words: &[&str]| {
            let used = used_by_cgroups(machine, &cgroups, words);
            used[0] / used[1]
        };
        let weighed = ratio(&["--interval", "0.5"]);
        assert!((2.6..=3.4).contains(&weighed), "{machine}: {weighed}");
        let not_weighed = ratio(&["--interval", "0.5", "--no-cgroups"]);
        assert!((0.28..=0.4).contains(&not_weighed), "{machine} without cgroups: {not_weighed}");
    }
}

#[test]
fn shares_follow_the_weights_of_nested_cgroups() {
    let cgroups = [("/a", 200, 0), ("/a/most", 300, 2), ("/a/least", 100, 6), ("/b", 100, 8)];
    let used = used_by_cgroups("2c", &cgroups, &["--interval", "0.5"]);
    let (inner, outer) = (used[1] / used[2], (used[1] + used[2]) / used[3]);
    assert!((2.5..=3.5).contains(&inner) && (1.7..=2.3).contains(&outer), "{used:?}");
}

#[test]
fn no_cpu_idles_beside_waiting_work() {
    // One task more than CPUs, a burst of sleepers, everything at once; and fewer tasks than CPUs.
    let scenes = [
        ("2n2l2c1t", "hogs:9", 0.05),
        ("2n2l2c2t", "hogs:17+sleepers:40", 0.5),
        ("2n4l4c1t", "make:48+ping-pong:16", 2.0),
        ("2l4c2t", "requests:64", 2.0),
        ("2n2l4c1t", "hogs:10", 0.05),
    ];
    for (machine, workload, bound_pct) in scenes {
        let run = Scene::new(machine, workload, S).run();
        let idle = run.report.idle_beside_waiting_pct;
        assert!(idle <= bound_pct, "{workload} on {machine}: {idle} %");
    }
}

#[test]
fn the_figure_of_idle_cpus_sees_them() {
    let words = ["--no-load-balance", "--greedy-threshold", "0"];
    let run = Scene::new("2n2l2c1t", "one-domain:16", 3 * S).options(&words).run();
    assert!(run.report.idle_beside_waiting_pct > 90.0, "{}", run.report.idle_beside_waiting_pct);
}

#[test]
fn sleepers_on_a_quiet_machine_run_at_once() {
    let run = Scene::new("2l4c", "sleepers:4", S).options(&["--interval", "0.4"]).run();
    assert!(run.report.wake_latency_ns.p99 < 10 * US, "{:?}", run.report.wake_latency_ns);
    let metrics = &run.outcome.metrics;
    assert!(metrics.direct_prev + metrics.direct_idle > 9 * metrics.enqueued, "{metrics:?}");
}

#[test]
fn sleepers_among_hogs_are_served_soon() {
    // Twice as many hogs as CPUs and as many sleepers again; slices are 20 ms at most, and a sleeper is owed its turn.
    let run = Scene::new("2l4c", "hogs:16+sleepers:16", 4 * S).run();
    let latency = &run.report.wake_latency_ns;
    assert!(latency.p50 < 4 * MS && latency.p99 < 20 * MS && latency.max < 200 * MS, "{latency:?}");
    let sleepers = run.report.groups.iter().find(|group| group.name == "sleepers").expect("it is there");
    assert!(sleepers.done_per_s > 2000.0, "{sleepers:?}");
}

/// Work of each task between two moments of a run with a scheduler that stays attached.
fn everyone_goes_on(scene: &Scene<'_>) -> Run {
    let run = scene.run();
    let shorter = Scene {
        end_ns: scene.end_ns * 3 / 4,
        workload: scene.workload.clone(),
        topology: scene.topology.clone(),
        config: scene.config.clone(),
        words: scene.words,
    };
    let before = shorter.run().cpu_times();
    for (task, (before, after)) in before.iter().zip(run.cpu_times()).enumerate() {
        assert!(after > *before + MS, "task {task} had {before} ns and then only {after}");
    }
    run
}

#[test]
fn cpus_that_go_and_come_lose_nobody() {
    let scene = Scene::new("2n2l2c1t", "hogs:24", 4 * S)
        .options(&["--interval", "0.5"])
        .with(hotplug(3, false), 700 * MS)
        .with(hotplug(2, false), 900 * MS)
        .with(hotplug(3, true), 1400 * MS)
        .with(hotplug(2, true), 1500 * MS);
    let run = everyone_goes_on(&scene);
    assert_eq!(run.report.tasks, 24);
    assert_eq!(run.outcome.exits.len(), 4);
    assert!(run.outcome.exits.iter().all(|exit| exit.should_restart()), "{:?}", run.outcome.exits);
    assert_eq!(run.outcome.metrics.restarts, 4);
    assert_eq!(run.outcome.metrics.domains.len(), 4, "the domain that was empty is back");
    assert_eq!(run.runnable().iter().sum::<u64>(), 24);
    // Counters go on across restarts: rounds of all five attachments.
    assert!(run.outcome.metrics.round >= 4, "{:?}", run.outcome.metrics.round);
    assert!(run.report.busy_pct > 85.0, "{}", run.report.busy_pct);
}

#[test]
fn a_whole_domain_can_go_for_good() {
    let mut scene = Scene::new("2l2c", "hogs:8+sleepers:8", 2 * S).options(&["--interval", "0.2"]);
    for (index, cpu) in [2, 3].into_iter().enumerate() {
        scene = scene.with(hotplug(cpu, false), (500 + 50 * index as u64) * MS);
    }
    let run = everyone_goes_on(&scene);
    assert_eq!(run.outcome.metrics.domains.values().filter(|domain| domain.runnable > 0).count(), 1);
}

#[test]
fn real_time_work_delays_tasks_no_longer_than_it_lasts() {
    // CPU 1 is taken for half of the time, 50 ms at once; everybody else's work goes on.
    let work = Outside::RealTime {
        cpu: Some(1),
        every: sim::program::Dist::Const(100 * MS),
        length: sim::program::Dist::Const(50 * MS),
    };
    let run = Scene::new("2l4c", "hogs:16", 3 * S).with(work, MS).run();
    assert!(run.report.longest_wait.wait_ns < 250 * MS, "{:?}", run.report.longest_wait);
    assert!(run.report.busy_pct > 92.0, "7.5 of 8 CPUs are there for tasks: {}", run.report.busy_pct);
}
