// SPDX-License-Identifier: GPL-2.0-only
//! 6: one pinned spinner per CPU stays on its CPU and has it: at least half of the time.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::trace::MigrationTrace;
use crate::workers::{HOG, Job, Pool};

/// Between two looks. Each takes CPU time from the spinner beside the harness, emulated tens of milliseconds,
/// and that spinner is to have half of its CPU. Between looks the trace still sees every migration.
const SAMPLE: Duration = Duration::from_millis(500);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let scheduler = Scheduler::start(context, &[])?;
    let jobs: Vec<Job> = cpus.iter().map(|&cpu| Job::spinner().on(&Cpus::from([cpu]))).collect();
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_millis(500));
    let trace = MigrationTrace::start(HOG)?;
    let before = pool.cpu_seconds()?;
    let begin = Instant::now();
    let (mut samples, mut elsewhere) = (0, 0);
    while begin.elapsed() < context.base_time {
        context.sleep(SAMPLE);
        samples += 1;
        elsewhere += pool.cpus()?.iter().zip(&cpus).filter(|(now, own)| now != own).count();
    }
    let had: Vec<f64> =
        pool.cpu_seconds()?.iter().zip(&before).map(|(after, before)| after - before).collect();
    let length = begin.elapsed();
    let (migrations, _) = trace.finish()?;
    let least = figures::bounds(&had).map_or(0.0, |(least, _)| least);
    let bound = length.as_secs_f64() / 2.0;
    context.figure("samples", (samples * cpus.len()) as f64);
    context.figure("samples_elsewhere", elsewhere as f64);
    context.figure("migrations", migrations.len() as f64);
    context.figure("least_cpu_seconds", least);
    context.require(elsewhere == 0, || format!("{elsewhere} samples show a pinned spinner on another CPU"));
    context.require(migrations.is_empty(), || format!("pinned spinners migrated {} times", migrations.len()));
    context.require_measured(least >= bound, || {
        format!("a spinner had {least:.2} s of CPU time, bound {bound:.2} s")
    });
    pool.stop(context);
    scheduler.stop(context)
}
