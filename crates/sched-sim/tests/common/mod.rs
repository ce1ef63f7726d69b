// SPDX-License-Identifier: GPL-2.0-only
//! What the tests share: domain-balancer on the simulator, and the small object that the model's own tests compile.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sched_sim::domain_balancer::{self, Outcome};
use sched_sim::{drive, schedulers};
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::report::{Made, Report};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::world::Outside;
use topology::Topology;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// The small scheduler that the model's own tests compile, with a macro set. Whoever asks for the file removes it.
pub fn tiny(define: &str) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../sim/tests/tiny/tiny.bpf.c");
    let object = std::env::temp_dir().join(format!("sched-sim-{}-{define}.o", std::process::id()));
    let clang = std::env::var("BPF_CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let arguments =
        ["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-std=gnu11", "-c", source, "-D", define, "-o"];
    let output = Command::new(clang).args(arguments).arg(&object).output();
    let output = output.expect("clang runs: the build needed it too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    object
}

/// A scheduler of the table with its default options plays a load to the end: the session, and how often it was restarted in place.
pub fn play(
    name: &str,
    topology: &Topology,
    workload: &Workload,
    config: Config,
    end_ns: u64,
) -> (Session, usize) {
    let mut sim: Sim<BpfScheduler> = Sim::new(topology, config);
    workload.install(&mut sim);
    let session = Session::new(sim, end_ns);
    let mut scheduler = schedulers::make(name, &[]).expect("a name of the table").expect("good options");
    let exits = drive::drive(&session, topology, scheduler.as_mut())
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert!(exits.iter().all(|exit| exit.should_restart()), "{name}: {exits:?}");
    (session, exits.len())
}

/// A run that is over.
pub struct Run {
    pub session: Session,
    pub outcome: Outcome,
    pub report: Report,
}

/// What to run.
pub struct Scene<'a> {
    pub topology: Topology,
    pub workload: Workload,
    pub end_ns: u64,
    pub config: Config,
    pub words: &'a [&'a str],
}

impl<'a> Scene<'a> {
    /// On a machine by its spec, or by a file of `tests/machines`.
    pub fn new(machine: &str, workload: &str, end_ns: u64) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(machine);
        let topology = if machine.ends_with(".toml") {
            Topology::from_file(&file)
        } else {
            Topology::from_spec(machine)
        };
        let topology = topology.unwrap_or_else(|error| panic!("{error}"));
        let workload = Workload::source(workload, &topology).unwrap_or_else(|error| panic!("{error}"));
        Self { topology, workload, end_ns, config: Config::default(), words: &[] }
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    pub fn options(mut self, words: &'a [&'a str]) -> Self {
        self.words = words;
        self
    }

    pub fn with(mut self, outside: Outside, at_ns: u64) -> Self {
        self.workload.sources.push((outside, at_ns));
        self
    }

    pub fn session(&self) -> Session {
        let mut sim: Sim<BpfScheduler> = Sim::new(&self.topology, self.config.clone());
        self.workload.install(&mut sim);
        Session::new(sim, self.end_ns)
    }

    pub fn run(&self) -> Run {
        let session = self.session();
        let words: Vec<String> = self.words.iter().map(|&word| word.to_owned()).collect();
        let options = domain_balancer::options(&words).expect("good options");
        let outcome = domain_balancer::run(&session, &self.topology, &options)
            .unwrap_or_else(|error| panic!("{error:#}"));
        let report = session.with(|sim| Report::new(&mut sim.kernel, Made::default()));
        Run { session, outcome, report }
    }
}

impl Run {
    /// Runnable tasks by domain, at the last report.
    pub fn runnable(&self) -> Vec<u64> {
        self.outcome.metrics.domains.values().map(|domain| domain.runnable).collect()
    }

    /// CPU time of each live task, by its number in the workload.
    pub fn cpu_times(&self) -> Vec<u64> {
        self.session.with(|sim| sim.kernel.tasks.live().map(|(_, task)| task.exec_ns).collect())
    }

    pub fn total_migrations(&self) -> u64 {
        let moved = &self.report.migrations;
        moved.core + moved.llc + moved.node + moved.remote
    }
}

/// (max - min) / mean.
pub fn spread(values: &[f64]) -> f64 {
    let (min, max) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    (max - min) / (values.iter().sum::<f64>() / values.len() as f64)
}
