// SPDX-License-Identifier: GPL-2.0-only
//! Each invariant, broken on purpose: the run must end and say which.

use std::rc::Rc;

use topology::{CpuSet, Topology};

use crate::abi::{SCX_DSQ_LOCAL, SCX_SLICE_DFL};
use crate::cgroup::ROOT;
use crate::events::CpuId;
use crate::kernel::{Curr, Kernel, Traits};
use crate::native::SharedQueue;
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{Place, TaskIdx, TaskSpec};
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

type Break = fn(&mut Sim<SharedQueue>);

fn machine() -> Sim<SharedQueue> {
    machine_looked_at(1)
}

/// Everything is looked at after so many events.
fn machine_looked_at(check_every: u64) -> Sim<SharedQueue> {
    let config = Config { costs: Costs::none(), check_every, seed: 77, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec("2c").expect("good"), config);
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    let hog = TaskSpec::new("hog", Program::new(&[Step::RunForever]));
    (0..6).for_each(|_| _ = sim.add_task(&hog, 0));
    sim.run_until(5 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    sim
}

fn waiting(sim: &Sim<SharedQueue>) -> TaskIdx {
    let found = sim.kernel.tasks.live().find(|(_, task)| matches!(task.place, Place::Queue(_)));
    found.map(|(task, _)| task).expect("six tasks, two CPUs")
}

fn queue_of(sim: &Sim<SharedQueue>, task: TaskIdx) -> usize {
    match sim.kernel.tasks[task].place {
        Place::Queue(index) => index,
        place => panic!("{place:?}"),
    }
}

#[test]
fn every_invariant_notices() {
    let cases: [(&str, Break); 13] = [
        ("runs on CPU 0, which it may not use", |sim| {
            let Curr::Task(task) = sim.kernel.cpus[0].curr else { panic!("busy") };
            sim.kernel.tasks[task].mask = Rc::new([1].into_iter().collect());
        }),
        ("was found 0 times", |sim| {
            let task = waiting(sim);
            let (index, vtime) = (queue_of(sim, task), sim.kernel.tasks[task].vtime);
            sim.kernel.dsqs[index].remove(task, vtime);
        }),
        ("was found 2 times", |sim| {
            let task = waiting(sim);
            let index = queue_of(sim, task);
            sim.kernel.dsqs[index].push_ordered(task, 0);
        }),
        ("is out of order", |sim| {
            let task = waiting(sim);
            sim.kernel.tasks[task].vtime += 1;
        }),
        ("believes to be", |sim| {
            let task = waiting(sim);
            sim.kernel.cpus[0].local.push_back(task);
        }),
        ("are counted", |sim| sim.kernel.nr_runnable += 1),
        ("are counted", |sim| sim.kernel.nr_waiting += 1),
        ("are counted", |sim| sim.kernel.nr_idle += 1),
        ("cgroup / counts", |sim| sim.kernel.cgroups[ROOT].tasks += 1),
        ("is in cgroup / and counts for /a", |sim| {
            let a = sim.create_cgroup("/a", 100).expect("made");
            let task = waiting(sim);
            sim.kernel.tasks[task].sched_cgroup = a;
        }),
        ("is put on", |sim| {
            let Curr::Task(task) = sim.kernel.cpus[0].curr else { panic!("busy") };
            sim.kernel.put(task, crate::queueing::Target::Local(0), 0);
        }),
        ("is taken off a queue", |sim| {
            let Curr::Task(task) = sim.kernel.cpus[0].curr else { panic!("busy") };
            sim.kernel.take(task);
        }),
        ("becomes runnable twice", |sim| {
            let task = waiting(sim);
            sim.enqueue_task(0, task, 0, false);
        }),
    ];
    for (words, breaks) in cases {
        let mut sim = machine();
        breaks(&mut sim);
        let violation = sim.run_until(10 * MS).expect_err(words);
        assert!(violation.what.contains(words), "'{words}': {violation}");
        assert_eq!(violation.seed, 77);
        assert!(!violation.history.is_empty());
    }
}

#[test]
fn a_queue_out_of_order_is_noticed_without_a_look_at_everything() {
    let mut sim = machine_looked_at(u64::MAX);
    let task = waiting(&sim);
    sim.kernel.tasks[task].vtime += 1;
    // Four wait for two CPUs: it is chosen within three slices of 20 ms.
    let violation = sim.run_until(100 * MS).expect_err("it leaves the queue");
    assert!(violation.what.contains("is out of order: hog["), "{violation}");
}

#[test]
fn an_idle_cpu_beside_its_own_queue_is_noticed() {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim: Sim<SharedQueue> = Sim::new(&Topology::from_spec("2c").expect("good"), config);
    let hog = TaskSpec::new("hog", Program::new(&[Step::RunForever]));
    let task = sim.add_task(&hog, 0);
    sim.run_until(MS).expect("no violation");
    let cpu = sim.kernel.tasks[task].cpu;
    sim.kernel.update_curr(cpu);
    sim.kernel.set_place(task, Place::Local(cpu));
    sim.kernel.cpus[cpu].local.push_back(task);
    sim.kernel.set_curr(cpu, Curr::Idle);
    assert!(
        sim.kernel.inconsistency().is_some_and(|what| what.contains("is idle beside its own local queue"))
    );
}

/// Never gives away what it is told to lose; everything else goes straight to a local queue.
struct Loser;

impl Ops for Loser {
    fn traits(&self) -> Traits {
        Traits { select_cpu: true, enqueue: true, dispatch: true, ..Traits::default() }
    }
    fn select_cpu(&mut self, _: &mut Kernel, _: TaskIdx, prev: CpuId, _: u64) -> i32 {
        prev as i32
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        if kernel.tasks[task].name != "lost" {
            kernel.dsq_insert(task, SCX_DSQ_LOCAL, SCX_SLICE_DFL, flags);
        }
    }
}

/// CPU 1 is idle but for moments, CPU 0 always; the lost task may use these.
fn loses(cpus: &[CpuId], idle_beside_ns: u64) -> Result<bool, String> {
    let config = Config { costs: Costs::none(), check_every: 1, idle_beside_ns, ..Config::default() };
    let mut sim: Sim<Loser> = Sim::new(&Topology::from_spec("2c").expect("good"), config);
    sim.attach(Loser).expect("init succeeds");
    let on = |cpus: &[CpuId]| Some(Rc::new(cpus.iter().copied().collect::<CpuSet>()));
    let beats = [Step::Loop(None, vec![Step::Run(Dist::Const(MS)), Step::Sleep(Dist::Const(9 * MS))])];
    sim.add_task(&TaskSpec { cpus: on(&[1]), ..TaskSpec::new("beats", Program::new(&beats)) }, 0);
    let lost = Program::new(&[Step::RunForever]);
    sim.add_task(&TaskSpec { cpus: on(cpus), ..TaskSpec::new("lost", lost) }, 50 * MS);
    sim.run_until(1_000 * MS).map_err(|violation| format!("{} at {}", violation.what, violation.at_ns / MS))
}

#[test]
fn a_task_that_waits_beside_sleeping_cpus_is_noticed() {
    let lost = loses(&[0], 100 * MS).expect_err("nobody will run it");
    assert_eq!(
        lost,
        "lost[2] waits (Scheduler) beside CPUs 0 that have all been asleep for 100 ms and more at 151"
    );
    assert_eq!(loses(&[0, 1], 100 * MS), Ok(false), "one of its CPUs works");
    assert_eq!(loses(&[0], 0), Ok(false), "not looked for");
}
