// SPDX-License-Identifier: GPL-2.0-only
//! 16: one waker wakes 32 receivers, 100 times, beside hogs on every CPU. Each receiver must count 100: a wake-up that is
//! lost, in a queue that no CPU serves for example, stops the round.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::unistd::{pipe, read, write};

use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::sys::{self, SharedCounters};
use crate::workers::{Job, Pool};

const RECEIVERS: usize = 32;

const ROUNDS: u64 = 100;

/// A round under full load takes a few slices; this is for the slowest machine.
const DEADLINE: Duration = Duration::from_secs(180);

pub fn run(context: &mut Context) -> Result<()> {
    let hogs = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &[])?;
    let pool = Pool::start(&vec![Job::spinner(); hogs])?;
    let counts = SharedCounters::new(RECEIVERS + 1)?;
    let (answers, answer) = pipe().context("no pipe for the answers")?;
    let mut wakes = Vec::new();
    for index in 0..RECEIVERS {
        let (sleep, wake) = pipe().context("no pipe for a receiver")?;
        sys::fork(|| receive(&sleep, &answer, &counts, index))?;
        wakes.push(wake);
    }
    let begin = Instant::now();
    sys::fork(|| send(&wakes, &answers, &counts))?;
    let rounds = || counts.get(RECEIVERS).load(Ordering::Relaxed);
    let done =
        context.wait_for(DEADLINE, Duration::from_millis(50), |_| Ok((rounds() == ROUNDS).then_some(())))?;
    context.figure("rounds", rounds() as f64);
    context.figure("round_ms", begin.elapsed().as_secs_f64() * 1000.0 / rounds().max(1) as f64);
    context.require_measured(done.is_some(), || {
        format!("{} of {ROUNDS} rounds in {DEADLINE:?}: a wake-up was lost or late", rounds())
    });
    let wrong: Vec<usize> =
        (0..RECEIVERS).filter(|&index| counts.get(index).load(Ordering::Relaxed) != ROUNDS).collect();
    context.require_measured(wrong.is_empty(), || {
        let had: Vec<u64> = wrong.iter().map(|&index| counts.get(index).load(Ordering::Relaxed)).collect();
        format!("receivers {wrong:?} counted {had:?} instead of {ROUNDS}")
    });
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}

/// Counts every wake-up and answers it. Both end with the pipe, when the scenario ends.
fn receive(sleep: &OwnedFd, answer: &OwnedFd, counts: &SharedCounters, index: usize) {
    sys::name_and_follow_parent("receiver");
    while read(sleep, &mut [0u8; 1]) == Ok(1) {
        counts.get(index).fetch_add(1, Ordering::Relaxed);
        if write(answer, &[0]) != Ok(1) {
            return;
        }
    }
}

/// Wakes everybody, waits for everybody's answer, and counts the round.
fn send(wakes: &[OwnedFd], answers: &OwnedFd, counts: &SharedCounters) {
    sys::name_and_follow_parent("waker");
    for _ in 0..ROUNDS {
        if wakes.iter().any(|wake| write(wake, &[0]) != Ok(1)) {
            return;
        }
        let mut missing = wakes.len();
        while missing > 0 {
            match read(answers, &mut [0u8; RECEIVERS][..missing]) {
                Ok(got) if got > 0 => missing -= got,
                _ => return,
            }
        }
        counts.get(RECEIVERS).fetch_add(1, Ordering::Relaxed);
    }
}
