// SPDX-License-Identifier: GPL-2.0-only
//! A layer of `cargo xtask test`: the simulator gives the same runs, to the last event, whatever it is compiled with.
//!
//! The simulator and everything of ours in it is built as for debugging and as for a release (optimised, without checks for
//! overflow and without assertions); both play the same runs. Packages from elsewhere are built once, for both.

use super::build;
use crate::vm::verdict::Tally;
use crate::{paths, process, status};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The simulator's package and program.
const SIMULATOR: &str = "sched-sim";

/// What is played, each by both: every scheduler, with most of what the model knows.
const RUNS: [&[&str]; 3] = [
    &[
        "--scheduler",
        "domain-balancer",
        "--workload",
        "mixed:60+fork-exec:6+affinity-storm:6+cgroup-storm:8+rt",
    ],
    &["--scheduler", "active-push", "--workload", "mixed:60+fork-exec:6+affinity-storm:6+requests+rt"],
    &["--scheduler", "cell-scheduler", "--workload", "tenants:3+sleepers+make+cgroup-storm:8"],
];

/// What all runs share. Long enough for a few rounds of every loop.
const COMMON: [&str; 6] = ["--topology", "2n2l2c2t", "--seconds", "0.6", "--seed", "20"];

/// Options of the schedulers themselves, in the order of the runs.
const OPTIONS: [&[&str]; 3] =
    [&["--interval", "0.1"], &[], &["--cell-parent-cgroup", "/", "--rebalance-interval", "0.1"]];

/// Runs the layer: one verdict a run.
///
/// # Errors
/// When the simulator does not compile.
pub fn run() -> Result<Tally> {
    // One after the other: both builds put their program at the same place.
    let debug = play(&build::program(SIMULATOR, false)?)?;
    let release = play(&as_released()?)?;
    let mut tally = Tally::default();
    for ((words, debug), release) in RUNS.iter().zip(debug).zip(release) {
        let equal = debug == release;
        println!("{} same run in both builds: {}", if equal { "pass" } else { "FAIL" }, words.join(" "));
        if equal {
            tally.passed += 1;
        } else {
            tally.failed += 1;
            println!("--- as for debugging\n{debug}--- as for a release\n{release}");
        }
    }
    Ok(tally)
}

/// What each run tells, without the time it took.
fn play(program: &Path) -> Result<Vec<String>> {
    let runs = RUNS.iter().zip(OPTIONS).map(|(words, options)| {
        let mut command = Command::new(program);
        command.args(*words).args(COMMON).arg("--").args(options);
        let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(status::failure(status::FAILED, format!("{}: {error}", words.join(" "))));
        }
        without_speed(&String::from_utf8_lossy(&output.stdout))
    });
    runs.collect()
}

/// Everything up to the line about the time that it took.
///
/// # Errors
/// When that line or the fingerprint before it is missing: then equal texts would prove nothing.
fn without_speed(text: &str) -> Result<String> {
    let told: Vec<&str> = text.lines().take_while(|line| !line.contains(" s of wall time")).collect();
    ensure!(told.len() < text.lines().count(), "the simulator does not tell what the run took");
    ensure!(told.iter().any(|line| line.starts_with("trace ")), "the simulator does not tell a fingerprint");
    Ok(told.iter().flat_map(|line| [line, "\n"]).collect())
}

/// The program with our own packages compiled as for a release.
fn as_released() -> Result<PathBuf> {
    let mut cargo = build::cargo_program();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(paths::root());
    let metadata = process::text(&mut cargo)?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let names = packages.filter_map(|package| package["name"].as_str()).filter(|name| *name != "xtask");
    let settings = ["opt-level=3", "debug-assertions=false", "overflow-checks=false"];
    let config: Vec<String> = names
        .flat_map(|name| settings.map(|setting| format!("profile.dev.package.{name}.{setting}")))
        .collect();
    build::program_with(SIMULATOR, &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_left_out_and_nothing_else() {
        let told = "one\ntrace 1234\n\n0.1 s of wall time, 2 million events a second\n";
        assert_eq!(without_speed(told).unwrap(), "one\ntrace 1234\n\n");
    }

    #[test]
    fn a_run_without_a_fingerprint_or_cut_short_proves_nothing() {
        assert!(without_speed("one\n0.1 s of wall time\n").is_err());
        assert!(without_speed("one\ntrace 1234\n").is_err());
    }
}
