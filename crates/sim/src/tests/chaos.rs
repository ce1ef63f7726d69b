// SPDX-License-Identifier: GPL-2.0-only
//! Random machines and random lives, checked after every event.

use proptest::prelude::*;
use topology::Topology;

use crate::abi::SCX_OPS_ENQ_LAST;
use crate::native::SharedQueue;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::TaskSpec;
use crate::world::Outside;
use crate::{Config, Costs};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// A life of everything a task can do.
fn life(channel: usize, template: usize) -> Vec<Step> {
    let mutex = channel + 1;
    vec![Step::Loop(
        None,
        vec![Step::OneOf(vec![
            vec![Step::Run(Dist::Exp(300 * US)), Step::Done],
            vec![Step::Run(Dist::Uniform(0, 9 * MS))],
            vec![Step::Sleep(Dist::Exp(500 * US))],
            vec![Step::Periodic(3 * MS)],
            vec![Step::Signal(channel), Step::Wait(channel), Step::Run(Dist::Const(50 * US))],
            vec![Step::SignalSync(channel), Step::Wait(channel)],
            vec![Step::Wait(mutex), Step::Run(Dist::Exp(100 * US)), Step::Signal(mutex)],
            vec![Step::Yield],
            vec![Step::Fork(template), Step::WaitChildren],
            vec![Step::Fork(template)],
            vec![Step::RandomAffinity(2)],
            vec![Step::RandomAffinity(100)],
            vec![Step::SetWeight(700), Step::Run(Dist::Const(MS)), Step::SetWeight(100)],
            vec![
                Step::MigrateDisable(true),
                Step::Run(Dist::Exp(MS)),
                Step::Sleep(Dist::Const(US)),
                Step::MigrateDisable(false),
            ],
            vec![Step::Broadcast(channel)],
        ])],
    )]
}

fn run(spec: &str, seed: u64, flags: u64, fifo: bool, costs: Costs, hotplug: bool) -> Sim<SharedQueue> {
    let config = Config { seed, costs, check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("a good spec"), config);
    let scheduler = || (if fifo { SharedQueue::fifo() } else { SharedQueue::vtime() }).with_flags(flags);
    sim.attach(scheduler()).expect("init succeeds");
    let channel = sim.add_channel(1);
    sim.add_channel(1);
    let child =
        vec![Step::Run(Dist::Exp(200 * US)), Step::Sleep(Dist::Exp(100 * US)), Step::Run(Dist::Const(US))];
    sim.world.templates.push(TaskSpec::new("child", Program::new(&child)));
    let program = Program::new(&life(channel, 0));
    (0..12).for_each(|i| _ = sim.add_task(&TaskSpec::new("life", program.clone()), i * 100 * US));
    sim.add_source(Outside::RealTime { cpu: None, every: Dist::Exp(2 * MS), length: Dist::Exp(MS) }, 0);
    sim.add_source(Outside::AffinityStorm { group: 0, every: Dist::Exp(MS), cpus: 2 }, MS);
    sim.add_source(Outside::CgroupStorm { group: 0, every: Dist::Exp(MS), max: 12 }, MS);
    sim.add_source(Outside::Interrupts { cpu: None, every: Dist::Exp(MS), length: Dist::Exp(20 * US) }, 0);
    let (every, length) = (Dist::Exp(5 * MS), Dist::Exp(MS));
    sim.add_source(Outside::RealTimeTask { cpus: None, last: None, every, length }, MS);
    sim.add_source(Outside::WeightStorm { group: 0, every: Dist::Exp(MS), range: (1, 10_000) }, MS);
    if hotplug {
        for i in 0..20 {
            sim.add_source(Outside::Hotplug { cpu: (i % 3) as usize, online: i % 2 == 1 }, i * 7 * MS + MS);
        }
    }
    while sim.run_until(200 * MS).unwrap_or_else(|violation| panic!("{spec} seed {seed}: {violation}")) {
        let end = sim.ended().expect("it has ended").clone();
        assert!(hotplug && end.kind < 1024, "seed {seed}: {end:?}");
        sim.attach(scheduler()).expect("init succeeds");
    }
    sim
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_breaks(seed: u64, spec in prop::sample::select(vec!["1c", "3c", "2c2t", "2n2l2c2t", "2l3c"]), last: bool, fifo: bool, free: bool, hotplug: bool) {
        let costs = if free { Costs::none() } else { Costs::default() };
        let flags = if last { SCX_OPS_ENQ_LAST } else { 0 };
        let sim = run(spec, seed, flags, fifo, costs, hotplug);
        prop_assert!(sim.kernel.metrics.events > 200);
    }
}

#[test]
fn a_violation_tells_how_to_find_it() {
    let mut sim = run("2c", 5, 0, true, Costs::default(), false);
    let task = sim.kernel.tasks.live().find(|(_, task)| task.waits()).map(|(task, _)| task);
    let task = task.expect("more tasks than CPUs");
    sim.kernel.tasks[task].queued = false;
    let violation = sim.run_until(300 * MS).expect_err("a task is lost");
    assert_eq!(violation.seed, 5);
    assert!(!violation.history.is_empty() && violation.event > 0, "{violation}");
}
