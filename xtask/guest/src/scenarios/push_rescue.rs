// SPDX-License-Identifier: GPL-2.0-only
//! P2: a real-time task takes the CPU of a running hog while other CPUs are idle: the hog runs elsewhere at once, every time.
//! And a real-time task that wakes up beside much pushing is not later than without any pushes. The kernel's own scheduler is
//! measured in the same boot.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::push_trace::{Switch, SwitchTrace, longest_wait, trace_now};
use super::{push_latency, push_spread};
use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Policy, Pool};

/// Rounds under the scheduler in which the real-time task met the hog; all must hold.
const ROUNDS: usize = 20;

/// A round in which the hog had left by itself before the real-time task came shows nothing: so many are begun at most for one
/// that counts.
const TRIES_PER_ROUND: usize = 3;

/// Rounds under the kernel's scheduler, for comparison.
const KERNEL_ROUNDS: usize = 5;

/// How long the real-time task holds the CPU.
const HELD: Duration = Duration::from_millis(250);

/// The hog must run again well before the real-time task is gone (0 to 16 ms where it was tried).
const BOUND: Duration = Duration::from_millis(120);

/// Pushing may make real-time wake-ups so much later: what two measurements of the same thing differ by where one host core
/// emulates all CPUs in turn.
const LATENESS_RATIO: f64 = 1.5;
const LATENESS_NOISE_US: f64 = 2_000.0;

pub fn run(context: &mut Context) -> Result<()> {
    if evidence::online()?.len() < 3 {
        return Err(Skipped("needs idle CPUs beside the hog's".into()).into());
    }
    context.step("under the kernel's scheduler");
    let kernel = measure(context, KERNEL_ROUNDS)?;
    show(context, "kernel", &kernel.waits);
    let mut scheduler = Scheduler::start(context, &[])?;
    let Measured { waits, tries } = measure(context, ROUNDS)?;
    show(context, "push", &waits);
    context.figure("tries", tries as f64);
    context.figure("rounds", waits.len() as f64);
    context.require_measured(waits.len() == ROUNDS, || {
        format!("the real-time task met the hog in {} of {tries} rounds only: nothing was shown", waits.len())
    });
    scheduler.require_on(context)?;
    let stats = scheduler.stats(context)?;
    for counter in ["rescued", "rescue_no_cpu", "requeued_idle"] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    let late: Vec<String> =
        waits.iter().filter(|wait| **wait > BOUND).map(|wait| format!("{wait:.0?}")).collect();
    context.figure("rescued_rounds", (waits.len() - late.len()) as f64);
    context.require_measured(late.is_empty(), || {
        format!(
            "in {} of {ROUNDS} rounds the hog waited longer than {BOUND:?}: {}",
            late.len(),
            late.join(" ")
        )
    });
    scheduler.stop(context)?;
    latencies(context)
}

/// Lateness with many pushes and with none.
fn latencies(context: &mut Context) -> Result<()> {
    let cores = push_spread::cores()?;
    if cores.iter().any(|core| core.len() < 2) {
        return Ok(());
    }
    let kernel = push_latency::measure(context, &cores)?;
    show_lateness(context, "kernel", kernel);
    let mut late = Vec::new();
    for (who, arguments) in [("push", &[][..]), ("no_push", &["--no-push"][..])] {
        let mut scheduler = Scheduler::start(context, &[push_latency::MUCH_PUSHING, arguments].concat())?;
        let before = scheduler.stats(context)?.counter("push_arrived")?;
        late.push(push_latency::measure(context, &cores)?);
        scheduler.require_on(context)?;
        let pushes = scheduler.stats(context)?.counter("push_arrived")? - before;
        context.figure(&format!("{who}_pushes_beside_real_time"), pushes as f64);
        show_lateness(context, who, *late.last().context("just measured")?);
        context.require_measured((pushes > 0) == (who == "push"), || {
            format!("{pushes} pushes beside the real-time task with {arguments:?}")
        });
        scheduler.stop(context)?;
    }
    let (with, without) = (late[0], late[1]);
    for (what, with, without) in
        [("half", with.median_us, without.median_us), ("99 %", with.p99_us, without.p99_us)]
    {
        let bound = without * LATENESS_RATIO + LATENESS_NOISE_US;
        context.require_measured(with <= bound, || {
            format!("{what} of the real-time wake-ups are up to {with:.0} us late with pushes, {without:.0} us without; bound {bound:.0} us")
        });
    }
    Ok(())
}

fn show_lateness(context: &mut Context, who: &str, late: push_latency::Lateness) {
    context.figure(&format!("{who}_rt_late_median_us"), late.median_us);
    context.figure(&format!("{who}_rt_late_p99_us"), late.p99_us);
    context.figure(&format!("{who}_rt_late_longest_us"), late.longest_us);
}

fn show(context: &mut Context, who: &str, waits: &[Duration]) {
    let mut sorted = waits.to_vec();
    sorted.sort();
    let ms = |wait: Option<&Duration>| wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1000.0);
    context.figure(&format!("{who}_wait_median_ms"), ms(sorted.get(sorted.len() / 2)));
    context.figure(&format!("{who}_wait_longest_ms"), ms(sorted.last()));
}

/// What the rounds gave.
pub struct Measured {
    /// The longest wait of the hog in each round in which it lost the CPU that the real-time task went for.
    pub waits: Vec<Duration>,
    /// Rounds begun.
    pub tries: usize,
}

/// Lets a real-time task take the CPU of a hog until that has happened `rounds` times, under whatever schedules now.
///
/// # Errors
/// The tasks or the trace fail.
pub fn measure(context: &mut Context, rounds: usize) -> Result<Measured> {
    let pool = Pool::start(&[Job::spinner()])?;
    let hog = pool.pids()[0];
    let (mut waits, mut tries) = (Vec::new(), 0);
    context.sleep(Duration::from_millis(500));
    while waits.len() < rounds && tries < rounds * TRIES_PER_ROUND {
        tries += 1;
        // Rounds begin at different moments of the hog's slice.
        let pause = 100 + context.random.below(20) as u64;
        context.sleep(Duration::from_millis(pause));
        // The thief is a real-time task before it comes: one that had to run on the hog's CPU to become one would have driven
        // the hog away beforehand.
        let taken = evidence::task_place(hog)?.0;
        let beside = evidence::online()?.into_iter().find(|&cpu| cpu != taken).unwrap_or(taken);
        let thief = Pool::start(&[Job::spinner().on(&Cpus::from([beside])).policy(Policy::Fifo)])?;
        context.sleep(Duration::from_millis(30));
        let taken = evidence::task_place(hog)?.0;
        let trace = SwitchTrace::start(&[hog, thief.pids()[0]])?;
        thief.set_affinity(&Cpus::from([taken]))?;
        context.sleep(HELD);
        let end = trace_now()?;
        thief.stop(context);
        let (switches, text) = trace.finish()?;
        let wait = longest_wait(&switches, hog, Some(end));
        let robbed = |switch: &Switch| {
            switch.cpu == taken && switch.prev_pid == hog.as_raw() && switch.prev_state.starts_with('R')
        };
        let met = switches.iter().any(robbed);
        if wait > BOUND || !met {
            context.keep_file(&format!("round-{tries}.trace"), &text);
        }
        if met {
            waits.push(wait);
        }
    }
    pool.stop(context);
    Ok(Measured { waits, tries })
}
