// SPDX-License-Identifier: GPL-2.0-only
//! Wake-ups when no CPU is idle: whoever was told so looks no second time before the task waits.

use sched_sim::drive;
use sched_sim::schedulers;
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::sim::Sim;
use sim::workload::Workload;
use topology::Topology;

const MS: u64 = 1_000_000;

#[test]
fn a_wake_up_looks_for_an_idle_cpu_once() {
    for name in schedulers::names() {
        let topology = Topology::from_spec("2n2l2c1t").expect("a good spec");
        let mut sim: Sim<BpfScheduler> = Sim::new(&topology, Config::default());
        let workload = Workload::source("hogs:16+sleepers:32", &topology).expect("a good workload");
        workload.install(&mut sim);
        let session = Session::new(sim, 1_000 * MS);
        let mut scheduler = schedulers::make(name, &[]).expect("a name of the table").expect("good options");
        let exits = drive::drive(&session, &topology, scheduler.as_mut())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(exits.is_empty(), "{name}: {exits:?}");
        session.with(|sim| {
            let metrics = &sim.kernel.metrics;
            assert!(
                metrics.wakeups > 1_000 && metrics.idle_searches >= metrics.wakeups,
                "{name}: {metrics:?}"
            );
            assert_eq!(metrics.repeated_idle_searches, 0, "{name}, of {} searches", metrics.idle_searches);
        });
    }
}
