// SPDX-License-Identifier: GPL-2.0-only
//! The init program: process 1 of the test machine, and the scenario processes it starts from the same file.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::reboot::{RebootMode, reboot};

use crate::context::Context;
use crate::evidence;
use crate::protocol::{DEMO, Mode, Plan, Record};
use crate::runner::Machine;
use crate::{demo, mounts, scenarios, sys};

/// Where the host puts its order.
const PLAN: &str = "/plan.json";

/// Where the records go; the console is the first port.
const PORT: &str = "/dev/ttyS1";

/// Room for attaching and detaching in the demonstration's deadline.
const DEMO_EXTRA_SECONDS: f64 = 400.0;

/// Entry point of every process of the guest.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if std::process::id() == 1 {
        run_as_init();
    }
    match arguments.as_slice() {
        ["scenario", name] => run_scenario(name),
        // What the fork and exec storm executes.
        ["exit"] => ExitCode::SUCCESS,
        _ => {
            eprintln!("error: this is the init program of the test machine; `cargo xtask vmtest` boots it");
            ExitCode::from(2)
        }
    }
}

fn run_as_init() -> ! {
    let problems = mounts::mount_all();
    if let Err(error) = run_plan(&problems) {
        eprintln!("guest: {error:#}");
    }
    nix::unistd::sync();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("guest: cannot power off: {error}");
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn run_plan(problems: &[String]) -> Result<()> {
    let mut machine = Machine::new(open_port()?);
    machine.send(&Record::Ready {
        kernel: kernel_release(),
        cpus: evidence::online().map_or(0, |cpus| cpus.len()),
        topology: evidence::describe_topology().unwrap_or_else(|error| format!("{error:#}")),
    });
    for line in problems.iter().cloned().chain(machine.kernel_trouble()) {
        machine.send(&Record::Step { scenario: "boot".into(), text: line });
    }
    // Without real-time priority process 1 still works, only its deadlines are less exact.
    if let Err(error) = sys::become_real_time() {
        eprintln!("guest: no real-time priority: {error}");
    }
    let plan = read_plan();
    match &plan {
        Ok(plan) if plan.mode == Mode::Run => {
            machine.run(DEMO, Duration::from_secs_f64(plan.seconds * 4.0 + DEMO_EXTRA_SECONDS));
        }
        Ok(plan) => {
            for name in &plan.scenarios {
                let deadline = scenarios::find(name).map_or(30, |info| info.timeout_seconds);
                machine.run(name, Duration::from_secs(deadline));
            }
        }
        Err(_) => {}
    }
    machine.send(&Record::Done);
    plan.map(|_| ())
}

fn open_port() -> Result<File> {
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open(PORT)
        .with_context(|| format!("cannot open {PORT}: the machine needs a second serial port"))?;
    sys::make_raw(&port).with_context(|| format!("cannot make {PORT} raw"))?;
    Ok(port)
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

fn read_plan() -> Result<Plan> {
    let text = fs::read_to_string(PLAN).with_context(|| format!("cannot read {PLAN}"))?;
    serde_json::from_str(&text).with_context(|| format!("{PLAN} is not a plan"))
}

/// The process of one scenario: everything it notes goes to process 1 as records.
fn run_scenario(name: &str) -> ExitCode {
    if let Err(error) = sys::become_real_time() {
        eprintln!("{name}: no real-time priority, so lateness cannot be told from starvation: {error}");
    }
    let plan = match read_plan() {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut context = Context::new(name, plan);
    let run = AssertUnwindSafe(|| dispatch(name, &mut context));
    let outcome = catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        bail!("the scenario panicked: {text}")
    });
    let reporter = Context::new(name, context.plan.clone());
    reporter.send(&context.finish(outcome));
    ExitCode::SUCCESS
}

fn dispatch(name: &str, context: &mut Context) -> Result<()> {
    if name == DEMO {
        let scheduler = &context.plan.scheduler;
        let run = demo::of(scheduler).with_context(|| format!("{scheduler} has no demonstration"))?;
        return run(context);
    }
    match scenarios::implementation(name) {
        Some(run) => run(context),
        None => bail!("unknown scenario {name}"),
    }
}
