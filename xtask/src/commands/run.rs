// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask run`: shows a scheduler at work on the kind of load it is for, beside the kernel's own scheduler.

pub mod view;

use super::{build, setup};
use crate::kernels::{Matrix, Role};
use crate::packages::FOR_ALL;
use crate::progress::{Step, on_terminal};
use crate::report;
use crate::vm::session::{Event, Limits, Session};
use crate::vm::topology::Spec;
use crate::vm::verdict::judge;
use crate::vm::{Boot, Host};
use crate::{paths, status};
use anyhow::Result;
use guest::protocol::{DEMO, Mode, Plan, Record, Verdict};
use guest::scenarios::demo_topology;
use std::path::Path;
use std::time::Duration;
use view::View;

/// Wall time that the two phases' preparations may take beside their length: attaching is slow in emulation.
const PREPARATION: Duration = Duration::from_secs(600);
/// What a boot usually takes in emulation: the length of its progress bar.
const USUAL_BOOT_SECONDS: u64 = 10;

/// Options of `run`.
#[derive(clap::Args)]
pub struct Args {
    /// Scheduler to show
    scheduler: String,
    /// Kernel: debian:SERIES, host or the path of an image [default: the newest of ci/kernels.toml]
    #[arg(long)]
    kernel: Option<String>,
    /// Machine, such as 2n2l2c1t: nodes, last-level caches per node, cores per cache, threads per core [default: the one that
    /// fits the scheduler]
    #[arg(long, value_name = "SPEC")]
    topology: Option<String>,
    /// Length of each of the two phases, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=3600))]
    seconds: u32,
    /// Options for the scheduler, after a `--`
    #[arg(last = true)]
    scheduler_args: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When an argument is wrong (status 2), or the VM or its kernel cannot be had (status 69).
pub fn main(args: &Args) -> Result<u8> {
    build::known(&args.scheduler)?;
    let topology = Spec::parse(args.topology.as_deref().unwrap_or(demo_topology(&args.scheduler)))?;
    let matrix = Matrix::read()?;
    let source = matrix.source(args.kernel.as_deref().unwrap_or(matrix.with_role(Role::Newest)))?;
    setup::ensure(FOR_ALL)?;
    let kernel = matrix.image(&source)?;
    let host = Host::new(&build::guest()?, &[build::program(&args.scheduler, false)?])?;
    let plan = Plan {
        scenarios: Vec::new(),
        scheduler: args.scheduler.clone(),
        scheduler_args: args.scheduler_args.clone(),
        seconds: f64::from(args.seconds),
        seed: 1,
        mode: Mode::Run,
    };
    let slowness = host.accel.slowness();
    let phases = Duration::from_secs(u64::from(args.seconds)) * 2 * slowness;
    let limits = Limits { ready: Duration::from_secs(90) * slowness, scenarios: vec![PREPARATION + phases] };
    let dir = report::new_run_dir()?;
    let boot = Boot { kernel: &kernel, topology, deterministic: None, plan: &plan, limits, dir: &dir };
    eprintln!("kernel {}, machine {topology}, {}", kernel.name, host.accel.name());
    let session = watch(&host, &boot)?;
    Ok(conclude(&args.scheduler, &session, &dir))
}

/// Boots, with a progress bar until the guest is ready and the live view from then on.
fn watch(host: &Host, boot: &Boot) -> Result<Session> {
    let mut step = Some(Step::new("booting", USUAL_BOOT_SECONDS));
    let begun = std::time::Instant::now();
    let mut view = View::new(on_terminal());
    host.boot(boot, &mut |event| match event {
        Event::Console(line) => {
            if let Some(step) = &step {
                step.at(begun.elapsed().as_secs().min(USUAL_BOOT_SECONDS - 1), line);
            }
        }
        Event::Record(Record::Ready { cpus, .. }) => {
            if let Some(step) = step.take() {
                step.done(&format!("{cpus} CPUs are up"));
            }
        }
        Event::Record(record) => eprint!("{}", view.update(record)),
        Event::Note(text) => eprintln!("note: {text}"),
    })
}

/// Prints the table and the verdict, and gives the exit status.
fn conclude(scheduler: &str, session: &Session, dir: &Path) -> u8 {
    if !session.table.is_empty() {
        println!("\n{}", view::table(scheduler, &session.table));
    }
    let judged = judge(&[DEMO.to_owned()], session).pop();
    let Some(result) = judged.map(|judged| judged.result) else { return status::FAILED };
    println!("{}: {}", scheduler, report::verdict(result.verdict));
    for reason in result.failures.iter().chain((!result.reason.is_empty()).then_some(&result.reason)) {
        println!("    {reason}");
    }
    let code = match result.verdict {
        Verdict::Pass => 0,
        Verdict::Inconclusive => status::INCONCLUSIVE,
        // A demonstration that was skipped has shown nothing.
        Verdict::Fail | Verdict::Skip => status::FAILED,
    };
    if code != 0 {
        println!("    logs: {}", paths::shown(dir));
    }
    code
}
