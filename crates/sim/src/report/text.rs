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
    writeln!(f, "  {name:<24} {:>10} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}", figures.count)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = &self.made;
        writeln!(f, "{} on {} with {}, seed {}", made.scheduler, made.topology, made.workload, made.seed)?;
        writeln!(
            f,
            "{:.3} s virtual, {} CPUs, {} tasks, {} events, trace {}",
            self.seconds, self.cpus, self.tasks, self.events, self.trace_hash
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "  busy {:.1} %   throughput {:.1} % of the bound   overhead {:.2} %   idle beside waiting {:.3} %",
            self.busy_pct,
            100.0 * self.throughput_vs_bound,
            self.overhead_pct,
            self.idle_beside_waiting_pct
        )?;
        if self.fairness.tasks > 0 {
            let fairness = &self.fairness;
            writeln!(
                f,
                "  fairness of {} always runnable tasks: error mean {:.2} %, max {:.2} % (received/entitled {:.3} to {:.3})",
                fairness.tasks,
                100.0 * fairness.mean_error,
                100.0 * fairness.max_error,
                fairness.range.0,
                fairness.range.1
            )?;
        }
        if self.longest_wait.wait_ns > 0 {
            let wait = &self.longest_wait;
            writeln!(
                f,
                "  longest wait {} by {}[{}] until {:.3} s",
                time(wait.wait_ns as f64),
                wait.name,
                wait.pid,
                wait.until_ns as f64 / 1e9
            )?;
        }
        let moved = &self.migrations;
        writeln!(
            f,
            "  switches {}   wake-ups {}   migrations core {} / LLC {} / node {} / remote {}",
            self.switches, self.wakeups, moved.core, moved.llc, moved.node, moved.remote
        )?;
        writeln!(
            f,
            "  callbacks {}   BPF instructions: {:.0} a callback, {:.0} a switch or wake-up",
            self.callbacks, self.instructions_per_callback, self.instructions_per_event
        )?;
        writeln!(f)?;
        let head = ["count", "p50", "p90", "p99", "p99.9", "max"];
        let [count, p50, p90, p99, p999, max] = head;
        writeln!(f, "  {:<24} {count:>10} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}", "")?;
        row(f, "wake-up latency", &self.wake_latency_ns)?;
        row(f, "waits", &self.waits_ns)?;
        for group in &self.groups {
            if group.done > 0 {
                row(f, &format!("{} response", group.name), &group.response_ns)?;
                writeln!(f, "  {:<24} {:>10.1} a second", format!("{} done", group.name), group.done_per_s)?;
            }
            writeln!(f, "  {:<24} {:>10.2} s of CPU time", group.name, group.cpu_s)?;
        }
        for cgroup in &self.cgroups {
            let share = 100.0 * cgroup.share;
            writeln!(f, "  cgroup {:<17} weight {:>5}  share {share:>6.2} %", cgroup.name, cgroup.weight)?;
        }
        self.exits.iter().try_for_each(|exit| writeln!(f, "  ended by the kernel: {exit}"))
    }
}
