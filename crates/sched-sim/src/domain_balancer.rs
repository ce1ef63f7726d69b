// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer on the simulator: its object, and its own loop in virtual time.

use std::time::Duration;

use anyhow::Result;
use balancer::Explanation;
use domain_balancer::cost::ExplainForm;
use domain_balancer::kernel;
use domain_balancer::machine::Machine;
use domain_balancer::options::Options;
use domain_balancer::run::{self, Host, Totals};
use domain_balancer::stats::Metrics;
use runtime::daemon::Ending;
use runtime::exit::ExitRecord;
use runtime::signals::Wake;
use sim::bpf::{Session, SimObject};
use sim::report::{Chart, Series};
use topology::Topology;

use crate::drive::{self, Attachment, Scheduler, World};

/// What a run of the scheduler left behind.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The last statistics.
    pub metrics: Metrics,
    /// Virtual time and statistics after each balancing round, and some hundred times in between.
    pub history: Vec<(u64, Metrics)>,
    /// What each round decided and why, if the options ask for it: virtual time and explanation.
    pub explanations: Vec<(u64, Explanation)>,
    /// Ends by the kernel, restarts included.
    pub exits: Vec<ExitRecord>,
}

/// The scheduler with what it has learnt.
pub struct DomainBalancer {
    options: Options,
    machine: Option<Machine>,
    totals: Totals,
    outcome: Outcome,
}

impl DomainBalancer {
    /// Not attached yet.
    pub fn new(options: Options) -> Self {
        Self { options, machine: None, totals: Totals::default(), outcome: Outcome::default() }
    }
}

impl Scheduler for DomainBalancer {
    fn name(&self) -> &'static str {
        domain_balancer::NAME
    }

    fn prepare(&mut self, now: &Topology) -> Result<Attachment> {
        let spec = self.options.domains.adapted(now);
        let machine = Machine::new(now.clone(), &spec, self.options.max_cpus_per_domain)?;
        let setup = kernel::setup(&machine, &self.options)?;
        self.machine = Some(machine);
        Ok(Attachment { object: kernel::object_bytes(), setup })
    }

    fn run(&mut self, object: &mut SimObject, world: &mut World) -> Result<Ending> {
        let machine = self.machine.as_ref().expect("prepare came first");
        let mut host = SimHost { world, outcome: &mut self.outcome };
        Ok(run::run(object, machine, &self.options, &mut host, &mut self.totals)?)
    }

    fn restarts(&mut self) {
        self.totals.restarts += 1;
    }

    fn statistics(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(&self.outcome.metrics)?)
    }

    fn charts(&self) -> Vec<Chart> {
        let mut series: Vec<Series> = Vec::new();
        for (at, metrics) in &self.outcome.history {
            for (&id, domain) in &metrics.domains {
                if id >= series.len() {
                    series.resize_with(id + 1, || Series { name: String::new(), points: Vec::new() });
                }
                series[id].name = format!("domain {id} (CPUs {})", domain.cpus);
                series[id].points.push((*at, domain.load));
            }
        }
        let title = "Load by domain".to_owned();
        let about = "Running average; 1 is one task of weight 100 that always wants to run.".to_owned();
        vec![Chart { title, about, series }]
    }

    /// The decisions that `--explain` asks for, in the form that it names.
    fn told(&self) -> Result<String> {
        let mut text = String::new();
        for (_, explanation) in &self.outcome.explanations {
            match self.options.explain {
                Some(ExplainForm::Json) => text.push_str(&serde_json::to_string(explanation)?),
                _ => text.push_str(&explanation.to_string()),
            }
            text.push('\n');
        }
        Ok(text)
    }
}

/// Time and audience of the loop: the model's.
struct SimHost<'a> {
    world: &'a mut World,
    outcome: &'a mut Outcome,
}

impl Host for SimHost<'_> {
    fn now_ns(&self) -> u64 {
        self.world.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.world.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        self.world.cpu_busy_pct()
    }

    fn wants_metrics(&self) -> bool {
        self.world.wants_figures(&self.outcome.history)
    }

    fn explain(&mut self, explanation: &Explanation) {
        self.outcome.explanations.push((self.world.now_ns(), explanation.clone()));
    }

    fn publish(&mut self, metrics: &Metrics) {
        self.outcome.history.push((self.world.now_ns(), metrics.clone()));
        self.outcome.metrics = metrics.clone();
    }
}

/// Options from the words of a command line (without the program's name).
///
/// # Errors
/// As [`drive::parse`] and [`drive::refuse_without_effect`], and what the scheduler itself would say about them.
pub fn options(words: &[String]) -> Result<Options> {
    let options: Options = drive::parse(domain_balancer::NAME, words)?;
    let more = [("--dry-run", options.dry_run), ("--version", options.version)];
    drive::refuse_without_effect(&options.common, &more)?;
    options.check()?;
    Ok(options)
}

/// Attaches the scheduler to the session's model and lets its loop run to the end, attaching again as often as the loop of
/// the real program would.
///
/// # Errors
/// As [`drive::drive`].
pub fn run(session: &Session, topology: &Topology, options: &Options) -> Result<Outcome> {
    let mut scheduler = DomainBalancer::new(options.clone());
    let exits = drive::drive(session, topology, &mut scheduler)?;
    Ok(Outcome { exits, ..scheduler.outcome })
}
