// SPDX-License-Identifier: GPL-2.0-only
//! P2: a real-time task takes the CPU of a running hog while other CPUs are idle: the hog runs elsewhere at once, every time.
//! The kernel's own scheduler is measured in the same boot.

use std::time::Duration;

use anyhow::Result;

use super::push_trace::{Switch, SwitchTrace, longest_wait, trace_now};
use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Policy, Pool};

/// Rounds under the scheduler; all must hold.
const ROUNDS: usize = 20;

/// Rounds under the kernel's scheduler, for comparison.
const KERNEL_ROUNDS: usize = 5;

/// How long the real-time task holds the CPU.
const HELD: Duration = Duration::from_millis(250);

/// The hog must run again well before the real-time task is gone (0 to 16 ms where it was tried).
const BOUND: Duration = Duration::from_millis(120);

pub fn run(context: &mut Context) -> Result<()> {
    if evidence::online()?.len() < 3 {
        return Err(Skipped("needs idle CPUs beside the hog's".into()).into());
    }
    context.step("under the kernel's scheduler");
    let kernel = measure(context, KERNEL_ROUNDS)?;
    show(context, "kernel", &kernel.waits);
    let mut scheduler = Scheduler::start(context, &[])?;
    let Measured { waits, robberies } = measure(context, ROUNDS)?;
    show(context, "push", &waits);
    context.figure("robberies", robberies as f64);
    context.require_measured(robberies > ROUNDS / 2, || {
        format!("the real-time task met the hog in {robberies} of {ROUNDS} rounds only: nothing was shown")
    });
    scheduler.require_on(context)?;
    let stats = scheduler.stats(context)?;
    for counter in ["rescued", "rescue_no_cpu", "requeued_idle"] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    let late: Vec<String> =
        waits.iter().filter(|wait| **wait > BOUND).map(|wait| format!("{wait:.0?}")).collect();
    context.figure("rescued_rounds", (ROUNDS - late.len()) as f64);
    context.require_measured(late.is_empty(), || {
        format!(
            "in {} of {ROUNDS} rounds the hog waited longer than {BOUND:?}: {}",
            late.len(),
            late.join(" ")
        )
    });
    scheduler.stop(context)
}

fn show(context: &mut Context, who: &str, waits: &[Duration]) {
    let mut sorted = waits.to_vec();
    sorted.sort();
    let ms = |wait: Option<&Duration>| wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1000.0);
    context.figure(&format!("{who}_wait_median_ms"), ms(sorted.get(sorted.len() / 2)));
    context.figure(&format!("{who}_wait_longest_ms"), ms(sorted.last()));
}

struct Measured {
    /// The longest wait of the hog in each round.
    waits: Vec<Duration>,
    /// Rounds in which the hog lost the CPU that the real-time task went for.
    robberies: usize,
}

fn measure(context: &mut Context, rounds: usize) -> Result<Measured> {
    let pool = Pool::start(&[Job::spinner()])?;
    let hog = pool.pids()[0];
    let (mut waits, mut robberies) = (Vec::new(), 0);
    context.sleep(Duration::from_millis(500));
    for round in 0..rounds {
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
        thief.stop();
        let (switches, text) = trace.finish()?;
        let wait = longest_wait(&switches, hog, Some(end));
        let robbed = |switch: &Switch| {
            switch.cpu == taken && switch.prev_pid == hog.as_raw() && switch.prev_state.starts_with('R')
        };
        let met = switches.iter().any(robbed);
        robberies += usize::from(met);
        if wait > BOUND || (!met && robberies == 0) {
            context.keep_file(&format!("round-{round}.trace"), &text);
        }
        waits.push(wait);
    }
    pool.stop();
    Ok(Measured { waits, robberies })
}
