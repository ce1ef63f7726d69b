// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer on the simulator: its object, and its own loop in virtual time.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use balancer::Explanation;
use clap::Parser;
use domain_balancer::kernel;
use domain_balancer::machine::Machine;
use domain_balancer::options::Options;
use domain_balancer::run::{self, Ending, Host, Totals};
use domain_balancer::stats::Metrics;
use runtime::exit::ExitRecord;
use runtime::signals::Wake;
use sim::bpf::{BpfScheduler, Session};
use topology::Topology;

/// What a run of the scheduler left behind.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The last statistics.
    pub metrics: Metrics,
    /// Virtual time and statistics after each balancing round.
    pub history: Vec<(u64, Metrics)>,
    /// What each round decided and why, if the options ask for it: virtual time and explanation.
    pub explanations: Vec<(u64, Explanation)>,
    /// Ends by the kernel, restarts included.
    pub exits: Vec<ExitRecord>,
}

/// Time and audience of the loop: the model's.
struct SimHost<'a> {
    session: &'a Session,
    outcome: &'a mut Outcome,
    /// Time and busy time at the last report.
    last: (u64, u64),
}

impl Host for SimHost<'_> {
    fn now_ns(&self) -> u64 {
        self.session.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.session.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        let (now, busy, cpus) = self.session.with(|sim| {
            let kernel = &sim.kernel;
            (kernel.now, kernel.metrics.busy_ns + kernel.metrics.rt_ns, kernel.online.len().max(1) as u64)
        });
        let (then, before) = std::mem::replace(&mut self.last, (now, busy));
        let time = (now - then) * cpus;
        if time == 0 { 0.0 } else { (busy - before) as f64 * 100.0 / time as f64 }
    }

    fn wants_metrics(&self) -> bool {
        false
    }

    fn explain(&mut self, explanation: &Explanation) {
        self.outcome.explanations.push((self.session.now_ns(), explanation.clone()));
    }

    fn publish(&mut self, metrics: &Metrics) {
        self.outcome.history.push((self.session.now_ns(), metrics.clone()));
        self.outcome.metrics = metrics.clone();
    }
}

/// Options from the words of a command line (without the program's name).
///
/// # Errors
/// What the scheduler itself would say about them.
pub fn options(words: &[String]) -> Result<Options> {
    let name = std::iter::once("domain-balancer".to_owned());
    let options = Options::try_parse_from(name.chain(words.iter().cloned()))?;
    options.check()?;
    Ok(options)
}

/// Attaches the scheduler to the session's model and lets its loop run to the end, attaching again as often as the loop of
/// the real program would.
///
/// # Errors
/// When the scheduler cannot be set up or loaded, or an invariant breaks.
pub fn run(session: &Session, topology: &Topology, options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut totals = Totals::default();
    loop {
        let machine = machine(session, topology, options)?;
        let setup = kernel::setup(&machine, options)?;
        let scheduler = BpfScheduler::load(kernel::object_bytes(), &setup, topology.nr_cpu_ids())
            .context("domain-balancer does not load on the model")?;
        session.with(|sim| sim.attach(scheduler)).context("domain-balancer cannot be attached")?;
        let mut object = session.object();
        let mut host = SimHost { session, outcome: &mut outcome, last: (session.now_ns(), 0) };
        let ending = run::run(&mut object, &machine, options, &mut host, &mut totals)?;
        if let Some(violation) = session.violation() {
            bail!("{violation}");
        }
        match ending {
            Ending::Shutdown => {
                session.with(sim::Sim::detach);
                return Ok(outcome);
            }
            Ending::Kernel(record) => {
                let again = record.should_restart();
                outcome.exits.push(record);
                if !again {
                    return Ok(outcome);
                }
                totals.restarts += 1;
            }
        }
    }
}

/// The machine as it is now: with the CPUs that are online at the moment.
fn machine(session: &Session, topology: &Topology, options: &Options) -> Result<Machine> {
    let mut topology = topology.clone();
    session
        .with(|sim| topology.cpus.iter_mut().for_each(|cpu| cpu.online = sim.kernel.online.contains(cpu.id)));
    let spec = options.domains.adapted(&topology);
    Machine::new(topology, &spec, options.max_cpus_per_domain)
}
