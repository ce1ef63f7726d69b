// SPDX-License-Identifier: GPL-2.0-only
//! The scenarios that exist: their names, the machines they want and how long they may take.

/// Which kernels a scenario concerns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KernelNeed {
    /// Every kernel of the matrix that has sched_ext.
    Any,
    /// Only a kernel without sched_ext (`debian:6.12`).
    WithoutSchedExt,
}

/// Schedulers that scenarios concern, by package name. One whose package does not exist yet is not run.
pub const ALL_SCHEDULERS: &[&str] = &["domain-balancer", "cell-scheduler", "active-push"];

/// Only domain-balancer.
pub const DOMAIN_BALANCER: &[&str] = &["domain-balancer"];

/// Only cell-scheduler.
pub const CELL_SCHEDULER: &[&str] = &["cell-scheduler"];

/// Only active-push.
pub const ACTIVE_PUSH: &[&str] = &["active-push"];

/// One scenario as the host sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScenarioInfo {
    /// Short name, unique: what the command line takes.
    pub name: &'static str,
    /// One line for `--list`.
    pub title: &'static str,
    /// What must hold, one line for `--list`.
    pub bound: &'static str,
    /// Machines to boot it on, one boot each (`2n2l2c1t`: 2 nodes × 2 LLCs × 2 cores × 1 thread).
    pub topologies: &'static [&'static str],
    /// Schedulers that it concerns: it runs once against each of them that exists.
    pub schedulers: &'static [&'static str],
    /// Kernels to boot it on.
    pub kernel: KernelNeed,
    /// The guest kills the scenario after this many guest seconds and reports a failure.
    pub timeout_seconds: u64,
    /// What a run takes when nothing is wrong, in guest seconds: for grouping and progress bars.
    pub usual_seconds: u64,
}

/// The machine that most scenarios run on: 8 CPUs, 4 last-level caches, 2 nodes.
pub const DEFAULT_TOPOLOGIES: &[&str] = &["2n2l2c1t"];

const fn info(
    name: &'static str,
    title: &'static str,
    bound: &'static str,
    usual_seconds: u64,
) -> ScenarioInfo {
    ScenarioInfo {
        name,
        title,
        bound,
        topologies: DEFAULT_TOPOLOGIES,
        schedulers: ALL_SCHEDULERS,
        kernel: KernelNeed::Any,
        // Slow emulation must not fail a scenario: four times the usual time, and room for attach and detach.
        timeout_seconds: usual_seconds * 4 + 120,
        usual_seconds,
    }
}

const TABLE: &[ScenarioInfo] = &[
    info("1", "attach, idle, detach", "disabled again in 30 s", 8),
    info(
        "3",
        "SIGSTOP the daemon for 30 s under load, then SIGKILL it",
        "no stall while stopped; kernel scheduler back in 30 s; workers advance",
        45,
    ),
    info("4", "second scheduler started beside the first", "exit 75, one line, first unaffected", 8),
    info("5", "bad arguments, no root", "one clear line each, documented exit status, never enabled", 6),
    ScenarioInfo {
        kernel: KernelNeed::WithoutSchedExt,
        ..info("5-no-ext", "kernel without sched_ext", "one clear line, exit 69", 4)
    },
    info("6", "one pinned spinner per CPU", "no sample off its CPU, each at least 0.5 T of CPU time", 15),
    info("7", "2x oversubscribed equal spinners", "CPU time max/min at most 1.5", 16),
    info(
        "8",
        "nice 0 : 5, pinned to one CPU, and unpinned at 2x load",
        "CPU time ratio 2.2-4.2 pinned (theory 3.06), 1.8-4.5 unpinned",
        26,
    ),
    info("12", "random affinity storm at full load, 60 s", "no task outside its mask, scheduler alive", 66),
    info("15", "fork/exec/exit storm, 5000 tasks", "all reaped; task contexts back to the baseline", 70),
    info(
        "17",
        "CPU off/on loop under load, monitor attached",
        "nobody runs on an offline CPU; scheduler survives or restarts in place by itself",
        50,
    ),
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        topologies: &["1n1l1c1t", "1n1l3c1t", "1n1l2c2t", "1n2l2c1t", "2n2l2c1t"],
        ..info("19", "topologies: 1 CPU, 3 CPUs, SMT, 2 LLC, 2x2 NUMA", "reported domains = sysfs", 18)
    },
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        ..info("20", "8 hogs started in LLC 0, then unpinned", "every LLC used in 30 s", 8)
    },
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        ..info(
            "D1",
            "hogs forced into one domain, stealing off",
            "loads converge (spread at most 0.25); domain changes traced = moves applied",
            25,
        )
    },
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        ..info("D2", "one task of huge weight on a saturated host", "no CPU idle beside waiting hogs", 22)
    },
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        topologies: &["2n2l2c1t+1m"],
        ..info(
            "D3",
            "unequal LLCs, CPU-less node, sparse CPU numbers",
            "hogs per CPU even over the domains (spread at most 0.4), no exit",
            18,
        )
    },
];

impl ScenarioInfo {
    /// Whether it runs against this scheduler.
    pub fn concerns(&self, scheduler: &str) -> bool {
        self.schedulers.contains(&scheduler)
    }
}

/// Every scenario, in the order in which they run.
pub fn all() -> &'static [ScenarioInfo] {
    TABLE
}

/// The scenario of this name, ignoring ASCII case.
pub fn find(name: &str) -> Option<&'static ScenarioInfo> {
    TABLE.iter().find(|info| info.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
