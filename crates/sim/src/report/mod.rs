// SPDX-License-Identifier: GPL-2.0-only
//! What a run was like: figures as JSON, one screen of text, a Perfetto trace, and a page.

mod fairness;
mod occupancy;
mod page;
mod perfetto;
mod text;

pub use fairness::{Fairness, OfWeight, fair_shares};
pub use occupancy::Occupancy;
pub use page::{Chart, Series, page};
pub use perfetto::perfetto;

use serde::Serialize;

use crate::histogram::Percentiles;
use crate::kernel::{Curr, Kernel};
use crate::metrics::Wait;
use crate::trace::Stretch;

#[cfg(test)]
mod tests;

/// How the run was made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Made {
    /// Name of the scheduler.
    pub scheduler: String,
    /// The machine as it was named.
    pub topology: String,
    /// The workload as it was named.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// Command that makes the same run.
    pub replay: String,
}

/// Figures of one group of tasks.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// Its name.
    pub name: String,
    /// Units of work completed.
    pub done: u64,
    /// The same a second.
    pub done_per_s: f64,
    /// CPU time, s.
    pub cpu_s: f64,
    /// Response time of a unit, ns.
    pub response_ns: Percentiles,
    /// From wake-up until it runs, ns.
    pub wake_latency_ns: Percentiles,
}

/// Share of one cgroup.
#[derive(Clone, Debug, Serialize)]
pub struct CgroupReport {
    /// Its path without the leading "/"; the root is "/".
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// CPU time with all cgroups below it, s.
    pub cpu_s: f64,
    /// The same as a share of all CPU time, 0 to 1.
    pub share: f64,
    /// Tasks in it at the end.
    pub tasks: usize,
}

/// Times a task ran on another CPU than before, by distance.
#[derive(Clone, Debug, Serialize)]
pub struct Migrations {
    /// To another thread of the core.
    pub core: u64,
    /// To another core of the LLC.
    pub llc: u64,
    /// To another LLC of the node.
    pub node: u64,
    /// To another node.
    pub remote: u64,
}

/// All figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How the run was made.
    pub made: Made,
    /// Virtual time, s.
    pub seconds: f64,
    /// Fingerprint of everything that happened: equal for equal runs.
    pub trace_hash: String,
    /// Steps of the model: ticks, ends of pieces of work, interrupts and the like. How many a run takes depends on how the
    /// model is built.
    pub events: u64,
    /// Scheduling events, which do not: wake-ups, switches, tasks put on queues, sleeps, kicks, forks and what else the
    /// trace notes.
    pub scheduling_events: u64,
    /// CPUs online at the end.
    pub cpus: usize,
    /// Tasks alive at the end.
    pub tasks: usize,
    /// Time CPUs ran tasks, percent of all.
    pub busy_pct: f64,
    /// Work done as a share of what the best placement would have done with the tasks runnable at each moment, on the CPUs that
    /// were online then and that no real-time work held. The placement is free: affinity is not considered, nor is what
    /// interrupts take, so both make the share smaller.
    pub throughput_vs_bound: f64,
    /// Time lost to callbacks, switches and cold caches, percent of the time tasks had.
    pub overhead_pct: f64,
    /// From wake-up until the task runs, ns.
    pub wake_latency_ns: Percentiles,
    /// Waits for a CPU of any cause, ns.
    pub waits_ns: Percentiles,
    /// The longest wait, those that have not ended included.
    pub longest_wait: Wait,
    /// Shares of tasks that always want to run, against their weights and those of their cgroups.
    pub fairness: Fairness,
    /// Time during which some CPU was idle while a task that may run anywhere waited, percent.
    pub idle_beside_waiting_pct: f64,
    /// Switches.
    pub switches: u64,
    /// Wake-ups.
    pub wakeups: u64,
    /// Migrations.
    pub migrations: Migrations,
    /// Callbacks called.
    pub callbacks: u64,
    /// BPF instructions a callback, on average.
    pub instructions_per_callback: f64,
    /// BPF instructions a scheduling event, on average.
    pub instructions_per_scheduling_event: f64,
    /// Groups.
    pub groups: Vec<GroupReport>,
    /// Cgroups, if there are several.
    pub cgroups: Vec<CgroupReport>,
    /// Stopped before its end: the figures are of the time up to then.
    pub interrupted: bool,
    /// Ends of the scheduler by the kernel.
    pub exits: Vec<String>,
    /// The scheduler's own statistics.
    pub scheduler: serde_json::Value,
}

impl Report {
    /// Figures of a run up to now.
    pub fn new(kernel: &mut Kernel, made: Made) -> Self {
        for cpu in 0..kernel.cpus.len() {
            kernel.update_curr(cpu);
            close_stretch(kernel, cpu);
        }
        let metrics = &kernel.metrics;
        let seconds = kernel.now as f64 / 1e9;
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let percent = |part: f64, whole: f64| 100.0 * ratio(part, whole);
        let capacity = kernel.now as f64 * kernel.online.len() as f64;
        let [core, llc, node, remote] = metrics.migrations;
        Self {
            seconds,
            trace_hash: format!("{:016x}", kernel.trace.hash()),
            events: metrics.events,
            scheduling_events: kernel.trace.count(),
            cpus: kernel.online.len(),
            tasks: kernel.tasks.count(),
            busy_pct: percent(metrics.busy_ns as f64, capacity),
            throughput_vs_bound: ratio(metrics.work_ns as f64 * 1024.0, metrics.fluid_1024 as f64),
            overhead_pct: percent(metrics.overhead_ns as f64, metrics.busy_ns as f64),
            wake_latency_ns: metrics.wake_latency.percentiles(),
            waits_ns: metrics.waits.percentiles(),
            longest_wait: longest_wait(kernel),
            fairness: Fairness::of(kernel),
            idle_beside_waiting_pct: percent(metrics.idle_beside_waiting_ns as f64, kernel.now as f64),
            switches: metrics.switches,
            wakeups: metrics.wakeups,
            migrations: Migrations { core, llc, node, remote },
            callbacks: metrics.callbacks,
            instructions_per_callback: ratio(metrics.instructions as f64, metrics.callbacks as f64),
            instructions_per_scheduling_event: ratio(
                metrics.instructions as f64,
                kernel.trace.count() as f64,
            ),
            groups: groups(kernel, seconds),
            cgroups: cgroups(kernel),
            interrupted: false,
            exits: Vec::new(),
            scheduler: serde_json::Value::Null,
            made,
        }
    }
}

fn longest_wait(kernel: &Kernel) -> Wait {
    let under_way = kernel.tasks.live().filter(|(_, task)| task.waits()).map(|(_, task)| Wait {
        wait_ns: kernel.now - task.waiting_since,
        pid: task.pid,
        name: task.name.clone(),
        until_ns: kernel.now,
    });
    // Of equal ones the one that came first.
    let longer = |best: Wait, next: Wait| if next.wait_ns > best.wait_ns { next } else { best };
    under_way.fold(kernel.metrics.longest_wait.clone(), longer)
}

/// The timeline shows what still runs.
fn close_stretch(kernel: &mut Kernel, cpu: usize) {
    let Curr::Task(task) = kernel.cpus[cpu].curr else { return };
    let (pid, group) = (kernel.tasks[task].pid, kernel.tasks[task].group);
    let from = std::mem::replace(&mut kernel.cpus[cpu].since, kernel.now);
    kernel.trace.stretch(Stretch { cpu, pid, group, from, to: kernel.now });
}

fn groups(kernel: &Kernel, seconds: f64) -> Vec<GroupReport> {
    let report = |group: &crate::metrics::GroupMetrics| GroupReport {
        name: group.name.clone(),
        done: group.done,
        done_per_s: if seconds > 0.0 { group.done as f64 / seconds } else { 0.0 },
        cpu_s: group.exec_ns as f64 / 1e9,
        response_ns: group.response.percentiles(),
        wake_latency_ns: group.wake_latency.percentiles(),
    };
    kernel.metrics.groups.iter().map(report).collect()
}

fn cgroups(kernel: &Kernel) -> Vec<CgroupReport> {
    if kernel.cgroups.len() < 2 {
        return Vec::new();
    }
    let all = kernel.cgroups.usage_ns(crate::cgroup::ROOT);
    let report = |view: crate::cgroup::CgroupView| CgroupReport {
        name: if view.level == 0 { view.path.clone() } else { view.path[1..].to_owned() },
        weight: view.weight,
        cpu_s: view.usage_ns as f64 / 1e9,
        share: if all == 0 { 0.0 } else { view.usage_ns as f64 / all as f64 },
        tasks: view.tasks,
    };
    kernel.cgroup_views().into_iter().map(report).collect()
}
