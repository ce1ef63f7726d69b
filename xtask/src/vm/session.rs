// SPDX-License-Identifier: GPL-2.0-only
//! One run of QEMU from start to end, and what it gave.

use super::Boot;
use super::args::Machine;
use super::console::Finding;
use super::monitor::Monitor;
use crate::process;
use anyhow::{Context, Result};
use guest::protocol::{Figure, Record, TableRow, Verdict};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a panicking kernel gets to say the rest and what a finished guest gets to power off.
const GRACE: Duration = Duration::from_secs(60);

/// How long a boot may take, in wall time.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the start to the guest's first record.
    pub ready: Duration,
    /// For each scenario of the plan, in the plan's order: from the end of the one before to its result.
    pub scenarios: Vec<Duration>,
}

impl Limits {
    /// The limit for the scenario that runs after `results` results; the last limit also bounds what follows it.
    pub fn after(&self, results: usize) -> Duration {
        self.scenarios.get(results).or(self.scenarios.last()).copied().unwrap_or(self.ready)
    }
}

/// What happens while a machine runs.
pub enum Event<'a> {
    /// A record of the guest.
    Record(&'a Record),
    /// A line of the console, before the guest is ready.
    Console(&'a str),
    /// Something that the user should know.
    Note(&'a str),
}

/// What the guest said about one scenario.
#[derive(Clone, Debug)]
pub struct ScenarioResult {
    /// Its name.
    pub scenario: String,
    /// The guest's verdict.
    pub verdict: Verdict,
    /// Measured values.
    pub figures: BTreeMap<String, Figure>,
    /// One line per requirement that did not hold.
    pub failures: Vec<String>,
    /// Why inconclusive or skipped.
    pub reason: String,
}

/// How a machine came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest said that nothing follows.
    Done,
    /// QEMU ended by itself before that.
    Exited(String),
    /// The kernel died.
    Panic(String),
    /// No result came within its limit.
    Late(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("the guest was done"),
            Self::Exited(status) => write!(f, "QEMU ended ({status})"),
            Self::Panic(line) => write!(f, "the kernel died: {line}"),
            Self::Late(limit) => write!(f, "nothing came for {} s", limit.as_secs()),
        }
    }
}

/// What one boot gave.
#[derive(Debug)]
pub struct Session {
    /// Release of the kernel that said it was ready, if any did.
    pub ready: Option<String>,
    /// Results, in the order in which they came.
    pub results: Vec<ScenarioResult>,
    /// What the console complained about, with the number of results that had come by then.
    pub findings: Vec<(usize, Finding)>,
    /// Lines on the record stream that are not records.
    pub garbled: usize,
    /// The demonstration's table.
    pub table: Vec<TableRow>,
    /// How the machine came to its end.
    pub end: End,
}

/// Starts QEMU and stays with it to its end.
///
/// # Errors
/// When QEMU cannot be started or a log cannot be written. What goes wrong inside is in the session.
pub fn run(qemu: &Path, machine: &Machine, boot: &Boot, watch: &mut dyn FnMut(Event)) -> Result<Session> {
    // The log must exist before the first look at it, and must not hold an older boot.
    File::create(&machine.console).context("cannot write the console log")?;
    let mut command = Command::new(qemu);
    command.args(machine.args()).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(File::create(boot.dir.join("qemu.log")).context("cannot write the log of QEMU")?);
    fs::write(boot.dir.join("qemu.command"), process::shown(&command) + "\n")
        .context("cannot write a log")?;
    process::die_with_us(&mut command, Signal::SIGKILL);
    let child = command.spawn().with_context(|| format!("cannot run {}", qemu.display()))?;
    let mut qemu = Qemu::new(child);
    let records = lines(qemu.child.stdout.take());
    let console = File::open(&machine.console).context("cannot read the console log")?;
    let log = File::create(boot.dir.join("records.jsonl")).context("cannot write the record log")?;
    let mut session = Monitor::new(boot, console, log).follow(&records, watch)?;
    session.end = match session.end {
        // The stream closes when QEMU ends; its status says more than that.
        End::Exited(_) => End::Exited(qemu.wait(GRACE)),
        end @ (End::Done | End::Panic(_)) => {
            qemu.wait(GRACE);
            end
        }
        end @ End::Late(_) => end,
    };
    Ok(session)
}

/// The lines of a stream, read by a thread that ends with the stream, that is with QEMU.
fn lines(stream: Option<ChildStdout>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stream) = stream {
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// The child, killed when this is dropped.
struct Qemu {
    child: Child,
}

impl Qemu {
    fn new(child: Child) -> Self {
        process::register(child.id());
        Self { child }
    }

    /// Waits for the end, up to `limit`; says how it was.
    fn wait(&mut self, limit: Duration) -> String {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => return error.to_string(),
            }
        }
        format!("still running {} s later", limit.as_secs())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        process::forget(self.child.id());
    }
}
