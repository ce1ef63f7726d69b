// SPDX-License-Identifier: GPL-2.0-only
//! `sched-sim`: a scheduler on a machine that need not exist, in virtual time.

mod watch;

use std::cell::Cell;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use runtime::exit::{ExitRecord, UsageError};
use runtime::setup::Setup;
use sched_sim::drive::{self, Scheduler};
use sched_sim::schedulers;
use sim::bpf::{BpfScheduler, Engine, Session};
use sim::kernel::ExitInfo;
use sim::native::SharedQueue;
use sim::report::{Chart, Made, Report, page, perfetto};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::{Config, Ops};
use topology::Topology;

/// Virtual time of a run for which nobody names one.
const DEFAULT_NS: u64 = 10_000_000_000;
/// Environment variable: the command by which this program was started, if that is not its name. Commands to replay begin so.
const COMMAND: &str = "SCHED_SIM_COMMAND";
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
    Exit status: 0 the run is complete; 1 it is not (an invariant broke, an object does not load, a file cannot be written); 2 bad usage; \
    70 the modelled kernel ended the scheduler with an error; 130 interrupted (what there is until then is told and written)."
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

    /// Virtual seconds, at most the duration that an rt-app file has [default: that, or 10]
    #[arg(long, allow_negative_numbers = true, value_parser = runtime::args::parse_seconds)]
    seconds: Option<std::time::Duration>,

    /// Where randomness starts
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Folder for report.json, trace.json (Perfetto) and report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Look at all tasks and queues after every so many events (1: after each; slow)
    #[arg(long, value_name = "EVENTS", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    check_every: u64,

    /// Interpret BPF code instead of compiling what runs much: slower, the same run
    #[arg(long)]
    interpret: bool,

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
            eprintln!("sched-sim: {}", format!("{error:#}").trim_end());
            if let Some(BrokeOff(replay)) = error.downcast_ref::<BrokeOff>() {
                eprintln!("replay: {replay}");
            }
            ExitCode::from(runtime::exit::status_of(error.as_ref()))
        }
    }
}

/// A run that did not come to its end; with the command that makes it again.
#[derive(Debug, thiserror::Error)]
#[error("this run broke off")]
struct BrokeOff(String);

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
            engine: if self.arguments.interpret { Engine::Interpret } else { Engine::Auto },
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
    let end_ns = end_ns(arguments, &workload);
    let nr_cpu_ids = topology.nr_cpu_ids();
    let scene = Scene { arguments, topology, workload, end_ns };
    if let Some(path) = &arguments.object {
        let bytes = std::fs::read(path)
            .map_err(|error| UsageError(format!("--object: cannot read {}: {error}", path.display())))?;
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

/// When the run ends: a file's own duration is never exceeded.
fn end_ns(arguments: &Arguments, workload: &Workload) -> u64 {
    let wanted = arguments.seconds.map(|seconds| u64::try_from(seconds.as_nanos()).unwrap_or(u64::MAX));
    match (wanted, workload.duration_ns) {
        (Some(wanted), Some(own)) if own < wanted => {
            eprintln!("sched-sim: note: the workload lasts {} s by its own file", own as f64 / 1e9);
            own
        }
        (wanted, own) => wanted.or(own).unwrap_or(DEFAULT_NS),
    }
}

/// A scheduler of this project, with its userspace half.
fn with_its_loop(scene: &Scene<'_>, scheduler: &mut dyn Scheduler) -> Result<u8> {
    make_folder(scene.arguments)?;
    let session = Session::new(scene.sim(), scene.end_ns).watched(watch::look(scene.end_ns)?);
    let begin = Instant::now();
    let exits = drive::drive(&session, &scene.topology, scheduler).map_err(|error| {
        // What is wrong before time begins needs no replay.
        let began = session.now_ns() > 0 || session.violation().is_some();
        if began { error.context(BrokeOff(replay(scene))) } else { error }
    });
    watch::clear();
    let (exits, wall_s) = (exits?, begin.elapsed().as_secs_f64());
    let statistics = scheduler.statistics()?;
    say(&scheduler.told()?)?;
    session.with(|sim| {
        let mut report = Report::new(&mut sim.kernel, made(scene));
        report.scheduler = statistics;
        report.interrupted = session.stopped();
        report.exits = exits.iter().map(ToString::to_string).collect();
        deliver(scene.arguments, sim, &report, &scheduler.charts(), wall_s)
    })?;
    let statuses = exits.iter().map(ExitRecord::exit_status);
    let status = statuses.max().unwrap_or(runtime::exit::OK);
    Ok(if session.stopped() { interrupted(scene, session.now_ns()) } else { status })
}

/// A scheduler without a userspace half.
fn alone<O: Ops>(scene: &Scene<'_>, scheduler: O) -> Result<u8> {
    make_folder(scene.arguments)?;
    let mut sim = scene.sim();
    sim.attach(scheduler)?;
    let begin = Instant::now();
    let (look, stopped) = (watch::look(scene.end_ns)?, Cell::new(false));
    let watched = |now| {
        stopped.set(look(now));
        stopped.get()
    };
    // True: the scheduler ended; the tasks go on without it.
    let mut on = Ok(true);
    while matches!(on, Ok(true)) {
        on = sim.run_watched(scene.end_ns, watched);
    }
    watch::clear();
    on.with_context(|| BrokeOff(replay(scene)))?;
    let wall_s = begin.elapsed().as_secs_f64();
    let mut report = Report::new(&mut sim.kernel, made(scene));
    report.interrupted = stopped.get();
    let end = sim.ended().map(record);
    report.exits = end.iter().map(ToString::to_string).collect();
    // The figures are of the run; what breaks on the way out makes it a broken one all the same.
    sim.detach().with_context(|| BrokeOff(replay(scene)))?;
    deliver(scene.arguments, &sim, &report, &[], wall_s)?;
    if stopped.get() {
        return Ok(interrupted(scene, sim.kernel.now));
    }
    Ok(end.map_or(runtime::exit::OK, |end| end.exit_status()))
}

/// The end of a scheduler as a userspace half of it would read it.
fn record(end: &ExitInfo) -> ExitRecord {
    ExitRecord {
        kind: end.kind,
        exit_code: end.code,
        cpu: u32::try_from(end.cpu).ok(),
        reason: end.reason.clone(),
        message: end.message.clone(),
        dump: None,
    }
}

/// Says how far an interrupted run came; the status it ends with.
fn interrupted(scene: &Scene<'_>, now_ns: u64) -> u8 {
    let (now, end) = (now_ns as f64 / 1e9, scene.end_ns as f64 / 1e9);
    eprintln!("sched-sim: interrupted at {now:.3} s of {end} s virtual time; the figures are of that part");
    watch::INTERRUPTED
}

/// Before the run: nobody waits for results that cannot be kept.
fn make_folder(arguments: &Arguments) -> Result<()> {
    let Some(folder) = &arguments.out else { return Ok(()) };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("--out: cannot make the folder {}", folder.display()))?;
    let probe = folder.join(format!(".sched-sim-{}", std::process::id()));
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    written.with_context(|| format!("--out: cannot write into {}", folder.display()))
}

fn deliver<O: Ops>(
    arguments: &Arguments,
    sim: &Sim<O>,
    report: &Report,
    charts: &[Chart],
    wall_s: f64,
) -> Result<()> {
    let speed = report.scheduling_events as f64 / wall_s.max(1e-9) / 1e6;
    say(&format!("{report}\n{wall_s:.2} s of wall time, {speed:.2} million scheduling events a second\n"))?;
    let Some(folder) = &arguments.out else { return Ok(()) };
    write(folder, "report.json", &serde_json::to_string_pretty(report)?)?;
    let path = folder.join("trace.json");
    let file = std::fs::File::create(&path);
    file.and_then(|file| perfetto(&sim.kernel, BufWriter::new(file)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    write(folder, "report.html", &page(&sim.kernel, report, charts))?;
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

fn made(scene: &Scene<'_>) -> Made {
    let arguments = scene.arguments;
    Made {
        scheduler: scheduler_name(arguments),
        topology: arguments.topology.clone(),
        workload: arguments.workload.clone(),
        seed: arguments.seed,
        replay: replay(scene),
    }
}

fn scheduler_name(arguments: &Arguments) -> String {
    match &arguments.object {
        Some(path) => path.display().to_string(),
        None => arguments.scheduler.clone(),
    }
}

/// The command that makes this run again.
fn replay(scene: &Scene<'_>) -> String {
    let arguments = scene.arguments;
    let which = if arguments.object.is_some() { "--object" } else { "--scheduler" };
    let (name, seconds) = (scheduler_name(arguments), (scene.end_ns as f64 / 1e9).to_string());
    let seed = arguments.seed.to_string();
    let mut words = vec![which, &name, "--topology", &arguments.topology];
    words.extend(["--workload", &arguments.workload, "--seconds", &seconds, "--seed", &seed]);
    words.extend(["--check-every", "1"]);
    if arguments.interpret {
        words.push("--interpret");
    }
    if !arguments.options.is_empty() {
        words.push("--");
        words.extend(arguments.options.iter().map(String::as_str));
    }
    let words: Vec<String> = words.into_iter().map(for_a_shell).collect();
    let command = std::env::var(COMMAND).unwrap_or_else(|_| "sched-sim".to_owned());
    format!("{command} {}", words.join(" "))
}

/// A word as a shell takes it.
fn for_a_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
