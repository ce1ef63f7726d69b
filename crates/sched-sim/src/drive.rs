// SPDX-License-Identifier: GPL-2.0-only
//! What every scheduler on the simulator shares: attach, let its own loop run in virtual time, attach again after a restart
//! in place.
//!
//! A scheduler's own part is an implementation of [`Scheduler`] and a row in [`crate::schedulers`].

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use runtime::args::{CommonArgs, usage_line};
use runtime::daemon::Ending;
use runtime::exit::{ExitRecord, UsageError};
use runtime::host::{Host, World};
use runtime::setup::Setup;
use runtime::signals::Wake;
use sim::bpf::{BpfScheduler, Session, SimObject};
use sim::cgroup::CgroupView;
use sim::report::Chart;
use topology::Topology;

/// Figures are taken so often at most, by time and over a run.
const FIGURES_EVERY_NS: u64 = 50_000_000;
const FIGURES: u64 = 400;

/// What one attachment needs: the object that ships and what is set in it.
pub struct Attachment {
    /// The compiled BPF object.
    pub object: &'static [u8],
    /// What is set before it is loaded.
    pub setup: Setup,
}

/// A scheduler as the simulator drives it. It keeps what it learns, for the report.
pub trait Scheduler {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Makes ready for the machine as it is now (CPUs that are offline at the moment say so); called before each
    /// attachment.
    ///
    /// # Errors
    /// What the scheduler itself would say.
    fn prepare(&mut self, now: &Topology) -> Result<Attachment>;

    /// Its own loop over the object, in the time of `session`, until that ends or the kernel ends the scheduler.
    ///
    /// # Errors
    /// What ends the real program.
    fn run(&mut self, object: &mut SimObject, session: &Session) -> Result<Ending>;

    /// Told before it is attached again.
    fn restarts(&mut self) {}

    /// Its last statistics.
    ///
    /// # Errors
    /// When they have no form in JSON.
    fn statistics(&self) -> Result<serde_json::Value>;

    /// What it has to show over time.
    fn charts(&self) -> Vec<Chart> {
        Vec::new()
    }

    /// What its own options have it write to standard output, for the whole run: whole lines, or nothing.
    ///
    /// # Errors
    /// When something has no form in JSON.
    fn told(&self) -> Result<String> {
        Ok(String::new())
    }
}

/// A scheduler's options from the words of its command line, without the program's name.
///
/// # Errors
/// [`UsageError`], one line; the help or version that was asked for comes as a [`clap::Error`].
pub fn parse<O: Parser>(name: &str, words: &[String]) -> Result<O> {
    O::try_parse_from(std::iter::once(name).chain(words.iter().map(String::as_str))).map_err(|error| {
        if error.use_stderr() { UsageError(usage_line(&error)).into() } else { error.into() }
    })
}

/// Refuses options that only mean something on a kernel: those that all schedulers have, and `more` of one of them, by name and
/// whether it was given. What a scheduler takes without a word has to count.
///
/// # Errors
/// [`UsageError`] with the first of them.
pub fn refuse_without_effect(common: &CommonArgs, more: &[(&str, bool)]) -> Result<()> {
    let CommonArgs {
        stats,
        monitor,
        help_stats,
        stats_socket,
        metrics,
        partial,
        exit_dump_len: _,
        forced_stall: _,
        verbose,
    } = common;
    let all = [
        ("--stats", stats.is_some()),
        ("--monitor", monitor.is_some()),
        ("--help-stats", *help_stats),
        ("--stats-socket", stats_socket.is_some()),
        ("--metrics", metrics.is_some()),
        ("--partial", *partial),
        ("--verbose", *verbose > 0),
    ];
    match all.iter().chain(more).find(|(_, given)| *given) {
        Some((option, _)) => {
            Err(UsageError(format!("{option} has no effect in the simulator: leave it out")).into())
        }
        None => Ok(()),
    }
}

/// What a run of a scheduler with figures `M` left behind.
#[derive(Debug, Default)]
pub struct Outcome<M> {
    /// The last statistics.
    pub metrics: M,
    /// Virtual time and statistics after each round, and some hundred times in between.
    pub history: Vec<(u64, M)>,
    /// Ends by the kernel, restarts included.
    pub exits: Vec<ExitRecord>,
}

/// The model as the world of a scheduler's loop, which keeps the figures `M`; `E` is what the scheduler's own trait of its world
/// needs in addition.
pub struct SimHost<'a, M, E = ()> {
    session: Session,
    outcome: &'a mut Outcome<M>,
    /// The addition.
    pub more: E,
    /// Time and busy time at the last question.
    last: (u64, u64),
}

impl<'a, M, E> SimHost<'a, M, E> {
    /// Figures are added to those of former attachments.
    pub fn new(session: &Session, outcome: &'a mut Outcome<M>, more: E) -> Self {
        Self { last: (session.now_ns(), 0), session: session.clone(), outcome, more }
    }

    /// The cgroups with what the filesystem tells of them, parents first.
    pub fn cgroups(&self) -> Vec<CgroupView> {
        let mut views = self.session.with(|sim| sim.kernel.cgroup_views());
        views.sort_by(|a, b| (a.level, &a.path).cmp(&(b.level, &b.path)));
        views
    }
}

impl<M, E> World for SimHost<'_, M, E> {
    fn now_ns(&self) -> u64 {
        self.session.now_ns()
    }

    /// Lets virtual time pass; tells the loop to end when the run is over.
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

    /// Often enough for a chart, however long the scheduler's own interval and the run.
    fn wants_metrics(&self) -> bool {
        let last = self.outcome.history.last().map_or(0, |(at, _)| *at);
        self.now_ns() >= last + FIGURES_EVERY_NS.max(self.session.end_ns() / FIGURES)
    }
}

impl<M: Clone, E> Host<M> for SimHost<'_, M, E> {
    fn publish(&mut self, metrics: &M) {
        self.outcome.history.push((self.now_ns(), metrics.clone()));
        self.outcome.metrics = metrics.clone();
    }
}

/// Attaches the scheduler to the session's model and lets its loop run to the end, attaching again as often as the real
/// program would. Returns the ends by the kernel, restarts in place included.
///
/// # Errors
/// When the scheduler cannot be set up or loaded, its loop fails, or an invariant breaks.
pub fn drive(
    session: &Session,
    topology: &Topology,
    scheduler: &mut dyn Scheduler,
) -> Result<Vec<ExitRecord>> {
    let mut exits = Vec::new();
    loop {
        let Attachment { object, setup } = scheduler.prepare(&as_it_is_now(session, topology))?;
        let name = scheduler.name();
        let config = session.with(|sim| sim.kernel.config.clone());
        let loaded = BpfScheduler::load_on(object, &setup, topology.nr_cpu_ids(), &config)
            .with_context(|| format!("{name} does not load on the model"))?;
        session.with(|sim| sim.attach(loaded)).with_context(|| format!("{name} cannot be attached"))?;
        let ending = scheduler.run(&mut session.object(), session);
        // A broken invariant may be what made the loop fail: it is the one to tell.
        if let Some(violation) = session.violation() {
            bail!("{violation}");
        }
        match ending? {
            Ending::Shutdown => {
                // What breaks on the way out is told as what breaks before.
                session.with(sim::Sim::detach)?;
                return Ok(exits);
            }
            Ending::Kernel(record) => {
                let again = record.should_restart();
                exits.push(record);
                if !again {
                    return Ok(exits);
                }
                scheduler.restarts();
            }
        }
    }
}

fn as_it_is_now(session: &Session, topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    session
        .with(|sim| topology.cpus.iter_mut().for_each(|cpu| cpu.online = sim.kernel.online.contains(cpu.id)));
    topology
}
