// SPDX-License-Identifier: GPL-2.0-only
//! The loop, the planner and the command line, over a made-up BPF object.

mod fake;
mod shares;

use std::time::Duration;

use clap::Parser;
use runtime::exit::ExitRecord;
use runtime::stats::Figures;
use topology::Topology;

use crate::dry_run;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{Ending, Totals, run};
use fake::{FakeObject, FakeTask, ManualHost};

fn options(arguments: &[&str]) -> Options {
    Options::try_parse_from([&["domain-balancer"], arguments].concat()).expect("valid arguments")
}

fn machine(spec: &str, options: &Options) -> Machine {
    let topology = Topology::from_spec(spec).expect("valid spec");
    Machine::new(topology, &options.domains, options.max_cpus_per_domain).expect("valid domains")
}

/// Eight always-runnable tasks at home in domain 0 of four.
fn lopsided() -> FakeObject {
    let mut object = FakeObject::new(4);
    for pid in 100..124 {
        object.tasks.push(FakeTask { pid, generation: pid as u64 * 10, domain: 0, ..FakeTask::hog() });
    }
    object
}

fn run_for(object: &mut FakeObject, arguments: &[&str], seconds: u64) -> ManualHost {
    let mut host = ManualHost::new(Duration::from_secs(seconds));
    run_with(object, arguments, &mut host);
    host
}

fn run_with(object: &mut FakeObject, arguments: &[&str], host: &mut ManualHost) {
    let options = options(arguments);
    let machine = machine("2n2l2c1t", &options);
    let ending = run(object, &machine, &options, host, &mut Totals::default()).expect("the fake never fails");
    assert!(matches!(ending, Ending::Shutdown));
}

#[test]
fn rounds_even_out_a_lopsided_load() {
    let mut object = lopsided();
    let host = run_for(&mut object, &["--interval", "1"], 12);
    assert_eq!(object.tasks_per_domain(), [6, 6, 6, 6]);
    let last = host.published.last().expect("figures are published");
    assert!(last.applied >= 18, "{} moves cannot have evened out 24 tasks", last.applied);
    assert_eq!(last.planned, last.applied + last.expired + last.refused);
    assert_eq!(last.rounds_failed, 0);
    assert!(last.spread() < 0.01, "spread {}", last.spread());
}

#[test]
fn no_load_balance_moves_nothing() {
    let mut object = lopsided();
    let host = run_for(&mut object, &["--interval", "1", "--no-load-balance"], 12);
    assert_eq!(object.tasks_per_domain(), [24, 0, 0, 0]);
    let last = host.published.last().expect("figures are published");
    assert_eq!((last.round, last.planned), (11, 0));
}

#[test]
fn interval_sets_the_number_of_rounds() {
    let rounds = |interval: &str| {
        let host = run_for(&mut FakeObject::new(4), &["--interval", interval], 9);
        host.published.last().map_or(0, |metrics| metrics.round)
    };
    assert_eq!((rounds("1"), rounds("2"), rounds("0.5")), (8, 4, 17));
}

#[test]
fn a_plan_expires_with_its_round() {
    let mut object = lopsided();
    run_for(&mut object, &["--interval", "2"], 3);
    assert!(!object.plans.is_empty());
    for plan in &object.plans {
        assert_eq!(plan.expires_ns - plan.asked_at_ns, 2_000_000_000);
    }
}

#[test]
fn pinned_and_kernel_threads_stay() {
    let mut object = FakeObject::new(4);
    for pid in 1..13 {
        object.tasks.push(FakeTask { pid, pinned: pid % 2 == 0, kthread: pid % 2 == 1, ..FakeTask::hog() });
    }
    run_for(&mut object, &["--interval", "1"], 6);
    assert_eq!(object.tasks_per_domain(), [12, 0, 0, 0]);
    assert!(object.plans.is_empty());
}

#[test]
fn tasks_go_only_where_their_affinity_leaves_them_a_cpu() {
    let mut object = lopsided();
    for task in &mut object.tasks {
        task.allowed = Some(0b0011);
    }
    run_for(&mut object, &["--interval", "1"], 12);
    let per_domain = object.tasks_per_domain();
    assert_eq!(per_domain[2..], [0, 0]);
    assert!(per_domain[1] > 6, "{per_domain:?}");
}

#[test]
fn a_stale_plan_is_counted_and_changes_nothing() {
    let mut object = lopsided();
    object.generations_change = true;
    let host = run_for(&mut object, &["--interval", "1"], 4);
    assert_eq!(object.tasks_per_domain(), [24, 0, 0, 0]);
    let last = host.published.last().expect("figures are published");
    assert!(last.planned > 0 && last.refused == last.planned);
}

#[test]
fn a_failing_round_is_counted_and_does_not_end_the_loop() {
    let mut object = lopsided();
    object.fail_task_snapshots = true;
    let host = run_for(&mut object, &["--interval", "1"], 5);
    let last = host.published.last().expect("figures are published");
    assert_eq!((last.round, last.rounds_failed), (4, 4));
}

#[test]
fn nonsense_from_the_kernel_side_does_not_end_the_loop() {
    let mut object = lopsided();
    object.tasks[0].domain = 77;
    let host = run_for(&mut object, &["--interval", "1"], 5);
    assert!(!host.published.is_empty());
}

#[test]
fn the_kernels_exit_ends_the_loop_and_keeps_the_counters() {
    let mut object = lopsided();
    object.exit_after_ns = Some(5_500_000_000);
    object.exit = Some(ExitRecord { kind: 66, exit_code: 1 << 48, ..ExitRecord::default() });
    let options = options(&["--interval", "1"]);
    let machine = machine("2n2l2c1t", &options);
    let mut host = ManualHost::new(Duration::from_secs(60));
    let mut totals = Totals::default();
    let ending = run(&mut object, &machine, &options, &mut host, &mut totals).expect("the fake never fails");
    assert!(matches!(ending, Ending::Kernel(record) if record.should_restart()));
    assert_eq!(totals.rounds, 5);
    assert_eq!(totals.counters.applied, object.applied);
    assert!(object.applied > 0);
}

#[test]
fn a_second_attachment_counts_on() {
    let options = options(&["--interval", "1"]);
    let machine = machine("2n2l2c1t", &options);
    let mut totals = Totals::default();
    for _ in 0..2 {
        let mut host = ManualHost::new(Duration::from_secs(4));
        run(&mut lopsided(), &machine, &options, &mut host, &mut totals).expect("the fake never fails");
        let last = host.published.last().expect("figures are published");
        assert!(last.round == totals.rounds && last.applied == totals.counters.applied);
    }
    assert_eq!(totals.rounds, 6);
}

#[test]
fn bad_options_are_told_in_one_line() {
    for (arguments, words) in [
        (vec!["--domains", "0-1;1-3"], "CPU 1"),
        (vec!["--domains", "0-1"], "CPU 2"),
        (vec!["--domains", "0-3;4-9"], "CPU 8"),
    ] {
        let options = options(&arguments);
        let topology = Topology::from_spec("2n2l2c1t").expect("valid spec");
        let error = Machine::new(topology, &options.domains, 16).expect_err("bad masks");
        let line = runtime::exit::one_line(error.as_ref());
        assert!(line.contains(words) && !line.contains('\n'), "{line}");
        assert_eq!(runtime::exit::status_of(error.as_ref()), runtime::exit::USAGE);
    }
    let longer = options(&["--slice-us", "100", "--slice-min-us", "200"]);
    assert!(longer.check().is_err());
    for arguments in [
        ["--interval", "0"],
        ["--interval", "-1"],
        ["--load-half-life", "nan"],
        ["--slice-us", "0"],
        ["--slice-us", "99999999"],
        ["--domains", "socket"],
        ["--greedy-threshold", "many"],
        ["--topology", "2n"],
    ] {
        let error =
            Options::try_parse_from([&["domain-balancer"], &arguments[..]].concat()).expect_err("bad value");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}

#[test]
fn dry_run_shows_every_setting() {
    let arguments =
        ["--domains", "node", "--interval", "3", "--greedy-threshold", "4", "--fifo", "--no-cgroups"];
    let options = options(&arguments);
    let text = dry_run::report(&machine("2n2l2c1t", &options), &options);
    for line in [
        "0: node 0 cpus 0-3 capacity 4.00",
        "--domains node",
        "--interval 3",
        "--greedy-threshold 4",
        "--fifo true",
        "--no-cgroups true",
    ] {
        assert!(text.contains(line), "'{line}' is missing in:\n{text}");
    }
}

#[test]
fn the_report_shows_every_domain_and_its_moves() {
    let mut object = lopsided();
    let host = run_for(&mut object, &["--interval", "1"], 12);
    let mut text = Vec::new();
    host.published.last().expect("figures are published").write(&mut text).expect("writing to memory");
    let text = String::from_utf8(text).expect("text");
    for domain in 0..4 {
        assert!(text.contains(&format!("domain   {domain}")), "{text}");
    }
}

#[test]
fn statistics_are_described() {
    let text =
        runtime::stats::describe(&crate::stats::Metrics::descriptions()).expect("consistent descriptions");
    assert!(text.contains("applied") && text.contains("moved_in"), "{text}");
}

#[test]
fn explain_tells_every_planned_move_with_its_cost() {
    let mut object = lopsided();
    let host = run_for(&mut object, &["--interval", "1", "--explain", "json"], 6);
    let moves: usize = host.explained.iter().map(|round| round.moves.len()).sum();
    assert_eq!(moves as u64, host.published.last().expect("figures are published").planned);
    assert!(moves > 0);
    let json = serde_json::to_string(&host.explained[0]).expect("finite figures");
    assert!(json.contains("\"level_name\"") && json.contains("reluctance"), "{json}");
    assert!(host.explained[0].moves.iter().all(|entry| entry.name == "hog"), "{json}");
    assert!(run_for(&mut lopsided(), &["--interval", "1"], 6).explained.is_empty());
}

#[test]
fn cost_terms_are_added_dropped_and_scaled() {
    let names = |text: &str| options(&["--cost", text]).cost.model().names().collect::<Vec<_>>();
    let defaults = names("default");
    assert!(defaults.contains(&"reluctance") && !defaults.contains(&"isolation"));
    assert_eq!(names("none"), Vec::<&str>::new());
    assert_eq!(names("none,isolation"), ["isolation"]);
    assert!(names("isolation").contains(&"isolation"));
    assert_eq!(names("-cache-warmth").len() + 1, defaults.len());
    for bad in ["tax", "-tax", "reluctance=-1", "reluctance=nan", "reluctance=", ""] {
        let error = Options::try_parse_from(["domain-balancer", "--cost", bad]).expect_err("bad terms");
        assert_eq!(error.exit_code(), 2, "{bad}");
    }
}

#[test]
fn a_prohibitive_cost_stops_every_move() {
    let mut object = lopsided();
    run_for(&mut object, &["--interval", "1", "--cost", "none,reluctance=10"], 6);
    assert_eq!(object.tasks_per_domain(), [24, 0, 0, 0]);
}

#[test]
fn cgroups_have_their_load_in_the_statistics() {
    let mut object = lopsided();
    let host = run_for(&mut object, &["--interval", "1"], 4);
    let cgroups = &host.published.last().expect("figures are published").cgroups;
    assert_eq!(cgroups.keys().copied().collect::<Vec<_>>(), [7, 8]);
    assert!(cgroups.values().all(|cgroup| (cgroup.load - 12.0).abs() < 0.1), "{cgroups:?}");
}

#[test]
fn the_statistics_are_metrics() {
    let figures = crate::stats::Metrics { applied: 3, ..Default::default() };
    let text = runtime::openmetrics::text(crate::NAME, &crate::stats::Metrics::descriptions(), &figures)
        .expect("metrics");
    for line in ["# TYPE domain_balancer_nr_tasks gauge", "domain_balancer_applied_total 3"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
}
