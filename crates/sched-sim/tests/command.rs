// SPDX-License-Identifier: GPL-2.0-only
//! The program: what it prints, what it writes, how it ends.

use std::process::{Command, Output};

fn sched_sim(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sched-sim")).args(words).output().expect("it was just built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_prints_one_screen_and_writes_three_files() {
    let folder = std::env::temp_dir().join(format!("sched-sim-{}", std::process::id()));
    let path = folder.to_str().expect("a UTF-8 temporary folder");
    let words =
        ["--topology", "2l2c", "--workload", "hogs:8", "--seconds", "0.5", "--seed", "9", "--out", path];
    let output = sched_sim(&words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let screen = text(&output.stdout);
    assert!(screen.starts_with("domain-balancer on 2l2c with hogs:8, seed 9\n"), "{screen}");
    assert!(screen.lines().count() < 40, "{screen}");
    let report = std::fs::read_to_string(folder.join("report.json")).expect("written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["seconds"], 0.5);
    assert!(report["scheduler"]["domains"]["1"].is_object(), "{report}");
    let trace = std::fs::read_to_string(folder.join("trace.json")).expect("written");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 20));
    assert!(std::fs::read_to_string(folder.join("report.html")).expect("written").contains("domain 1"));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn the_scheduler_takes_its_own_options() {
    let words =
        ["--topology", "2l2c", "--workload", "hogs:8", "--seconds", "0.1", "--", "--domains", "machine"];
    let output = sched_sim(&words);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn an_object_that_is_none_is_told_so() {
    let file = std::env::temp_dir().join(format!("sched-sim-{}.o", std::process::id()));
    std::fs::write(&file, b"not an object").expect("a writable temporary folder");
    let output = sched_sim(&["--object", file.to_str().expect("UTF-8"), "--seconds", "0.1"]);
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("does not load on the model: not a BPF object") && error.lines().count() == 1,
        "{error}"
    );
}

#[test]
fn mistakes_are_one_line_and_status_2() {
    let cases: [(&[&str], &str); 9] = [
        (&["--workload", "hugs"], "unknown workload 'hugs'"),
        (&["--workload", "hogs:many"], "'many' is no count"),
        (&["--workload", "no/such.json"], "cannot read no/such.json"),
        (&["--topology", "2q"], "--topology"),
        (&["--topology", "none.toml"], "none.toml"),
        (&["--scheduler", "nobody"], "nobody"),
        (&["--seconds", "-1"], "-1"),
        (&["--", "--slice-us", "0"], "--slice-us"),
        (&["--topology", "4c", "--", "--domains", "0-1;1-3"], "--domains"),
    ];
    for (words, expected) in cases {
        let output = sched_sim(words);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{words:?}: {error}");
        assert!(output.stdout.is_empty(), "{words:?}: {}", text(&output.stdout));
    }
}

#[test]
fn yardsticks_take_no_options() {
    let output = sched_sim(&["--scheduler", "shared-fifo", "--seconds", "0.1", "--", "--fifo"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("shared-fifo takes no options"), "{}", text(&output.stderr));
    let output = sched_sim(&["--scheduler", "shared-fifo", "--topology", "2c", "--seconds", "0.1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_schedulers_own_help_is_there() {
    let output = sched_sim(&["--", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("--greedy-threshold"), "{}", text(&output.stdout));
}

#[test]
fn a_folder_that_cannot_be_made_is_told_before_the_run() {
    let file = std::env::temp_dir().join(format!("sched-sim-file-{}", std::process::id()));
    std::fs::write(&file, b"").expect("a writable temporary folder");
    let output = sched_sim(&["--seconds", "3600", "--out", file.to_str().expect("UTF-8")]);
    std::fs::remove_file(&file).expect("it was there");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("--out: cannot make the folder") && error.lines().count() == 1, "{error}");
    assert!(output.stdout.is_empty(), "no hour was simulated");
}
