// SPDX-License-Identifier: GPL-2.0-only
//! Command-line arguments that every scheduler has, and parsers they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::openmetrics::parse_address;
use crate::setup::Setup;

#[cfg(test)]
mod tests;

/// Shortest and longest time that an option in seconds accepts.
const MIN_SECONDS: f64 = 0.001;
const MAX_SECONDS: f64 = 86_400.0;

/// Options common to all schedulers; flatten them into the scheduler's own.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Print statistics to standard output every SECONDS while scheduling
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = parse_seconds, conflicts_with = "monitor")]
    pub stats: Option<Duration>,

    /// Do not schedule; print the statistics of the running scheduler every SECONDS
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = parse_seconds)]
    pub monitor: Option<Duration>,

    /// Describe every statistic and exit
    #[arg(long)]
    pub help_stats: bool,

    /// Unix socket that serves statistics (default: /run/SCHEDULER/stats.sock)
    #[arg(long, value_name = "PATH")]
    pub stats_socket: Option<PathBuf>,

    /// Serve the statistics in the OpenMetrics format over HTTP, path /metrics; a PORT alone is on the loopback interface
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_address, conflicts_with = "monitor")]
    pub metrics: Option<SocketAddr>,

    /// Schedule only tasks with policy SCHED_EXT and leave all others to the kernel's own scheduler
    #[arg(long)]
    pub partial: bool,

    /// Size of the debug dump that the kernel keeps when it ends the scheduler with an error, in bytes (0: 32768)
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=MAX_DUMP_BYTES))]
    pub exit_dump_len: u32,

    /// For tests of the way out: never run the task PID, until the kernel's watchdog ends the scheduler after 10 s
    #[arg(long, value_name = "PID", hide = true, value_parser = clap::value_parser!(i32).range(1..))]
    pub forced_stall: Option<i32>,

    /// Log more (-v: debugging, -vv: traces)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// Largest debug dump: 16 MiB.
const MAX_DUMP_BYTES: i64 = 16 << 20;

/// Read-only variable of every BPF object (`forced_stall.h`): the task that is never run.
const FORCED_STALL: &str = "forced_stall_pid";
/// How long the kernel's watchdog waits for a task whose stall is forced.
const FORCED_STALL_TIMEOUT_MS: u32 = 10_000;

impl CommonArgs {
    /// The same setup with what these options ask for.
    pub fn complete(&self, mut setup: Setup) -> Setup {
        setup.exit_dump_len = self.exit_dump_len;
        if self.partial {
            setup.ops_flags.push("SCX_OPS_SWITCH_PARTIAL");
        }
        if let Some(pid) = self.forced_stall {
            setup.read_only.push((FORCED_STALL, pid.to_ne_bytes().to_vec()));
            setup.timeout_ms = FORCED_STALL_TIMEOUT_MS;
        }
        setup
    }

    /// The statistics socket: the one given, else the default of `scheduler`.
    pub fn socket_path(&self, scheduler: &str) -> PathBuf {
        self.stats_socket.clone().unwrap_or_else(|| default_socket(scheduler))
    }
}

/// `/run/<scheduler>/stats.sock`.
pub fn default_socket(scheduler: &str) -> PathBuf {
    Path::new("/run").join(scheduler).join("stats.sock")
}

/// A time in seconds, fractions allowed, from 0.001 to 86400 (one day). For `value_parser`.
///
/// # Errors
/// One line that says what is wrong with the text.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .trim()
        .parse()
        .map_err(|_| format!("'{text}' is not a number of seconds; write for example 0.5"))?;
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
        return Err(format!("{text} is out of range; give {MIN_SECONDS} to {MAX_SECONDS} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Version text with build information: `0.1.0 (commit abc1234, x86_64-unknown-linux-gnu, debug)`.
///
/// `package_version` is the caller's `env!("CARGO_PKG_VERSION")`. The commit is left out for a build outside of a git
/// repository.
pub fn version_text(package_version: &str) -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let commit = option_env!("RUNTIME_COMMIT").map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    format!("{package_version} ({commit}{}, {profile})", env!("RUNTIME_TARGET"))
}

/// A command-line error as one line, without usage text: what is wrong and with which option.
pub fn usage_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let words = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let words = words.strip_prefix("error: ").unwrap_or(&words).trim_end_matches(':');
    format!("{words}; --help lists what there is")
}
