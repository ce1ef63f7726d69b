// SPDX-License-Identifier: GPL-2.0-only
//! `sched-sim`: a scheduler on a machine that need not exist, in virtual time.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use runtime::exit::UsageError;
use runtime::setup::Setup;
use sched_sim::domain_balancer;
use sim::bpf::{BpfScheduler, Session};
use sim::native::SharedQueue;
use sim::report::{Made, Report, Series, page, perfetto};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::{Config, Ops};
use topology::Topology;

/// Stretches kept for pictures.
const TIMELINE: usize = 200_000;

/// The schedulers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scheduler {
    /// The shipped BPF object of domain-balancer and its own loop.
    DomainBalancer,
    /// One queue for the machine, by weighted vtime: a yardstick without BPF.
    SharedVtime,
    /// One queue for the machine, by arrival.
    SharedFifo,
}

/// Runs a scheduler on a simulated machine; needs no rights and no special kernel.
#[derive(Debug, Parser)]
#[command(
    name = "sched-sim",
    after_help = "Everything behind '--' goes to the scheduler as its own options.\n\
    Exit status: 0 the run is complete; 1 it is not (an invariant broke, a file cannot be written); 2 bad usage; 70 the modelled kernel ended the scheduler with an error."
)]
struct Arguments {
    /// Which scheduler
    #[arg(long, value_enum, default_value = "domain-balancer")]
    scheduler: Scheduler,

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
    #[arg(long, default_value = "10", value_parser = runtime::args::parse_seconds)]
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match simulate(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(runtime::exit::status_of(error.as_ref()))
        }
    }
}

fn simulate(arguments: &Arguments) -> Result<u8> {
    let topology = Topology::source(&arguments.topology)
        .map_err(|error| UsageError(format!("--topology {}: {error}", arguments.topology)))?;
    let workload = Workload::source(&arguments.workload, topology.online().len())
        .map_err(|error| UsageError(format!("--workload {}: {error}", arguments.workload)))?;
    let end_ns = u64::try_from(arguments.seconds.as_nanos()).unwrap_or(u64::MAX);
    let config = Config {
        seed: arguments.seed,
        check_every: arguments.check_every,
        timeline: if arguments.out.is_some() { TIMELINE } else { 0 },
        ..Config::default()
    };
    if let Some(path) = &arguments.object {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let scheduler = BpfScheduler::load(&bytes, &Setup::default(), topology.nr_cpu_ids())
            .with_context(|| format!("{} does not load on the model", path.display()))?;
        return alone(arguments, &topology, &workload, config, end_ns, scheduler);
    }
    match arguments.scheduler {
        Scheduler::DomainBalancer => with_domain_balancer(arguments, &topology, &workload, config, end_ns),
        Scheduler::SharedVtime => {
            alone(arguments, &topology, &workload, config, end_ns, SharedQueue::vtime())
        }
        Scheduler::SharedFifo => alone(arguments, &topology, &workload, config, end_ns, SharedQueue::fifo()),
    }
}

fn with_domain_balancer(
    arguments: &Arguments,
    topology: &Topology,
    workload: &Workload,
    config: Config,
    end_ns: u64,
) -> Result<u8> {
    let options = domain_balancer::options(&arguments.options)?;
    let mut sim = Sim::new(topology, config);
    workload.install(&mut sim);
    let session = Session::new(sim, end_ns);
    let begin = Instant::now();
    let outcome = domain_balancer::run(&session, topology, &options).with_context(|| replay(arguments))?;
    let wall_s = begin.elapsed().as_secs_f64();
    let series = load_series(&outcome);
    let scheduler = serde_json::to_value(&outcome.metrics)?;
    session.with(|sim| {
        let mut report = Report::new(&mut sim.kernel, made(arguments));
        report.scheduler = scheduler;
        report.exits = outcome.exits.iter().map(ToString::to_string).collect();
        deliver(arguments, sim, &report, &series, wall_s)
    })?;
    let statuses = outcome.exits.iter().map(runtime::exit::ExitRecord::exit_status);
    Ok(statuses.max().unwrap_or(runtime::exit::OK))
}

/// Load of every domain after every round.
fn load_series(outcome: &domain_balancer::Outcome) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for (at, metrics) in &outcome.history {
        for (&id, domain) in &metrics.domains {
            if id >= series.len() {
                series.resize_with(id + 1, || Series { name: String::new(), points: Vec::new() });
            }
            series[id].name = format!("domain {id} (CPUs {})", domain.cpus);
            series[id].points.push((*at, domain.load));
        }
    }
    series
}

fn alone<O: Ops>(
    arguments: &Arguments,
    topology: &Topology,
    workload: &Workload,
    config: Config,
    end_ns: u64,
    scheduler: O,
) -> Result<u8> {
    let mut sim = Sim::new(topology, config);
    workload.install(&mut sim);
    sim.attach(scheduler)?;
    let begin = Instant::now();
    while sim.run_until(end_ns).with_context(|| replay(arguments))? {}
    let wall_s = begin.elapsed().as_secs_f64();
    let mut report = Report::new(&mut sim.kernel, made(arguments));
    report.exits = sim.ended().map(|end| format!("{} ({})", end.reason, end.message)).into_iter().collect();
    deliver(arguments, &sim, &report, &[], wall_s)?;
    Ok(if report.exits.is_empty() { runtime::exit::OK } else { runtime::exit::KERNEL_ERROR })
}

fn deliver<O: Ops>(
    arguments: &Arguments,
    sim: &Sim<O>,
    report: &Report,
    series: &[Series],
    wall_s: f64,
) -> Result<()> {
    print!("{report}");
    let events = report.events as f64;
    println!("\n{wall_s:.2} s of wall time, {:.2} million events a second", events / wall_s.max(1e-9) / 1e6);
    let Some(folder) = &arguments.out else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write(folder, "report.json", &serde_json::to_string_pretty(report)?)?;
    write(folder, "trace.json", &perfetto(&sim.kernel).to_string())?;
    write(folder, "report.html", &page(&sim.kernel, report, series))?;
    println!("report.json, trace.json and report.html are in {}", folder.display());
    Ok(())
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
    if let Some(path) = &arguments.object {
        return path.display().to_string();
    }
    arguments.scheduler.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
