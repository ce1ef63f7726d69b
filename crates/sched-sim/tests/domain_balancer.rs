// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer's shipped object and its own loop, in virtual time.

use sched_sim::domain_balancer::{self, Outcome};
use sim::Config;
use sim::bpf::Session;
use sim::report::{Made, Report};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::world::Outside;
use topology::Topology;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

struct Run {
    session: Session,
    outcome: Outcome,
    report: Report,
}

fn run(
    spec: &str,
    workload: &str,
    end_ns: u64,
    config: Config,
    sources: &[(Outside, u64)],
    words: &[&str],
) -> Run {
    let topology = Topology::from_spec(spec).expect("a good spec");
    let workload =
        Workload::source(workload, topology.online().len()).unwrap_or_else(|error| panic!("{error}"));
    let mut sim = Sim::new(&topology, config);
    workload.install(&mut sim);
    sources.iter().for_each(|(outside, at)| sim.add_source(outside.clone(), *at));
    let session = Session::new(sim, end_ns);
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let options = domain_balancer::options(&words).expect("good options");
    let outcome =
        domain_balancer::run(&session, &topology, &options).unwrap_or_else(|error| panic!("{error:#}"));
    let report = session.with(|sim| Report::new(&mut sim.kernel, Made::default()));
    Run { session, outcome, report }
}

fn runnable(run: &Run) -> Vec<u64> {
    run.outcome.metrics.domains.values().map(|domain| domain.runnable).collect()
}

#[test]
fn hogs_freed_from_one_domain_spread_over_all() {
    let run = run("2n2l2c1t", "one-domain:16", 9 * S, Config::default(), &[], &[]);
    assert!(run.outcome.exits.is_empty(), "{:?}", run.outcome.exits);
    assert_eq!(runnable(&run), [4, 4, 4, 4]);
    let metrics = &run.outcome.metrics;
    assert!(metrics.round >= 4 && metrics.rounds_failed == 0, "{metrics:?}");
    assert!(metrics.applied >= 12 && metrics.no_context == 0, "{metrics:?}");
    assert!(run.report.idle_beside_waiting_pct < 2.0, "{}", run.report.idle_beside_waiting_pct);
}

#[test]
fn without_balancing_and_stealing_they_stay() {
    let run = run(
        "2n2l2c1t",
        "one-domain:16",
        5 * S,
        Config::default(),
        &[],
        &["--no-load-balance", "--greedy-threshold", "0"],
    );
    assert_eq!(runnable(&run), [16, 0, 0, 0], "{:?}", run.outcome.metrics);
    assert!(
        run.report.idle_beside_waiting_pct > 90.0,
        "the figure sees it: {}",
        run.report.idle_beside_waiting_pct
    );
}

#[test]
fn weights_count_within_a_domain() {
    let run = run("4c", "weighted-hogs:16", 20 * S, Config::default(), &[], &[]);
    let fairness = &run.report.fairness;
    assert_eq!(fairness.tasks, 16);
    assert!(fairness.max_error < 0.05, "{fairness:?}");
    assert!(run.report.throughput_vs_bound > 0.98, "{}", run.report.throughput_vs_bound);
}

#[test]
fn sleepers_on_a_quiet_machine_run_at_once() {
    let run = run("2l4c", "sleepers:4", S, Config::default(), &[], &["--interval", "0.4"]);
    assert!(run.report.wake_latency_ns.p99 < 10_000, "{:?}", run.report.wake_latency_ns);
    let metrics = &run.outcome.metrics;
    assert!(metrics.direct_prev + metrics.direct_idle > 9 * metrics.enqueued, "{metrics:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed| {
        let config = Config { seed, ..Config::default() };
        run("2l2c2t", "mixed:40", 300 * MS, config, &[], &["--interval", "0.1"]).report.trace_hash
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}

#[test]
fn hotplug_restarts_in_place() {
    let hotplug = |online, at| (Outside::Hotplug { cpu: 3, online }, at);
    let sources = [hotplug(false, 700 * MS), hotplug(true, 1400 * MS)];
    let run = run("2l2c", "hogs:8+sleepers:8", 2 * S, Config::default(), &sources, &["--interval", "0.2"]);
    assert_eq!(run.outcome.exits.len(), 2);
    assert!(run.outcome.exits.iter().all(|exit| exit.should_restart()), "{:?}", run.outcome.exits);
    assert_eq!(run.outcome.metrics.restarts, 2);
    assert_eq!(run.outcome.metrics.domains[&1].cpus, "2-3");
    // Three CPUs for a third of the time.
    assert!(run.report.busy_pct > 85.0, "{}", run.report.busy_pct);
}

#[test]
fn storms_break_nothing() {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| u64::from(time.subsec_nanos()));
    eprintln!("seed {seed}");
    let config = Config { seed, check_every: 1, ..Config::default() };
    let hotplug = |online, at| (Outside::Hotplug { cpu: 1, online }, at);
    let storm =
        (Outside::WeightStorm { group: 0, every: sim::program::Dist::Const(MS), range: (1, 10_000) }, 0);
    let sources = [storm, hotplug(false, 60 * MS), hotplug(true, 120 * MS)];
    let options = ["--interval", "0.05", "--load-half-life", "0.05"];
    let run = run("2n2l2t", "affinity-storm+rt+fork-exec+ping-pong", 250 * MS, config, &sources, &options);
    assert_eq!(run.outcome.exits.len(), 2, "{:?}", run.outcome.exits);
    assert_eq!(run.outcome.metrics.no_context, 0);
    // Detached at the end: every object of the scheduler's tasks is gone.
    run.session.with(|sim| assert_eq!(sim.kernel.inconsistency(), None));
}

#[test]
fn bad_options_are_the_schedulers_own_errors() {
    let error =
        domain_balancer::options(&["--slice-us".to_owned(), "0".to_owned()]).expect_err("a slice of 0");
    assert!(error.to_string().contains("--slice-us"), "{error}");
}
