// SPDX-License-Identifier: GPL-2.0-only
//! A page that needs nothing but itself: who had each CPU, load over time, distribution of wake-up latency, figures.

use serde::Serialize;

use crate::kernel::Kernel;
use crate::report::text::time;
use crate::report::{Made, Report};

const TEMPLATE: &str = include_str!("page.html");
/// Stretches the close view draws; the earliest ones are taken.
const MAX_STRETCHES: usize = 40_000;
/// Cells of the overview.
const MAX_CELLS: usize = 200_000;

/// A line of a chart.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Virtual time in ns, and value.
    pub points: Vec<(u64, f64)>,
}

/// Lines over time.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What the values mean.
    pub about: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// Points of a line that the model draws itself.
const MAX_POINTS: usize = 256;

/// How many CPUs of each cache domain were busy.
fn busy_cpus(kernel: &Kernel) -> Chart {
    let llcs = kernel.machine.llcs.iter().enumerate();
    let series = llcs.filter(|(_, cpus)| !cpus.is_empty()).map(|(llc, cpus)| Series {
        name: format!("cache {llc} (CPUs {cpus})"),
        points: kernel.trace.occupancy.busy(cpus, kernel.now, MAX_POINTS),
    });
    Chart {
        title: "Busy CPUs by cache domain".to_owned(),
        about: "CPUs of each last-level cache that ran a task, mean over a short time.".to_owned(),
        series: series.collect(),
    }
}

/// The page for a run; `charts` are those of the scheduler.
pub fn page(kernel: &Kernel, report: &Report, charts: &[Chart]) -> String {
    let cpus: Vec<usize> = (0..kernel.cpus.len()).filter(|&cpu| kernel.machine.places[cpu].present).collect();
    let places = cpus.iter().map(|&cpu| {
        let place = &kernel.machine.places[cpu];
        Cpu { id: cpu, llc: place.llc, node: place.node }
    });
    let charts: Vec<Chart> = charts.iter().cloned().chain([busy_cpus(kernel)]).collect();
    let (bucket, mut rows) = kernel.trace.occupancy.rows(kernel.now, MAX_CELLS);
    let row = |&cpu: &usize| rows.get_mut(cpu).map(std::mem::take).unwrap_or_default();
    let rows: Vec<Vec<u64>> = cpus.iter().map(row).collect();
    let data = Data {
        made: &report.made,
        trace_hash: &report.trace_hash,
        summary: report.to_string(),
        tiles: tiles(report),
        groups: kernel.metrics.groups.iter().map(|group| group.name.as_str()).collect(),
        cpus: places.collect(),
        end: kernel.now,
        overview: Overview { bucket, rows },
        timeline: timeline(kernel),
        charts,
        cdfs: distributions(kernel),
        exits: &report.exits,
        interrupted: report.interrupted,
    };
    let data = serde_json::to_string(&data).expect("plain data has a form in JSON");
    // Inside a script element only its end tag matters.
    TEMPLATE.replace("/*DATA*/", &data.replace("</", "<\\/"))
}

/// What the script of the page draws; written straight from here, because a tree of JSON values takes many times the memory.
#[derive(Serialize)]
struct Data<'a> {
    made: &'a Made,
    trace_hash: &'a str,
    summary: String,
    tiles: Vec<(&'static str, String, &'static str)>,
    groups: Vec<&'a str>,
    cpus: Vec<Cpu>,
    end: u64,
    overview: Overview,
    timeline: Timeline,
    charts: Vec<Chart>,
    cdfs: Vec<Distribution<'a>>,
    exits: &'a [String],
    interrupted: bool,
}

#[derive(Serialize)]
struct Cpu {
    id: usize,
    llc: usize,
    node: usize,
}

#[derive(Serialize)]
struct Overview {
    bucket: u64,
    rows: Vec<Vec<u64>>,
}

#[derive(Serialize)]
struct Timeline {
    to: u64,
    complete: bool,
    /// CPU, group or -1, from, to, pid.
    stretches: Vec<(usize, i64, u64, u64, i32)>,
}

#[derive(Serialize)]
struct Distribution<'a> {
    name: &'a str,
    colour: i64,
    points: Vec<(u64, f64)>,
}

/// The figures to see first: name, value, what it means.
fn tiles(report: &Report) -> Vec<(&'static str, String, &'static str)> {
    let percent = |value: f64| format!("{value:.1} %");
    let latency = |ns: u64| if report.wakeups == 0 { "–".to_owned() } else { time(ns as f64) };
    let fairness = if report.fairness.tasks == 0 {
        "–".to_owned()
    } else {
        percent(100.0 * report.fairness.max_error)
    };
    vec![
        (
            "Throughput",
            percent(100.0 * report.throughput_vs_bound),
            "of what the best placement would have done, whatever their affinity",
        ),
        ("CPUs busy", percent(report.busy_pct), "of their time, with tasks of the scheduler"),
        ("Wake-up latency p50", latency(report.wake_latency_ns.p50), "from wake-up until the task runs"),
        ("Wake-up latency p99", latency(report.wake_latency_ns.p99), "1 wake-up in 100 waits longer"),
        ("Unfairness", fairness, "largest error of a share among tasks that always want to run"),
        (
            "Idle beside waiting",
            format!("{:.2} %", report.idle_beside_waiting_pct),
            "of the time a CPU idled while a task that may run anywhere waited",
        ),
    ]
}

/// The first stretches, one by one.
fn timeline(kernel: &Kernel) -> Timeline {
    let all = &kernel.trace.timeline;
    let kept = &all[..all.len().min(MAX_STRETCHES)];
    let complete = kept.len() == all.len() && kernel.trace.timeline_dropped == 0;
    // Stretches come in the order they ended: up to the beginning of the first one that is missing nothing is.
    let missing = all[kept.len()..].iter().map(|stretch| stretch.from).min();
    let to = missing.unwrap_or(kernel.now).min(kernel.trace.dropped_from.unwrap_or(kernel.now));
    let stretches: Vec<_> = kept
        .iter()
        .map(|stretch| {
            let group = i64::try_from(stretch.group).ok().filter(|_| stretch.pid > 0).unwrap_or(-1);
            (stretch.cpu, group, stretch.from, stretch.to, stretch.pid)
        })
        .collect();
    Timeline { to, complete, stretches }
}

/// Distribution of wake-up latency: of all tasks, and of each group if there are several that wake up.
fn distributions(kernel: &Kernel) -> Vec<Distribution<'_>> {
    let waking =
        || kernel.metrics.groups.iter().enumerate().filter(|(_, group)| group.wake_latency.count() > 0);
    let all = Some(("all", -2i64, kernel.metrics.wake_latency.cdf())).filter(|(_, _, cdf)| !cdf.is_empty());
    let groups = waking().map(|(index, group)| (group.name.as_str(), index as i64, group.wake_latency.cdf()));
    let groups = groups.filter(|_| waking().count() > 1);
    all.into_iter()
        .chain(groups)
        .map(|(name, colour, points)| Distribution { name, colour, points })
        .collect()
}
