// SPDX-License-Identifier: GPL-2.0-only
//! How late a real-time task wakes up while running tasks are pushed about, as cyclictest measures it.
//!
//! The load makes pushes without touching any affinity: a task bound to the first thread of each core works and sleeps, and
//! free hogs leave the cores that it comes to.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::wait::{WaitStatus, waitpid};

use super::push_trace::trace_now;
use crate::context::Context;
use crate::cpulist::Cpus;
use crate::sys::{self, SharedCounters};
use crate::workers::{Job, Pool};

/// Wake-ups that are measured.
const SAMPLES: usize = 1000;

const PERIOD: Duration = Duration::from_millis(3);

/// From the start of the load until the first sample.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long the tasks sleep that drive hogs from their cores.
const VISITOR_SLEEP: Duration = Duration::from_millis(12);

/// Above the harness and every other real-time task of a scenario.
const PRIORITY: i32 = 10;

/// Options under which a shared core is left at the next tick, so that there is much pushing.
pub const MUCH_PUSHING: &[&str] = &["--spread-after-us", "0"];

/// Lateness of wake-ups in µs.
#[derive(Clone, Copy, Debug)]
pub struct Lateness {
    /// Half of them are later.
    pub median_us: f64,
    /// One percent of them are later.
    pub p99_us: f64,
    /// The latest.
    pub longest_us: f64,
}

/// Measures a real-time task on the second thread of the first core beside the load, under whatever schedules now.
///
/// # Errors
/// The load or the task cannot be started.
pub fn measure(context: &mut Context, cores: &[Cpus]) -> Result<Lateness> {
    let first = |core: &Cpus| core.first().copied().context("a core without threads");
    let mut jobs: Vec<Job> = Vec::new();
    for core in cores {
        jobs.push(Job::sleeper(VISITOR_SLEEP).on(&Cpus::from([first(core)?])));
    }
    jobs.extend(vec![Job::spinner(); cores.len() / 2]);
    let load = Pool::start(&jobs)?;
    context.sleep(WARM_UP);
    let samples = SharedCounters::new(SAMPLES).context("no shared memory for the samples")?;
    let place = cores.first().and_then(|core| core.last()).copied().context("no core")?;
    let probe = sys::fork(|| probe(&samples, place)).context("cannot fork the real-time task")?;
    let ended = waitpid(probe, None).context("the real-time task is gone")?;
    ensure!(matches!(ended, WaitStatus::Exited(_, 0)), "the real-time task could not measure: {ended:?}");
    load.stop(context);
    let mut late: Vec<f64> =
        (0..SAMPLES).map(|index| samples.get(index).load(Ordering::Relaxed) as f64 / 1000.0).collect();
    late.sort_by(f64::total_cmp);
    Ok(Lateness {
        median_us: late[SAMPLES / 2],
        p99_us: late[SAMPLES - SAMPLES / 100 - 1],
        longest_us: late[SAMPLES - 1],
    })
}

fn probe(samples: &SharedCounters, cpu: usize) {
    sys::name_and_follow_parent("probe");
    let begin = crate::workers::set_affinity(nix::unistd::Pid::from_raw(0), &Cpus::from([cpu]))
        .and_then(|()| sys::set_policy(libc::SCHED_FIFO, PRIORITY).context("cannot become SCHED_FIFO"))
        .and_then(|()| trace_now());
    let Ok(begin) = begin else { sys::exit_now(1) };
    let mut next = begin + PERIOD.as_secs_f64();
    for index in 0..SAMPLES {
        let Ok(now) = trace_now() else { sys::exit_now(1) };
        sleep(Duration::from_secs_f64((next - now).max(0.0)));
        let Ok(now) = trace_now() else { sys::exit_now(1) };
        samples.get(index).store(((now - next).max(0.0) * 1e9) as u64, Ordering::Relaxed);
        next = following(next, now);
    }
}

/// When a task is to wake up again that was to wake up at `due` and did at `now`: the first whole period
/// after that. Without skipping those that are over, as cyclictest does, one stall of the machine would make
/// a late sample of each period in it.
fn following(due: f64, now: f64) -> f64 {
    let period = PERIOD.as_secs_f64();
    let over = ((now - due) / period).floor().max(0.0);
    due + (over + 1.0) * period
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_one_late_sample() {
        let periods = |from: f64, to: f64| (to - from) / PERIOD.as_secs_f64();
        assert!((periods(1.0, following(1.0, 1.0)) - 1.0).abs() < 1e-6);
        assert!((periods(1.0, following(1.0, 1.0029)) - 1.0).abs() < 1e-6);
        // A clock that is early by its resolution changes nothing.
        assert!((periods(1.0, following(1.0, 0.9999)) - 1.0).abs() < 1e-6);
        // 100 ms are 33 periods and a bit.
        assert!((periods(1.0, following(1.0, 1.1)) - 34.0).abs() < 1e-6);
    }
}
