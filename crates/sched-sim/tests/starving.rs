// SPDX-License-Identifier: GPL-2.0-only
//! Nobody waits for ever, under any scheduler: neither by its weight, nor because tasks that may run elsewhere only stand before it.

mod common;

use std::rc::Rc;

use common::{MS, S, play};
use sched_sim::schedulers;
use sim::Config;
use sim::bpf::Session;
use sim::program::{Program, Step};
use sim::task::TaskSpec;
use sim::workload::Workload;
use topology::{CpuSet, Topology};

/// Hogs of one weight on some CPUs: a group of their own.
fn hogs(workload: &mut Workload, name: &str, count: usize, weight: u32, cpus: Option<&[usize]>) {
    let group = workload.group(name);
    let cpus = cpus.map(|cpus| Rc::new(cpus.iter().copied().collect::<CpuSet>()));
    let hog = TaskSpec { group, weight, cpus, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
    workload.tasks.extend((0..count).map(|_| (hog.clone(), 0)));
}

/// The load under a scheduler of the table, which must come to the end.
fn run(name: &str, machine: &str, workload: &Workload, end_ns: u64) -> Session {
    let topology = Topology::from_spec(machine).expect("a good spec");
    let (session, restarts) = play(name, &topology, workload, Config::default(), end_ns);
    assert_eq!(restarts, 0, "{name}");
    session
}

/// CPU time of the tasks of a group, in the order of the workload, s.
fn used(session: &Session, group: usize) -> Vec<f64> {
    session.with(|sim| {
        let of_group = sim.kernel.tasks.live().filter(|(_, task)| task.group == group);
        of_group.map(|(_, task)| task.exec_ns as f64 / S as f64).collect()
    })
}

/// Weights of nice 19 and nice -20: the light one is due once in 8668 slices, which is longer than the watchdog's 30 s.
#[test]
fn the_lightest_task_runs_beside_the_heaviest() {
    for name in schedulers::names() {
        for (machine, heavy, cpus) in [("2n2l2c1t", 1, Some(&[0][..])), ("2l2c", 8, None)] {
            let mut workload = Workload::default();
            hogs(&mut workload, "heavy", heavy, 8668, cpus);
            hogs(&mut workload, "light", 1, 1, cpus);
            let session = run(name, machine, &workload, 60 * S);
            let longest_ns = session.with(|sim| sim.kernel.metrics.longest_wait.wait_ns);
            let light = used(&session, 1)[0];
            println!(
                "{name} on {machine}: longest wait {:.1} s, light {light:.3} s",
                longest_ns as f64 / 1e9
            );
            assert!(longest_ns < 12 * S, "{name} on {machine}: somebody waited for {} ms", longest_ns / MS);
            assert!(light < 0.6, "{name} on {machine}: the lightest task got {light} s of 60");
        }
    }
}

/// Many light ones starve at once behind the heavy ones: they take turns with those, and each has one soon.
#[test]
fn all_of_many_light_tasks_run() {
    for name in schedulers::names() {
        let mut workload = Workload::default();
        hogs(&mut workload, "heavy", 20, 8668, None);
        hogs(&mut workload, "light", 200, 1, None);
        // All have a slice at first; it is the next one that the watchdog would not wait for.
        let session = run(name, "2c", &workload, 60 * S);
        let light = used(&session, 1);
        assert_eq!(light.len(), 200);
        assert!(light.iter().all(|&used| used > 0.0), "{name}: some never ran");
        let longest_ns = session.with(|sim| sim.kernel.metrics.longest_wait.wait_ns);
        println!("{name}: longest wait {:.1} s", longest_ns as f64 / 1e9);
        assert!(longest_ns < 20 * S, "{name}: somebody waited for {} ms", longest_ns / MS);
    }
}

/// The first task of a shared queue is one of a crowd that may use two CPUs only, and always behind. On another CPU it is no reason to take
/// the next one again and again, past a task that is bound there.
#[test]
fn a_crowd_elsewhere_does_not_starve_a_bound_task() {
    for name in schedulers::names() {
        let mut workload = Workload::default();
        hogs(&mut workload, "crowd", 5, 100, Some(&[0, 1]));
        hogs(&mut workload, "free", 8, 100, None);
        hogs(&mut workload, "bound", 1, 100, Some(&[5]));
        let session = run(name, "8c", &workload, 10 * S);
        let bound = used(&session, 2)[0];
        println!("{name}: the bound task got {bound:.2} s of 10");
        assert!(bound > 3.0, "{name}: the bound task got {bound} s of 10");
    }
}
