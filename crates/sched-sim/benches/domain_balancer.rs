// SPDX-License-Identifier: GPL-2.0-only
//! How fast the model is with the BPF object of domain-balancer: events a second. One element is one event.
//!
//! The BPF side alone, without balancing rounds: they are a few thousandths of a run.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain_balancer::kernel;
use domain_balancer::machine::Machine;
use sim::Config;
use sim::bpf::BpfScheduler;
use sim::sim::Sim;
use sim::workload::Workload;
use topology::Topology;

/// Virtual time before measuring: all tasks have started by then.
const WARM_UP_NS: u64 = 20_000_000;

fn attached(spec: &str, tasks: usize) -> Sim<BpfScheduler> {
    let topology = Topology::from_spec(spec).expect("a valid machine");
    let options = sched_sim::domain_balancer::options(&[]).expect("default options");
    let domains = options.domains.adapted(&topology);
    let machine = Machine::new(topology.clone(), &domains, options.max_cpus_per_domain).expect("domains");
    let setup = kernel::setup(&machine, &options).expect("a setup for the machine");
    let scheduler = BpfScheduler::load(kernel::object_bytes(), &setup, topology.nr_cpu_ids());
    let workload = Workload::source(&format!("mixed:{tasks}"), &topology);
    let mut sim = Sim::new(&topology, Config::default());
    workload.expect("a known workload").install(&mut sim);
    sim.attach(scheduler.expect("the object loads on the model")).expect("it attaches");
    sim.run_until(WARM_UP_NS).expect("no invariant breaks");
    sim
}

/// Runs so many events; the time it took.
fn run(sim: &mut Sim<BpfScheduler>, events: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..events {
        assert!(sim.step(u64::MAX).expect("no invariant breaks"), "tasks that run for ever leave events");
    }
    begin.elapsed()
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sched-sim");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for (spec, tasks) in [("1n2l4c2t", 100), ("1n8l8c2t", 1000)] {
        let mut sim = attached(spec, tasks);
        group.bench_function(format!("domain-balancer/{spec}/mixed:{tasks}"), |bencher| {
            bencher.iter_custom(|events| run(&mut sim, events));
        });
    }
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
