// SPDX-License-Identifier: GPL-2.0-only
//! D1: hogs forced into one domain and then released, with stealing off, so that only the balancer's moves can spread
//! them. The loads converge, no CPU stays idle, and the kernel's migrations between domains are as many as the moves
//! that the scheduler counts as applied.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::windows;
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

const DEADLINE: Duration = Duration::from_secs(90);

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
    let converged = windows::wait_until_steady(context, DEADLINE, |context| {
        let hogs = windows::hogs(context, &pool, &domains)?;
        Ok(figures::spread(&hogs).is_some_and(|spread| spread <= SPREAD_BOUND))
    })?;
    match converged {
        Some(after) => context.figure("converged_after_seconds", after.as_secs_f64()),
        None => context.require_measured(false, || format!("the hogs were not even after {DEADLINE:?}")),
    }
    scheduler.require_on(context)?;
    measure_steady(context, &pool, &domains)?;

    let last = scheduler.stats(context)?;
    let (migrations, text) = trace.finish()?;
    pool.stop(context);
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

/// Spread and idle time once the balancer has done its work.
fn measure_steady(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<()> {
    let before = evidence::cpu_times()?;
    let hogs = windows::steady_hogs(context, pool, domains)?;
    let (idle, cpu) = windows::most_idle(&before, &evidence::cpu_times()?);
    let spread = figures::spread(&hogs).unwrap_or(f64::INFINITY);
    let shown = windows::shown(&hogs);
    context.figure("spread", spread);
    context.figure("most_idle_share", idle);
    context.text_figure("hogs_per_domain", shown.as_str());
    context.require_measured(spread <= SPREAD_BOUND, || {
        format!("spread of the hogs over the domains is {spread:.2} ({shown}), bound {SPREAD_BOUND}")
    });
    context.require_measured(idle <= IDLE_BOUND, || {
        format!(
            "CPU {cpu} was idle {:.0} % of the time beside waiting hogs, bound {:.0} %",
            idle * 100.0,
            IDLE_BOUND * 100.0
        )
    });
    Ok(())
}
