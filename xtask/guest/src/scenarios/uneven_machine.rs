// SPDX-License-Identifier: GPL-2.0-only
//! D3: a machine whose last-level caches have unequal numbers of CPUs, with holes in the CPU numbers and a node that has
//! memory only. Hogs that begin in one domain end balanced by capacity, not by domain, and nothing makes the scheduler
//! exit. Stealing is off, so the balancer alone is judged.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::windows;
use crate::context::{Context, Skipped};
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

/// Hogs per CPU of the machine.
const HOGS_PER_CPU: usize = 4;

/// (max − min) / mean of the hogs per CPU over the domains. With 4 hogs a CPU, a single one more in a domain of one CPU
/// gives 0.25 and one more beside one less elsewhere 0.375; equal hogs per domain, with domains of 2 and 1, give 0.67.
const SPREAD_BOUND: f64 = 0.4;

/// Idle share that a CPU may have beside waiting hogs.
const IDLE_BOUND: f64 = 0.1;

const DEADLINE: Duration = Duration::from_secs(90);

pub fn run(context: &mut Context) -> Result<()> {
    let memory_only = evidence::nodes_without_cpus()?;
    if memory_only.is_empty() {
        return Err(Skipped("every node of this machine has CPUs: boot one with +1m".into()).into());
    }
    let off = make_uneven()?;
    if off.is_empty() {
        return Err(Skipped("no cache of this machine can lose a CPU".into()).into());
    }
    let expected: Vec<Cpus> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    let mut scheduler = Scheduler::start(context, &["--greedy-threshold", "0", "--interval", "1"])?;
    let stats = scheduler.stats_when(context, DEADLINE, |_| true)?;
    let mut domains: Vec<Cpus> = stats.domains()?.into_iter().map(|domain| domain.cpus).collect();
    domains.sort();
    let texts: Vec<String> = domains.iter().map(cpulist::format).collect();
    context.text_figure("domains", texts.join(" "));
    context.require(domains == expected, || {
        format!("the scheduler's domains are {}, /sys has {expected:?}", texts.join(" "))
    });

    let cpus = evidence::online()?;
    let pool = Pool::start(&vec![Job::spinner().on(&domains[0]); HOGS_PER_CPU * cpus.len()])?;
    context.sleep(Duration::from_secs(1));
    pool.set_affinity(&cpus)?;
    context.step(format!("hogs released; offline: {off:?}, nodes without CPUs: {memory_only:?}"));
    let even = windows::wait_until_steady(context, DEADLINE, |context| {
        let per_cpu = per_cpu(&windows::hogs(context, &pool, &domains)?, &domains);
        Ok(figures::spread(&per_cpu).is_some_and(|spread| spread <= SPREAD_BOUND))
    })?;
    match even {
        Some(after) => context.figure("converged_after_seconds", after.as_secs_f64()),
        None => context
            .require_measured(false, || format!("the hogs were not even per capacity after {DEADLINE:?}")),
    }
    measure(context, &pool, &domains)?;
    windows::note_moves(context, &scheduler)?;
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}

/// Switches the last CPU of every second cache off. Returns the CPUs that are off now.
fn make_uneven() -> Result<Vec<usize>> {
    let mut off = Vec::new();
    for llc in evidence::llcs()?.iter().skip(1).step_by(2) {
        let Some(&last) = llc.cpus.last().filter(|_| llc.cpus.len() > 1) else { continue };
        let switch = format!("/sys/devices/system/cpu/cpu{last}/online");
        fs::write(&switch, "0").with_context(|| format!("cannot switch CPU {last} off"))?;
        ensure!(!evidence::online()?.contains(&last), "CPU {last} was switched off and is online");
        off.push(last);
    }
    Ok(off)
}

fn per_cpu(hogs: &[f64], domains: &[Cpus]) -> Vec<f64> {
    hogs.iter().zip(domains).map(|(hogs, cpus)| hogs / cpus.len() as f64).collect()
}

/// Spread and idle time once the balancer has done its work.
fn measure(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<()> {
    let before = evidence::cpu_times()?;
    let hogs = windows::steady_hogs(context, pool, domains)?;
    let (idle, cpu) = windows::most_idle(&before, &evidence::cpu_times()?);
    let per_cpu = per_cpu(&hogs, domains);
    let spread = figures::spread(&per_cpu).unwrap_or(f64::INFINITY);
    context.figure("spread_per_cpu", spread);
    context.figure("most_idle_share", idle);
    context.text_figure("hogs_per_domain", windows::shown(&hogs));
    context.require_measured(spread <= SPREAD_BOUND, || {
        format!(
            "spread of the hogs per CPU over the domains is {spread:.2} ({}), bound {SPREAD_BOUND}",
            windows::shown(&per_cpu)
        )
    });
    context.require_measured(idle <= IDLE_BOUND, || {
        format!("CPU {cpu} was idle {:.0} % of the time beside waiting hogs", idle * 100.0)
    });
    Ok(())
}
