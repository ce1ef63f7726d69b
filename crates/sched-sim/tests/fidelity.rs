// SPDX-License-Identifier: GPL-2.0-only
//! The model's half of the comparison with the kernel: the figures of `fidelity/scenarios.json` come out here as they do
//! there (scenarios F1, F2, … of `cargo xtask vmtest`), within the tolerances that the file states.

mod common;

use std::collections::BTreeMap;
use std::rc::Rc;

use common::{MS, S, Scene};
use sched_sim::drive::drive;
use sched_sim::schedulers;
use serde::Deserialize;
use serde_json::Value;
use sim::bpf::Session;
use sim::program::{Program, Step};
use sim::task::TaskSpec;
use sim::workload::Workload;
use sim::world::Outside;
use topology::CpuSet;

const FILE: &str = include_str!("../fidelity/scenarios.json");
/// The last second is looked at so often.
const SAMPLES: u64 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    #[serde(rename = "about")]
    _about: Vec<String>,
    machine: String,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    schedulers: Vec<String>,
    seconds: u64,
    options: Vec<String>,
    jobs: Vec<Job>,
    release_s: Option<u64>,
    figures: BTreeMap<String, Figure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    count: usize,
    nice: i32,
    cpus: Option<CpuSet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    expected: f64,
    sim_within: f64,
    kernel_within: f64,
}

/// The scheduler's weight of a nice value: kernel `sched_prio_to_weight` in hundredths of nice 0.
fn weight(nice: i32) -> u32 {
    match nice {
        0 => 100,
        5 => 33,
        _ => panic!("add the weight of nice {nice}"),
    }
}

fn workload(scenario: &Scenario) -> Workload {
    let mut workload = Workload::default();
    for (index, job) in scenario.jobs.iter().enumerate() {
        let group = workload.group(&format!("job {index}"));
        let spec = TaskSpec {
            group,
            weight: weight(job.nice),
            cpus: job.cpus.clone().map(Rc::new),
            ..TaskSpec::new("hog", Program::new(&[Step::RunForever]))
        };
        workload.tasks.extend((0..job.count).map(|_| (spec.clone(), 0)));
        if let Some(release_s) = scenario.release_s {
            workload.sources.push((Outside::SetGroupAffinity { group, cpus: None }, release_s * S));
        }
    }
    workload
}

/// A run that is over.
struct Run {
    session: Session,
    statistics: Value,
}

impl Run {
    /// Under a scheduler, up to some moment.
    fn new(suite: &Suite, scenario: &Scenario, scheduler: &str, end_ns: u64) -> Self {
        let scene = Scene { workload: workload(scenario), ..Scene::new(&suite.machine, "hogs:1", end_ns) };
        let session = scene.session();
        let mut scheduler = schedulers::make(scheduler, &scenario.options)
            .unwrap_or_else(|| panic!("'{scheduler}' is no scheduler"))
            .unwrap_or_else(|error| panic!("{error:#}"));
        drive(&session, &scene.topology, scheduler.as_mut()).unwrap_or_else(|error| panic!("{error:#}"));
        Self { session, statistics: scheduler.statistics().expect("statistics have a form in JSON") }
    }

    /// CPU of each task at the end.
    fn places(&self) -> Vec<usize> {
        self.session.with(|sim| sim.kernel.tasks.live().map(|(_, task)| task.cpu).collect())
    }

    /// CPU time of each task, ns.
    fn cpu_times(&self) -> Vec<f64> {
        self.session.with(|sim| sim.kernel.tasks.live().map(|(_, task)| task.exec_ns as f64).collect())
    }

    /// Moves that the balancer applied.
    fn applied(&self) -> f64 {
        self.statistics["applied"].as_f64().expect("a scheduler that plans moves counts the applied ones")
    }
}

fn figures(suite: &Suite, scenario: &Scenario, scheduler: &str) -> BTreeMap<&'static str, f64> {
    let run = |end_ns| Run::new(suite, scenario, scheduler, end_ns);
    let end = scenario.seconds * S;
    let samples: Vec<Run> = (0..SAMPLES).map(|back| run(end - back * S / SAMPLES - MS * back)).collect();
    let last = &samples[0];
    let masks = scenario.jobs.iter().flat_map(|job| std::iter::repeat_n(&job.cpus, job.count));
    let masks: Vec<Option<&CpuSet>> = masks.map(Option::as_ref).collect();
    let (mut per_llc, mut outside) = (BTreeMap::<usize, f64>::new(), 0);
    let llc_of = |cpu: usize| last.session.with(|sim| sim.kernel.machine.places[cpu].llc);
    (0..last.session.with(|sim| sim.kernel.machine.llcs.len())).for_each(|llc| _ = per_llc.insert(llc, 0.0));
    for sample in &samples {
        for (cpu, mask) in sample.places().into_iter().zip(&masks) {
            *per_llc.entry(llc_of(cpu)).or_default() += 1.0 / SAMPLES as f64;
            outside +=
                usize::from(scenario.release_s.is_none() && mask.is_some_and(|mask| !mask.contains(cpu)));
        }
    }
    let times = last.cpu_times();
    let mean = |from: usize, count: usize| times[from..from + count].iter().sum::<f64>() / count as f64;
    let (most, least) =
        per_llc.values().fold((0.0, f64::INFINITY), |(a, b), &v| (f64::max(a, v), f64::min(b, v)));
    let mut figures = BTreeMap::from([
        (
            "max_over_min",
            times.iter().copied().fold(0.0, f64::max) / times.iter().copied().fold(f64::INFINITY, f64::min),
        ),
        ("outside", outside as f64),
        ("most_per_llc", most),
        ("least_per_llc", least),
        ("busy_llcs", per_llc.values().filter(|&&tasks| tasks > 0.0).count() as f64),
    ]);
    if scenario.figures.contains_key("applied") {
        let before = scenario.release_s.map_or(0.0, |at| run(at * S).applied());
        figures.insert("applied", last.applied() - before);
    }
    if let [first, second, ..] = &scenario.jobs[..] {
        figures.insert("share_ratio", mean(0, first.count) / mean(first.count, second.count));
    }
    figures
}

#[test]
fn the_model_gives_the_figures_that_kernels_give() {
    let suite: Suite = serde_json::from_str(FILE).expect("the file has this shape");
    let mut wrong = Vec::new();
    let runs =
        suite.scenarios.iter().flat_map(|scenario| scenario.schedulers.iter().map(move |s| (scenario, s)));
    for (scenario, scheduler) in runs {
        let found = figures(&suite, scenario, scheduler);
        for (name, figure) in &scenario.figures {
            let value = found[name.as_str()];
            let line = format!(
                "{} {scheduler} {name}: {value:.3}, expected {} ± {}",
                scenario.name, figure.expected, figure.sim_within
            );
            println!("{line}");
            if (value - figure.expected).abs() > figure.sim_within {
                wrong.push(line);
            }
            assert!(figure.kernel_within >= figure.sim_within, "a kernel is no more exact than its model");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
