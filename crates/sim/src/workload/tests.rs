// SPDX-License-Identifier: GPL-2.0-only
//! Every generator runs under a simple scheduler.

use topology::Topology;

use crate::Config;
use crate::native::SharedQueue;
use crate::sim::Sim;
use crate::workload::{NAMES, Workload};

const MS: u64 = 1_000_000;

fn machine(spec: &str) -> Topology {
    Topology::from_spec(spec).expect("good")
}

fn run(workload: &Workload, topology: &Topology, ms: u64) -> Sim<SharedQueue> {
    let mut sim = Sim::new(topology, Config { check_every: 1, ..Config::default() });
    workload.install(&mut sim);
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    let ended = sim.run_until(ms * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(!ended, "{:?}", sim.ended());
    sim
}

#[test]
fn every_generator_keeps_the_machine_busy() {
    for name in NAMES {
        let machine = machine("2l2c2t");
        let workload = Workload::source(name, &machine).unwrap_or_else(|error| panic!("{error}"));
        let sim = run(&workload, &machine, 500);
        let busy = sim.kernel.metrics.busy_ns as f64 / (8.0 * 500.0 * MS as f64);
        assert!(busy > 0.2, "{name}: {busy}");
        let endless = matches!(name, "hogs" | "weighted-hogs" | "tenants" | "rt" | "one-domain");
        let done: u64 = sim.kernel.metrics.groups.iter().map(|group| group.done).sum();
        assert!(endless || done > 50, "{name}: {done}");
    }
}

#[test]
fn generators_join_and_count() {
    let workload = Workload::source("hogs:3+sleepers:5", &machine("8c")).expect("good");
    assert_eq!((workload.tasks.len(), workload.groups.len()), (8, 2));
    for (text, words) in [
        ("hugs", "unknown workload 'hugs'"),
        ("hogs:x", "'x' is no count"),
        ("a/b.json", "cannot read a/b.json"),
    ] {
        let error = Workload::source(text, &machine("8c")).expect_err("not understood").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn tenants_of_several_parts_are_different_ones() {
    let machine = machine("2c");
    let workload = Workload::source("tenants:2+sleepers:2+tenants:2", &machine).expect("good");
    let sim = run(&workload, &machine, 50);
    let paths: Vec<&str> = sim.kernel.cgroups.live().into_iter().map(|index| path_of(&sim, index)).collect();
    assert_eq!(paths, ["/", "/tenant-0", "/tenant-1", "/tenant-2", "/tenant-3"]);
    assert_eq!(workload.groups, ["tenant-0", "tenant-1", "sleepers", "tenant-2", "tenant-3"]);
    // Each has a task for each of the two CPUs, in its own cgroup.
    assert!(sim.kernel.cgroups.live()[1..].iter().all(|&index| sim.kernel.cgroups[index].tasks == 2));
}

fn path_of(sim: &Sim<SharedQueue>, cgroup: usize) -> &str {
    &sim.kernel.cgroups[cgroup].path
}

#[test]
fn counts_beyond_use_are_refused() {
    let machine = machine("8c");
    for (text, part) in [
        ("hogs:1000001", "'hogs:1000001'"),
        ("hogs:18446744073709551615", "'hogs:18446744073709551615'"),
        ("hogs:3+sleepers:999998", "'sleepers:999998'"),
        ("tenants:125001", "'tenants:125001'"),
    ] {
        let error = Workload::source(text, &machine).expect_err("too many").to_string();
        assert_eq!(error, format!("{part} makes it more than 1000000 tasks; give smaller counts"));
    }
    assert!(Workload::source("hogs:100000", &machine).is_ok());
}

#[test]
fn generators_use_the_cpus_that_there_are() {
    let mut machine = machine("8c");
    machine.cpus.iter_mut().step_by(2).for_each(|cpu| cpu.online = false);
    let online = machine.online();
    for name in NAMES {
        let workload = Workload::source(name, &machine).unwrap_or_else(|error| panic!("{error}"));
        let all = workload.tasks.iter().filter_map(|(spec, _)| spec.cpus.as_ref());
        all.for_each(|cpus| assert!(cpus.is_subset(&online), "{name}: {cpus}"));
        run(&workload, &machine, 50);
    }
}

#[test]
fn a_file_is_fitted_to_the_machine() {
    let path = std::env::temp_dir().join(format!("sim-fit-{}.json", std::process::id()));
    let path = path.to_str().expect("a UTF-8 temporary folder");
    let source = |cpus: &str, spec: &str| {
        let text = format!(r#"{{"tasks": {{"a": {{"cpus": {cpus}, "run": 1000}}}}}}"#);
        std::fs::write(path, text).expect("a writable temporary folder");
        let workload = Workload::source(path, &machine(spec));
        std::fs::remove_file(path).expect("it was there");
        workload
    };
    let workload = source("[1, 9]", "2c").expect("one of them is there");
    assert_eq!(workload.tasks[0].0.cpus.as_ref().map(ToString::to_string), Some("1".to_owned()));
    let error = source("[4, 5]", "2c").expect_err("none of them is there").to_string();
    assert_eq!(error, "task 'a' may use CPUs 4-5 only; the machine has 0-1");
}
