// SPDX-License-Identifier: GPL-2.0-only
//! `sched-sim`: a scheduler on a machine that need not exist, in virtual time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use runtime::exit::UsageError;
use runtime::setup::Setup;
use sched_sim::drive::{self, Scheduler};
use sched_sim::schedulers;
use sim::bpf::{BpfScheduler, Session};
use sim::native::SharedQueue;
use sim::report::{Made, Report, Series, page, perfetto};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::{Config, Ops};
use topology::Topology;

/// Stretches kept for pictures.
const TIMELINE: usize = 200_000;

/// One queue for the machine, by weighted vtime: a yardstick without BPF.
const SHARED_VTIME: &str = "shared-vtime";
/// One queue for the machine, by arrival.
const SHARED_FIFO: &str = "shared-fifo";

/// Runs a scheduler on a simulated machine; needs no rights and no special kernel.
#[derive(Debug, Parser)]
#[command(
    name = "sched-sim",
    after_help = "Everything behind '--' goes to the scheduler as its own options; 'sched-sim -- --help' lists them.\n\
    shared-vtime and shared-fifo are yardsticks without BPF: one queue for the whole machine.\n\
    Exit status: 0 the run is complete; 1 it is not (an invariant broke, a file cannot be written); 2 bad usage; 70 the modelled kernel ended the scheduler with an error."
)]
struct Arguments {
    /// Which scheduler
    #[arg(long, value_name = "NAME", default_value = domain_balancer::NAME, value_parser = PossibleValuesParser::new(scheduler_names()))]
    scheduler: String,

    /// Instead: any compiled sched_ext object, with the read-only data it was compiled with and without a userspace half
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scheduler", "options"])]
    object: Option<PathBuf>,

    /// The machine: a spec such as 2n4l8c2t, or a TOML or JSON file
    #[arg(long, value_name = "SPEC|FILE", default_value = "2n2l4c2t")]
    topology: String,

    /// Generators such as hogs:16+sleepers, or an rt-app .json file
    #[arg(long, value_name = "NAME|FILE", default_value = "mixed")]
    workload: String,

    /// Virtual seconds
    #[arg(long, default_value = "10", allow_negative_numbers = true, value_parser = runtime::args::parse_seconds)]
    seconds: std::time::Duration,

    /// Where randomness starts
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Folder for report.json, trace.json (Perfetto) and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Look at all tasks and queues after every so many events (1: after each; slow)
    #[arg(long, value_name = "EVENTS", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    check_every: u64,

    /// Options of the scheduler
    #[arg(last = true)]
    options: Vec<String>,
}

fn scheduler_names() -> Vec<&'static str> {
    schedulers::names().chain([SHARED_VTIME, SHARED_FIFO]).collect()
}

fn main() -> ExitCode {
    let arguments: Arguments = match runtime::program::options("sched-sim") {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    match simulate(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // The help that was asked for behind '--'.
            if let Some(help) = error.downcast_ref::<clap::Error>() {
                return if say(&help.to_string()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            eprintln!("sched-sim: {error:#}");
            ExitCode::from(runtime::exit::status_of(error.as_ref()))
        }
    }
}

/// A machine with its load, still without a scheduler.
struct Scene<'a> {
    arguments: &'a Arguments,
    topology: Topology,
    workload: Workload,
    end_ns: u64,
}

impl Scene<'_> {
    fn sim<O: Ops>(&self) -> Sim<O> {
        let config = Config {
            seed: self.arguments.seed,
            check_every: self.arguments.check_every,
            timeline: if self.arguments.out.is_some() { TIMELINE } else { 0 },
            ..Config::default()
        };
        let mut sim = Sim::new(&self.topology, config);
        self.workload.install(&mut sim);
        sim
    }
}

fn simulate(arguments: &Arguments) -> Result<u8> {
    let topology = Topology::source(&arguments.topology)
        .map_err(|error| UsageError(format!("--topology {}: {error}", arguments.topology)))?;
    let workload = Workload::source(&arguments.workload, &topology)
        .map_err(|error| UsageError(format!("--workload {}: {error}", arguments.workload)))?;
    let end_ns = u64::try_from(arguments.seconds.as_nanos()).unwrap_or(u64::MAX);
    let nr_cpu_ids = topology.nr_cpu_ids();
    let scene = Scene { arguments, topology, workload, end_ns };
    if let Some(path) = &arguments.object {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let scheduler = BpfScheduler::load(&bytes, &Setup::default(), nr_cpu_ids)
            .with_context(|| format!("{} does not load on the model", path.display()))?;
        return alone(&scene, scheduler);
    }
    if let Some(scheduler) = schedulers::make(&arguments.scheduler, &arguments.options) {
        return with_its_loop(&scene, scheduler?.as_mut());
    }
    if !arguments.options.is_empty() {
        let text = format!("{} takes no options behind '--'", arguments.scheduler);
        return Err(UsageError(text).into());
    }
    alone(&scene, if arguments.scheduler == SHARED_FIFO { SharedQueue::fifo() } else { SharedQueue::vtime() })
}

/// A scheduler of this project, with its userspace half.
fn with_its_loop(scene: &Scene<'_>, scheduler: &mut dyn Scheduler) -> Result<u8> {
    make_folder(scene.arguments)?;
    let session = Session::new(scene.sim(), scene.end_ns);
    let begin = Instant::now();
    let exits = drive::drive(&session, &scene.topology, scheduler)
        .with_context(|| format!("this run broke off; {}", replay(scene.arguments)))?;
    let wall_s = begin.elapsed().as_secs_f64();
    let statistics = scheduler.statistics()?;
    session.with(|sim| {
        let mut report = Report::new(&mut sim.kernel, made(scene.arguments));
        report.scheduler = statistics;
        report.exits = exits.iter().map(ToString::to_string).collect();
        deliver(scene.arguments, sim, &report, &scheduler.series(), wall_s)
    })?;
    let statuses = exits.iter().map(runtime::exit::ExitRecord::exit_status);
    Ok(statuses.max().unwrap_or(runtime::exit::OK))
}

/// A scheduler without a userspace half.
fn alone<O: Ops>(scene: &Scene<'_>, scheduler: O) -> Result<u8> {
    make_folder(scene.arguments)?;
    let mut sim = scene.sim();
    sim.attach(scheduler)?;
    let begin = Instant::now();
    while sim
        .run_until(scene.end_ns)
        .with_context(|| format!("this run broke off; {}", replay(scene.arguments)))?
    {}
    let wall_s = begin.elapsed().as_secs_f64();
    let mut report = Report::new(&mut sim.kernel, made(scene.arguments));
    report.exits = sim.ended().map(|end| format!("{} ({})", end.reason, end.message)).into_iter().collect();
    deliver(scene.arguments, &sim, &report, &[], wall_s)?;
    Ok(if report.exits.is_empty() { runtime::exit::OK } else { runtime::exit::KERNEL_ERROR })
}

/// Before the run: nobody waits for results that cannot be kept.
fn make_folder(arguments: &Arguments) -> Result<()> {
    let Some(folder) = &arguments.out else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("--out: cannot make the folder {}", folder.display()))
}

fn deliver<O: Ops>(
    arguments: &Arguments,
    sim: &Sim<O>,
    report: &Report,
    series: &[Series],
    wall_s: f64,
) -> Result<()> {
    let events = report.events as f64;
    let speed = events / wall_s.max(1e-9) / 1e6;
    say(&format!("{report}\n{wall_s:.2} s of wall time, {speed:.2} million events a second\n"))?;
    let Some(folder) = &arguments.out else { return Ok(()) };
    write(folder, "report.json", &serde_json::to_string_pretty(report)?)?;
    write(folder, "trace.json", &perfetto(&sim.kernel).to_string())?;
    write(folder, "report.html", &page(&sim.kernel, report, series))?;
    say(&format!("report.json, trace.json and report.html are in {}\n", folder.display()))
}

/// To standard output; a reader that has had enough, such as `head`, is no failure.
fn say(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn made(arguments: &Arguments) -> Made {
    Made {
        scheduler: scheduler_name(arguments),
        topology: arguments.topology.clone(),
        workload: arguments.workload.clone(),
        seed: arguments.seed,
        replay: replay(arguments),
    }
}

fn scheduler_name(arguments: &Arguments) -> String {
    match &arguments.object {
        Some(path) => path.display().to_string(),
        None => arguments.scheduler.clone(),
    }
}

/// The command that makes this run again.
fn replay(arguments: &Arguments) -> String {
    let mut command = format!(
        "replay: sched-sim {} {} --topology '{}' --workload '{}' --seconds {} --seed {} --check-every 1",
        if arguments.object.is_some() { "--object" } else { "--scheduler" },
        scheduler_name(arguments),
        arguments.topology,
        arguments.workload,
        arguments.seconds.as_secs_f64(),
        arguments.seed
    );
    if !arguments.options.is_empty() {
        command = format!("{command} -- {}", arguments.options.join(" "));
    }
    command
}
