// SPDX-License-Identifier: GPL-2.0-only
//! What the tests share: a machine with a load, and who ran where when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use sched_sim::active_push::{self, Outcome};
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::program::{Program, Step};
use sim::report::{Made, Report};
use sim::sim::Sim;
use sim::task::TaskSpec;
use sim::trace::Stretch;
use sim::workload::Workload;
use sim::world::Outside;
use topology::Topology;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// When hogs that are bound at first are set free: between two ticks.
pub const FREE_AT: u64 = 101 * MS;

/// Stretches kept: enough for the runs here.
const TIMELINE: usize = 1_000_000;

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
    pub fn new(machine: &str, end_ns: u64) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(machine);
        let topology = if machine.ends_with(".toml") {
            Topology::from_file(&file)
        } else {
            Topology::from_spec(machine)
        };
        let topology = topology.unwrap_or_else(|error| panic!("{error}"));
        let config = Config { timeline: TIMELINE, ..Config::default() };
        Self { topology, workload: Workload::default(), end_ns, config, words: &[] }
    }

    /// A load by the names of the built-in generators.
    pub fn load(mut self, names: &str) -> Self {
        self.workload = Workload::source(names, &self.topology).expect("good names");
        self
    }

    pub fn options(mut self, words: &'a [&'a str]) -> Self {
        self.words = words;
        self
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    pub fn with(mut self, outside: Outside, at_ns: u64) -> Self {
        self.workload.sources.push((outside, at_ns));
        self
    }

    /// One hog bound to each of these CPUs (named twice: two hogs), for good or until [`FREE_AT`]: a group of its own.
    pub fn hogs_on(mut self, cpus: &[usize], for_good: bool) -> Self {
        let group = self.workload.group("hogs");
        for &cpu in cpus {
            let own = Some(Rc::new([cpu].into_iter().collect()));
            let hog =
                TaskSpec { group, cpus: own, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
            self.workload.tasks.push((hog, 0));
        }
        if !for_good {
            self.workload.sources.push((Outside::SetGroupAffinity { group, cpus: None }, FREE_AT));
        }
        self
    }

    pub fn run(self) -> Run {
        let mut sim: Sim<BpfScheduler> = Sim::new(&self.topology, self.config.clone());
        self.workload.install(&mut sim);
        let session = Session::new(sim, self.end_ns);
        let words: Vec<String> = self.words.iter().map(|&word| word.to_owned()).collect();
        let options = active_push::options(&words).expect("good options");
        let outcome =
            active_push::run(&session, &self.topology, &options).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(outcome.exits.is_empty(), "{:?}", outcome.exits);
        assert_eq!(outcome.metrics.no_context, 0);
        let (report, timeline) = session.with(|sim| {
            let report = Report::new(&mut sim.kernel, Made::default());
            assert_eq!(sim.kernel.trace.timeline_dropped, 0, "the timeline is complete");
            (report, sim.kernel.trace.timeline.clone())
        });
        Run { outcome, report, timeline, end_ns: self.end_ns }
    }
}

/// A run that is over.
pub struct Run {
    pub outcome: Outcome,
    pub report: Report,
    pub timeline: Vec<Stretch>,
    end_ns: u64,
}

impl Run {
    /// Times a task ran on another CPU than before.
    pub fn moves(&self) -> u64 {
        let moved = &self.report.migrations;
        moved.core + moved.llc + moved.node + moved.remote
    }

    /// The CPUs of all tasks at a moment: where each runs or, while it waits, ran last.
    pub fn places(&self, at: u64) -> BTreeMap<i32, usize> {
        let mut last: BTreeMap<i32, &Stretch> = BTreeMap::new();
        for stretch in self.timeline.iter().filter(|stretch| stretch.pid > 0 && stretch.from <= at) {
            let known = last.entry(stretch.pid).or_insert(stretch);
            if known.from < stretch.from {
                *known = stretch;
            }
        }
        last.into_iter().map(|(pid, stretch)| (pid, stretch.cpu)).collect()
    }

    /// The same by group of the report.
    pub fn places_of(&self, group: usize, at: u64) -> Vec<usize> {
        let of_group: BTreeSet<i32> = self
            .timeline
            .iter()
            .filter(|stretch| stretch.group == group)
            .map(|stretch| stretch.pid)
            .collect();
        self.places(at).into_iter().filter(|(pid, _)| of_group.contains(pid)).map(|(_, cpu)| cpu).collect()
    }

    /// How long after [`FREE_AT`] it was until `settled` held for the places of all tasks and went on holding to the end, looked
    /// at every 0.5 ms.
    pub fn settled_after_ms(&self, settled: impl Fn(&[usize]) -> bool) -> f64 {
        self.settled_since_ms(FREE_AT, settled)
    }

    /// The same after another moment.
    pub fn settled_since_ms(&self, from: u64, settled: impl Fn(&[usize]) -> bool) -> f64 {
        let mut at = self.end_ns - MS;
        while at > from && settled(&self.places(at).into_values().collect::<Vec<_>>()) {
            at -= MS / 2;
        }
        (at - from) as f64 / MS as f64
    }

    /// Ticks are 4 ms apart.
    pub fn longest_wait_ms(&self) -> f64 {
        self.report.longest_wait.wait_ns as f64 / MS as f64
    }
}

/// How many of these CPUs are in each group of so many.
pub fn per_group(cpus: &[usize], size: usize) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    cpus.iter().for_each(|cpu| *counts.entry(cpu / size).or_default() += 1);
    counts
}
