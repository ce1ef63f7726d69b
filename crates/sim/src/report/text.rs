// SPDX-License-Identifier: GPL-2.0-only
//! One screen of text.

use std::fmt;

use crate::histogram::Percentiles;
use crate::report::Report;

/// A time with a unit that keeps it short.
pub(super) fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Percentiles) -> fmt::Result {
    let p = [figures.p50, figures.p90, figures.p99, figures.p999, figures.max].map(|ns| time(ns as f64));
    let [p50, p90, p99, p999, max] = p;
    writeln!(f, "{:<23}{:>9}{p50:>9}{p90:>9}{p99:>9}{p999:>9}{max:>9}", short(name), figures.count)
}

/// A name that fits before the figures.
fn short(name: &str) -> String {
    const ROOM: usize = 22;
    if name.chars().count() <= ROOM {
        return name.to_owned();
    }
    format!("{}…", name.chars().take(ROOM - 1).collect::<String>())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.made;
        writeln!(f, "{} on {} with {}, seed {}", made.scheduler, made.topology, made.workload, made.seed)?;
        let (cpus, tasks, events) = (self.cpus, self.tasks, self.scheduling_events);
        writeln!(f, "{:.3} s virtual, {cpus} CPUs, {tasks} tasks, {events} scheduling events", self.seconds)?;
        writeln!(f, "trace {}\n", self.trace_hash)?;
        self.whole(f)?;
        let head = ["count", "p50", "p90", "p99", "p99.9", "max"];
        let [count, p50, p90, p99, p999, max] = head;
        writeln!(f, "\n{:<23}{count:>9}{p50:>9}{p90:>9}{p99:>9}{p999:>9}{max:>9}", "")?;
        row(f, "wake-up latency", &self.wake_latency_ns)?;
        row(f, "waits", &self.waits_ns)?;
        for group in &self.groups {
            if group.done > 0 {
                row(f, &format!("{} response", group.name), &group.response_ns)?;
            }
        }
        for group in &self.groups {
            write!(f, "{:<23}{:>8.2} s of CPU time", short(&group.name), group.cpu_s)?;
            let done = if group.done > 0 {
                format!(", {:.1} done a second", group.done_per_s)
            } else {
                String::new()
            };
            writeln!(f, "{done}")?;
        }
        for cgroup in &self.cgroups {
            let (name, share) = (short(&cgroup.name), 100.0 * cgroup.share);
            writeln!(f, "{name:<23}{share:>8.2} % of the CPU time, cgroup of weight {}", cgroup.weight)?;
        }
        if self.interrupted {
            writeln!(f, "interrupted: the figures are of the time up to then")?;
        }
        self.exits.iter().try_for_each(|exit| writeln!(f, "ended by the kernel: {exit}"))
    }
}

impl Report {
    /// Figures of the whole machine.
    fn whole(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = 100.0 * self.throughput_vs_bound;
        let busy = self.busy_pct;
        writeln!(f, "busy {busy:.1} %, throughput {bound:.1} % of the bound, which leaves affinity aside")?;
        let idle = self.idle_beside_waiting_pct;
        writeln!(f, "overhead {:.2} %, a CPU idle beside waiting work {idle:.3} %", self.overhead_pct)?;
        let fairness = &self.fairness;
        if fairness.tasks > 0 {
            let (mean, most) = (100.0 * fairness.mean_error, 100.0 * fairness.max_error);
            let tasks = fairness.tasks;
            writeln!(f, "unfairness to {tasks} always runnable tasks: mean {mean:.2} %, worst {most:.2} %")?;
        }
        let wait = &self.longest_wait;
        if wait.wait_ns > 0 {
            let (length, until) = (time(wait.wait_ns as f64), wait.until_ns as f64 / 1e9);
            writeln!(f, "longest wait {length} by {}[{}] until {until:.3} s", wait.name, wait.pid)?;
        }
        let (moved, switches, wakeups) = (&self.migrations, self.switches, self.wakeups);
        writeln!(f, "switches {switches}, wake-ups {wakeups}")?;
        writeln!(
            f,
            "migrations core {}, LLC {}, node {}, remote {}",
            moved.core, moved.llc, moved.node, moved.remote
        )?;
        let (each, event) = (self.instructions_per_callback, self.instructions_per_scheduling_event);
        let callbacks = self.callbacks;
        writeln!(f, "callbacks {callbacks}, BPF instructions {each:.0} each, {event:.0} a scheduling event")
    }
}
