// SPDX-License-Identifier: GPL-2.0-only
//! 18: a SCHED_FIFO hog comes to one CPU and takes it for good. Tasks that may run elsewhere must not wait behind it, the one that it
//! preempted included. A task bound to that CPU gets what the kernel's server for sched_ext gives it (from 7.0 on), and
//! waits, without harm to the scheduler, where there is none.

use std::time::Duration;

use anyhow::Result;

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Policy, Pool, TURN};

/// First kernel whose server guarantees sched_ext tasks a share (about 5 %) of a CPU that real-time tasks hold.
const SERVER_SINCE: (u32, u32) = (7, 0);

/// How long the hog runs; shorter than any watchdog of the schedulers, for the sake of the bound task.
const LENGTH: Duration = Duration::from_secs(8);

/// Part of an even share of the other CPUs that each free task must get.
const FREE_SHARE: f64 = 0.1;

/// CPU time that the bound task must get, as a share of the time (theory 0.05).
const SERVER_SHARE: f64 = 0.005;

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let (Some(&last), true) = (cpus.last(), cpus.len() > 1) else {
        return Err(Skipped("this machine has one CPU".into()).into());
    };
    let taken = Cpus::from([last]);
    let mut scheduler = Scheduler::start(context, &[])?;
    let mut jobs = vec![Job::spinner().on(&taken)];
    jobs.extend(vec![Job::spinner(); 2 * cpus.len()]);
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_secs(2));
    let hog = Pool::start(&[Job::spinner().on(&taken).policy(Policy::Fifo)])?;
    let before = pool.cpu_seconds()?;
    context.step(format!("CPU {last} is taken"));
    context.sleep(LENGTH);
    let had: Vec<f64> =
        pool.cpu_seconds()?.iter().zip(&before).map(|(after, before)| after - before).collect();
    let held = hog.cpu_seconds()?[0];
    scheduler.require_on(context)?;
    hog.stop(context);

    let free = &had[1..];
    let even = LENGTH.as_secs_f64() * (cpus.len() - 1) as f64 / free.len() as f64;
    let least = free.iter().copied().fold(f64::INFINITY, f64::min);
    context.figure("hog_cpu_seconds", held);
    context.figure("least_free_cpu_seconds", least);
    context.figure("bound_cpu_seconds", had[0]);
    context.require_measured(held >= LENGTH.as_secs_f64() / 2.0, || {
        format!("the real-time hog had {held:.2} s of CPU {last} in {LENGTH:?}: it was not there to disturb")
    });
    context.require_measured(least >= FREE_SHARE * even, || {
        format!(
            "a task that may leave CPU {last} had {least:.2} s in {LENGTH:?} of the hog, an even share is {even:.2} s \
             (each: {had:.2?})"
        )
    });
    if evidence::kernel_version()? >= SERVER_SINCE {
        let bound = SERVER_SHARE * LENGTH.as_secs_f64();
        context.require_measured(had[0] >= bound, || {
            format!("the task bound to CPU {last} had {:.3} s beside the hog, bound {bound:.3} s", had[0])
        });
    }
    let stuck = pool.wait_for_progress(context)?;
    context
        .require(stuck == 0, || format!("{stuck} spinners stood still for {TURN:?} after the hog had gone"));
    pool.stop(context);
    scheduler.stop(context)
}
