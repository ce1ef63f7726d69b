// SPDX-License-Identifier: GPL-2.0-only
//! active-push on the simulator: its object, and its own loop in virtual time.

use std::collections::BTreeMap;

use ::active_push::kernel;
use ::active_push::machine::Machine;
use ::active_push::options::Options;
use ::active_push::run::{self, Totals};
use ::active_push::stats::Metrics;
use anyhow::Result;
use runtime::daemon::Ending;
use sim::bpf::{Session, SimObject};
use sim::report::{Chart, Series};
use topology::Topology;

use crate::drive::{self, Attachment, Scheduler, SimHost};

/// What a run of the scheduler left behind.
pub type Outcome = drive::Outcome<Metrics>;

/// The scheduler with what it has learnt.
pub struct ActivePush {
    options: Options,
    machine: Option<Machine>,
    totals: Totals,
    outcome: Outcome,
}

impl ActivePush {
    /// Not attached yet.
    pub fn new(options: Options) -> Self {
        Self { options, machine: None, totals: Totals::default(), outcome: Outcome::default() }
    }
}

impl Scheduler for ActivePush {
    fn name(&self) -> &'static str {
        ::active_push::NAME
    }

    fn prepare(&mut self, now: &Topology) -> Result<Attachment> {
        let machine = Machine::new(now.clone(), &self.options)?;
        let setup = kernel::setup(&machine, &self.options)?;
        self.machine = Some(machine);
        Ok(Attachment { object: kernel::object_bytes(), setup })
    }

    fn run(&mut self, object: &mut SimObject, session: &Session) -> Result<Ending> {
        let machine = self.machine.as_ref().expect("prepare came first");
        let mut host = SimHost::new(session, &mut self.outcome, ());
        Ok(run::run(object, machine, &mut host, &mut self.totals)?)
    }

    fn restarts(&mut self) {
        self.totals.restarts += 1;
    }

    fn statistics(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(&self.outcome.metrics)?)
    }

    fn charts(&self) -> Vec<Chart> {
        let Some(machine) = &self.machine else { return Vec::new() };
        let llc_of = |cpu: usize| machine.topology.cpu(cpu).map_or(0, |cpu| cpu.llc);
        let mut lines: BTreeMap<usize, Vec<(u64, f64)>> = BTreeMap::new();
        for (at, metrics) in &self.outcome.history {
            let mut tasks: BTreeMap<usize, u64> = BTreeMap::new();
            for (&cpu, state) in &metrics.cpus {
                *tasks.entry(llc_of(cpu)).or_default() += state.running;
            }
            for (llc, tasks) in tasks {
                lines.entry(llc).or_default().push((*at, tasks as f64));
            }
        }
        let name = |llc: usize| format!("cache {llc} (CPUs {})", machine.topology.llcs[llc].cpus);
        let series = lines.into_iter().map(|(llc, points)| Series { name: name(llc), points }).collect();
        let title = "Tasks by cache domain".to_owned();
        vec![Chart {
            title,
            about: "Tasks that run on the CPUs of each last-level cache or wait for one of them.".to_owned(),
            series,
        }]
    }
}

/// Options from the words of a command line (without the program's name).
///
/// # Errors
/// As [`drive::parse`] and [`drive::refuse_without_effect`].
pub fn options(words: &[String]) -> Result<Options> {
    let options: Options = drive::parse(::active_push::NAME, words)?;
    let more = [("--dry-run", options.dry_run), ("--version", options.version)];
    drive::refuse_without_effect(&options.common, &more)?;
    Ok(options)
}

/// Attaches the scheduler to the session's model and lets its loop run to the end, attaching again as often as the loop of
/// the real program would.
///
/// # Errors
/// As [`drive::drive`].
pub fn run(session: &Session, topology: &Topology, options: &Options) -> Result<Outcome> {
    let mut scheduler = ActivePush::new(options.clone());
    let exits = drive::drive(session, topology, &mut scheduler)?;
    Ok(Outcome { exits, ..scheduler.outcome })
}
