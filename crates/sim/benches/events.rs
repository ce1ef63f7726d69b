// SPDX-License-Identifier: GPL-2.0-only
//! How fast the kernel model alone is: events a second under a scheduler without BPF. One element is one event.
//!
//! The speed under a compiled scheduler is measured by the bench of `sched-sim`.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sim::native::SharedQueue;
use sim::sim::Sim;
use sim::workload::Workload;
use sim::{Config, Ops};
use topology::Topology;

/// Virtual time before measuring: all tasks have started by then.
const WARM_UP_NS: u64 = 20_000_000;

/// Runs so many events; the time it took.
fn run<O: Ops>(sim: &mut Sim<O>, events: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..events {
        assert!(sim.step(u64::MAX).expect("no invariant breaks"), "tasks that run for ever leave events");
    }
    begin.elapsed()
}

fn shared_queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for (spec, tasks) in [("1n2l4c2t", 100), ("1n8l8c2t", 1000)] {
        let topology = Topology::from_spec(spec).expect("a valid machine");
        let workload = Workload::source(&format!("mixed:{tasks}"), &topology);
        let mut sim = Sim::new(&topology, Config::default());
        workload.expect("a known workload").install(&mut sim);
        sim.attach(SharedQueue::vtime()).expect("it attaches");
        sim.run_until(WARM_UP_NS).expect("no invariant breaks");
        group.bench_function(format!("shared-vtime/{spec}/mixed:{tasks}"), |bencher| {
            bencher.iter_custom(|events| run(&mut sim, events));
        });
    }
    group.finish();
}

criterion_group!(benches, shared_queue);
criterion_main!(benches);
