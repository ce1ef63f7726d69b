// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer on the simulator: its object, and its own loop in virtual time.

use anyhow::Result;
use balancer::Explanation;
use domain_balancer::cgroups::CgroupDir;
use domain_balancer::cost::ExplainForm;
use domain_balancer::kernel;
use domain_balancer::machine::Machine;
use domain_balancer::options::Options;
use domain_balancer::run::{self, Host, Totals};
use domain_balancer::stats::Metrics;
use runtime::daemon::Ending;
use sim::bpf::{Session, SimObject};
use sim::cgroup::CgroupView;
use sim::report::{Chart, Series};
use topology::Topology;

use crate::drive::{self, Attachment, Scheduler, SimHost};

/// What a run of the scheduler left behind.
pub type Outcome = drive::Outcome<Metrics>;

/// The scheduler with what it has learnt.
pub struct DomainBalancer {
    options: Options,
    machine: Option<Machine>,
    totals: Totals,
    /// What each round decided and why, if the options ask for it.
    explanations: Vec<Explanation>,
    outcome: Outcome,
}

impl DomainBalancer {
    /// Not attached yet.
    pub fn new(options: Options) -> Self {
        let (totals, outcome) = (Totals::default(), Outcome::default());
        Self { options, machine: None, totals, explanations: Vec::new(), outcome }
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

    fn run(&mut self, object: &mut SimObject, session: &Session) -> Result<Ending> {
        let machine = self.machine.as_ref().expect("prepare came first");
        let mut host = SimHost::new(session, &mut self.outcome, &mut self.explanations);
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
        for explanation in &self.explanations {
            match self.options.explain {
                Some(ExplainForm::Json) => text.push_str(&serde_json::to_string(explanation)?),
                _ => text.push_str(&explanation.to_string()),
            }
            text.push('\n');
        }
        Ok(text)
    }
}

/// The model, and where decisions are kept.
impl Host for SimHost<'_, Metrics, &mut Vec<Explanation>> {
    /// As a walk through the filesystem finds them: none where the cpu controller is on nowhere below the root.
    fn cgroups(&mut self) -> Vec<CgroupDir> {
        let views = SimHost::cgroups(self);
        let dir = |view: &CgroupView| CgroupDir {
            id: view.id,
            parent: view.parent(),
            weight: view.parent().filter(|_| view.controller).map(|_| view.weight),
        };
        let dirs: Vec<CgroupDir> = views.iter().map(dir).collect();
        if dirs.iter().any(|dir| dir.weight.is_some()) { dirs } else { Vec::new() }
    }

    fn explain(&mut self, explanation: &Explanation) {
        self.more.push(explanation.clone());
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
