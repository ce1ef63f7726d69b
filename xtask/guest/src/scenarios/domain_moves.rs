// SPDX-License-Identifier: GPL-2.0-only
//! D1: hogs forced into one domain and then released, with stealing off, so that only the balancer's moves can spread
//! them. The loads converge, no CPU stays idle, and the kernel's migrations between domains are as many as the moves
//! that the scheduler counts as applied.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::trace::{self, MigrationTrace};
use crate::workers::{HOG, Job, Pool};

/// Hogs per CPU of the machine.
const HOGS_PER_CPU: usize = 3;

/// (max − min) / mean of the hogs per domain: with 6 hogs a domain, one hog more or less.
const SPREAD_BOUND: f64 = 0.25;

/// Idle share that a CPU may have at the end.
const IDLE_BOUND: f64 = 0.1;

/// Migrations may differ from applied moves by this share (or by 2): moves in flight when the counters are read.
const TOLERANCE: f64 = 0.1;

const DEADLINE: Duration = Duration::from_secs(40);

const SAMPLE: Duration = Duration::from_millis(100);

/// Samples of one window (1 s).
const WINDOW: usize = 10;

/// Windows in a row within the bound that count as converged, and the windows measured after that.
const STEADY_WINDOWS: usize = 3;

pub fn run(context: &mut Context) -> Result<()> {
    let arguments = ["--greedy-threshold", "0", "--interval", "1"];
    let mut scheduler = Scheduler::start(context, &arguments)?;
    let stats = scheduler.stats_when(context, DEADLINE, |_| true)?;
    let domains: Vec<Cpus> = stats.domains()?.into_iter().map(|domain| domain.cpus).collect();
    if domains.len() < 2 {
        return Err(Skipped("this machine has one domain".into()).into());
    }
    let cpus = evidence::online()?;
    let pool = Pool::start(&vec![Job::spinner().on(&domains[0]); HOGS_PER_CPU * cpus.len()])?;
    context.sleep(Duration::from_secs(2));
    let outside = pool.cpus()?.iter().filter(|cpu| !domains[0].contains(cpu)).count();
    ensure!(outside == 0, "{outside} hogs are outside the domain they are bound to");

    let trace = MigrationTrace::start(HOG)?;
    let applied_before = scheduler.stats(context)?.counter("applied")?;
    pool.set_affinity(&cpus)?;
    context.step("hogs released");
    let converged = wait_until_even(context, &pool, &domains)?;
    match converged {
        Some(after) => context.figure("converged_after_seconds", after.as_secs_f64()),
        None => context.require_measured(false, || format!("the hogs were not even after {DEADLINE:?}")),
    }
    scheduler.require_on(context)?;
    measure_steady(context, &pool, &domains)?;

    let last = scheduler.stats(context)?;
    let (migrations, text) = trace.finish()?;
    pool.stop();
    let applied = last.counter("applied")? - applied_before;
    let crossed = trace::cross_domain(&migrations, &evidence::domain_of_cpus(&domains)) as u64;
    for counter in ["planned", "expired", "refused", "steals"] {
        context.figure(counter, last.counter(counter)? as f64);
    }
    context.figure("applied", applied as f64);
    context.figure("migrations_between_domains", crossed as f64);
    context.require(applied > 0, || "the scheduler applied no move".into());
    let tolerance = ((applied as f64 * TOLERANCE) as u64).max(2);
    context.require(crossed.abs_diff(applied) <= tolerance, || {
        format!(
            "{crossed} migrations between domains traced, {applied} moves applied (tolerance {tolerance})"
        )
    });
    if context.has_failures() {
        context.keep_file("migrations.trace", &text);
    }
    scheduler.stop(context)
}

/// Mean hogs per domain over one window.
fn window(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<Vec<f64>> {
    let mut samples = Vec::new();
    for _ in 0..WINDOW {
        context.sleep(SAMPLE);
        samples.push(evidence::count_per_domain(domains, &pool.cpus()?));
    }
    Ok(figures::column_means(&samples))
}

/// Time from the release to the first of several even windows; None when there were none.
fn wait_until_even(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<Option<Duration>> {
    let begin = Instant::now();
    let (mut first, mut steady) = (Duration::ZERO, 0);
    while begin.elapsed() < DEADLINE {
        let at = begin.elapsed();
        let hogs = window(context, pool, domains)?;
        if figures::spread(&hogs).is_some_and(|spread| spread <= SPREAD_BOUND) {
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

/// Spread and idle time once the balancer has done its work.
fn measure_steady(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<()> {
    let before = evidence::cpu_times()?;
    let mut windows = Vec::new();
    for _ in 0..STEADY_WINDOWS {
        windows.push(window(context, pool, domains)?);
    }
    let passed = evidence::cpu_times_between(&before, &evidence::cpu_times()?);
    let hogs = figures::column_means(&windows);
    let spread = figures::spread(&hogs).unwrap_or(f64::INFINITY);
    let idle = passed.iter().map(|time| time.idle / (time.busy + time.idle).max(0.01)).fold(0.0, f64::max);
    let shown: Vec<String> = hogs.iter().map(|hogs| format!("{hogs:.2}")).collect();
    context.figure("spread", spread);
    context.figure("most_idle_share", idle);
    context.text_figure("hogs_per_domain", shown.join(" "));
    context.require_measured(spread <= SPREAD_BOUND, || {
        format!(
            "spread of the hogs over the domains is {spread:.2} ({}), bound {SPREAD_BOUND}",
            shown.join(" ")
        )
    });
    context.require_measured(idle <= IDLE_BOUND, || {
        format!(
            "a CPU was idle {:.0} % of the time beside waiting hogs, bound {:.0} %",
            idle * 100.0,
            IDLE_BOUND * 100.0
        )
    });
    Ok(())
}
