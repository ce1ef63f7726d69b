// SPDX-License-Identifier: GPL-2.0-only
//! The command line.

use std::time::Duration;

use clap::Parser;
use runtime::args::{CommonArgs, parse_seconds};
use topology::DomainSpec;

use crate::cost::{CostOption, ExplainForm};

/// Largest slice an option accepts, in µs: longer ones run into the kernel's watchdog.
const SLICE_MAX_US: u64 = 1_000_000;

/// A sched_ext scheduler with one queue per cache domain, balanced by load.
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

    /// How CPUs form domains: llc, l2, core, node, machine, or masks such as '0-3;4-7' or '0xf;0xf0'
    #[arg(long, value_name = "SPEC", default_value = "llc")]
    pub domains: DomainSpec,

    /// Split larger domains evenly, so that no queue is shared by more CPUs than this (0: never split)
    #[arg(long, value_name = "CPUS", default_value_t = 16)]
    pub max_cpus_per_domain: usize,

    /// Longest time a task runs while others wait
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 20_000, value_parser = slice_us())]
    pub slice_us: u64,

    /// Slices shrink with the length of the queue, down to this
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1_000, value_parser = slice_us())]
    pub slice_min_us: u64,

    /// Time between two rounds of load balancing
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub interval: Duration,

    /// Half-life of the running averages of load
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub load_half_life: Duration,

    /// Tasks that must wait in a domain before an idle CPU of another may take one (0: never)
    #[arg(long, value_name = "TASKS", default_value_t = 1)]
    pub greedy_threshold: u32,

    /// The same for a CPU of another node (0: never)
    #[arg(long, value_name = "TASKS", default_value_t = 2)]
    pub greedy_threshold_x_node: u32,

    /// What moves cost: terms to add, drop or scale, such as 'isolation,-cache-warmth,level-distance=2', or 'none,...'
    /// to begin without the default ones
    #[arg(long, value_name = "TERMS", default_value = "default", allow_hyphen_values = true)]
    pub cost: CostOption,

    /// Tell what each round decided and why, on standard output: one line a decision, or one JSON object a round
    #[arg(long, value_name = "FORM", value_enum)]
    pub explain: Option<ExplainForm>,

    /// Do not balance load between domains
    #[arg(long)]
    pub no_load_balance: bool,

    /// Leave cgroups out of account: tasks share by their own weight, whatever cpu.weight says
    #[arg(long)]
    pub no_cgroups: bool,

    /// Order queues by arrival instead of by weighted virtual time
    #[arg(long)]
    pub fifo: bool,

    /// Print topology, domains and options as they would be used, and exit; needs neither root nor sched_ext
    #[arg(long)]
    pub dry_run: bool,

    /// With --dry-run: a machine other than this one, such as 2n4l8c2t or a TOML or JSON file
    #[arg(long, value_name = "SPEC|FILE", requires = "dry_run")]
    pub topology: Option<String>,

    /// Print version and build information
    #[arg(short = 'V', long)]
    pub version: bool,
}

fn slice_us() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=SLICE_MAX_US)
}

impl Options {
    /// Checks what no single option can check for itself.
    ///
    /// # Errors
    /// One line that names the options at fault.
    pub fn check(&self) -> Result<(), runtime::exit::UsageError> {
        if self.slice_min_us > self.slice_us {
            return Err(runtime::exit::UsageError(format!(
                "--slice-min-us {} is longer than --slice-us {}; make it at most as long",
                self.slice_min_us, self.slice_us
            )));
        }
        Ok(())
    }

    /// [`Options::load_half_life`] in nanoseconds.
    pub fn load_half_life_ns(&self) -> u64 {
        u64::try_from(self.load_half_life.as_nanos()).unwrap_or(u64::MAX)
    }

    /// [`Options::interval`] in nanoseconds.
    pub fn interval_ns(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX)
    }
}
