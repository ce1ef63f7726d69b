// SPDX-License-Identifier: GPL-2.0-only
//! A page that needs nothing but itself: timeline of CPUs, load over time, distribution of wake-up latency.

use serde::Serialize;
use serde_json::json;

use crate::kernel::Kernel;
use crate::report::Report;

const TEMPLATE: &str = include_str!("page.html");
/// Stretches the page draws; the earliest ones are taken.
const MAX_STRETCHES: usize = 60_000;

/// A line of the load chart.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Virtual time in ns, and value.
    pub points: Vec<(u64, f64)>,
}

/// The page for a run; `series` are drawn over time.
pub fn page(kernel: &Kernel, report: &Report, series: &[Series]) -> String {
    let kept = &kernel.trace.timeline[..kernel.trace.timeline.len().min(MAX_STRETCHES)];
    let to = kept.iter().map(|stretch| stretch.to).max().unwrap_or(0);
    let stretches: Vec<_> = kept
        .iter()
        .map(|stretch| {
            let group = i64::try_from(stretch.group).ok().filter(|_| stretch.pid > 0).unwrap_or(-1);
            (stretch.cpu, group, stretch.from, stretch.to)
        })
        .collect();
    let cpus: Vec<usize> = (0..kernel.cpus.len()).filter(|&cpu| kernel.machine.places[cpu].present).collect();
    let data = json!({
        "made": report.made,
        "trace_hash": report.trace_hash,
        "summary": report.to_string(),
        "groups": kernel.metrics.groups.iter().map(|group| &group.name).collect::<Vec<_>>(),
        "cpus": cpus,
        "timeline": {"from": 0, "to": to, "stretches": stretches},
        "series": series,
        "cdf": kernel.metrics.wake_latency.cdf(),
    });
    // Inside a script element only its end tag matters.
    TEMPLATE.replace("/*DATA*/", &data.to_string().replace("</", "<\\/"))
}
