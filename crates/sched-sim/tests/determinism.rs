// SPDX-License-Identifier: GPL-2.0-only
//! The same seed gives the same run, to the last event, in one process, across processes, and whatever is looked at.

mod common;

use std::process::Command;

use common::{MS, Run, Scene};
use sim::bpf::Engine;
use sim::world::Outside;

const BUSY: &str = "mixed:40+fork-exec:4+affinity-storm:4";
const WORDS: &[&str] = &["--interval", "0.1"];

fn scene(seed: u64) -> Scene<'static> {
    let hotplug = |online| Outside::Hotplug { cpu: 3, online };
    Scene::new("2l2c2t", BUSY, 150 * MS)
        .seed(seed)
        .options(WORDS)
        .with(hotplug(false), 50 * MS)
        .with(hotplug(true), 100 * MS)
}

fn figures(run: &Run) -> (String, String, String) {
    let report = serde_json::to_string(&run.report).expect("plain data");
    (run.report.trace_hash.clone(), report, format!("{:?}", run.outcome.metrics))
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = figures(&scene(3).run());
    assert_eq!(first, figures(&scene(3).run()));
    assert_ne!(first.0, figures(&scene(4).run()).0);
}

#[test]
fn looking_changes_nothing() {
    let plain = scene(5).run().report.trace_hash;
    let mut watched = scene(5);
    watched.config.check_every = 1;
    watched.config.timeline = 1000;
    watched.config.history = 7;
    assert_eq!(watched.run().report.trace_hash, plain);
}

#[test]
fn compiled_and_interpreted_code_give_the_same_run() {
    let run = |engine| {
        let mut scene = scene(6);
        scene.config.engine = engine;
        figures(&scene.run())
    };
    let interpreted = run(Engine::Interpret);
    assert_eq!(interpreted, run(Engine::Compile));
    assert_eq!(interpreted, run(Engine::Auto));
}

#[test]
fn another_process_gives_the_same_run() {
    // Hash maps begin differently in every process: nothing may depend on their order.
    let run = || {
        let words = ["--topology", "2n2l2c", "--workload", BUSY, "--seconds", "0.15", "--seed", "7"];
        let output = Command::new(env!("CARGO_BIN_EXE_sched-sim")).args(words).output().expect("just built");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        // All but the wall time at the end.
        text.lines()
            .take_while(|line| !line.contains("of wall time"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let first = run();
    assert!(first.contains("\ntrace "), "{first}");
    assert_eq!(first, run());
}
