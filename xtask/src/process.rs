// SPDX-License-Identifier: GPL-2.0-only
//! Child processes: none outlives this program, and a failed one is reported on one line.

use crate::status;
use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// Children to kill when a signal ends this program.
static RUNNING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Makes the kernel send `signal` to the child when this program dies, however it dies.
///
/// The signal follows the *thread* that spawns the child, so spawn from a thread that lives as long as the program.
pub fn die_with_us(command: &mut Command, signal: Signal) -> &mut Command {
    let parent: Pid = getpid();
    let hook = move || -> io::Result<()> {
        set_pdeathsig(signal)?;
        // The parent may have died between fork and prctl; the signal would then never come.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
    };
    // SAFETY: the hook runs between fork and exec and makes only async-signal-safe system calls (prctl, getppid),
    // allocates nothing on its success path and takes no lock.
    unsafe { command.pre_exec(hook) }
}

/// Remembers a child that must be killed when a signal ends this program.
pub fn register(pid: u32) {
    if let (Ok(mut running), Ok(pid)) = (RUNNING.lock(), i32::try_from(pid)) {
        running.push(pid);
    }
}

/// Forgets a child that has been waited for.
pub fn forget(pid: u32) {
    if let Ok(mut running) = RUNNING.lock() {
        running.retain(|&known| i64::from(known) != i64::from(pid));
    }
}

/// On SIGINT, SIGTERM and SIGHUP: kill what runs, say so, end. Temporary files are named so that the next run
/// removes them.
///
/// # Errors
/// When the handler cannot be installed.
pub fn handle_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        if let Ok(running) = RUNNING.lock() {
            for &pid in running.iter() {
                // A child that is gone already needs no signal.
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        eprintln!("\nerror: interrupted");
        std::process::exit(i32::from(status::INTERRUPTED));
    })
    .context("cannot install the signal handler")
}

/// The command as a user would type it.
pub fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        let plain = arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_=,.:/+@".contains(c));
        if plain && !arg.is_empty() { arg.into_owned() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
    }));
    words.join(" ")
}

/// Runs a command with its output captured.
///
/// # Errors
/// When it cannot start. Its exit status is the caller's to judge.
pub fn output(command: &mut Command) -> Result<Output> {
    die_with_us(command, Signal::SIGTERM);
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))
}

/// Runs a command and gives its standard output.
///
/// # Errors
/// When it cannot start or fails: the last line it printed is the reason given.
pub fn text(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), last_line(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output the user sees.
///
/// # Errors
/// When it cannot start or fails.
pub fn visible(command: &mut Command) -> Result<()> {
    die_with_us(command, Signal::SIGTERM);
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The line that says most about a failure: the last of standard error, else of standard output.
pub fn last_line(output: &Output) -> String {
    let streams = [&output.stderr, &output.stdout];
    let lines = streams.iter().filter_map(|stream| {
        let text = String::from_utf8_lossy(stream);
        text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
    });
    lines.into_iter().next().unwrap_or_else(|| output.status.to_string())
}

/// Finds a program in `PATH` (and in the administrator's folders, which a user's `PATH` may lack).
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return is_program(Path::new(name)).then(|| PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
