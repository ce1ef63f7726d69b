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

/// Those that honour `cpu.weight`.
const CGROUP_WEIGHTS: &[&str] = &["domain-balancer", "cell-scheduler"];

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
    /// What the kernel must say while it runs, although it would be trouble elsewhere.
    pub expects: &'static [&'static str],
    /// Kernels to boot it on.
    pub kernel: KernelNeed,
    /// The guest kills the scenario after this many guest seconds and reports a failure.
    pub timeout_seconds: u64,
    /// What a run takes when nothing is wrong, in guest seconds: for grouping and progress bars.
    pub usual_seconds: u64,
}

/// The machine that most scenarios run on: 8 CPUs, 4 last-level caches, 2 nodes.
pub const DEFAULT_TOPOLOGIES: &[&str] = &["2n2l2c1t"];

/// 4 cores of 2 threads in one last-level cache.
const SMT_TOPOLOGY: &[&str] = &["1n1l4c2t"];

/// The machine that shows best what a scheduler is for: what its demonstration runs on.
pub fn demo_topology(scheduler: &str) -> &'static str {
    match scheduler {
        "active-push" => SMT_TOPOLOGY[0],
        _ => DEFAULT_TOPOLOGIES[0],
    }
}

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
        expects: &[],
        kernel: KernelNeed::Any,
        // Slow emulation must not fail a scenario: four times the usual time, and room for attach and detach.
        timeout_seconds: usual_seconds * 4 + 240,
        usual_seconds,
    }
}

/// A scenario about cells.
const fn cells(
    name: &'static str,
    title: &'static str,
    bound: &'static str,
    usual_seconds: u64,
) -> ScenarioInfo {
    ScenarioInfo { schedulers: CELL_SCHEDULER, ..info(name, title, bound, usual_seconds) }
}

/// A scenario that the simulator runs too, with the figures of its scenario file, for the schedulers that the file names.
const fn simulated(
    name: &'static str,
    title: &'static str,
    schedulers: &'static [&'static str],
    usual_seconds: u64,
) -> ScenarioInfo {
    let bound = "figures of crates/sched-sim/fidelity/scenarios.json, as the simulator gives them";
    ScenarioInfo { schedulers, ..info(name, title, bound, usual_seconds) }
}

/// A scenario about pushes.
const fn push(
    name: &'static str,
    title: &'static str,
    bound: &'static str,
    usual_seconds: u64,
) -> ScenarioInfo {
    ScenarioInfo { schedulers: ACTIVE_PUSH, ..info(name, title, bound, usual_seconds) }
}

const TABLE: &[ScenarioInfo] = &[
    info("1", "attach, idle, detach", "disabled again in 30 s", 8),
    info("2", "20 reloads in a row beside a load", "enable_seq +20, no BPF map or program left", 75),
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
        "ratio 2.2-4.2 of CPU time or work pinned (theory 3.06), 1.8-4.5 of CPU time unpinned",
        30,
    ),
    info(
        "9",
        "nice -20, 19, SCHED_IDLE, re-niced while runnable",
        "shares follow the weights, nobody at 0",
        20,
    ),
    info("11", "cpusets set, swapped, cleared under load", "no sample outside after 1 s", 18),
    ScenarioInfo {
        schedulers: CGROUP_WEIGHTS,
        ..info(
            "10",
            "cgroups with cpu.weight 300 : 100 at full load, nested, and with unequal numbers of tasks",
            "CPU time ratio 2.2-4.0; nested groups multiply (0.46-0.68 of all, theory 0.56); numbers do not matter (0.65-1.5)",
            74,
        )
    },
    info("12", "random affinity storm at full load, 60 s", "no task outside its mask, scheduler alive", 66),
    info(
        "13",
        "sleepers among hogs (1 ms run, 9 ms sleep), against the kernel's scheduler",
        "each served in every 1.25 s; at least half the wakes the kernel's scheduler serves in the same boot, in one of three comparisons",
        15,
    ),
    info(
        "14",
        "futex ping-pong pairs and hogs, against the kernel's scheduler",
        "each pair progresses in every 1.25 s; at least half the kernel's turns (bound pairs) and CPU time (free ones), in one of three comparisons",
        15,
    ),
    info("15", "fork/exec/exit storm, 5000 tasks", "all reaped; task contexts back to the baseline", 70),
    info("16", "one waker, 32 receivers, 100 rounds", "each receiver counts 100", 15),
    info(
        "17",
        "CPU off/on loop under load, monitor attached",
        "nobody runs on an offline CPU; scheduler survives or restarts in place by itself",
        50,
    ),
    info(
        "18",
        "SCHED_FIFO hog on one CPU",
        "tasks that may leave it do; a bound one gets the share of the kernel's server from 7.0 on",
        18,
    ),
    ScenarioInfo {
        schedulers: DOMAIN_BALANCER,
        topologies: &["1n1l1c1t", "1n1l3c1t", "1n1l2c2t", "1n2l2c1t", "2n2l2c1t"],
        ..info("19", "topologies: 1 CPU, 3 CPUs, SMT, 2 LLC, 2x2 NUMA", "reported domains = sysfs", 18)
    },
    info("20", "8 hogs started in LLC 0, then unpinned", "every LLC used in 30 s", 4),
    ScenarioInfo {
        expects: &["runnable task stall", "failed to run for"],
        ..info(
            "21",
            "a task is never dispatched, on purpose",
            "the kernel ends the scheduler for a stall; whole dump naming the task, exit 70, the task runs again",
            20,
        )
    },
    info(
        "22",
        "partial mode",
        "exactly the tasks of policy SCHED_EXT are the scheduler's, whoever changes sides",
        15,
    ),
    info("23", "work bound to a CPU beside solo hogs", "served within 5 s", 14),
    // Attaching, preparing 500 tasks, two turns and detaching have deadlines of their own; this is their sum.
    ScenarioInfo {
        timeout_seconds: 600,
        ..info("24", "500 tasks bound to random subsets", "everybody runs; the scheduler unloads", 25)
    },
    info(
        "25",
        "statistics and metrics against the kernel's wake-ups; requests that are none",
        "5 % apart at most; metrics between statistics before and after; clear refusals, the daemon is not disturbed",
        16,
    ),
    info(
        "26",
        "sleepers saturate the machine",
        "a wake-up tries to claim an idle CPU when the kernel asks for a CPU, and not a second time when it is enqueued",
        18,
    ),
    info(
        "27",
        "nice 19 beside nice -20 on one CPU, 60 s",
        "the light one runs in every 20 s, and gets 5 % at most; the scheduler is alive",
        66,
    ),
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
    simulated("F1", "as simulated: shares of nice 0 and 5 on one CPU", ALL_SCHEDULERS, 16),
    simulated("F2", "as simulated: 16 equal spinners", ALL_SCHEDULERS, 16),
    simulated("F3", "as simulated: 24 hogs set free, stealing off", DOMAIN_BALANCER, 20),
    simulated("F4", "as simulated: spinners bound to few CPUs", ALL_SCHEDULERS, 14),
    cells(
        "C1",
        "a tenant of 2 threads beside a tenant of 4 hogs a CPU, against the kernel's scheduler",
        "it does at least 1.3x the work and waits at most 0.7x; the hogs keep at least 0.5x",
        50,
    ),
    cells("C2", "a cell shrinks under spinners that are alone on their CPUs", "they leave the lost CPUs", 20),
    cells("C3", "cpusets of tenants cover all CPUs, SCHED_IDLE task outside", "no exit, no stall", 48),
    cells("C4", "more tenants than CPUs; one deleted and made again", "merge, split, all run", 40),
    cells("C5", "a lender wakes while its CPUs are borrowed", "served far within a slice", 22),
    cells("C6", "a cell loses the caches that tasks are bound to", "all of them go on running", 20),
    cells(
        "C7",
        "200 cgroups made and removed under load",
        "one cell per CPU at every look, nothing left",
        40,
    ),
    cells(
        "C8",
        "attached three times while tasks fork, exit and move between tenants",
        "it attaches each time and counts those who stayed",
        35,
    ),
    ScenarioInfo {
        topologies: SMT_TOPOLOGY,
        ..push(
            "P1",
            "4 hogs on 2 SMT cores, affinity widened",
            "one per core in 3 s and for good; stopper threads never woken beside the changes of affinity themselves",
            35,
        )
    },
    ScenarioInfo {
        topologies: SMT_TOPOLOGY,
        ..push(
            "P2",
            "a real-time task takes the CPU of a running hog, other CPUs idle",
            "the hog runs elsewhere within 0.12 s, 20 of 20 times; real-time wake-ups no later with pushes than without",
            55,
        )
    },
    ScenarioInfo {
        topologies: SMT_TOPOLOGY,
        ..push(
            "P3",
            "targets go offline or are taken, hogs are re-pinned or killed in mid-push",
            "nobody lost: every hog runs; at most 20 moves per hog and second afterwards",
            60,
        )
    },
    push(
        "P4",
        "imbalance between last-level caches and between nodes",
        "waiting tasks are pulled without a push; running ones are pushed after the configured failures only",
        30,
    ),
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
