// SPDX-License-Identifier: GPL-2.0-only
//! The loop, the command line and the policy, over a made-up BPF object and the policy's C code.

mod fake;
mod policy;

use std::time::Duration;

use clap::Parser;
use runtime::exit::ExitRecord;
use runtime::stats::Figures;
use topology::Topology;

use crate::dry_run;
use crate::kernel::abi;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{Ending, Totals, run};
use crate::stats::Metrics;
use fake::{FakeObject, ManualHost};

fn options(arguments: &[&str]) -> Options {
    Options::try_parse_from([&["active-push"], arguments].concat()).expect("valid arguments")
}

fn machine(spec: &str, arguments: &[&str]) -> Machine {
    Machine::new(Topology::from_spec(spec).expect("valid spec"), &options(arguments)).expect("valid levels")
}

fn figures(object: &mut FakeObject) -> Metrics {
    let mut host = ManualHost::new(Duration::from_secs(2));
    let ending = run(object, &machine("1n2l2c2t", &[]), &mut host, &mut Totals::default());
    assert!(matches!(ending.expect("the fake never fails"), Ending::Shutdown));
    host.published.pop().expect("figures are published")
}

/// Each counter of the BPF side shows in exactly one figure, and each figure of a counter shows one counter.
#[test]
fn every_counter_has_its_own_figure() {
    let none = serde_json_values(&figures(&mut FakeObject::new(8)));
    let mut seen = Vec::new();
    for counter in 0..abi::ap_counter_AP_NR_COUNTERS {
        let mut object = FakeObject::new(8);
        object.counters.insert(counter, 7);
        let some = serde_json_values(&figures(&mut object));
        let changed: Vec<&String> =
            some.iter().filter(|pair| !none.contains(pair)).map(|(name, _)| name).collect();
        assert_eq!(changed.len(), 1, "counter {counter} shows in {changed:?}");
        seen.push(changed[0].clone());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), abi::ap_counter_AP_NR_COUNTERS as usize);
}

/// Name and value of every number at the top.
fn serde_json_values(metrics: &Metrics) -> Vec<(String, String)> {
    let text = format!("{metrics:?}");
    let fields = text.trim_start_matches("Metrics { ").split(", ");
    fields
        .filter_map(|field| field.split_once(": "))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn level_counters_go_to_their_level_and_idle_type() {
    let mut object = FakeObject::new(8);
    // Level 1 (llc), newly idle, lb_gained.
    let index = (abi::ap_idle_AP_NR_IDLE_TYPES + abi::ap_idle_AP_NEWLY_IDLE) * abi::ap_lb_AP_NR_LB;
    object.level_counters.insert(index + abi::ap_lb_AP_LB_GAINED, 9);
    let metrics = figures(&mut object);
    let gained: Vec<_> = metrics.levels.iter().filter(|(_, level)| level.lb_gained > 0).collect();
    assert_eq!(gained.len(), 1);
    assert_eq!((gained[0].0.as_str(), gained[0].1.lb_gained), ("1 llc newly-idle", 9));
}

#[test]
fn latencies_are_quantiles_of_their_own_histogram() {
    let mut object = FakeObject::new(8);
    object.latencies.insert(3, 98);
    object.latencies.insert(10, 2);
    object.latencies.insert(abi::ap_limits_AP_LATENCY_BUCKETS + 5, 1);
    let metrics = figures(&mut object);
    assert_eq!((metrics.push_out_p50_us, metrics.push_out_p99_us), (8, 1024));
    assert_eq!((metrics.push_run_p50_us, metrics.push_run_p99_us), (32, 32));
    assert_eq!(metrics.push_run_us.into_iter().collect::<Vec<_>>(), [(5, 1)]);
}

#[test]
fn counters_grow_over_attachments() {
    let mut totals = Totals::default();
    for attachment in 1..=2 {
        let mut object = FakeObject::new(8);
        object.counters.insert(abi::ap_counter_AP_PUSH_ARRIVED, 5);
        let mut host = ManualHost::new(Duration::from_secs(1));
        run(&mut object, &machine("1n2l2c2t", &[]), &mut host, &mut totals).expect("the fake never fails");
        assert_eq!(host.published.last().expect("figures").push_arrived, 5 * attachment);
    }
}

#[test]
fn the_kernels_exit_ends_the_loop() {
    let mut object = FakeObject::new(8);
    object.exit = Some(ExitRecord { kind: 66, exit_code: 1 << 48, ..ExitRecord::default() });
    let mut host = ManualHost::new(Duration::from_secs(60));
    let ending = run(&mut object, &machine("1n2l2c2t", &[]), &mut host, &mut Totals::default());
    assert!(matches!(ending, Ok(Ending::Kernel(record)) if record.should_restart()));
}

#[test]
fn bad_options_are_refused() {
    for arguments in [
        ["--slice-us", "0"],
        ["--slice-us", "99999999"],
        ["--level", "socket:busy-factor=1"],
        ["--max-moves", "33"],
        ["--migration-cost-us", "soon"],
        ["--topology", "2n"],
    ] {
        let error =
            Options::try_parse_from([&["active-push"], &arguments[..]].concat()).expect_err("bad value");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
    assert!(Options::try_parse_from(["active-push", "--prompt", "--no-push"]).is_err());
}

#[test]
fn dry_run_shows_levels_and_every_setting() {
    let arguments = ["--level", "smt:push-failures=9", "--slice-us", "3000", "--prompt"];
    let text = dry_run::report(&machine("1n2l2c2t", &arguments), &options(&arguments));
    for line in [
        "smt: min-interval-ms=2,max-interval-ms=4,newidle-cost-max-us=700,newidle-decay-ms=1000,busy-factor=16,imbalance-pct=110,cache-nice-tries=0,push-failures=9",
        "cpus 0-1 capacity 2.00: 0 | 1",
        "cpus 0-3 capacity 4.00: 0-1 | 2-3",
        "cpus 0-7 capacity 8.00: 0-3 | 4-7",
        "--slice-us 3000",
        "--prompt true",
        "--no-push false",
    ] {
        assert!(text.contains(line), "'{line}' is missing in:\n{text}");
    }
}

#[test]
fn the_report_shows_levels_and_pushes() {
    let mut object = FakeObject::new(8);
    object.counters.insert(abi::ap_counter_AP_STALE_AFFINITY, 4);
    let mut text = Vec::new();
    figures(&mut object).write(&mut text).expect("writing to memory");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("2 node busy") || text.contains("1 llc busy"), "{text}");
    assert!(text.contains("stale 4") && text.contains("affinity 4"), "{text}");
}

#[test]
fn statistics_are_described() {
    let text = runtime::stats::describe(&Metrics::descriptions()).expect("consistent descriptions");
    assert!(text.contains("alb_pushed") && text.contains("rescued"), "{text}");
}

#[test]
fn the_statistics_are_metrics() {
    let figures = Metrics { push_arrived: 3, ..Default::default() };
    let text = runtime::openmetrics::text(crate::NAME, &Metrics::descriptions(), &figures).expect("metrics");
    for line in ["# TYPE active_push_nr_tasks gauge", "active_push_push_arrived_total 3"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
}
