// SPDX-License-Identifier: GPL-2.0-only
//! Wake-ups when no CPU is idle: whoever was told so looks no second time before the task waits.

mod common;

use common::{S, play};
use sched_sim::schedulers;
use sim::Config;
use sim::workload::Workload;
use topology::Topology;

#[test]
fn a_wake_up_looks_for_an_idle_cpu_once() {
    for name in schedulers::names() {
        let topology = Topology::from_spec("2n2l2c1t").expect("a good spec");
        let workload = Workload::source("hogs:16+sleepers:32", &topology).expect("a good workload");
        let (session, restarts) = play(name, &topology, &workload, Config::default(), S);
        assert_eq!(restarts, 0, "{name}");
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
