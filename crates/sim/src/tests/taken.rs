// SPDX-License-Identifier: GPL-2.0-only
//! CPUs taken away (real-time tasks, interrupts, kicks that wait), remote inserts, and tasks that skip ops.enqueue.

use std::rc::Rc;

use topology::{CpuSet, Topology};

use crate::abi::{
    SCX_DSQ_LOCAL, SCX_DSQ_LOCAL_ON, SCX_ENQ_REENQ, SCX_KICK_WAIT, SCX_OPS_ENQ_EXITING,
    SCX_OPS_ENQ_MIGRATION_DISABLED, SCX_SLICE_DFL,
};
use crate::events::{CpuId, Event};
use crate::kernel::{Kernel, Traits};
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{Place, TaskIdx, TaskSpec};
use crate::world::Outside;
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

/// Writes down what is called; enqueues to a queue of its own, or where it is told.
#[derive(Default)]
struct Log {
    flags: u64,
    target: Option<u64>,
    log: Vec<String>,
}

impl Log {
    fn say(&mut self, kernel: &Kernel, what: &str, task: TaskIdx) {
        self.log.push(format!("{what} {}", kernel.tasks[task].name));
    }
}

impl Ops for Log {
    fn traits(&self) -> Traits {
        let flags = self.flags;
        Traits {
            flags,
            select_cpu: true,
            enqueue: true,
            dequeue: true,
            dispatch: true,
            preempt: true,
            ..Traits::default()
        }
    }
    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(7)
    }
    fn select_cpu(&mut self, _: &mut Kernel, _: TaskIdx, prev: CpuId, _: u64) -> i32 {
        prev as i32
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        let what = if flags & SCX_ENQ_REENQ != 0 { "reenqueue" } else { "enqueue" };
        self.say(kernel, what, task);
        kernel.dsq_insert(task, self.target.unwrap_or(7), SCX_SLICE_DFL, flags);
    }
    fn dequeue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        self.say(kernel, if flags == 0 { "dispatched" } else { "dequeue" }, task);
    }
    fn dispatch(&mut self, kernel: &mut Kernel, _cpu: CpuId, _prev: Option<TaskIdx>) {
        kernel.dsq_move_to_local(7);
    }
    fn running(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.say(kernel, "running", task);
    }
    fn stopping(&mut self, kernel: &mut Kernel, task: TaskIdx, _runnable: bool) {
        self.say(kernel, "stopping", task);
    }
    fn cpu_acquire(&mut self, _: &mut Kernel, cpu: CpuId) {
        self.log.push(format!("acquire {cpu}"));
    }
    fn cpu_release(&mut self, _: &mut Kernel, cpu: CpuId) {
        self.log.push(format!("release {cpu}"));
    }
}

fn machine(spec: &str, ops: Log) -> Sim<Log> {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("a good spec"), config);
    sim.attach(ops).expect("init succeeds");
    sim
}

fn hog(name: &str) -> TaskSpec {
    TaskSpec::new(name, Program::new(&[Step::RunForever]))
}

fn pinned(name: &str, cpu: CpuId) -> TaskSpec {
    TaskSpec { cpus: Some(Rc::new([cpu].into_iter().collect())), ..hog(name) }
}

fn log_until(sim: &mut Sim<Log>, until: u64) -> Vec<String> {
    sim.ops.as_mut().expect("attached").log.clear();
    sim.run_until(until).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(sim.kernel.exit, None);
    std::mem::take(&mut sim.ops.as_mut().expect("attached").log)
}

fn real_time(cpu: CpuId, length: u64) -> Outside {
    Outside::RealTime { cpu: Some(cpu), every: Dist::Const(3_600_000 * MS), length: Dist::Const(length) }
}

#[test]
fn a_cpu_is_released_and_acquired() {
    let mut sim = machine("1c", Log::default());
    sim.add_task(&hog("a"), 0);
    sim.add_source(real_time(0, 2 * MS), 5 * MS);
    sim.run_until(4 * MS).expect("no violation");
    assert_eq!(log_until(&mut sim, 6 * MS), ["stopping a", "release 0"]);
    assert_eq!(log_until(&mut sim, 8 * MS), ["acquire 0", "running a"]);
}

#[test]
fn starved_tasks_get_their_share() {
    let run = |ext_server: bool| {
        let mut sim = machine("1c", Log::default());
        sim.kernel.config.ext_server = ext_server;
        sim.add_task(&hog("a"), 0);
        sim.add_source(real_time(0, 3_600_000 * MS), 10 * MS);
        sim.run_until(10_010 * MS).unwrap_or_else(|violation| panic!("{violation}"));
        let entry = sim.kernel.tasks.live().next().expect("it lives").1.exec_ns;
        (entry, sim.kernel.metrics.rt_ns, sim.kernel.metrics.server_runs)
    };
    // 50 ms after each 950 ms, ten times; 10 ms before the real-time task came.
    let (exec, rt, runs) = run(true);
    assert_eq!((exec, runs), (510 * MS, 10));
    assert!((8_500 * MS..=9_500 * MS).contains(&rt), "{rt}");
    assert_eq!(run(false).0, 10 * MS);
}

#[test]
fn a_real_time_task_avoids_another_one() {
    let mut sim = machine("2c", Log::default());
    let both: CpuSet = [0, 1].into_iter().collect();
    let task = |cpus: CpuSet| Outside::RealTimeTask {
        cpus: Some(Rc::new(cpus)),
        last: None,
        every: Dist::Const(100 * MS),
        length: Dist::Const(40 * MS),
    };
    sim.add_source(task([0].into_iter().collect()), 10 * MS);
    sim.add_source(task(both), 20 * MS);
    sim.run_until(30 * MS).expect("no violation");
    assert!(sim.kernel.cpus.iter().all(|cpu| cpu.curr == crate::kernel::Curr::Rt), "one on each");
    sim.run_until(1_000 * MS).expect("no violation");
    assert_eq!(sim.kernel.metrics.rt_ns, 800 * MS);
}

#[test]
fn interrupts_take_time_from_whatever_runs() {
    let mut sim = machine("2c", Log::default());
    let work = Program::new(&[Step::Run(Dist::Const(10 * MS))]);
    sim.add_task(&TaskSpec::new("a", work), 0);
    let cpu = sim.kernel.this_cpu;
    sim.kernel.events.push(5 * MS, Event::Interrupt { cpu, length_ns: 3 * MS });
    sim.run_until(12 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks.count(), 1);
    sim.run_until(14 * MS).expect("no violation");
    assert_eq!((sim.kernel.tasks.count(), sim.kernel.metrics.interrupt_ns), (0, 3 * MS));
    // An idle CPU that an interrupt holds begins later.
    sim.kernel.events.push(20 * MS, Event::Interrupt { cpu, length_ns: 4 * MS });
    let late = sim.add_task(&pinned("late", cpu), 21 * MS);
    sim.run_until(30 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks[late].wait_ns, 3 * MS);
}

#[test]
fn who_kicks_and_waits_spins() {
    let costs = Costs { ipi_ns: 300_000, ..Costs::none() };
    let config = Config { costs, check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec("2c").expect("good"), config);
    sim.attach(Log::default()).expect("init succeeds");
    let spinner = sim.add_task(&pinned("kicks", 0), 0);
    sim.add_task(&pinned("kicked", 1), 0);
    sim.run_until(5 * MS).expect("no violation");
    sim.kernel.this_cpu = 0;
    sim.kernel.kick_cpu(1, SCX_KICK_WAIT);
    sim.run_until(8 * MS).expect("no violation");
    sim.kernel.update_curr(0);
    assert_eq!(sim.kernel.metrics.kick_wait_ns, 300_000);
    assert_eq!(sim.kernel.tasks[spinner].exec_ns - sim.kernel.tasks[spinner].work_ns, 300_000);
}

#[test]
fn a_remote_insert_waits_and_a_change_cancels_it() {
    let costs = Costs { deferred_ns: MS, ..Costs::none() };
    let config = Config { costs, check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec("2c").expect("good"), config);
    sim.attach(Log { target: Some(SCX_DSQ_LOCAL_ON | 1), ..Log::default() }).expect("init succeeds");
    // Its slice ends at 20 ms beside a task that waits: it is enqueued, to the other CPU.
    let task = sim.add_task(&hog("a"), 0);
    sim.run_until(5 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks[task].cpu, 1);
    sim.run_until(19 * MS).expect("no violation");
    sim.ops.as_mut().expect("attached").target = Some(SCX_DSQ_LOCAL_ON);
    let other = sim.add_task(&pinned("b", 1), 19 * MS);
    sim.ops.as_mut().expect("attached").target = Some(SCX_DSQ_LOCAL);
    sim.run_until(20 * MS - 1).expect("no violation");
    sim.ops.as_mut().expect("attached").target = Some(SCX_DSQ_LOCAL_ON);
    sim.run_until(20 * MS + MS / 2).expect("no violation");
    assert_eq!(sim.kernel.tasks[task].place, Place::Deferred(1));
    // A change of affinity takes it back: it is enqueued again, where it may be now.
    sim.ops.as_mut().expect("attached").target = Some(SCX_DSQ_LOCAL_ON | 1);
    sim.set_affinity(task, &Rc::new([1].into_iter().collect()));
    assert_eq!(sim.kernel.tasks[task].place, Place::Local(1));
    sim.run_until(22 * MS).expect("no violation");
    assert_eq!((sim.kernel.exit.clone(), sim.kernel.tasks[task].place), (None, Place::Local(1)));
    assert!(sim.kernel.task_running(other));
}

#[test]
fn tasks_that_must_not_migrate_or_exit_skip_enqueue_unless_asked_for() {
    let life = [
        Step::MigrateDisable(true),
        Step::Run(Dist::Const(MS)),
        Step::Sleep(Dist::Const(MS)),
        Step::Run(Dist::Const(MS)),
    ];
    for (flags, seen) in [(0, 1), (SCX_OPS_ENQ_MIGRATION_DISABLED, 2)] {
        let mut sim = machine("2c", Log { flags, ..Log::default() });
        sim.add_task(&TaskSpec::new("a", Program::new(&life)), 0);
        let log = log_until(&mut sim, 20 * MS);
        assert_eq!(log.iter().filter(|line| *line == "enqueue a").count(), seen, "{log:?}");
        assert_eq!(sim.kernel.metrics.kernel_events.skip_migration_disabled, 2 - seen as u64);
    }
    for (flags, word) in [(0, false), (SCX_OPS_ENQ_EXITING, true)] {
        let mut sim = machine("1c", Log { flags, ..Log::default() });
        let task = sim.add_task(&hog("a"), MS);
        sim.kernel.tasks[task].flags |= crate::abi::PF_EXITING;
        let log = log_until(&mut sim, 5 * MS);
        assert_eq!(log.contains(&"enqueue a".to_owned()), word, "{log:?}");
    }
}

#[test]
fn a_local_queue_is_enqueued_again() {
    let mut sim = machine("1c", Log { target: Some(SCX_DSQ_LOCAL), ..Log::default() });
    ["a", "b", "c"].into_iter().for_each(|name| _ = sim.add_task(&hog(name), 0));
    sim.run_until(MS).expect("no violation");
    sim.ops.as_mut().expect("attached").target = None;
    sim.kernel.dsq_reenq(SCX_DSQ_LOCAL, 0);
    assert_eq!(log_until(&mut sim, 2 * MS), ["reenqueue b", "reenqueue c"]);
    assert_eq!((sim.kernel.cpus[0].local.len(), sim.kernel.dsq_nr_queued(7)), (0, 2));
    // Dispatched from there: out of the scheduler's hands.
    let log = log_until(&mut sim, 21 * MS);
    assert_eq!(log, ["dispatched b", "stopping a", "enqueue a", "running b"]);
}

/// A task that waits beside an idle CPU, because the interrupt that will wake that CPU takes its time, when real-time work comes.
#[test]
fn before_real_time_work_the_oldest_kernel_asks_all_the_same() {
    for (oldest, given) in [(true, 1), (false, 0)] {
        let kernel = if oldest { Config::oldest_kernel() } else { Config::default() };
        let costs = Costs { ipi_ns: 2 * MS, ..Costs::none() };
        let config = Config { costs, check_every: 1, ..kernel };
        let mut sim = Sim::new(&Topology::from_spec("2c").expect("good"), config);
        sim.attach(Log::default()).expect("init succeeds");
        sim.add_source(real_time(1, 5 * MS), 11 * MS);
        sim.run_until(10 * MS).expect("no violation");
        sim.kernel.this_cpu = 0;
        let task = sim.add_task(&pinned("a", 1), 10 * MS);
        sim.kernel.tasks[task].cpu = 0;
        sim.run_until(12 * MS).unwrap_or_else(|violation| panic!("{violation}"));
        let metrics = &sim.kernel.metrics;
        assert_eq!((metrics.asked_in_vain, metrics.given_in_vain), (given, given));
        assert_eq!(sim.kernel.tasks[task].place == Place::Local(1), oldest);
    }
}
