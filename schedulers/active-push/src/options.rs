// SPDX-License-Identifier: GPL-2.0-only
//! The command line.

use clap::Parser;
use runtime::args::CommonArgs;

use crate::levels::LevelOption;

/// Largest slice an option accepts, in µs: longer ones run into the kernel's watchdog.
const SLICE_MAX_US: u64 = 1_000_000;

/// A sched_ext scheduler with a queue per CPU that pushes running tasks to idle CPUs when they schedule out.
///
/// It stays attached until SIGINT or SIGTERM; the kernel's own scheduler then takes over again, as it does if this
/// program dies in any way.
#[derive(Clone, Debug, Parser)]
#[command(name = crate::NAME, disable_version_flag = true)]
#[command(
    after_help = "Exit status: 0 ended as asked; 1 unexpected failure; 2 bad usage; 69 kernel without sched_ext; \
    70 ended by the kernel with an error; 73 statistics socket or metrics address in use; 75 another scheduler is attached; 77 missing rights."
)]
pub struct Options {
    #[command(flatten)]
    #[allow(missing_docs, reason = "described where they are defined")]
    pub common: CommonArgs,

    /// Longest time a task runs while others wait on its CPU
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 5_000, value_parser = micros(1))]
    pub slice_us: u64,

    /// How one level is balanced, such as 'llc:imbalance-pct=125,push-failures=0' (levels: smt, llc, node, machine, all;
    /// parameters: see --dry-run); may be repeated
    #[arg(long, value_name = "LEVEL:PARAMETER=VALUE,...")]
    pub level: Vec<LevelOption>,

    /// A waiting task that ran more recently than this is cache-hot, and left alone at first
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 500, value_parser = micros(0))]
    pub migration_cost_us: u64,

    /// Most tasks one balancing round moves
    #[arg(long, value_name = "TASKS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub max_moves: u32,

    /// A push request that was not taken in this time is withdrawn
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 50_000, value_parser = micros(1))]
    pub request_expiry_us: u64,

    /// Two running threads on one core are spread to an idle core once they have shared it for this long
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 2_000, value_parser = micros(0))]
    pub spread_after_us: u64,

    /// A waking task takes the CPU from one that is ahead of it by more than this in weighted time
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1_000, value_parser = micros(0))]
    pub wakeup_granularity_us: u64,

    /// Half-life of a task's utilisation, where CPUs differ in capacity
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 32_000, value_parser = micros(1))]
    pub util_half_life_us: u64,

    /// How often somebody looks for tasks that wait on a CPU which a real-time or deadline task holds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 10_000, value_parser = micros(100))]
    pub watch_us: u64,

    /// A push request ends the running task's slice at once, not at the next tick
    #[arg(long)]
    pub prompt: bool,

    /// Only pull: no running task is pushed, and tasks that lose their CPU to a higher class wait behind it
    #[arg(long, conflicts_with = "prompt")]
    pub no_push: bool,

    /// Print topology, levels and options as they would be used, and exit; needs neither root nor sched_ext
    #[arg(long)]
    pub dry_run: bool,

    /// With --dry-run: a machine other than this one, such as 2n4l8c2t or a TOML or JSON file
    #[arg(long, value_name = "SPEC|FILE", requires = "dry_run")]
    pub topology: Option<String>,

    /// Print version and build information
    #[arg(short = 'V', long)]
    pub version: bool,
}

fn micros(min: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(min..=SLICE_MAX_US)
}
