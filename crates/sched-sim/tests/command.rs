// SPDX-License-Identifier: GPL-2.0-only
//! The program: what it prints, what it writes, how it ends.

mod common;

use std::process::{Command, Output, Stdio};

use common::tiny;

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
    assert!(screen.lines().count() <= 24, "{screen}");
    let report = std::fs::read_to_string(folder.join("report.json")).expect("written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["seconds"], 0.5);
    let replay = report["made"]["replay"].as_str().unwrap_or_default();
    assert!(replay.starts_with("sched-sim --scheduler domain-balancer "), "{replay}");
    assert!(report["scheduler"]["domains"]["1"].is_object(), "{report}");
    let trace = std::fs::read_to_string(folder.join("trace.json")).expect("written");
    let trace: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    assert!(trace["traceEvents"].as_array().is_some_and(|events| events.len() > 20));
    assert!(
        std::fs::read_to_string(folder.join("report.html")).expect("written").contains("cache 1 (CPUs 2-3)")
    );
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
fn explanations_come_before_the_figures() {
    let words = ["--topology", "2l2c", "--workload", "one-domain:8", "--seconds", "1"];
    let options = ["--", "--interval", "0.2", "--greedy-threshold", "0", "--explain"];
    let run = |form| text(&sched_sim(&[&words[..], &options, &[form]].concat()).stdout);
    let told = run("text");
    assert!(told.starts_with("load ") && told.contains("\ndomain-balancer on 2l2c"), "{told}");
    let told = run("json");
    let rounds: Vec<&str> = told.lines().take_while(|line| line.starts_with('{')).collect();
    assert!(rounds.len() >= 3, "{told}");
    for round in rounds {
        let round: serde_json::Value = serde_json::from_str(round).expect("an object a line");
        assert!(round["moves"].is_array(), "{round}");
    }
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
fn any_object_runs_without_a_userspace_half() {
    let file = tiny("PLAIN");
    let words = ["--object", file.to_str().expect("UTF-8"), "--topology", "2c", "--workload", "hogs:6"];
    let output = sched_sim(&[&words[..], &["--seconds", "0.5"]].concat());
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("busy 100.0 %"), "{}", text(&output.stdout));
}

#[test]
fn a_broken_run_tells_where_and_its_replay_finds_the_same() {
    let file = tiny("FAULTS");
    let words =
        ["--object", file.to_str().expect("UTF-8"), "--topology", "2l2c", "--workload", "hogs:3+sleepers:6"];
    let output = sched_sim(&[&words[..], &["--seconds", "3", "--seed", "5"]].concat());
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    // Function and source line, seed, number of the event, the last events.
    assert!(error.contains("tiny_running at instruction") && error.contains("tiny.bpf.c:"), "{error}");
    assert!(error.contains("(seed 5, event ") && error.lines().count() > 10, "{error}");
    let replay = error.trim_end().lines().last().and_then(|line| line.strip_prefix("replay: sched-sim "));
    let replay: Vec<&str> = replay.expect("a command to replay").split(' ').collect();
    assert_eq!(replay[replay.len() - 2..], ["--check-every", "1"], "{error}");
    let again = sched_sim(&replay);
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(text(&again.stderr), error, "the same event, the same history");
}

/// Options of an object that runs for half a second.
fn alone(file: &std::path::Path) -> [&str; 8] {
    let path = file.to_str().expect("UTF-8");
    ["--object", path, "--topology", "2c", "--workload", "hogs:6", "--seconds", "0.5"]
}

#[test]
fn the_command_to_replay_is_the_one_that_was_given() {
    let file = tiny("FAULTS=1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sched-sim"));
    command
        .args(alone(&file))
        .args(["--seed", "7", "--interpret"])
        .env("SCHED_SIM_COMMAND", "cargo xtask sim");
    let output = command.output().expect("it was just built");
    std::fs::remove_file(&file).expect("it was there");
    let error = text(&output.stderr);
    let path = file.display();
    let expected = format!(
        "replay: cargo xtask sim --object '{path}' --topology 2c --workload hogs:6 --seconds 0.5 --seed 7 \
         --check-every 1 --interpret"
    );
    // The quotes are for a path that needs them.
    let plain = expected.replace('\'', "");
    let last = error.trim_end().lines().last().unwrap_or_default();
    assert!(last == expected || last == plain, "{error}");
}

#[test]
fn what_is_not_given_back_breaks_the_run() {
    let file = tiny("LEAKS");
    let output = sched_sim(&alone(&file));
    std::fs::remove_file(&file).expect("it was there");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("this run broke off: 1 CPU masks of BPF code are alive"), "{error}");
    assert!(error.contains("\nreplay: sched-sim --object ") && output.stdout.is_empty(), "{error}");
}

#[test]
fn an_end_that_an_object_asks_for_is_an_error_only_by_its_code() {
    for (define, status) in [("LEAVES=0", 0), ("LEAVES=3", 70)] {
        let file = tiny(define);
        let output = sched_sim(&alone(&file));
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(output.status.code(), Some(status), "{define}: {}", text(&output.stderr));
        let screen = text(&output.stdout);
        let words = "ended by the kernel: unregistered from BPF (done after 2";
        assert!(screen.contains(words), "{define}: {screen}");
    }
}

#[test]
fn a_run_that_is_interrupted_tells_what_there_is() {
    let folder = std::env::temp_dir().join(format!("sched-sim-stop-{}", std::process::id()));
    let words = ["--topology", "2c", "--workload", "hogs:4", "--seconds", "80000", "--out"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_sched-sim"));
    command.args(words).arg(&folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("it was just built");
    // Far shorter than the run, far longer than it takes to load.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let output = child.wait_with_output().expect("it ends");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{error}");
    assert!(error.contains("interrupted at ") && error.lines().count() == 1, "{error}");
    assert!(text(&output.stdout).contains("\ninterrupted: "), "{}", text(&output.stdout));
    let report = std::fs::read_to_string(folder.join("report.json")).expect("written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["interrupted"], true);
    std::fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn a_file_lasts_as_long_as_it_says() {
    let file = std::env::temp_dir().join(format!("sched-sim-{}.json", std::process::id()));
    let load = r#"{"global": {"duration": 1}, "tasks": {"a": {"run": 1000, "sleep": 1000}}}"#;
    std::fs::write(&file, load).expect("a writable temporary folder");
    let path = file.to_str().expect("UTF-8");
    for (more, seconds) in
        [(&[][..], "1.000 s"), (&["--seconds", "0.5"], "0.500 s"), (&["--seconds", "5"], "1.000 s")]
    {
        let output = sched_sim(&[&["--topology", "2c", "--workload", path], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(&format!("\n{seconds} virtual")), "{}", text(&output.stdout));
    }
    std::fs::remove_file(&file).expect("it was there");
}

#[test]
fn mistakes_are_one_line_and_status_2() {
    let cases: [(&[&str], &str); 14] = [
        (&["--workload", "hugs"], "unknown workload 'hugs'"),
        (&["--workload", "hogs:many"], "'many' is no count"),
        (&["--workload", "hogs:9999999"], "more than 1000000 tasks"),
        (&["--workload", "no/such.json"], "cannot read no/such.json"),
        (&["--topology", "2q"], "--topology"),
        (&["--topology", "none.toml"], "none.toml"),
        (&["--scheduler", "nobody"], "nobody"),
        (&["--object", "no/such.o"], "--object: cannot read no/such.o"),
        (&["--seconds", "1e30"], "out of range"),
        (&["--seconds", "-1"], "-1"),
        (&["--", "--slice-us", "0"], "--slice-us"),
        (&["--", "--metrics", "9100"], "--metrics has no effect in the simulator: leave it out"),
        (&["--scheduler", "cell-scheduler", "--", "--config", "no/such.toml"], "no/such.toml"),
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
fn a_folder_that_cannot_be_written_is_told_before_the_run() {
    let output = sched_sim(&["--seconds", "3600", "--out", "/proc"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("--out: cannot write into /proc") && error.lines().count() == 1, "{error}");
    assert!(output.stdout.is_empty(), "no hour was simulated");
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
