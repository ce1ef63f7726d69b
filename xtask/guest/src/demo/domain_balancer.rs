// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer: a load that begins in one domain, under the kernel's scheduler and then under domain-balancer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{length_seconds, row};
use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence::{self, CpuTime, Llc};
use crate::figures;
use crate::protocol::{KERNEL_PHASE, LiveRow, Record, TableRow};
use crate::scheduler::Scheduler;
use crate::stats_client::Stats;
use crate::trace::{self, MigrationTrace};
use crate::workers::{HOG, Job, Pool};

/// Hogs per CPU of the machine.
const HOGS_PER_CPU: usize = 3;

/// (max − min) / mean that the loads of the domains may show at the end.
const SPREAD_BOUND: f64 = 0.25;

/// The same for the numbers of hogs: one more than even here and one less there. Hogs move as wholes, and other tasks have
/// load as well, the daemon with its high priority first of all.
fn hogs_bound(hogs_per_domain: f64) -> f64 {
    2.1 / hogs_per_domain
}

/// Before the release the hogs are bound to the first domain for this long, so that the imbalance is there to see.
const BOUND: Duration = Duration::from_secs(2);

const SAMPLE: Duration = Duration::from_millis(100);

const COLUMNS: [&str; 8] =
    ["CPUs", "node", "tasks", "busy", "load (said)", "imbalance (said)", "in (said)", "out (said)"];

const STATS_DEADLINE: Duration = Duration::from_secs(120);

/// What one phase gave.
struct Phase {
    /// Spread of the hogs' places over the domains in the last quarter.
    spread: f64,
    /// CPU time of the hogs over the whole phase, max/min.
    cpu_time_ratio: f64,
    /// Seconds from the release until the places were even for the first time; None: never.
    even_after: Option<f64>,
    migrations: usize,
    crossings: usize,
    hogs_per_domain: Vec<f64>,
    load_samples: Vec<Vec<f64>>,
}

pub fn run(context: &mut Context) -> Result<()> {
    let seconds = length_seconds(context);
    let llcs = evidence::llcs()?;
    context.step(format!("the kernel's scheduler, {seconds:.0} s"));
    let kernel = phase(context, KERNEL_PHASE, seconds, &llcs, None)?;
    let name = context.plan.scheduler.clone();
    let mut scheduler = Scheduler::start(context, &[])?;
    let first = scheduler.stats_when(context, STATS_DEADLINE, |_| true)?;
    context.step(format!("{name}, {seconds:.0} s"));
    let tested = phase(context, &name, seconds, &llcs, Some(&mut scheduler))?;
    let last = scheduler.stats(context)?;
    let load_spread = figures::spread(&figures::column_means(&tested.load_samples)).unwrap_or(f64::INFINITY);
    let passed =
        |counter: &str| -> Result<u64> { Ok(last.counter(counter)?.saturating_sub(first.counter(counter)?)) };
    let (planned, applied) = (passed("planned")?, passed("applied")?);
    context.send(&Record::Table { rows: rows(&kernel, &tested, load_spread, planned, applied) });
    context.figure("spread_kernel", kernel.spread);
    context.figure("spread", tested.spread);
    context.figure("load_spread", load_spread);
    context.figure("planned", planned as f64);
    context.figure("applied", applied as f64);
    context.require(applied > 0, || format!("{name} applied no move"));
    let hogs = hogs_bound(figures::mean(&tested.hogs_per_domain));
    for (what, spread, bound) in [("hogs", tested.spread, hogs), ("load", load_spread, SPREAD_BOUND)] {
        context.require_measured(spread <= bound, || {
            format!("the spread of the {what} over the domains is {spread:.2} at the end, bound {bound:.2}")
        });
    }
    scheduler.stop(context)
}

fn rows(kernel: &Phase, tested: &Phase, load_spread: f64, planned: u64, applied: u64) -> Vec<TableRow> {
    let each = |phase: &Phase| {
        let hogs: Vec<String> = phase.hogs_per_domain.iter().map(|hogs| format!("{hogs:.1}")).collect();
        hogs.join(" ")
    };
    let even = |phase: &Phase| phase.even_after.map_or("never".to_owned(), |seconds| format!("{seconds:.1}"));
    let none = || "-".to_owned();
    vec![
        row("hogs per domain at the end", each(kernel), each(tested)),
        row(
            "spread of the hogs at the end ((max-min)/mean)",
            format!("{:.2}", kernel.spread),
            format!("{:.2}", tested.spread),
        ),
        row("spread of the scheduler's load at the end", none(), format!("{load_spread:.2}")),
        row("even for the first time after (s)", even(kernel), even(tested)),
        row("moves planned", none(), planned.to_string()),
        row("moves applied", none(), applied.to_string()),
        row("migrations of hogs between domains", kernel.crossings.to_string(), tested.crossings.to_string()),
        row("migrations of hogs", kernel.migrations.to_string(), tested.migrations.to_string()),
        row(
            "CPU time of the hogs, max/min",
            format!("{:.2}", kernel.cpu_time_ratio),
            format!("{:.2}", tested.cpu_time_ratio),
        ),
    ]
}

fn phase(
    context: &mut Context,
    name: &str,
    seconds: f64,
    llcs: &[Llc],
    mut scheduler: Option<&mut Scheduler>,
) -> Result<Phase> {
    ensure!(!llcs.is_empty(), "/sys shows no caches");
    let domains: Vec<Cpus> = llcs.iter().map(|llc| llc.cpus.clone()).collect();
    let cpus = evidence::online()?;
    let pool = Pool::start(&vec![Job::spinner().on(&domains[0]); HOGS_PER_CPU * cpus.len()])?;
    context.sleep(BOUND);
    let trace = MigrationTrace::start(HOG)?;
    let time_before = pool.cpu_seconds()?;
    pool.set_affinity(&cpus)?;
    let begin = Instant::now();
    let length = Duration::from_secs_f64(seconds);
    let (mut even_after, mut places, mut load_samples) = (None, Vec::new(), Vec::new());
    let mut times = evidence::cpu_times()?;
    while begin.elapsed() < length {
        let second = one_second(context, &pool, &domains)?;
        let at = begin.elapsed().as_secs_f64();
        let hogs = figures::column_means(&second);
        let mean = figures::mean(&hogs);
        if even_after.is_none() && figures::spread(&hogs).is_some_and(|spread| spread <= hogs_bound(mean)) {
            even_after = Some(at);
        }
        let mut json = Value::Null;
        if let Some(scheduler) = &mut scheduler {
            scheduler.require_on(context)?;
            let stats = scheduler.stats(context)?;
            if at > seconds * 0.75 {
                load_samples.push(loads(&stats)?);
            }
            json = stats.0;
        }
        if at > seconds * 0.75 {
            places.extend(second);
        }
        let now = evidence::cpu_times()?;
        let passed = evidence::cpu_times_between(&times, &now);
        times = now;
        context.send(&live(name, at, llcs, &hogs, &passed, &json));
    }
    let had: Vec<f64> =
        pool.cpu_seconds()?.iter().zip(&time_before).map(|(after, before)| after - before).collect();
    let (migrations, _) = trace.finish()?;
    let hogs_per_domain = figures::column_means(&places);
    Ok(Phase {
        spread: figures::spread(&hogs_per_domain).unwrap_or(f64::INFINITY),
        cpu_time_ratio: figures::max_over_min(&had).unwrap_or(f64::INFINITY),
        even_after,
        migrations: migrations.len(),
        crossings: trace::cross_domain(&migrations, &evidence::domain_of_cpus(&domains)),
        hogs_per_domain,
        load_samples,
    })
}

/// Hogs per domain, sampled for a second.
fn one_second(context: &mut Context, pool: &Pool, domains: &[Cpus]) -> Result<Vec<Vec<f64>>> {
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < Duration::from_secs(1) {
        context.sleep(SAMPLE);
        samples.push(evidence::count_per_domain(domains, &pool.cpus()?));
    }
    Ok(samples)
}

fn loads(stats: &Stats) -> Result<Vec<f64>> {
    Ok(stats.domains()?.into_iter().map(|domain| domain.load).collect())
}

/// The domains as they are: what was measured, and what the scheduler says where it says anything.
fn live(phase: &str, at: f64, llcs: &[Llc], hogs: &[f64], times: &[CpuTime], said: &Value) -> Record {
    let seconds =
        figures::mean(&times.iter().map(|time| time.busy + time.idle).collect::<Vec<_>>()).max(0.01);
    let most = hogs.iter().copied().fold(1.0, f64::max);
    let entries = said["domains"].as_object();
    let (mut rows, mut brief) = (Vec::new(), Vec::new());
    for (llc, &hogs) in llcs.iter().zip(hogs) {
        let cpus = cpulist::format(&llc.cpus);
        let busy: f64 = times.iter().filter(|time| llc.cpus.contains(&time.cpu)).map(|time| time.busy).sum();
        let domain =
            entries.and_then(|all| all.values().find(|domain| domain["cpus"].as_str() == Some(&cpus)));
        let number = |field: &str| domain.and_then(|domain| domain[field].as_f64());
        let load = number("load").map_or(String::new(), |load| format!(" load {load:.1}"));
        brief.push(format!("[{cpus}] {hogs:.1} tasks{load}"));
        let said = |field: &str, digits: usize| {
            number(field).map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let cells = vec![
            cpus.clone(),
            llc.node.to_string(),
            format!("{hogs:.1}"),
            format!("{:.1}", busy / seconds),
            said("load", 2),
            said("imbalance", 2),
            said("moved_in", 0),
            said("moved_out", 0),
        ];
        rows.push(LiveRow { cells, bar: hogs / most });
    }
    let counter = |name: &str| said[name].as_u64();
    let note = match (counter("planned"), counter("applied")) {
        (Some(planned), Some(applied)) => format!("moves: {planned} planned, {applied} applied"),
        _ => String::new(),
    };
    Record::Live {
        phase: phase.to_owned(),
        at_seconds: figures::rounded(at),
        note,
        brief: brief.join("  "),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows,
    }
}
