// SPDX-License-Identifier: GPL-2.0-only
//! Figures that can be worked out by hand, and the forms they are told in.

use topology::Topology;

use crate::native::SharedQueue;
use crate::report::{Made, Report, fair_shares, page, perfetto};
use crate::sim::Sim;
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

#[test]
fn every_form_tells_the_run() {
    let mut sim = run("requests+tenants:2", "4c", Costs::default());
    let made = Made { scheduler: "shared".to_owned(), workload: "</script>".to_owned(), ..Made::default() };
    let report = Report::new(&mut sim.kernel, made);
    let text = report.to_string();
    assert!(text.contains("requests response") && text.contains("cgroup tenant-1"), "{text}");
    assert!(text.lines().count() < 30, "one screen");
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["cgroups"].as_array().map(Vec::len), Some(3));
    let trace = perfetto(&sim.kernel);
    let events = trace["traceEvents"].as_array().expect("a list");
    assert_eq!(events.len(), 4 + sim.kernel.trace.timeline.len());
    let page = page(&sim.kernel, &report, &[]);
    assert_eq!(page.matches("</script>").count(), 1, "data cannot end the script");
}
