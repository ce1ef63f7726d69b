// SPDX-License-Identifier: GPL-2.0-only
//! 26: on a saturated machine a wake-up tries to claim an idle CPU when the kernel asks for a CPU, and not a second time when it
//! is enqueued. The kernel tells an enqueue after a choice from others by a flag whose number differs between kernels, so a
//! scheduler can miss it on one of them.
//!
//! Counted in the kernel's own search: it gets the flags of the wake-up on the first occasion (where CPUs are alike, and save for
//! forks), and none on the second. Tasks whose slice ended have not been offered to anybody, and may look.

use std::time::Duration;

use anyhow::Result;

use crate::calls::CallCount;
use crate::context::Context;
use crate::evidence;
use crate::profile;
use crate::scheduler::Scheduler;
use crate::trace::WakeupTrace;
use crate::workers::{Job, Pool};

/// Where every `scx_bpf_select_cpu_and` of a task that may move ends. `scx_bpf_pick_idle_cpu`, by which waiting work wakes somebody
/// who helps, does not come by here.
const SEARCH: &str = "scx_select_cpu_dfl";

/// Searches for each wake-up that are let pass beside those: some tasks end their slice and are chosen again, which no switch
/// tells, and higher classes drive some out. Who looks again after each wake-up makes one to three.
const STRAY: f64 = 0.25;

/// Longest count: what the trace has room for, on a machine that is not emulated, too.
const LONGEST: Duration = Duration::from_secs(5);

/// Sleepers for each CPU: more than it serves.
const SLEEPERS_PER_CPU: usize = 4;

pub fn run(context: &mut Context) -> Result<()> {
    let searches_on_leaving = profile::of(context)?.searches_on_leaving;
    let mut scheduler = Scheduler::start(context, &[])?;
    let sleeper = Job::periodic(Duration::from_micros(500), Duration::from_millis(1));
    let pool = Pool::start(&vec![sleeper; SLEEPERS_PER_CPU * evidence::online()?.len()])?;
    context.sleep(Duration::from_secs(1));
    let trace = WakeupTrace::prepare()?;
    let calls = CallCount::prepare(SEARCH, "wake_flags")?;
    trace.start()?;
    calls.start()?;
    context.sleep((context.base_time / 4).min(LONGEST));
    calls.stop()?;
    trace.stop()?;
    let (traced, counts) = (trace.finish()?, calls.finish()?);
    let again = counts.get(&0).copied().unwrap_or(0);
    let asked = counts.values().sum::<u64>() - again;
    context.figure("wakeups_traced", traced.wakeups as f64);
    context.figure("left_runnable_traced", traced.left_runnable as f64);
    context.figure("searches_when_asked", asked as f64);
    context.figure("searches_later", again as f64);
    context.require_measured(traced.wakeups > 100 && asked as f64 >= traced.wakeups as f64 * 0.5, || {
        format!("{asked} searches for {} wake-ups: nothing was shown", traced.wakeups)
    });
    let most = (searches_on_leaving * traced.left_runnable) as f64 + STRAY * traced.wakeups as f64;
    context.require_measured(again as f64 <= most, || {
        format!(
            "{again} searches although no CPU was asked for, after {} wake-ups; {} tasks left their CPU runnable",
            traced.wakeups, traced.left_runnable
        )
    });
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}
