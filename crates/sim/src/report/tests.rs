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
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

#[test]
fn shares_are_capped_at_one_cpu() {
    assert_eq!(fair_shares(&[100.0, 100.0, 200.0], 4.0, 10.0), [1.0, 1.0, 2.0]);
    // The heavy one cannot use more than its cap: the others share the rest.
    assert_eq!(fair_shares(&[100.0, 100.0, 10_000.0], 2.0, 1.0), [0.5, 0.5, 1.0]);
    assert_eq!(fair_shares(&[], 1.0, 1.0), Vec::<f64>::new());
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
    // Due are 2 s × 100 / 600 to each of the light ones and 2 s × 300 / 600 to the heavy one.
    let [light, heavy] = &report.fairness.by_weight[..] else { panic!("{:?}", report.fairness) };
    assert_eq!((light.weight, light.tasks, heavy.weight, heavy.tasks), (100, 3, 300, 1));
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(light.received, 1.5) && near(light.mean_error, 0.5), "{light:?}");
    assert!(near(heavy.received, 0.5) && near(heavy.mean_error, 0.5), "{heavy:?}");
    assert!(near(report.fairness.max_error, 0.5) && near(report.fairness.mean_error, 0.5));
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
    assert_eq!((report.instructions_per_callback, report.instructions_per_event), (100.0, 120.0));
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
        "instructions_per_event",
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
