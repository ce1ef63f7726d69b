// SPDX-License-Identifier: GPL-2.0-only
//! Synchronous wake-ups (pipes, sockets): the kernel puts the woken task on the waker's own local queue while CPUs idle anywhere,
//! past every queue of a scheduler. Whoever waits for that CPU has to get it all the same.

mod common;

use std::rc::Rc;

use common::{MS, S, US, play};
use sched_sim::schedulers;
use sim::Config;
use sim::program::{Dist, Program, Step};
use sim::task::TaskSpec;
use sim::workload::Workload;
use topology::{CpuSet, Topology};

/// CPU time of two hogs, each bound to a CPU of its own, beside two tasks that wake each other there; two CPUs idle, which none of
/// them may use.
fn hogs_beside_a_pair(name: &str) -> [u64; 2] {
    let topology = Topology::from_spec("1l4c").expect("a good spec");
    let mut workload = Workload { groups: vec!["all".into()], channels: vec![0, 0], ..Workload::default() };
    let mut add = |name: &str, cpus: &[usize], steps: &[Step]| {
        let cpus = Some(Rc::new(cpus.iter().copied().collect::<CpuSet>()));
        workload.tasks.push((TaskSpec { cpus, ..TaskSpec::new(name, Program::new(steps)) }, 0));
    };
    add("hog-0", &[0], &[Step::RunForever]);
    add("hog-1", &[1], &[Step::RunForever]);
    let work = Step::Run(Dist::Const(50 * US));
    let turn =
        |mine, other| [Step::Loop(None, vec![work.clone(), Step::SignalSync(other), Step::Wait(mine)])];
    add("ping", &[0, 1], &turn(0, 1));
    add("pong", &[0, 1], &turn(1, 0));
    let (session, restarts) = play(name, &topology, &workload, Config::default(), 2 * S);
    assert_eq!(restarts, 0, "{name}");
    session.with(|sim| {
        let used = |wanted: &str| {
            let found = sim.kernel.tasks.live().find(|(_, task)| task.name == wanted);
            found.expect("it lives").1.exec_ns
        };
        [used("hog-0"), used("hog-1")]
    })
}

#[test]
fn tasks_that_wake_each_other_starve_nobody() {
    for name in schedulers::names() {
        let used = hogs_beside_a_pair(name);
        assert!(used.iter().all(|&used| used > 600 * MS), "{name}: {used:?}");
    }
}
