// SPDX-License-Identifier: GPL-2.0-only
//! 7: twice as many equal spinners as CPUs get about the same CPU time: max/min at most 1.5 from their first moment on.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

const BOUND: f64 = 1.5;

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &[])?;
    let pool = Pool::start(&vec![Job::spinner(); 2 * cpus])?;
    let llcs: Vec<_> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    let early = context.base_time / 10;
    context.sleep(early);
    for (when, rest) in [("early", context.base_time - early), ("at_the_end", Duration::ZERO)] {
        let places = evidence::count_per_domain(&llcs, &pool.cpus()?);
        context.text_figure(&format!("spinners_per_cache_{when}"), format!("{places:?}"));
        context.sleep(rest);
    }
    let had = pool.cpu_seconds()?;
    scheduler.require_on(context)?;
    pool.stop(context);
    let ratio = figures::max_over_min(&had).unwrap_or(f64::INFINITY);
    let (least, most) = figures::bounds(&had).unwrap_or_default();
    context.figure("cpu_time_max_over_min", ratio);
    context.figure("least_cpu_seconds", least);
    context.figure("most_cpu_seconds", most);
    context.require_measured(ratio <= BOUND, || {
        format!("CPU time max/min is {ratio:.2} ({most:.2} s / {least:.2} s), bound {BOUND}")
    });
    scheduler.stop(context)
}
