// SPDX-License-Identifier: GPL-2.0-only
//! F1, F2, …: the kernel's half of the comparison with the simulator. What runs and what has to come out is in
//! `crates/sched-sim/fidelity/scenarios.json`; the simulator is held to the same file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::figures;
use crate::scheduler::Scheduler;
use crate::workers::{self, Job, Pool};

const FILE: &str = include_str!("../../../../crates/sched-sim/fidelity/scenarios.json");

/// Between two looks from CPUs that no job uses.
const SAMPLE: Duration = Duration::from_millis(100);

/// Between two looks where every CPU is some job's. The harness is real-time and takes its CPU from them for tens of milliseconds a look,
/// emulated; a scheduler that moves on who is robbed of a CPU empties that cache meanwhile, and is to have it back before the next look.
const APART: Duration = Duration::from_millis(500);

/// The end of the run, in which tasks are counted by cache.
const LAST: Duration = Duration::from_secs(4);

const SHARE_RATIO: &str = "share_ratio";

/// The same ratio of the work that was done, measured where all tasks are bound to one CPU, and as good as
/// that of the CPU times there: a stall of the machine gives CPU time to whoever has the CPU at that moment,
/// but no work; wrong shares change both.
const WORK_RATIO: &str = "work_ratio";

#[derive(Deserialize)]
struct Suite {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    seconds: u64,
    options: Vec<String>,
    jobs: Vec<Spinners>,
    release_s: Option<u64>,
    figures: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Spinners {
    count: usize,
    nice: i32,
    cpus: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    expected: f64,
    kernel_within: f64,
}

fn scenario(name: &str) -> Result<Scenario> {
    let suite: Suite = serde_json::from_str(FILE).context("the scenarios of the simulator cannot be read")?;
    let found = suite.scenarios.into_iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("the simulator has no scenario {name}"))
}

pub fn run_f1(context: &mut Context) -> Result<()> {
    run(context, "F1")
}

pub fn run_f2(context: &mut Context) -> Result<()> {
    run(context, "F2")
}

pub fn run_f3(context: &mut Context) -> Result<()> {
    run(context, "F3")
}

pub fn run_f4(context: &mut Context) -> Result<()> {
    run(context, "F4")
}

fn run(context: &mut Context, name: &str) -> Result<()> {
    let scenario = scenario(name)?;
    let options: Vec<&str> = scenario.options.iter().map(String::as_str).collect();
    let scheduler = Scheduler::start(context, &options)?;
    let (jobs, masks) = jobs(&scenario)?;
    let pool = Pool::start(&jobs)?;
    let aside = Aside::of(&masks)?;
    let found = measure(context, &scenario, &scheduler, &pool, &masks)?;
    drop(aside);
    pool.stop(context);
    for (figure, expected) in &scenario.figures {
        let value = *found.get(figure.as_str()).with_context(|| format!("nobody measures '{figure}'"))?;
        context.figure(figure, value);
        let (wanted, within) = (expected.expected, expected.kernel_within);
        let is_near = |value: f64| (value - wanted).abs() <= within;
        let work = found.get(WORK_RATIO).copied().filter(|_| figure == SHARE_RATIO);
        if let Some(work) = work {
            context.figure(WORK_RATIO, work);
        }
        context.require_measured(is_near(value) || work.is_some_and(is_near), || {
            format!("{figure} is {value:.2} here; simulator and kernel have to give {wanted} ± {within}")
        });
    }
    scheduler.stop(context)
}

/// One job and one set of CPUs for each task.
fn jobs(scenario: &Scenario) -> Result<(Vec<Job>, Vec<Option<Cpus>>)> {
    let (mut jobs, mut masks) = (Vec::new(), Vec::new());
    for spinners in &scenario.jobs {
        let cpus = spinners
            .cpus
            .as_deref()
            .map(|text| cpulist::parse(text).with_context(|| format!("'{text}' is no list of CPUs")));
        let cpus = cpus.transpose()?;
        let job = Job { cpus: cpus.clone(), ..Job::spinner().nice(spinners.nice) };
        jobs.extend(std::iter::repeat_n(job, spinners.count));
        masks.extend(std::iter::repeat_n(cpus, spinners.count));
    }
    Ok((jobs, masks))
}

/// While this lives, the harness looks on from CPUs that no job is bound to. It is real-time and wakes up where it ran
/// before: emulated, a hundred looks take seconds from the jobs of one CPU, and from nobody else (F4 was 0.88 to 1.16).
struct Aside;

impl Aside {
    /// Stays where it is when some job may run everywhere or nothing is left.
    fn of(masks: &[Option<Cpus>]) -> Result<Self> {
        let mut left = evidence::online()?;
        left.retain(|cpu| masks.iter().all(|mask| mask.as_ref().is_some_and(|mask| !mask.contains(cpu))));
        if !left.is_empty() {
            workers::set_affinity(Pid::this(), &left)?;
        }
        Ok(Self)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let back = evidence::online().and_then(|online| workers::set_affinity(Pid::this(), &online));
        if let Err(error) = back {
            eprintln!("the harness stays on the CPUs it looked on from: {error:#}");
        }
    }
}

fn measure(
    context: &mut Context,
    scenario: &Scenario,
    scheduler: &Scheduler,
    pool: &Pool,
    masks: &[Option<Cpus>],
) -> Result<BTreeMap<&'static str, f64>> {
    let llcs: Vec<Cpus> = evidence::llcs()?.into_iter().map(|llc| llc.cpus).collect();
    let (begin, length) = (Instant::now(), Duration::from_secs(scenario.seconds));
    let mut release = scenario.release_s.map(Duration::from_secs);
    // For the whole run, somebody is bound.
    let bound = release.is_none() && masks.iter().any(Option::is_some);
    let (mut applied_before, mut outside, mut last) = (0, 0, Vec::new());
    while begin.elapsed() < length {
        context.sleep(if bound { SAMPLE } else { APART });
        if release.is_some_and(|at| begin.elapsed() >= at) {
            release = None;
            applied_before = scheduler.stats(context)?.counter("applied")?;
            pool.set_affinity(&evidence::online()?)?;
        }
        let at_end = || begin.elapsed() + LAST >= length;
        // Each look takes time from somebody: none that tells nothing.
        if !bound && !at_end() {
            continue;
        }
        let cpus = pool.cpus()?;
        if bound {
            let is_outside =
                |(cpu, mask): (&usize, &Option<Cpus>)| mask.as_ref().is_some_and(|mask| !mask.contains(cpu));
            outside += cpus.iter().zip(masks).filter(|&pair| is_outside(pair)).count();
        }
        if at_end() {
            last.push(evidence::count_per_domain(&llcs, &cpus));
        }
    }
    ensure!(!last.is_empty(), "the machine was too slow for one look at the end");
    let had = pool.cpu_seconds()?;
    let (least, most) = figures::bounds(&figures::column_means(&last)).unwrap_or_default();
    let busy = figures::column_means(&last).iter().filter(|&&tasks| tasks > 0.0).count();
    let mut found = BTreeMap::from([
        ("outside", outside as f64),
        ("max_over_min", figures::max_over_min(&had).unwrap_or(f64::INFINITY)),
        ("most_per_llc", most),
        ("least_per_llc", least),
        ("busy_llcs", busy as f64),
    ]);
    if scenario.figures.contains_key("applied") {
        let applied = scheduler.stats(context)?.counter("applied")?;
        found.insert("applied", (applied - applied_before) as f64);
    }
    if let [first, second, ..] = &scenario.jobs[..] {
        let mean = |had: &[f64], from: usize, count: usize| figures::mean(&had[from..from + count]);
        let ratio = |had: &[f64]| mean(had, 0, first.count) / mean(had, first.count, second.count).max(1e-9);
        found.insert(SHARE_RATIO, ratio(&had));
        if are_on_one_cpu(masks) {
            let work: Vec<f64> = pool.progress().into_iter().map(|count| count as f64).collect();
            found.insert(WORK_RATIO, ratio(&work));
        }
    }
    Ok(found)
}

/// Whether all tasks are bound to one and the same CPU.
fn are_on_one_cpu(masks: &[Option<Cpus>]) -> bool {
    let mut used = Cpus::new();
    for mask in masks {
        let Some(mask) = mask else { return false };
        used.extend(mask);
    }
    used.len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_f1_has_all_its_tasks_on_one_cpu() {
        let masks = |name: &str| jobs(&scenario(name).expect("a scenario")).expect("jobs").1;
        let on_one: Vec<&str> =
            ["F1", "F2", "F3", "F4"].into_iter().filter(|name| are_on_one_cpu(&masks(name))).collect();
        assert_eq!(on_one, ["F1"]);
    }
}
