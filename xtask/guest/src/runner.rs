// SPDX-License-Identifier: GPL-2.0-only
//! Process 1's view of a scenario: a child process with a deadline, and a clean machine after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cgroups;
use crate::evidence;
use crate::kmsg::Kmsg;
use crate::protocol::{Record, Verdict, decode, encode};
use crate::scenarios;
use crate::scheduler::DETACH_DEADLINE;
use crate::sys;
use crate::trace;

const POLL: Duration = Duration::from_millis(200);

/// Hundreds of processes may have to go.
const REAP_DEADLINE: Duration = Duration::from_secs(120);

/// Kernel messages that a result quotes; the rest is in the artefact.
const QUOTED_MESSAGES: usize = 5;

/// The machine between scenarios.
pub struct Machine {
    port: File,
    kmsg: Option<Kmsg>,
}

struct Child {
    pid: Pid,
    output: Option<File>,
    pending: Vec<u8>,
    result: Option<Record>,
}

enum End {
    Exited(String),
    Late,
}

impl Machine {
    /// Records go to `port`.
    pub fn new(port: File) -> Self {
        Self { port, kmsg: Kmsg::open().ok() }
    }

    /// Sends one record to the host.
    pub fn send(&mut self, record: &Record) {
        match encode(record) {
            Ok(line) => self.send_line(line.as_bytes()),
            Err(error) => eprintln!("guest: cannot encode a record: {error}"),
        }
    }

    fn send_line(&mut self, line: &[u8]) {
        if let Err(error) = self.port.write_all(line).and_then(|()| self.port.flush()) {
            eprintln!("guest: cannot write to the record port: {error}");
        }
    }

    /// Troublesome kernel messages since the last call.
    pub fn kernel_trouble(&mut self) -> Vec<String> {
        let Some(kmsg) = &mut self.kmsg else { return vec!["/dev/kmsg cannot be read".into()] };
        kmsg.drain();
        kmsg.take_trouble()
    }

    /// Runs `scenario` in a process of its own and sends exactly one result for it, whatever happens.
    pub fn run(&mut self, scenario: &str, deadline: Duration) {
        let mut failures = Vec::new();
        let result = match self.run_child(scenario, deadline) {
            Ok((_, Some(result))) => result,
            Ok((End::Exited(how), None)) => {
                failures.push(format!("the scenario ended without a result ({how}): see the console"));
                empty_result(scenario)
            }
            Ok((End::Late, None)) => {
                failures.push(format!("the scenario did not end in {} s", deadline.as_secs()));
                empty_result(scenario)
            }
            Err(error) => {
                failures.push(format!("{error:#}"));
                empty_result(scenario)
            }
        };
        let logs = collect_logs();
        failures.extend(self.clean_up());
        let trouble = self.kernel_trouble();
        let expected = scenarios::find(scenario).map_or(&[][..], |info| info.expects);
        failures.extend(about_messages(trouble, expected));
        let result = with_failures(result, failures);
        let messages = self.kmsg.as_mut().map(Kmsg::take_recent).unwrap_or_default();
        if matches!(result, Record::Result { verdict: Verdict::Fail | Verdict::Inconclusive, .. }) {
            for (name, text) in logs {
                self.send(&Record::File { name: format!("{scenario}-{name}"), text });
            }
            self.send(&Record::File { name: format!("{scenario}-kernel.log"), text: messages });
        }
        self.send(&result);
    }

    fn run_child(&mut self, scenario: &str, deadline: Duration) -> Result<(End, Option<Record>)> {
        let process = Command::new("/proc/self/exe")
            .args(["scenario", scenario])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the scenario's process")?;
        let pid = Pid::from_raw(process.id().cast_signed());
        let output = process.stdout.map(|pipe| File::from(OwnedFd::from(pipe)));
        let mut child = Child { pid, output, pending: Vec::new(), result: None };
        let begin = Instant::now();
        loop {
            self.pass_on(&mut child);
            if let Some(how) = reap(child.pid) {
                self.pass_on(&mut child);
                return Ok((End::Exited(how), child.result));
            }
            if begin.elapsed() > deadline {
                return Ok((End::Late, child.result));
            }
        }
    }

    /// Forwards what the child wrote; keeps its result back until the machine was looked at.
    fn pass_on(&mut self, child: &mut Child) {
        let mut fds = Vec::new();
        fds.extend(child.output.as_ref().map(AsFd::as_fd));
        fds.extend(self.kmsg.as_ref().map(Kmsg::fd));
        if !sys::wait_readable(&fds, POLL) {
            return;
        }
        if let Some(kmsg) = &mut self.kmsg {
            kmsg.drain();
        }
        let Some(output) = &mut child.output else { return };
        while sys::wait_readable(&[output.as_fd()], Duration::ZERO) {
            let mut buffer = [0u8; 4096];
            match output.read(&mut buffer) {
                Ok(0) | Err(_) => {
                    child.output = None;
                    break;
                }
                Ok(length) => child.pending.extend_from_slice(&buffer[..length]),
            }
        }
        while let Some(end) = child.pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = child.pending.drain(..=end).collect();
            match decode(&String::from_utf8_lossy(&line)) {
                Ok(result @ Record::Result { .. }) => child.result = Some(result),
                Ok(_) => self.send_line(&line),
                Err(error) => eprintln!("guest: the scenario wrote something that is no record: {error}"),
            }
        }
    }

    /// Kills every process, stops every trace, brings every CPU back, and waits for the kernel's scheduler.
    fn clean_up(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        // From process 1 this means every other process; there may be none.
        let _none = kill(Pid::from_raw(-1), Signal::SIGKILL);
        let begin = Instant::now();
        while !reap_all() {
            if begin.elapsed() > REAP_DEADLINE {
                problems.push("processes survive SIGKILL".into());
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        trace::stop_all();
        cgroups::remove_all();
        bring_cpus_online();
        let begin = Instant::now();
        while evidence::sched_ext().is_ok_and(|now| now.state != "disabled") {
            if begin.elapsed() > DETACH_DEADLINE {
                problems.push("sched_ext is not disabled 30 s after its scheduler was killed".into());
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Ok(entries) = fs::read_dir("/tmp") {
            for entry in entries.flatten() {
                // Left over files cost memory only.
                let _removed = fs::remove_file(entry.path());
            }
        }
        problems
    }
}

/// What is wrong about the kernel's troublesome messages: those that nobody expects, and those that were expected and did not come.
fn about_messages(messages: Vec<String>, expected: &[&str]) -> Vec<String> {
    let missing = expected.iter().filter(|text| !messages.iter().any(|line| line.contains(*text)));
    let missing: Vec<String> = missing.map(|text| format!("the kernel never said {text:?}")).collect();
    let unexpected = messages.iter().filter(|line| !expected.iter().any(|text| line.contains(text)));
    unexpected.take(QUOTED_MESSAGES).map(|line| format!("kernel message: {line}")).chain(missing).collect()
}

fn empty_result(scenario: &str) -> Record {
    Record::Result {
        scenario: scenario.to_owned(),
        verdict: Verdict::Pass,
        figures: BTreeMap::new(),
        failures: Vec::new(),
        reason: String::new(),
    }
}

/// The same result; a failure when there is something to add.
fn with_failures(result: Record, more: Vec<String>) -> Record {
    let Record::Result { scenario, mut verdict, figures, mut failures, reason } = result else {
        return result;
    };
    if !more.is_empty() {
        verdict = Verdict::Fail;
        failures.extend(more);
    }
    Record::Result { scenario, verdict, figures, failures, reason }
}

/// Reaps whatever has ended; how `pid` ended if it was among them.
fn reap(pid: Pid) -> Option<String> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, status)) if ended == pid => return Some(format!("status {status}")),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => return Some(format!("{signal}")),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reaps whatever has ended; true when no process is left.
fn reap_all() -> bool {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Err(Errno::ECHILD) => return true,
            Ok(_) | Err(_) => {}
        }
    }
}

fn bring_cpus_online() {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu") else { return };
    for entry in entries.flatten() {
        let file = entry.path().join("online");
        if fs::read_to_string(&file).is_ok_and(|state| state.trim() == "0") {
            // A CPU that stays off shows in the next scenario's topology.
            let _on = fs::write(&file, "1");
        }
    }
}

fn collect_logs() -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir("/tmp") else { return Vec::new() };
    let mut logs: Vec<(String, String)> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
        .filter_map(|entry| {
            Some((entry.file_name().into_string().ok()?, fs::read_to_string(entry.path()).ok()?))
        })
        .filter(|(_, text)| !text.is_empty())
        .collect();
    logs.sort();
    logs
}

#[cfg(test)]
mod tests;
