// SPDX-License-Identifier: GPL-2.0-only
//! Times, shares and speeds that can be worked out by hand.

use topology::Topology;

use crate::native::SharedQueue;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::TaskSpec;
use crate::world::Outside;
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

fn quiet() -> Config {
    Config { costs: Costs::none(), check_every: 1, ..Config::default() }
}

fn sim(spec: &str, config: Config, ops: SharedQueue) -> Sim<SharedQueue> {
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("a good spec"), config);
    sim.attach(ops).expect("init succeeds");
    sim
}

fn hog(weight: u32) -> TaskSpec {
    TaskSpec { weight, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) }
}

#[test]
fn equal_hogs_share_equally() {
    let mut sim = sim("2c", quiet(), SharedQueue::fifo());
    let tasks: Vec<_> = (0..4).map(|_| sim.add_task(&hog(100), 0)).collect();
    sim.run_until(10_000 * MS).expect("no violation");
    for task in tasks {
        let entry = &sim.kernel.tasks[task];
        let now = if sim.kernel.task_running(task) { 20 * MS } else { 0 };
        assert!((entry.exec_ns + now).abs_diff(5_000 * MS) <= 40 * MS, "{}", entry.exec_ns);
    }
    assert_eq!(sim.kernel.metrics.idle_beside_waiting_ns, 0);
}

#[test]
fn vtime_shares_by_weight() {
    let mut sim = sim("1c", quiet(), SharedQueue::vtime());
    let light = sim.add_task(&hog(100), 0);
    let heavy = sim.add_task(&hog(300), 0);
    let middle = sim.add_task(&hog(200), 0);
    sim.run_until(60_000 * MS).expect("no violation");
    let exec = |task: usize| sim.kernel.tasks[task].exec_ns as f64;
    assert!((exec(heavy) / exec(light) - 3.0).abs() < 0.03, "{} {}", exec(heavy), exec(light));
    assert!((exec(middle) / exec(light) - 2.0).abs() < 0.03);
}

#[test]
fn siblings_slow_each_other() {
    let costs = Costs { smt_speed_1024: 512, ..Costs::none() };
    let mut sim = sim("1c2t", Config { costs, ..quiet() }, SharedQueue::fifo());
    let task =
        sim.add_task(&TaskSpec::new("a", Program::new(&[Step::Run(Dist::Const(10 * MS)), Step::Done])), 0);
    let other =
        sim.add_task(&TaskSpec::new("b", Program::new(&[Step::Run(Dist::Const(30 * MS)), Step::Done])), 0);
    sim.run_until(19 * MS).expect("no violation");
    assert_eq!((sim.kernel.tasks.count(), sim.kernel.nr_runnable), (2, 2));
    // At half speed the first is done at 20 ms; by then the other has done 10 ms of 30 and goes on at full speed.
    sim.run_until(21 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks.by_pid(1), None);
    assert_eq!(sim.kernel.tasks.by_pid(2), Some(other));
    sim.run_until(40 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks.count(), 0);
    assert_eq!(sim.kernel.metrics.work_ns, 40 * MS);
    let _ = task;
}

#[test]
fn slow_cpus_take_longer() {
    let text = r#"{"nodes":[{"llcs":[{"cores":[{"cpus":"0","capacity":256}]}]}]}"#;
    let directory = std::env::temp_dir().join(format!("sim-slow-{}.json", std::process::id()));
    std::fs::write(&directory, text).expect("a writable temporary folder");
    let topology = Topology::from_file(&directory).expect("a good file");
    std::fs::remove_file(&directory).expect("it was just written");
    let mut sim = Sim::new(&topology, quiet());
    sim.attach(SharedQueue::fifo()).expect("init succeeds");
    sim.add_task(&TaskSpec::new("a", Program::new(&[Step::Run(Dist::Const(10 * MS))])), 0);
    sim.run_until(39 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks.count(), 1);
    sim.run_until(41 * MS).expect("no violation");
    assert_eq!(sim.kernel.tasks.count(), 0);
}

#[test]
fn costs_delay_what_comes_next() {
    let costs = Costs { context_switch_ns: 3_000, ipi_ns: 500, idle_exit_ns: 700, ..Costs::none() };
    let mut sim = sim("1c", Config { costs, ..quiet() }, SharedQueue::fifo());
    sim.kernel.metrics.groups.push(crate::metrics::GroupMetrics::default());
    sim.add_task(&TaskSpec::new("a", Program::new(&[Step::Run(Dist::Const(MS)), Step::Done])), 0);
    sim.run_until(5 * MS).expect("no violation");
    // The waking CPU is the CPU itself: no interrupt. Then the switch, then the work.
    assert_eq!(sim.kernel.metrics.groups[0].response.percentiles().max, MS + 3_000);
}

#[test]
fn channels_wake_in_order_and_measure() {
    let mut sim = sim("2c", quiet(), SharedQueue::fifo());
    sim.kernel.metrics.groups.push(crate::metrics::GroupMetrics::default());
    let channel = sim.add_channel(0);
    let worker =
        Program::new(&[Step::Loop(None, vec![Step::Wait(channel), Step::Run(Dist::Const(MS)), Step::Done])]);
    sim.add_task(&TaskSpec::new("worker", worker.clone()), 0);
    sim.add_task(&TaskSpec::new("worker", worker), 0);
    sim.add_source(Outside::Arrivals { channel, every: Dist::Const(2 * MS) }, 10 * MS);
    sim.run_until(1_010 * MS - 1).expect("no violation");
    let group = &sim.kernel.metrics.groups[0];
    assert_eq!(group.done, 500);
    assert_eq!(group.response.percentiles().max, MS);
}

#[test]
fn real_time_work_takes_its_time_from_tasks() {
    let mut sim = sim("1c", quiet(), SharedQueue::fifo());
    let task = sim.add_task(&hog(100), 0);
    sim.add_source(
        Outside::RealTime { cpu: Some(0), every: Dist::Const(10 * MS), length: Dist::Const(3 * MS) },
        MS,
    );
    sim.run_until(1_000 * MS).expect("no violation");
    assert_eq!(sim.kernel.metrics.rt_ns, 300 * MS);
    assert_eq!(
        sim.kernel.tasks[task].exec_ns,
        700 * MS - sim.kernel.now.saturating_sub(sim.kernel.cpus[0].accounted_at)
    );
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed: u64| {
        let mut sim = sim("2n2c2t", Config { seed, ..Config::default() }, SharedQueue::vtime());
        let body = vec![Step::Run(Dist::Exp(MS)), Step::Sleep(Dist::Exp(MS))];
        let program = Program::new(&[Step::Loop(None, body)]);
        (0..20).for_each(|_| _ = sim.add_task(&TaskSpec::new("t", program.clone()), 0));
        sim.run_until(2_000 * MS).expect("no violation");
        (sim.kernel.trace.hash(), sim.kernel.metrics.events)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn hotplug_without_callbacks_asks_for_a_restart() {
    let mut sim = sim("4c", quiet(), SharedQueue::vtime());
    (0..8).for_each(|_| _ = sim.add_task(&hog(100), 0));
    sim.add_source(Outside::Hotplug { cpu: 2, online: false }, 100 * MS);
    assert!(sim.run_until(1_000 * MS).expect("no violation"));
    let end = sim.ended().expect("an exit record");
    assert_eq!((end.kind, end.code), (crate::abi::SCX_EXIT_UNREG_KERN, (1 << 48) | (1 << 32)));
    // The next attachment goes on with the three CPUs left.
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    let before = sim.kernel.metrics.busy_ns;
    sim.run_until(1_100 * MS).expect("no violation");
    assert!(sim.kernel.metrics.busy_ns - before > 2_900 * MS);
    assert!(sim.kernel.tasks.live().all(|(_, task)| task.cpu != 2));
}
