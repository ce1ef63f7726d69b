// SPDX-License-Identifier: GPL-2.0-only
//! 8: nice 0 against nice 5, two spinners pinned to one CPU, then half and half at twice the CPUs. The weights 100 and
//! 33 (1024 and 335 in the kernel's table) give 3.06 in theory.

use std::ops::RangeInclusive;

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const PINNED: RangeInclusive<f64> = 2.2..=4.2;
const UNPINNED: RangeInclusive<f64> = 1.8..=4.5;

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let mut scheduler = Scheduler::start(context, &[])?;
    let one = Cpus::from([cpus[cpus.len() / 2]]);
    let pair = [Job::spinner().on(&one), Job::spinner().nice(5).on(&one)];
    measure(context, "pinned", &pair, PINNED)?;
    scheduler.require_on(context)?;
    let mixed: Vec<Job> = cpus.iter().flat_map(|_| [Job::spinner(), Job::spinner().nice(5)]).collect();
    measure(context, "unpinned", &mixed, UNPINNED)?;
    scheduler.stop(context)
}

fn measure(context: &mut Context, what: &str, jobs: &[Job], bound: RangeInclusive<f64>) -> Result<()> {
    let pool = Pool::start(jobs)?;
    context.sleep(context.base_time);
    let had = pool.cpu_seconds()?;
    let of_nice = |nice| -> Vec<f64> {
        jobs.iter().zip(&had).filter(|(job, _)| job.nice == nice).map(|(_, &seconds)| seconds).collect()
    };
    let (nice_0, nice_5) = (figures::mean(&of_nice(0)), figures::mean(&of_nice(5)));
    let ratio = if nice_5 > 0.0 { nice_0 / nice_5 } else { f64::INFINITY };
    let starved = pool.progress().iter().filter(|&&count| count == 0).count();
    context.figure(&format!("{what}_ratio"), ratio);
    context.require_measured(bound.contains(&ratio), || {
        format!(
            "{what}: CPU time nice 0 : nice 5 is {ratio:.2} ({nice_0:.2} s : {nice_5:.2} s), bound {bound:?}"
        )
    });
    context.require_measured(starved == 0, || format!("{what}: {starved} workers never ran"));
    Ok(())
}
