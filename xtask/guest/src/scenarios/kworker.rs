// SPDX-License-Identifier: GPL-2.0-only
//! 23: every CPU is held by a hog that has it to itself, which an unlimited slice would keep there for ever. Work of the
//! kernel that is bound to one CPU must be served all the same. `vm/stat_refresh` queues such work on every CPU and
//! returns when all of it is done.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, TURN};

const REFRESH: &str = "/proc/sys/vm/stat_refresh";

const TIMES: usize = 30;

const PAUSE: Duration = Duration::from_millis(100);

/// A worker that is served within a few slices takes tens of milliseconds; one behind a hog without end takes until the
/// watchdog ends the scheduler.
const BOUND: Duration = Duration::from_secs(5);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &[])?;
    let pool = Pool::start(&vec![Job::spinner(); cpus])?;
    // The hogs find a CPU each, and their slices become as long as they get.
    context.sleep(Duration::from_secs(2));
    let mut longest = Duration::ZERO;
    for _ in 0..TIMES {
        let begin = Instant::now();
        fs::write(REFRESH, "1").with_context(|| format!("cannot write {REFRESH}"))?;
        longest = longest.max(begin.elapsed());
        context.sleep(PAUSE);
        scheduler.require_on(context)?;
    }
    context.figure("rounds", TIMES as f64);
    context.figure("longest_ms", longest.as_secs_f64() * 1000.0);
    context.require_measured(longest <= BOUND, || {
        format!("work bound to a CPU took {:.2} s, bound {BOUND:?}", longest.as_secs_f64())
    });
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} hogs stood still for {TURN:?}"));
    pool.stop(context);
    scheduler.stop(context)
}
