// SPDX-License-Identifier: GPL-2.0-only
//! Every generator runs under a simple scheduler; rt-app files mean what they say, or say what is wrong.

use topology::Topology;

use crate::native::SharedQueue;
use crate::sim::Sim;
use crate::workload::{NAMES, Workload};
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

fn run(workload: &Workload, spec: &str, costs: Costs, ms: u64) -> Sim<SharedQueue> {
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("good"), Config { costs, ..Config::default() });
    workload.install(&mut sim);
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    let ended = sim.run_until(ms * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(!ended, "{:?}", sim.ended());
    sim
}

#[test]
fn every_generator_keeps_the_machine_busy() {
    for name in NAMES {
        let workload = Workload::source(name, 8).unwrap_or_else(|error| panic!("{error}"));
        let sim = run(&workload, "2l2c2t", Costs::default(), 500);
        let busy = sim.kernel.metrics.busy_ns as f64 / (8.0 * 500.0 * MS as f64);
        assert!(busy > 0.2, "{name}: {busy}");
        let endless = matches!(name, "hogs" | "weighted-hogs" | "tenants" | "rt" | "one-domain");
        let done: u64 = sim.kernel.metrics.groups.iter().map(|group| group.done).sum();
        assert!(endless || done > 50, "{name}: {done}");
    }
}

#[test]
fn generators_join_and_count() {
    let workload = Workload::source("hogs:3+sleepers:5", 8).expect("good");
    assert_eq!((workload.tasks.len(), workload.groups.len()), (8, 2));
    for (text, words) in [
        ("hugs", "unknown workload 'hugs'"),
        ("hogs:x", "'x' is no count"),
        ("a/b.json", "cannot read a/b.json"),
    ] {
        let error = Workload::source(text, 8).expect_err("not understood").to_string();
        assert!(error.contains(words), "{error}");
    }
}

fn rtapp(text: &str) -> Workload {
    super::rtapp::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn rtapp_tasks_run_as_written() {
    let workload = rtapp(
        r#"{"global": {"duration": 5, "calibration": "CPU0"},
            "tasks": {"periodic": {"instance": 2, "cpus": [1], "loop": -1, "run": 2000, "timer": {"ref": "tick", "period": 10000}},
                      "phased": {"loop": 3, "phases": {"b": {"loop": 2, "run": 1000, "sleep": 1000}, "a": {"run0": 500, "run1": 500}}}}}"#,
    );
    assert_eq!(workload.tasks.len(), 3);
    let sim = run(&workload, "2c", Costs::none(), 1000);
    let groups = &sim.kernel.metrics.groups;
    assert!(groups[0].work_ns.abs_diff(400 * MS) <= 4 * MS, "20 % each of two: {}", groups[0].work_ns);
    assert_eq!(groups[1].work_ns, 9 * MS, "three times two times 1 ms and 1 ms");
    assert_eq!(sim.kernel.metrics.exits, 1);
}

#[test]
fn rtapp_locks_exclude() {
    let body = r#"{"lock": "m", "run": 1000, "unlock": "m"}"#;
    let sim = run(&rtapp(&format!(r#"{{"tasks": {{"a": {body}, "b": {body}}}}}"#)), "2c", Costs::none(), 100);
    assert!(sim.kernel.metrics.work_ns <= 101 * MS, "one at a time: {}", sim.kernel.metrics.work_ns);
}

#[test]
fn rtapp_says_what_is_not_modelled() {
    let cases = [
        (r#"{"tasks": {"a": {"iorun": 5}}}"#, "'iorun' in task 'a' is not modelled"),
        (r#"{"tasks": {"a": {"policy": "SCHED_FIFO"}}}"#, "'policy' in task 'a' must be SCHED_OTHER"),
        (r#"{"tasks": {"a": {"run": -1}}}"#, "'run' in task 'a' must be a time"),
        (r#"{"global": {"colour": 1}}"#, "'colour' in global is not modelled"),
        (
            r#"{"tasks": {"a": {"phases": {"p": {"mem": 1}}}}}"#,
            "'mem' in phase 'p' of task 'a' is not modelled",
        ),
        ("[", "not JSON"),
    ];
    for (text, words) in cases {
        let error = super::rtapp::parse(text).expect_err(text).to_string();
        assert!(error.contains(words), "{error}");
    }
}
