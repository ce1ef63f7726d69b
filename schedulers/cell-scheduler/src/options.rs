// SPDX-License-Identifier: GPL-2.0-only
//! The command line.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use runtime::args::{CommonArgs, parse_seconds};
use runtime::exit::UsageError;

use crate::kernel::abi;

/// Largest slice an option accepts, in µs: longer ones run into the kernel's watchdog.
const SLICE_MAX_US: u64 = 1_000_000;
/// Where the cgroup hierarchy is mounted on every current system.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// A sched_ext scheduler that gives cgroups CPUs of their own and lends them while they are idle.
///
/// It stays attached until SIGINT or SIGTERM; the kernel's own scheduler then takes over again, as it does if this
/// program dies in any way. SIGHUP reads the file of --config again.
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

    /// Each child of this cgroup is a cell; a path below the root of the hierarchy or in the filesystem
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub cell_parent_cgroup: Option<PathBuf>,

    /// Children of --cell-parent-cgroup that are no cells, by name or pattern such as 'system-*'; repeatable
    #[arg(long, value_name = "GLOB", requires = "cell_parent_cgroup")]
    pub cell_exclude: Vec<String>,

    /// A TOML file that groups cgroups into named cells; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Time between two looks at all cgroups. What comes or goes directly below the parent (with --config: below the root) is
    /// noticed at once; what lies further down, and changes of cpusets and weights, only at such a look
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub reconfiguration_interval: Duration,

    /// Time between two looks at the demand of the cells
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = parse_seconds)]
    pub rebalance_interval: Duration,

    /// How far the demand of a cell must have changed before CPUs move, in CPUs
    #[arg(long, value_name = "CPUS", default_value_t = 0.5, value_parser = parse_cpus)]
    pub rebalance_threshold: f64,

    /// Least time between two moves of CPUs for demand
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub cool_down: Duration,

    /// Half-life of the averages that demand and the shares of cgroups are taken from
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub demand_half_life: Duration,

    /// CPUs that a cell which lends has beyond its demand, in square roots of it: room for bursts, lent while unused
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = parse_headroom)]
    pub headroom: f64,

    /// Cells do not lend their idle CPUs to others, whatever --config says
    #[arg(long)]
    pub no_borrowing: bool,

    /// Ignore cpu.weight of cgroups that share a cell
    #[arg(long)]
    pub no_cgroup_weights: bool,

    /// Cells that can exist at a time besides everything else, merged ones included; more share the CPUs of everything else
    #[arg(long, value_name = "CELLS", default_value_t = 1024, value_parser = members())]
    pub max_members: u32,

    /// Split larger caches evenly, so that no queue is shared by more CPUs than this (0: never split)
    #[arg(long, value_name = "CPUS", default_value_t = 16)]
    pub max_cpus_per_queue: usize,

    /// Longest time a task runs while others wait
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 20_000, value_parser = slice_us())]
    pub slice_us: u64,

    /// Slices shrink with the length of the queue, down to this
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1_000, value_parser = slice_us())]
    pub slice_min_us: u64,

    /// Longest time a task runs on a borrowed CPU before it looks for one at home
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 4_000, value_parser = slice_us())]
    pub borrow_slice_us: u64,

    /// Longest time a task runs on a CPU that a task waits for which may use no other
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 2_000, value_parser = slice_us())]
    pub pinned_slice_us: u64,

    /// Print topology, cells and options as they would be used, and exit; needs neither root nor sched_ext
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

fn members() -> clap::builder::RangedI64ValueParser<u32> {
    // Everything else has a slot of its own.
    clap::value_parser!(u32).range(2..=i64::from(abi::cs_limits_CS_MAX_SLOTS - 1))
}

/// A number of CPUs, fractions allowed.
fn parse_cpus(text: &str) -> Result<f64, String> {
    let cpus: f64 = text
        .trim()
        .parse()
        .map_err(|_| format!("'{text}' is not a number of CPUs; write for example 0.5"))?;
    if !(0.0..=4096.0).contains(&cpus) {
        return Err(format!("{text} is out of range; give 0 to 4096 CPUs"));
    }
    Ok(cpus)
}

fn parse_headroom(text: &str) -> Result<f64, String> {
    let factor: f64 =
        text.trim().parse().map_err(|_| format!("'{text}' is not a number; write for example 1.5"))?;
    if !(0.0..=10.0).contains(&factor) {
        return Err(format!("{text} is out of range; give 0 to 10"));
    }
    Ok(factor)
}

impl Options {
    /// Checks what no single option can check for itself.
    ///
    /// # Errors
    /// One line that names the options at fault.
    pub fn check(&self) -> Result<(), UsageError> {
        if self.slice_min_us > self.slice_us {
            return Err(UsageError(format!(
                "--slice-min-us {} is longer than --slice-us {}; make it at most as long",
                self.slice_min_us, self.slice_us
            )));
        }
        Ok(())
    }

    /// The directory of the parent cgroup: what starts at the mount point is taken as it is, anything else is below it. An
    /// absolute path that names nothing there may be in a hierarchy mounted elsewhere.
    pub fn parent_directory(&self) -> Option<PathBuf> {
        let path = self.cell_parent_cgroup.as_ref()?;
        let root = Path::new(CGROUP_ROOT);
        let below = root.join(path.strip_prefix("/").unwrap_or(path));
        if path.starts_with(root) || (path.is_absolute() && path.is_dir() && !below.is_dir()) {
            return Some(path.clone());
        }
        Some(below)
    }

    /// Where the hierarchy of cgroups is mounted.
    pub fn cgroup_root(&self) -> PathBuf {
        PathBuf::from(CGROUP_ROOT)
    }

    /// Slots of the BPF side: one for each cell of --max-members, and that of everything else.
    pub fn nr_slots(&self) -> u32 {
        self.max_members + 1
    }

    /// Levels of the cgroup hierarchy at which members lie, the root being 0: exactly below the parent, or anywhere.
    pub fn member_levels(&self) -> (u32, u32) {
        let level = self.parent_directory().and_then(|directory| level_of(&directory));
        level.map_or((1, abi::cs_limits_CS_MAX_LEVELS), |parent| (parent + 1, parent + 1))
    }
}

/// Level of a cgroup by its directory, the root of the hierarchy being 0. None if the root is out of sight, because only a part
/// of the hierarchy is mounted or this is another cgroup namespace: then the path says nothing about the level.
fn level_of(directory: &Path) -> Option<u32> {
    let Ok(directory) = directory.canonicalize() else {
        // There is nothing but the path to go by.
        let below = directory.strip_prefix(CGROUP_ROOT).ok()?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        return u32::try_from(below.components().count()).ok().filter(|_| plain);
    };
    // Every cgroup but the root has a type.
    let level = directory.ancestors().take_while(|at| at.join("cgroup.type").exists()).count();
    let root = directory.ancestors().nth(level)?;
    u32::try_from(level).ok().filter(|_| root.join("cgroup.procs").exists())
}

#[cfg(test)]
mod tests;
