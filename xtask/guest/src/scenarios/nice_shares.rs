// SPDX-License-Identifier: GPL-2.0-only
//! 8: nice 0 against nice 5, two spinners pinned to one CPU, then half and half at twice the CPUs. The weights 100 and
//! 33 (1024 and 335 in the kernel's table) give 3.06 in theory.
//!
//! The pair is judged by its CPU time and by the work it did: a stall of the machine gives CPU time to
//! whoever has the CPU at that moment, but no work; wrong shares change both.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const PINNED: RangeInclusive<f64> = 2.2..=4.2;
const UNPINNED: RangeInclusive<f64> = 1.8..=4.5;

/// Until tasks that were forked on few CPUs are where they belong: two rounds of balancing (one every 2 s).
const SETTLING: Duration = Duration::from_secs(4);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let mut scheduler = Scheduler::start(context, &[])?;
    let one = Cpus::from([cpus[cpus.len() / 2]]);
    let pair = [Job::spinner().on(&one), Job::spinner().nice(5).on(&one)];
    let pinned = measure(context, "pinned", &pair, Duration::ZERO)?;
    let holds = PINNED.contains(&pinned.time) || PINNED.contains(&pinned.work);
    context.require_measured(holds, || format!("pinned: {pinned}, bound {PINNED:?} for one of them"));
    scheduler.require_on(context)?;
    let mixed: Vec<Job> = cpus.iter().flat_map(|_| [Job::spinner(), Job::spinner().nice(5)]).collect();
    let unpinned = measure(context, "unpinned", &mixed, SETTLING)?;
    context.require_measured(UNPINNED.contains(&unpinned.time), || {
        format!("unpinned: {unpinned}, bound {UNPINNED:?} for the CPU time")
    });
    scheduler.stop(context)
}

/// What the tasks of nice 0 had, over what those of nice 5 had.
struct Ratios {
    time: f64,
    work: f64,
}

impl Display for Ratios {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "nice 0 : nice 5 is {:.2} in CPU time and {:.2} in work", self.time, self.work)
    }
}

/// Runs the jobs for `settling`, then measures them.
fn measure(context: &mut Context, what: &str, jobs: &[Job], settling: Duration) -> Result<Ratios> {
    let pool = Pool::start(jobs)?;
    context.sleep(settling);
    let (time_before, work_before) = (pool.cpu_seconds()?, pool.progress());
    context.sleep(context.base_time);
    let time: Vec<f64> =
        pool.cpu_seconds()?.iter().zip(&time_before).map(|(after, before)| after - before).collect();
    let counts = pool.progress();
    let work: Vec<f64> =
        counts.iter().zip(&work_before).map(|(after, before)| (after - before) as f64).collect();
    let ratios = Ratios { time: ratio(jobs, &time), work: ratio(jobs, &work) };
    context.figure(&format!("{what}_ratio"), ratios.time);
    context.figure(&format!("{what}_work_ratio"), ratios.work);
    let starved = counts.iter().filter(|&&count| count == 0).count();
    context.require_measured(starved == 0, || format!("{what}: {starved} workers never ran"));
    Ok(ratios)
}

/// Mean of `had` over the jobs of nice 0, over that of nice 5.
fn ratio(jobs: &[Job], had: &[f64]) -> f64 {
    let mean_of = |nice| {
        let of_nice: Vec<f64> =
            jobs.iter().zip(had).filter(|(job, _)| job.nice == nice).map(|(_, &value)| value).collect();
        figures::mean(&of_nice)
    };
    let (nice_0, nice_5) = (mean_of(0), mean_of(5));
    if nice_5 > 0.0 { nice_0 / nice_5 } else { f64::INFINITY }
}
