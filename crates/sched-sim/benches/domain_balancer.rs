// SPDX-License-Identifier: GPL-2.0-only
//! How fast the model is with the BPF object of domain-balancer. One element is one scheduling event: what the trace notes
//! (wake-ups, switches, tasks put on queues, sleeps, kicks and the like), however the model gets there.
//!
//! The BPF side alone, without balancing rounds: they are a few thousandths of a run. Criterion measures; then one pass says
//! where the time goes, and fails when compiled code no longer pays, an event needs many more BPF instructions than it did, or
//! all of that needs more memory than it should. The first two are ratios within one run, so they hold on any machine. Beside
//! that the whole scheduler plays the same load, its own loop and balancing rounds included.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use domain_balancer::kernel;
use domain_balancer::machine::Machine;
use sim::Config;
use sim::bpf::{BpfScheduler, Engine, Session};
use sim::sim::Sim;
use sim::workload::Workload;
use topology::Topology;

/// Virtual time before measuring: all tasks have started by then, and what runs much is compiled.
const WARM_UP_NS: u64 = 50_000_000;
/// The machine and the load of the goal: two million scheduling events a second on one core.
const GOAL: (&str, usize) = ("1n8l8c2t", 1000);
/// Scheduling events of one measurement of the last pass, and how often it is taken.
const PASS_EVENTS: u64 = 400_000;
const PASSES: usize = 3;
/// The whole model, BPF code included, is at least so much faster with compiled code.
const LEAST_GAIN: f64 = 1.3;
/// BPF instructions for each scheduling event: measured, and a tenth more.
const MOST_INSTRUCTIONS: f64 = 405.0;
/// Virtual time that the whole scheduler plays the goal for.
const WHOLE_NS: u64 = 10_000_000_000;
/// Resident memory for everything up to the goal, MB.
const MOST_MB: f64 = 200.0;
/// A machine beyond the usual, for completeness: it has to get there at all.
const HUGE: (&str, usize, u64) = ("4n16l8c2t", 20_000, 100_000_000);

/// A machine with its load, still without a scheduler.
fn loaded((spec, tasks): (&str, usize), engine: Engine) -> (Topology, Sim<BpfScheduler>) {
    let topology = Topology::from_spec(spec).expect("a valid machine");
    let workload = Workload::source(&format!("mixed:{tasks}"), &topology);
    let mut sim = Sim::new(&topology, Config { engine, ..Config::default() });
    workload.expect("a known workload").install(&mut sim);
    (topology, sim)
}

fn attached(goal: (&str, usize), engine: Engine) -> Sim<BpfScheduler> {
    let (topology, mut sim) = loaded(goal, engine);
    let options = sched_sim::domain_balancer::options(&[]).expect("default options");
    let domains = options.domains.adapted(&topology);
    let machine = Machine::new(topology.clone(), &domains, options.max_cpus_per_domain).expect("domains");
    let setup = kernel::setup(&machine, &options).expect("a setup for the machine");
    let scheduler = BpfScheduler::load(kernel::object_bytes(), &setup, topology.nr_cpu_ids());
    sim.attach(scheduler.expect("the object loads on the model")).expect("it attaches");
    sim
}

fn warm(goal: (&str, usize), engine: Engine) -> Sim<BpfScheduler> {
    let mut sim = attached(goal, engine);
    sim.run_until(WARM_UP_NS).expect("no invariant breaks");
    sim
}

/// Runs so many scheduling events; the time it took.
fn run(sim: &mut Sim<BpfScheduler>, events: u64) -> Duration {
    let end = sim.kernel.trace.count() + events;
    let begin = Instant::now();
    while sim.kernel.trace.count() < end {
        assert!(sim.step(u64::MAX).expect("no invariant breaks"), "tasks that run for ever leave events");
    }
    begin.elapsed()
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sched-sim");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for (spec, tasks) in [("1n2l4c2t", 100), GOAL] {
        let mut sim = warm((spec, tasks), Engine::Auto);
        group.bench_function(format!("domain-balancer/{spec}/mixed:{tasks}"), |bencher| {
            bencher.iter_custom(|events| run(&mut sim, events));
        });
    }
    group.finish();
}

/// Figures of one way to run BPF code.
struct Figures {
    /// Scheduling events, steps of the model, and switches with wake-ups, a second.
    rates: [f64; 3],
    instructions: f64,
}

fn figures(engine: Engine) -> Figures {
    let mut sim = warm(GOAL, engine);
    let counts = |sim: &Sim<BpfScheduler>| {
        let metrics = &sim.kernel.metrics;
        [sim.kernel.trace.count(), metrics.events, metrics.switches + metrics.wakeups, metrics.instructions]
    };
    let before = counts(&sim);
    let times: Vec<Duration> = (0..PASSES).map(|_| run(&mut sim, PASS_EVENTS)).collect();
    let after = counts(&sim);
    let counted: [f64; 4] = std::array::from_fn(|index| (after[index] - before[index]) as f64);
    // The best pass: what else runs on the machine only ever adds.
    let best = times.iter().min().expect("several passes").as_secs_f64() * PASSES as f64;
    let rates = std::array::from_fn(|index| counted[index] / best);
    Figures { rates, instructions: counted[3] / counted[0] }
}

/// Scheduling events a second of the whole scheduler, from its attachment to its detachment.
fn whole() -> f64 {
    let (topology, sim) = loaded(GOAL, Engine::Auto);
    let options = sched_sim::domain_balancer::options(&[]).expect("default options");
    let session = Session::new(sim, WHOLE_NS);
    let begin = Instant::now();
    let outcome = sched_sim::domain_balancer::run(&session, &topology, &options);
    let wall_s = begin.elapsed().as_secs_f64();
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(outcome.exits.is_empty() && outcome.metrics.round > 0, "{:?}", outcome.exits);
    session.with(|sim| sim.kernel.trace.count()) as f64 / wall_s
}

/// Resident memory at its highest, MB.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn gate() {
    let (spec, tasks) = GOAL;
    let [compiled, interpreted] = [Engine::Auto, Engine::Interpret].map(figures);
    println!(
        "\n{spec} with mixed:{tasks}, a second: scheduling events, steps of the model, switches and wake-ups"
    );
    for (name, figures) in [("compiled", &compiled), ("interpreted", &interpreted)] {
        let [events, steps, switches] = figures.rates.map(|rate| rate / 1e6);
        println!("  {name:<12} {events:>6.2} million {steps:>6.2} million {switches:>6.2} million");
    }
    let gain = compiled.rates[0] / interpreted.rates[0];
    println!(
        "  {gain:.2} times faster compiled; {:.0} BPF instructions a scheduling event",
        compiled.instructions
    );
    let (rate, virtual_s) = (whole() / 1e6, WHOLE_NS as f64 / 1e9);
    println!("  {rate:.2} million scheduling events for the whole scheduler, in {virtual_s:.0} s virtual");
    let peak_mb_so_far = peak_mb();
    println!("  memory up to here {:.0} MB at most", peak_mb_so_far.unwrap_or(f64::NAN));
    assert!(peak_mb_so_far.is_none_or(|peak| peak < MOST_MB), "{peak_mb_so_far:?} MB are {MOST_MB} or more");
    assert!(gain >= LEAST_GAIN, "compiled code is worth a factor of {gain:.2} only");
    assert!(
        compiled.instructions <= MOST_INSTRUCTIONS,
        "an event takes {:.0} instructions",
        compiled.instructions
    );

    let (spec, tasks, until_ns) = HUGE;
    let begin = Instant::now();
    let mut sim = attached((spec, tasks), Engine::Auto);
    sim.run_until(until_ns).expect("no invariant breaks");
    let (cpus, alive) = (sim.kernel.online.len(), sim.kernel.tasks.count());
    let events = sim.kernel.trace.count() as f64 / 1e6;
    println!(
        "{spec}: {cpus} CPUs, {alive} tasks, {:.2} s virtual: {events:.2} million scheduling events in {:.1} s, memory {:.0} MB",
        until_ns as f64 / 1e9,
        begin.elapsed().as_secs_f64(),
        peak_mb().unwrap_or(f64::NAN)
    );
}

criterion_group!(benches, events);

fn main() {
    benches();
    gate();
    Criterion::default().configure_from_args().final_summary();
}
