// SPDX-License-Identifier: GPL-2.0-only
//! Every scheduler where the oldest supported kernel differs: a CPU whose last task comes back to its local queue sleeps beside
//! it until it is kicked, also while the CPU is still being brought up and no scheduler is asked.

use sched_sim::drive;
use sched_sim::schedulers;
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::sim::Sim;
use sim::workload::Workload;
use sim::world::Outside;
use topology::Topology;

const MS: u64 = 1_000_000;
/// Three slices of the kernel's own length: what brings the CPU up runs into the end of its slice.
const BRING_UP_NS: u64 = 60 * MS;

fn session(workload: &str, config: Config, changes: &[(Outside, u64)], end_ns: u64) -> (Topology, Session) {
    let topology = Topology::from_spec("2n2l2c1t").expect("a good spec");
    let mut workload = Workload::source(workload, &topology).expect("a good workload");
    workload.sources.extend_from_slice(changes);
    let mut sim: Sim<BpfScheduler> = Sim::new(&topology, config);
    workload.install(&mut sim);
    (topology, Session::new(sim, end_ns))
}

fn drive(name: &str, topology: &Topology, session: &Session) -> usize {
    let mut scheduler = schedulers::make(name, &[]).expect("a name of the table").expect("good options");
    let exits = drive::drive(session, topology, scheduler.as_mut())
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert!(exits.iter().all(|exit| exit.should_restart()), "{name}: {exits:?}");
    exits.len()
}

#[test]
fn a_task_alone_on_its_cpu_runs_on() {
    for name in schedulers::names() {
        let config = Config { check_every: 1, ..Config::oldest_kernel() };
        let (topology, session) = session("hogs:5", config, &[], 1_000 * MS);
        drive(name, &topology, &session);
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
            let (topology, session) = session(workload, config, &changes, 1_500 * MS);
            assert_eq!(drive(name, &topology, &session), 2, "{name}: one restart for each change");
            session.with(|sim| {
                let cpu = &sim.kernel.cpus[6];
                assert!(cpu.online && cpu.coming_up.is_none(), "{name}: {workload}: {cpu:?}");
                let expected = if workload == "hogs:24" { 1_000 * MS } else { BRING_UP_NS };
                assert!(cpu.busy_ns >= expected, "{name}: {workload}: {}", cpu.busy_ns);
            });
        }
    }
}
