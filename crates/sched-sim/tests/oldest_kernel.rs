// SPDX-License-Identifier: GPL-2.0-only
//! Every scheduler where the oldest supported kernel differs: a CPU whose last task comes back to its local queue sleeps beside
//! it until it is kicked, also while the CPU is still being brought up and no scheduler is asked; and work is asked for although a
//! real-time task comes next.

mod common;

use common::{MS, US, play};
use sched_sim::schedulers;
use sim::bpf::Session;
use sim::program::Dist;
use sim::workload::Workload;
use sim::world::Outside;
use sim::{Config, Costs};
use topology::Topology;

/// Three slices of the kernel's own length: what brings the CPU up runs into the end of its slice.
const BRING_UP_NS: u64 = 60 * MS;

fn played(
    name: &str,
    workload: &str,
    config: Config,
    changes: &[(Outside, u64)],
    end_ns: u64,
) -> (Session, usize) {
    let topology = Topology::from_spec("2n2l2c1t").expect("a good spec");
    let mut workload = Workload::source(workload, &topology).expect("a good workload");
    workload.sources.extend_from_slice(changes);
    play(name, &topology, &workload, config, end_ns)
}

#[test]
fn a_task_alone_on_its_cpu_runs_on() {
    for name in schedulers::names() {
        let config = Config { check_every: 1, ..Config::oldest_kernel() };
        let (session, _) = played(name, "hogs:5", config, &[], 1_000 * MS);
        let busy = session.with(|sim| sim.kernel.metrics.busy_ns);
        assert!(busy > 4_900 * MS, "{name}: {busy}");
    }
}

#[test]
fn a_cpu_whose_bring_up_outlasts_a_slice_comes_up() {
    let hotplug = |online, at| (Outside::Hotplug { cpu: 6, online }, at * MS);
    let changes = [hotplug(false, 200), hotplug(true, 500)];
    for name in schedulers::names() {
        for workload in ["hogs:4", "hogs:24"] {
            let config = Config { check_every: 1, bring_up_ns: BRING_UP_NS, ..Config::oldest_kernel() };
            let (session, restarts) = played(name, workload, config, &changes, 1_500 * MS);
            assert_eq!(restarts, 2, "{name}: one restart for each change");
            session.with(|sim| {
                let cpu = &sim.kernel.cpus[6];
                assert!(cpu.online && cpu.coming_up.is_none(), "{name}: {workload}: {cpu:?}");
                let expected = if workload == "hogs:24" { 1_000 * MS } else { BRING_UP_NS };
                assert!(cpu.busy_ns >= expected, "{name}: {workload}: {}", cpu.busy_ns);
            });
        }
    }
}

/// Kicks take so long that real-time work often comes to a CPU that is idle beside tasks which wait for it. A scheduler that leaves
/// none on a queue then has none to give; active-push does, and would.
#[test]
fn a_cpu_that_real_time_work_takes_is_given_no_task() {
    let storm = Outside::RealTime { cpu: None, every: Dist::Exp(200 * US), length: Dist::Exp(300 * US) };
    for name in schedulers::names() {
        let costs = Costs { ipi_ns: 500 * US, ..Costs::default() };
        let config = Config { costs, ..Config::oldest_kernel() };
        let (session, _) = played(name, "sleepers:24", config, &[(storm.clone(), MS)], 1_000 * MS);
        let (asked, given) =
            session.with(|sim| (sim.kernel.metrics.asked_in_vain, sim.kernel.metrics.given_in_vain));
        println!("{name}: asked {asked} times, given {given}");
        assert!(asked > 100 && given == 0, "{name}: asked {asked} times, given {given}");
    }
}
