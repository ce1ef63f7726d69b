// SPDX-License-Identifier: GPL-2.0-only
//! D2: one task of a weight that no number of CPUs could satisfy, on a saturated host, with stealing off: the balancer
//! alone decides where the others are. Counted at its face value that task would fill its domain many times over, and
//! everything else would be pushed away from the CPUs beside it. It can use one CPU only, so every CPU of its domain, as
//! every other one, must stay busy.

use std::time::Duration;

use anyhow::Result;

use super::windows;
use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

/// Ordinary hogs per CPU that the heavy task leaves to them.
const HOGS_PER_CPU: usize = 2;

/// Nice value of the heavy task: the largest weight there is, 88 times that of nice 0.
const HEAVY_NICE: i32 = -20;

/// Idle share that a CPU may have beside waiting hogs.
const IDLE_BOUND: f64 = 0.1;

/// Share of one CPU that the heavy task must get.
const HEAVY_SHARE: f64 = 0.7;

const DEADLINE: Duration = Duration::from_secs(90);

pub fn run(context: &mut Context) -> Result<()> {
    let mut scheduler = Scheduler::start(context, &["--greedy-threshold", "0", "--interval", "1"])?;
    let stats = scheduler.stats_when(context, DEADLINE, |_| true)?;
    let domains: Vec<Cpus> = stats.domains()?.into_iter().map(|domain| domain.cpus).collect();
    let cpus = evidence::online()?;
    if domains.len() < 2 || domains[0].len() < 2 {
        return Err(Skipped("this machine has one domain, or domains of one CPU".into()).into());
    }
    let mut jobs = vec![Job::spinner().nice(HEAVY_NICE).on(&domains[0])];
    jobs.extend(vec![Job::spinner().on(&domains[0]); HOGS_PER_CPU * (cpus.len() - 1)]);
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_secs(1));
    // The heavy task stays bound: what is judged is where the others go.
    pool.pids()[1..].iter().try_for_each(|&pid| crate::workers::set_affinity(pid, &cpus))?;
    context.step("hogs released");
    let mut last = (0.0, 0);
    let busy = windows::wait_until_steady(context, DEADLINE, |context| {
        let before = evidence::cpu_times()?;
        context.sleep(Duration::from_secs(1));
        last = windows::most_idle(&before, &evidence::cpu_times()?);
        Ok(last.0 <= IDLE_BOUND)
    })?;
    match busy {
        Some(after) => context.figure("all_busy_after_seconds", after.as_secs_f64()),
        None => context.require_measured(false, || {
            format!("CPU {} was still idle {:.0} % of a second after {DEADLINE:?}", last.1, last.0 * 100.0)
        }),
    }
    measure(context, &pool, &domains)?;
    windows::note_moves(context, &scheduler)?;
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}

/// Idle time and shares over T, once the balancer has done its work.
fn measure(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<()> {
    let (progress, had) = (pool.progress(), pool.cpu_seconds()?);
    let before = evidence::cpu_times()?;
    context.sleep(context.base_time);
    let (idle, cpu) = windows::most_idle(&before, &evidence::cpu_times()?);
    let heavy = pool.cpu_seconds()?[0] - had[0];
    let stuck = progress.iter().zip(pool.progress()).filter(|(before, after)| after <= before).count();
    let hogs = windows::hogs(context, pool, domains)?;
    context.figure("most_idle_share", idle);
    context.figure("heavy_cpu_seconds", heavy);
    context.text_figure("tasks_per_domain", windows::shown(&hogs));
    context.require_measured(idle <= IDLE_BOUND, || {
        format!(
            "CPU {cpu} was idle {:.0} % of the time beside waiting hogs (tasks per domain {}), bound {:.0} %",
            idle * 100.0,
            windows::shown(&hogs),
            IDLE_BOUND * 100.0
        )
    });
    let bound = HEAVY_SHARE * context.base_time.as_secs_f64();
    context.require_measured(heavy >= bound, || {
        format!("the task of nice {HEAVY_NICE} had {heavy:.2} s of CPU time, bound {bound:.2} s")
    });
    context.require_measured(stuck == 0, || format!("{stuck} workers stood still for T"));
    Ok(())
}
