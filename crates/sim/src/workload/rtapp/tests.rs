// SPDX-License-Identifier: GPL-2.0-only
//! rt-app files mean what the documentation says, or say what is wrong. Expected times are worked out by hand on a machine
//! where nothing costs anything.

use topology::Topology;

use super::parse;
use crate::native::SharedQueue;
use crate::sim::Sim;
use crate::workload::Workload;
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

fn workload(text: &str) -> Workload {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn run(text: &str, spec: &str, ms: u64) -> Sim<SharedQueue> {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("good"), config);
    workload(text).install(&mut sim);
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    let ended = sim.run_until(ms * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(!ended, "{:?}", sim.ended());
    for cpu in 0..sim.kernel.cpus.len() {
        sim.kernel.update_curr(cpu);
    }
    sim
}

/// Work of each task definition so far, ms.
fn work(sim: &Sim<SharedQueue>) -> Vec<u64> {
    sim.kernel.metrics.groups.iter().map(|group| group.work_ns / MS).collect()
}

/// Units of work that each task definition has completed.
fn done(sim: &Sim<SharedQueue>) -> Vec<u64> {
    sim.kernel.metrics.groups.iter().map(|group| group.done).collect()
}

#[test]
fn instances_loops_phases_and_delays() {
    let text = r#"{"global": {"duration": 5, "calibration": "CPU0"},
        "tasks": {"periodic": {"instance": 2, "cpus": [1], "loop": -1, "run": 2000, "timer": {"ref": "unique", "period": 10000}},
                  "phased": {"loop": 3, "phases": {"b": {"loop": 2, "run": 1000, "sleep": 1000}, "a": {"run0": 500, "run1": 500}}},
                  "late": {"delay": 900000, "run": 1000},
                  "once": {"loop": 1, "run": 7000},
                  "none": {"instance": 0, "run": 1000}}}"#;
    assert_eq!(workload(text).tasks.len(), 5);
    assert_eq!(workload(text).duration_ns, Some(5_000 * MS));
    let sim = run(text, "4c", 1000);
    // 20 % each of two; three times two times 1 ms and 1 ms; the last tenth of the run.
    assert_eq!(work(&sim), [400, 9, 100, 7, 0]);
    assert_eq!(sim.kernel.metrics.exits, 2);
}

#[test]
fn run_is_work_and_runtime_is_time() {
    // A CPU of half the speed: 10 ms of work take 20 ms there.
    let text = |event: &str| format!(r#"{{"tasks": {{"a": {{"loop": 1, "{event}": 10000}}}}}}"#);
    let mut topology = Topology::from_spec("1c").expect("good");
    topology.cpus[0].capacity = 512;
    let end = |event: &str| {
        let config = Config { costs: Costs::none(), ..Config::default() };
        let mut sim: Sim<SharedQueue> = Sim::new(&topology, config);
        workload(&text(event)).install(&mut sim);
        sim.attach(SharedQueue::vtime()).expect("init succeeds");
        while sim.kernel.metrics.exits == 0 {
            sim.step(1000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
        }
        (sim.kernel.now / MS, sim.kernel.metrics.busy_ns / MS)
    };
    assert_eq!(end("run"), (20, 20));
    assert_eq!(end("runtime"), (10, 10));
}

#[test]
fn runtime_passes_while_the_task_waits() {
    // One CPU and slices of 20 ms: b begins at 20 ms, is preempted at 40, and its time is over at 45; when it has the CPU
    // again, at 60, it looks at the clock once.
    let text = r#"{"tasks": {"a": {"loop": 1, "run": 50000}, "b": {"loop": 1, "runtime": 25000}}}"#;
    let sim = run(text, "1c", 100);
    let had: Vec<u64> = sim.kernel.metrics.groups.iter().map(|group| group.exec_ns / 1000).collect();
    assert_eq!(had, [50_000, 20_032]);
}

#[test]
fn relative_and_absolute_timers() {
    // As in the documentation: 10 ms of work each 20 ms; the third time it takes 35 ms.
    let text = |mode: &str| {
        let timer = format!(r#"{{"ref": "unique", "period": 20000, "mode": "{mode}"}}"#);
        let usual = format!(r#"{{"loop": 2, "run": 10000, "timer": {timer}}}"#);
        let long = format!(r#"{{"run": 35000, "timer": {timer}}}"#);
        let rest = format!(r#"{{"loop": 20, "run": 10000, "timer": {timer}}}"#);
        format!(r#"{{"tasks": {{"a": {{"phases": {{"x": {usual}, "y": {long}, "z": {rest}}}}}}}}}"#)
    };
    // Work by the time t. Third activation: from 40 to 75. Relative: the next at once, then from 95 on each 20 ms. Absolute:
    // at once, with the beat still at 60, 80, 100: from 75 to 85, then at 85 again (80 is over), then at 100.
    let by = |mode: &str, ms: u64| work(&run(&text(mode), "1c", ms))[0];
    assert_eq!([75, 85, 95, 105, 115].map(|ms| by("relative", ms)), [55, 65, 65, 75, 75]);
    assert_eq!([75, 85, 95, 100, 110].map(|ms| by("absolute", ms)), [55, 65, 75, 75, 85]);
}

#[test]
fn timers_of_one_name_are_shared_unless_unique() {
    let text = |name: &str| {
        format!(
            r#"{{"tasks": {{"a": {{"instance": 2, "run": 1000, "timer": {{"ref": "{name}", "period": 10000}}}}}}}}"#
        )
    };
    assert_eq!(work(&run(&text("unique1"), "2c", 1000)), [200]);
    // Each of the two pushes the one timer on by a period: after the first time they run every 20 ms, in turn.
    assert_eq!(work(&run(&text("tick"), "2c", 1000)), [2 + 99]);
}

#[test]
fn locks_exclude() {
    let body = r#"{"lock": "m", "run": 1000, "unlock": "m"}"#;
    let sim = run(&format!(r#"{{"tasks": {{"a": {body}, "b": {body}}}}}"#), "2c", 100);
    assert_eq!(sim.kernel.metrics.work_ns / MS, 100, "one at a time");
}

#[test]
fn a_signal_wakes_one_waiter_and_is_not_remembered() {
    let text = |call: &str| {
        format!(
            r#"{{"tasks": {{
              "early": {{"loop": 1, "{call}": "c"}},
              "waiter": {{"instance": 3, "lock": "m", "wait": {{"ref": "c", "mutex": "m"}}, "unlock": "m", "run": 1000}},
              "caller": {{"loop": 4, "sleep": 10000, "{call}": "c"}}}}}}"#
        )
    };
    // Four calls; the one before anybody waits has no effect.
    assert_eq!(done(&run(&text("signal"), "4c", 100))[1], 4);
    assert_eq!(done(&run(&text("broad"), "4c", 100))[1], 12);
}

#[test]
fn sync_signals_and_waits_with_the_lock_or_without() {
    let text = |pre: &str, post: &str| {
        let sync = r#""sync": {"ref": "c", "mutex": "m"}"#;
        let body = format!(r#"{{{pre} {sync}, {post} "run": 1000}}"#);
        format!(
            r#"{{"tasks": {{"a": {{"phases": {{"p": {body}}}}}, "b": {{"delay": 500, "phases": {{"p": {body}}}}}}}}}"#
        )
    };
    // They wake each other in turn.
    for (pre, post) in [("", ""), (r#""lock": "m","#, r#""unlock": "m","#)] {
        let work = work(&run(&text(pre, post), "2c", 100));
        assert!(work[0].abs_diff(work[1]) <= 1 && work[0] + work[1] >= 98, "{work:?}");
    }
}

#[test]
fn a_barrier_waits_for_all_that_name_it() {
    let text = r#"{"tasks": {"quick": {"run": 1000, "barrier": "b"}, "slow": {"run": 5000, "barrier": "b"},
        "third": {"sleep": 10000, "barrier": "b", "run": 500}}}"#;
    // All are there at 10 ms and then every 10.5 ms, nine times.
    assert_eq!(done(&run(text, "4c", 104)), [10, 10, 9]);
}

#[test]
fn suspended_tasks_are_resumed_and_semaphores_remember() {
    let text = r#"{"tasks": {"early": {"loop": 1, "resume": "sleeper"},
        "sleeper": {"instance": 2, "suspend": "", "run": 1000}, "waker": {"loop": 5, "sleep": 10000, "resume": "sleeper"}}}"#;
    assert_eq!(done(&run(text, "2c", 100))[1], 10, "both, five times");
    let text = r#"{"tasks": {"consumer": {"sem_wait": "s", "run": 1000}, "producer": {"loop": 7, "sem_post": "s"}}}"#;
    assert_eq!(work(&run(text, "2c", 100))[0], 7);
}

#[test]
fn tasks_fork_others_wherever_they_are_defined() {
    let text = r#"{"tasks": {"parent": {"loop": 3, "fork": "child", "sleep": 10000},
        "child": {"instance": 0, "delay": 2000, "loop": 2, "run": 1000}}}"#;
    let sim = run(text, "2c", 100);
    assert_eq!(work(&sim)[1], 6);
    assert_eq!(sim.kernel.metrics.exits, 4);
}

#[test]
fn policies_and_nice_values_are_weights() {
    let text = r#"{"global": {"default_policy": "SCHED_IDLE"},
        "tasks": {"idle": {"run": 1000}, "nice": {"policy": "SCHED_OTHER", "priority": 5, "run": 1000},
                  "batch": {"policy": "SCHED_BATCH", "run": 1000},
                  "changes": {"policy": "SCHED_OTHER", "phases": {"a": {"priority": -5, "run": 1000}, "b": {"policy": "SCHED_IDLE", "run": 1000}}}}}"#;
    let sim = run(text, "8c", 0);
    let tasks: Vec<(u32, u32)> =
        sim.kernel.tasks.live().map(|(_, task)| (task.policy, task.weight)).collect();
    assert_eq!(tasks, [(5, 1), (0, 33), (3, 100), (0, 304)], "the last one is in its first phase");
    let sim = run(text, "8c", 1);
    assert_eq!(sim.kernel.tasks.live().last().map(|(_, task)| (task.policy, task.weight)), Some((5, 1)));
}

#[test]
fn affinity_of_phases_task_groups_and_yield() {
    let text = r#"{"tasks": {"a": {"cpus": [1], "taskgroup": "/top/a", "phases": {
            "p": {"cpus": [2, 77], "taskgroup": "/top/b", "runtime": 10000},
            "q": {"runtime": 10000, "yield": ""}}}}}"#;
    let place = |ms: u64| {
        let sim = run(text, "4c", ms);
        let (_, task) = sim.kernel.tasks.live().next().expect("one task");
        (task.cpu, task.mask.to_string(), sim.kernel.cgroups[task.cgroup].path.clone())
    };
    assert_eq!(place(5), (2, "2".to_owned(), "/top/b".to_owned()));
    // The phase without `cpus` has those of the task; the task group stays.
    assert_eq!(place(15), (1, "1".to_owned(), "/top/b".to_owned()));
}

#[test]
fn comments_and_repeated_keys_are_allowed() {
    let text = r#"/* a file */ {"tasks": { // one
        "a // b": {"loop": 1, "run": 1000, /* again */ "run": 2000, "run": 3000}}}"#;
    let sim = run(text, "1c", 100);
    assert_eq!((work(&sim), sim.kernel.metrics.groups[0].name.as_str()), (vec![6], "a // b"));
}

#[test]
fn what_is_wrong_or_not_modelled_is_named() {
    let task = |body: &str| format!(r#"{{"tasks": {{"a": {{{body}}}}}}}"#);
    let cases = [
        (task(r#""iorun": 5"#), "'iorun' in task 'a' is not modelled"),
        (task(r#""memrun": {}"#), "'memrun' in task 'a' is not modelled"),
        (task(r#""run": 1, "util_min": 5"#), "'util_min' in task 'a' is not modelled"),
        (task(r#""run": 1, "dl-runtime": 5"#), "'dl-runtime' in task 'a' is not modelled"),
        (task(r#""run": 1, "membind_nodes": [0]"#), "'membind_nodes' in task 'a' is not modelled"),
        (task(r#""run": 1, "policy": "SCHED_FIFO""#), "'policy' in task 'a' must be SCHED_OTHER"),
        (task(r#""run": -1"#), "'run' in task 'a' must be a time"),
        (task(r#""run": 1, "priority": 20"#), "'priority' in task 'a' must be a nice value"),
        (task(r#""run": 1, "instance": -1"#), "'instance' in task 'a' must be a count"),
        (task(r#""run": 1, "cpus": []"#), "'cpus' in task 'a' must be a list"),
        (task(r#""run": 1, "taskgroup": "x""#), "'taskgroup' in task 'a' must be a path"),
        (task(r#""phases": {"p": {"mem": 1}}"#), "'mem' in phase 'p' of task 'a' is not modelled"),
        (task(r#""phases": {"p": {"run": 1}}, "run": 1"#), "'run' in task 'a' must be in one of its phases"),
        (task(""), "task 'a' has no events"),
        (
            task(r#""wait": {"ref": "c", "mutex": "m"}"#),
            "'wait' in task 'a' must be between 'lock' and 'unlock'",
        ),
        (task(r#""timer": {"ref": "u"}"#), "'timer' in task 'a' must be an object with a period"),
        (task(r#""timer": {"period": 1, "mode": "x"}"#), "'mode' in task 'a' must be 'relative' or"),
        (task(r#""fork": "b""#), "'b' in 'fork' must be the name of a task"),
        (r#"{"global": {"colour": 1}}"#.to_owned(), "'colour' in global is not modelled"),
        (r#"{"global": {"duration": -2}}"#.to_owned(), "'duration' in global must be -1 or"),
        (r#"{"tusks": {}}"#.to_owned(), "'tusks' in the file is not modelled"),
        ("[".to_owned(), "not JSON"),
    ];
    for (text, words) in cases {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.contains(words), "{error}");
    }
}
