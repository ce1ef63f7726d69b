// SPDX-License-Identifier: GPL-2.0-only
//! Figures that can be worked out by hand, and the forms they are told in.

use std::rc::Rc;

use topology::{CpuSet, Topology};

use crate::kernel::{Kernel, Traits};
use crate::machine::Distance;
use crate::native::SharedQueue;
use crate::ops::{Cost, Ops};
use crate::program::{Dist, Program, Step};
use crate::report::{Made, Report, fair_shares, page, perfetto};
use crate::sim::Sim;
use crate::task::{TaskIdx, TaskSpec};
use crate::workload::Workload;
use crate::world::Outside;
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

#[test]
fn shares_are_capped_at_one_cpu() {
    let equal = |weights: &[f64], cap: f64| weights.iter().map(|&weight| (weight, cap)).collect::<Vec<_>>();
    assert_eq!(fair_shares(&equal(&[100.0, 100.0, 200.0], 10.0), 4.0), [1.0, 1.0, 2.0]);
    // The heavy one cannot use more than its cap: the others share the rest.
    assert_eq!(fair_shares(&equal(&[100.0, 100.0, 10_000.0], 1.0), 2.0), [0.5, 0.5, 1.0]);
    // Caps of their own: of 10, the second is due 5 by its weight and has room for 1; 9 are left for 100 and 300.
    let groups = [(100.0, 10.0), (400.0, 1.0), (300.0, 10.0)];
    assert_eq!(fair_shares(&groups, 10.0), [2.25, 1.0, 6.75]);
    assert_eq!(fair_shares(&[], 1.0), Vec::<f64>::new());
}

fn run(workload: &str, spec: &str, costs: Costs) -> Sim<SharedQueue> {
    let config = Config { costs, timeline: 10_000, ..Config::default() };
    let topology = Topology::from_spec(spec).expect("good");
    let mut sim = Sim::new(&topology, config);
    Workload::source(workload, &topology).expect("good").install(&mut sim);
    sim.attach(SharedQueue::vtime()).expect("init succeeds");
    sim.run_until(2000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    sim
}

#[test]
fn a_full_machine_reaches_the_bound() {
    let mut sim = run("hogs:8", "4c", Costs::none());
    let report = Report::new(&mut sim.kernel, Made::default());
    assert!((report.throughput_vs_bound - 1.0).abs() < 1e-4, "{}", report.throughput_vs_bound);
    assert!((report.busy_pct - 100.0).abs() < 0.01);
    assert_eq!(report.fairness.tasks, 8);
    assert!(report.fairness.max_error < 0.03, "{:?}", report.fairness);
    assert_eq!(report.idle_beside_waiting_pct, 0.0);
}

#[test]
fn half_a_machine_is_measured_against_half_the_bound() {
    // Two tasks on four CPUs: the bound is two CPUs, and the placement on idle cores reaches it.
    let mut sim = run("hogs:2", "2c2t", Costs { smt_speed_1024: 512, ..Costs::none() });
    let report = Report::new(&mut sim.kernel, Made::default());
    assert!(report.throughput_vs_bound > 0.999, "{}", report.throughput_vs_bound);
    assert!((report.busy_pct - 50.0).abs() < 0.1);
}

#[test]
fn the_bound_is_made_of_the_cpus_that_tasks_can_have() {
    let hog = task("hog", &[Step::RunForever]);
    // Real-time work has one of two CPUs for half of the time, and tasks have the rest.
    let mut sim = exact("2c", &[hog.clone(), hog.clone()]);
    let (every, length) = (Dist::Const(100 * MS), Dist::Const(50 * MS));
    sim.add_source(Outside::RealTime { cpu: Some(0), every, length }, 10 * MS);
    let bound = report(&mut sim, 1000);
    assert!((bound.busy_pct - 75.0).abs() < 1e-6, "{}", bound.busy_pct);
    assert!((bound.throughput_vs_bound - 1.0).abs() < 1e-6, "{}", bound.throughput_vs_bound);
    // One of two CPUs goes at half time, which ends the scheduler; tasks go on without it.
    let mut sim = exact("2c", &[hog.clone(), hog.clone()]);
    sim.add_source(Outside::Hotplug { cpu: 1, online: false }, 500 * MS);
    while sim.run_until(1000 * MS).unwrap_or_else(|violation| panic!("{violation}")) {}
    let bound = Report::new(&mut sim.kernel, Made::default());
    assert_eq!(sim.kernel.metrics.work_ns, 1500 * MS);
    assert!((bound.throughput_vs_bound - 1.0).abs() < 1e-6, "{}", bound.throughput_vs_bound);
    // A task that may use one CPU only, beside an idle one: the bound leaves that aside.
    let pinned = TaskSpec { cpus: Some(Rc::new([0].into_iter().collect())), ..hog };
    let mut sim = exact("2c", &[pinned.clone(), pinned]);
    let share = report(&mut sim, 1000).throughput_vs_bound;
    assert!((share - 0.5).abs() < 1e-6, "{share}");
}

#[test]
fn the_longest_wait_is_named_even_if_it_goes_on() {
    let mut sim = run("hogs:1", "1c", Costs::none());
    let report = Report::new(&mut sim.kernel, Made::default());
    assert_eq!(report.longest_wait.wait_ns, 0, "alone on its CPU");
    let mut sim = run("hogs:3", "1c", Costs::none());
    // Two wait behind the third, 20 ms each.
    let report = Report::new(&mut sim.kernel, Made::default());
    let wait = report.longest_wait;
    assert!(
        wait.wait_ns.abs_diff(40 * MS) < MS && wait.name == "hog" && (1..=3).contains(&wait.pid),
        "{wait:?}"
    );
}

/// A machine on which nothing costs anything, with these tasks and the queue in order of arrival.
fn exact(spec: &str, tasks: &[TaskSpec]) -> Sim<SharedQueue> {
    let config = Config { costs: Costs::none(), ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("good"), config);
    tasks.iter().for_each(|task| _ = sim.add_task(task, 0));
    sim.attach(SharedQueue::fifo()).expect("init succeeds");
    sim
}

fn task(name: &str, steps: &[Step]) -> TaskSpec {
    TaskSpec::new(name, Program::new(steps))
}

fn report<O: Ops>(sim: &mut Sim<O>, ms: u64) -> Report {
    sim.run_until(ms * MS).unwrap_or_else(|violation| panic!("{violation}"));
    Report::new(&mut sim.kernel, Made::default())
}

#[test]
fn wake_up_latency_is_the_wait_behind_a_slice() {
    // It wakes at 10 ms behind a hog whose slice ends at 20 ms.
    let sleeper = task("sleeper", &[Step::Sleep(Dist::Const(10 * MS)), Step::Run(Dist::Const(MS))]);
    let mut sim = exact("1c", &[sleeper, task("hog", &[Step::RunForever])]);
    let latency = report(&mut sim, 100).wake_latency_ns;
    assert_eq!((latency.count, latency.max, latency.p50), (3, 10 * MS, 0));
}

#[test]
fn migrations_are_counted_by_distance() {
    let mut sim = exact("2n2l2c2t", &[]);
    let at = |distance: Distance| {
        let found = (0..16).find(|&cpu| sim.kernel.machine.distance(0, cpu) == distance);
        Rc::new([found.expect("there is one")].into_iter().collect())
    };
    let home: Rc<CpuSet> = at(Distance::Same);
    let away = [(Distance::Core, 1), (Distance::Llc, 2), (Distance::Node, 3), (Distance::Remote, 4)];
    let mut steps = vec![Step::SetAffinity(Rc::clone(&home)), Step::Run(Dist::Const(MS))];
    for (distance, times) in away {
        for _ in 0..times {
            steps.extend([Step::SetAffinity(at(distance)), Step::Run(Dist::Const(MS))]);
            steps.extend([Step::SetAffinity(Rc::clone(&home)), Step::Run(Dist::Const(MS))]);
        }
    }
    sim.add_task(&task("wanderer", &steps), 0);
    let moved = report(&mut sim, 100).migrations;
    assert_eq!([moved.core, moved.llc, moved.node, moved.remote], [2, 4, 6, 8], "there and back");
}

#[test]
fn shares_of_cgroups_and_errors_by_weight() {
    // In order of arrival the four hogs have equal shares, whatever their weights: 500 ms each of 2 s.
    let mut sim = exact("1c", &[]);
    let outer = sim.create_cgroup("/outer", 100).expect("made");
    let inner = sim.create_cgroup("/outer/inner", 300).expect("made");
    let hog = task("hog", &[Step::RunForever]);
    for (cgroup, weight) in [(outer, 100), (inner, 100), (inner, 100), (0, 300)] {
        sim.add_task(&TaskSpec { cgroup, weight, ..hog.clone() }, 0);
    }
    let report = report(&mut sim, 2000);
    let share = |name: &str| {
        let found = report.cgroups.iter().find(|cgroup| cgroup.name == name).expect("it is there");
        (found.share, found.tasks)
    };
    assert_eq!((share("/"), share("outer"), share("outer/inner")), ((1.0, 1), (0.75, 1), (0.5, 2)));
    // Due of 2 s: 3/4 to the task beside /outer; 1/4 to /outer, of that 1/4 to its task and 3/4 to /outer/inner, half of that to
    // each of the two there. The four got 1/3, 4 and twice 8/3 of it.
    let [light, heavy] = &report.fairness.by_weight[..] else { panic!("{:?}", report.fairness) };
    assert_eq!((light.weight, light.tasks, heavy.weight, heavy.tasks), (100, 3, 300, 1));
    assert!(near(light.received, 3.0) && near(light.mean_error, (3.0 + 2.0 * 5.0 / 3.0) / 3.0), "{light:?}");
    assert!(near(heavy.received, 1.0 / 3.0) && near(heavy.mean_error, 2.0 / 3.0), "{heavy:?}");
    let fairness = &report.fairness;
    assert!(near(fairness.max_error, 3.0) && near(fairness.mean_error, 1.75), "{fairness:?}");
    assert!(near(fairness.range.0, 1.0 / 3.0) && near(fairness.range.1, 4.0), "{fairness:?}");
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn what_others_had_is_taken_from_the_share_of_their_cgroup() {
    let mut sim = exact("1c", &[]);
    let (a, b) = (sim.create_cgroup("/a", 100).expect("made"), sim.create_cgroup("/b", 100).expect("made"));
    for cgroup in [a, b] {
        sim.add_task(&TaskSpec { cgroup, ..task("hog", &[Step::RunForever]) }, 0);
    }
    sim.run_until(2000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    let fairness = Report::new(&mut sim.kernel, Made::default()).fairness;
    assert!(near(fairness.max_error, 0.0), "1 s each: {fairness:?}");
    // As if another task of /a, gone by now, had had half a second besides: of 2.5 s half is due to each cgroup, and 0.75 s are
    // left of that for the hog of /a.
    sim.kernel.cgroups[a].own_usage_ns += 500 * MS;
    let fairness = Report::new(&mut sim.kernel, Made::default()).fairness;
    assert!(near(fairness.range.0, 1.0 / 1.25) && near(fairness.range.1, 1.0 / 0.75), "{fairness:?}");
}

#[test]
fn a_cgroup_gets_no_more_than_its_tasks_can_use() {
    // Three CPUs. /a is due nine tenths by weight, and its one task can have one CPU: the others share two.
    let mut sim = exact("3c", &[]);
    let a = sim.create_cgroup("/a", 900).expect("made");
    let hog = task("hog", &[Step::RunForever]);
    sim.add_task(&TaskSpec { cgroup: a, ..hog.clone() }, 0);
    (0..4).for_each(|_| _ = sim.add_task(&TaskSpec { weight: 25, ..hog.clone() }, 0));
    sim.run_until(2000 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    // In order of arrival each of the five has 1.2 s; due are 2 s to the first, and 1 s to each of the others.
    let fairness = Report::new(&mut sim.kernel, Made::default()).fairness;
    assert!((fairness.range.0 - 0.6).abs() < 0.03 && (fairness.range.1 - 1.2).abs() < 0.06, "{fairness:?}");
}

/// Keeps everybody waiting for the first 100 ms; a callback is 100 instructions.
#[derive(Default)]
struct Late {
    callbacks: u64,
}

impl Ops for Late {
    fn traits(&self) -> Traits {
        Traits { enqueue: true, dispatch: true, ..Traits::default() }
    }
    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(7)
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        self.callbacks += 1;
        // Not to the CPU that the kernel found idle.
        kernel.dsq_insert(task, 7, 20 * MS, flags);
    }
    fn dispatch(&mut self, kernel: &mut Kernel, _: usize, _: Option<TaskIdx>) {
        self.callbacks += 1;
        if kernel.now >= 100 * MS {
            kernel.dsq_move_to_local(7);
        }
    }
    fn select_cpu(&mut self, _: &mut Kernel, _: TaskIdx, prev: usize, _: u64) -> i32 {
        prev as i32
    }
    fn take_cost(&mut self) -> Cost {
        let callbacks = std::mem::take(&mut self.callbacks);
        Cost { callbacks, instructions: 100 * callbacks }
    }
}

#[test]
fn idle_beside_waiting_and_instructions() {
    let config = Config { costs: Costs::none(), ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec("1c").expect("good"), config);
    let short = task("short", &[Step::Run(Dist::Const(MS))]);
    // The second one comes at 100 ms and brings the CPU to look again; both run then.
    sim.add_task(&short, 0);
    sim.add_task(&short, 100 * MS);
    sim.attach(Late::default()).expect("init succeeds");
    let report = report(&mut sim, 1000);
    assert_eq!(report.idle_beside_waiting_pct, 10.0);
    // Two enqueues; dispatch at each of the two wake-ups, and when each of the two ends. Two wake-ups, and three switches: to
    // the first, to the second, to idle.
    assert_eq!((report.callbacks, report.wakeups, report.switches), (6, 2, 3));
    // The attachment; each of the two is made, wakes, is put on the queue and from there on a local one, and ends.
    assert_eq!(report.scheduling_events, 1 + 2 * 5 + 3);
    let instructions = (report.instructions_per_callback, report.instructions_per_scheduling_event);
    assert_eq!(instructions, (100.0, 600.0 / 14.0));
}

#[test]
fn every_form_tells_the_run() {
    let mut sim = run("requests+tenants:2", "4c", Costs::default());
    let made = Made { scheduler: "shared".to_owned(), workload: "</script>".to_owned(), ..Made::default() };
    let report = Report::new(&mut sim.kernel, made);
    let text = report.to_string();
    assert!(text.contains("requests response") && text.contains("tenant-1 "), "{text}");
    // A terminal of 80 by 24.
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["cgroups"].as_array().map(Vec::len), Some(3));
    for figure in [
        "throughput_vs_bound",
        "wake_latency_ns",
        "fairness",
        "idle_beside_waiting_pct",
        "migrations",
        "instructions_per_scheduling_event",
    ] {
        assert!(!json[figure].is_null(), "{figure}");
    }
    let mut written = Vec::new();
    perfetto(&sim.kernel, &mut written).expect("memory takes everything");
    let trace: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("a list");
    assert_eq!(events.len(), 4 + sim.kernel.trace.timeline.len());
    let page = page(&sim.kernel, &report, &[]);
    assert_eq!(page.matches("</script>").count(), 1, "data cannot end the script");
}
