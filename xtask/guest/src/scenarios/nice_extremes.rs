// SPDX-License-Identifier: GPL-2.0-only
//! 9: the ends of the scale, each pair alone on a CPU: nice −20 against 0 (theory 87), 0 against 19 (68), 0 against
//! SCHED_IDLE (341), and spinners that get another nice value while they are runnable. Shares follow the weights, and
//! nobody is left with nothing.
//!
//! A task's past must not outlive its weight: one that was nice 19 gets its share soon after it became nice 0.

use std::time::Duration;

use anyhow::Result;
use nix::unistd::Pid;

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::sys;
use crate::workers::{Job, Policy, Pool};

/// What the heavier one of an extreme pair must get for each second of the other: far below theory, far above equal.
const EXTREME: f64 = 8.0;

/// Nice 0 against nice 5, re-niced: theory 3.06.
const RENICED: std::ops::RangeInclusive<f64> = 1.8..=4.5;

/// Share that a task must get within the second phase after it became equal to its neighbour (theory 0.5).
const RECOVERED: f64 = 0.2;

/// How long old virtual time may still count after a change of weight.
const SETTLE: Duration = Duration::from_secs(3);

struct Pair {
    what: &'static str,
    jobs: [Job; 2],
    /// Nice value that the second one gets for the second phase.
    renice: Option<i32>,
}

fn pairs() -> Vec<Pair> {
    let pair = |what, first, second, renice| Pair { what, jobs: [first, second], renice };
    let hog = Job::spinner;
    vec![
        pair("nice_-20_to_0", hog().nice(-20), hog(), None),
        pair("nice_0_to_19", hog(), hog().nice(19), None),
        pair("nice_0_to_idle", hog(), hog().policy(Policy::Idle), None),
        pair("reniced_to_5", hog(), hog(), Some(5)),
        pair("reniced_from_19", hog(), hog().nice(19), Some(0)),
    ]
}

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    let pairs = pairs();
    if cpus.len() < pairs.len() {
        return Err(Skipped(format!("this machine has fewer than {} CPUs", pairs.len())).into());
    }
    let mut scheduler = Scheduler::start(context, &[])?;
    let on = |(pair, &cpu): (&Pair, &usize)| pair.jobs.clone().map(|job| job.on(&Cpus::from([cpu])));
    let jobs: Vec<Job> = pairs.iter().zip(&cpus).flat_map(on).collect();
    let pool = Pool::start(&jobs)?;
    let first = measure(context, &pool, context.base_time / 2)?;
    for (pair, pids) in pairs.iter().zip(pool.pids().chunks(2)) {
        if let Some(nice) = pair.renice {
            sys::renice(pids[1], nice)?;
        }
    }
    context.step("re-niced");
    context.sleep(SETTLE);
    let second = measure(context, &pool, context.base_time / 2)?;
    scheduler.require_on(context)?;
    for (index, pair) in pairs.iter().enumerate() {
        judge(context, pair, first[index], second[index]);
    }
    let total = pool.cpu_seconds()?;
    require_all_ran(context, pool.pids(), &total);
    pool.stop(context);
    scheduler.stop(context)
}

/// CPU seconds of both of every pair during `length`.
fn measure(context: &mut Context, pool: &Pool, length: Duration) -> Result<Vec<[f64; 2]>> {
    let before = pool.cpu_seconds()?;
    context.sleep(length);
    let had: Vec<f64> =
        pool.cpu_seconds()?.iter().zip(&before).map(|(after, before)| after - before).collect();
    Ok(had.chunks(2).map(|pair| [pair[0], pair[1]]).collect())
}

fn ratio([first, second]: [f64; 2]) -> f64 {
    if second > 0.0 { first / second } else { f64::INFINITY }
}

fn judge(context: &mut Context, pair: &Pair, first: [f64; 2], second: [f64; 2]) {
    let what = pair.what;
    context.text_figure(what, format!("{:.1} then {:.1}", ratio(first), ratio(second)));
    let mut require = |holds: bool, bound: String| {
        context.require_measured(holds, || {
            format!(
                "{what}: CPU time {first:.2?} s, then {second:.2?} s (first to second task), expected {bound}"
            )
        });
    };
    match pair.renice {
        None => {
            // A light task's rare turn may fall into either phase.
            let both = [first[0] + second[0], first[1] + second[1]];
            require(ratio(both) >= EXTREME, format!("at least {EXTREME} to 1"));
        }
        Some(5) => require(RENICED.contains(&ratio(second)), format!("{RENICED:?} after the change")),
        Some(_) => {
            let share = second[1] / (second[0] + second[1]).max(0.01);
            require(share >= RECOVERED, format!("a share of at least {RECOVERED} after the change"));
        }
    }
}

fn require_all_ran(context: &mut Context, pids: &[Pid], seconds: &[f64]) {
    let starved = pids.iter().zip(seconds).filter(|(_, had)| **had <= 0.0).count();
    context.require_measured(starved == 0, || format!("{starved} spinners had no CPU time at all"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Record, Verdict};

    fn verdict(pair: usize, first: [f64; 2], second: [f64; 2]) -> Verdict {
        let mut context = Context::for_test();
        judge(&mut context, &pairs()[pair], first, second);
        match context.finish(Ok(())) {
            Record::Result { verdict, .. } => verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shares_are_judged_by_what_the_pair_is_about() {
        assert_eq!(verdict(0, [4.9, 0.1], [5.0, 0.0]), Verdict::Pass);
        assert_eq!(verdict(0, [2.5, 2.5], [2.5, 2.5]), Verdict::Fail);
        assert_eq!(verdict(3, [2.5, 2.5], [3.75, 1.25]), Verdict::Pass);
        assert_eq!(verdict(3, [2.5, 2.5], [2.5, 2.5]), Verdict::Fail);
        assert_eq!(verdict(4, [4.9, 0.1], [2.6, 2.4]), Verdict::Pass);
        assert_eq!(verdict(4, [4.9, 0.1], [4.9, 0.1]), Verdict::Fail);
    }
}
