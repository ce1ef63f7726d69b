// SPDX-License-Identifier: GPL-2.0-only
//! What the balancing scenarios look at: where hogs are and how idle CPUs are, over windows of a second, until it stays
//! as it should be.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence::{self, CpuTime};
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::Pool;

const SAMPLE: Duration = Duration::from_millis(100);

/// Samples of one window (1 s).
const WINDOW: usize = 10;

/// Windows in a row that must be as they should, and the windows that [`steady_hogs`] measures.
const STEADY_WINDOWS: usize = 3;

/// Mean hogs per domain over one window.
pub fn hogs(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    for _ in 0..WINDOW {
        context.sleep(SAMPLE);
        samples.push(evidence::count_per_domain(domains, &pool.cpus()?));
    }
    Ok(figures::column_means(&samples))
}

/// Mean hogs per domain over several windows.
pub fn steady_hogs(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<Vec<f64>> {
    let mut windows = Vec::new();
    for _ in 0..STEADY_WINDOWS {
        windows.push(hogs(context, pool, domains)?);
    }
    Ok(figures::column_means(&windows))
}

/// Time from now to the first of several good windows in a row; None when there were none in `deadline`. `good` looks at
/// one window.
pub fn wait_until_steady(
    context: &mut Context,
    deadline: Duration,
    mut good: impl FnMut(&mut Context) -> Result<bool>,
) -> Result<Option<Duration>> {
    let begin = Instant::now();
    let (mut first, mut steady) = (Duration::ZERO, 0);
    while begin.elapsed() < deadline {
        let at = begin.elapsed();
        if good(context)? {
            if steady == 0 {
                first = at;
            }
            steady += 1;
            if steady == STEADY_WINDOWS {
                return Ok(Some(first));
            }
        } else {
            steady = 0;
        }
    }
    Ok(None)
}

/// Share of the time that the idlest CPU was idle between two readings, and that CPU.
pub fn most_idle(before: &[CpuTime], after: &[CpuTime]) -> (f64, usize) {
    let share = |time: &CpuTime| (time.idle / (time.busy + time.idle).max(0.01), time.cpu);
    evidence::cpu_times_between(before, after)
        .iter()
        .map(share)
        .fold((0.0, 0), |most, one| if one.0 > most.0 { one } else { most })
}

/// Notes the counters that say what became of domain-balancer's plans: they explain a failure, they prove nothing.
pub fn note_moves(context: &mut Context, scheduler: &Scheduler) -> Result<()> {
    let stats = scheduler.stats(context)?;
    for counter in ["planned", "applied", "expired", "refused", "steals"] {
        context.figure(counter, stats.counter(counter)? as f64);
    }
    Ok(())
}

/// Values with two decimals, for figures and failures.
pub fn shown(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_cpu_is_named() {
        let time = |cpu, busy, idle| CpuTime { cpu, busy, idle };
        let before = [time(0, 10.0, 10.0), time(3, 5.0, 5.0)];
        let after = [time(0, 14.0, 11.0), time(3, 6.0, 8.0)];
        assert_eq!(most_idle(&before, &after), (0.75, 3));
        assert_eq!(most_idle(&before, &before), (0.0, 0));
    }

    #[test]
    fn only_good_windows_in_a_row_count() {
        let mut context = Context::for_test();
        let mut looks = [true, true, false, true, true, true].into_iter();
        let hour = Duration::from_secs(3600);
        let found = wait_until_steady(&mut context, hour, |_| Ok(looks.next().unwrap())).unwrap();
        assert!(found.is_some() && looks.next().is_none());
        assert_eq!(wait_until_steady(&mut context, Duration::ZERO, |_| Ok(true)).unwrap(), None);
    }
}
