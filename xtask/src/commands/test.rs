// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask test`: every layer of tests, the quick ones first. Each ends with a line `LAYER: N passed, M failed`.

#[cfg(test)]
mod tests;

use super::{build, repro, setup, tidy, vmtest};
use crate::packages::{FOR_ALL, FOR_BUILD, build_environment};
use crate::vm::verdict::Tally;
use crate::{paths, process, status};
use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A layer of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layer {
    /// House rules, format and lints
    Tidy,
    /// Unit and property tests
    Unit,
    /// The simulator gives the same runs in a debug and in a release build
    Repro,
    /// Scenarios on real kernels
    Vm,
}

impl Layer {
    const ALL: [Self; 4] = [Self::Tidy, Self::Unit, Self::Repro, Self::Vm];

    fn name(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Unit => "unit",
            Self::Repro => "repro",
            Self::Vm => "vm",
        }
    }
}

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Layer to run; may be repeated [default: all]
    #[arg(long = "layer", value_enum)]
    layers: Vec<Layer>,
}

/// Runs the command.
///
/// # Errors
/// When what building needs is missing and cannot be installed (status 77).
pub fn main(args: &Args) -> Result<u8> {
    let layers: Vec<Layer> =
        Layer::ALL.into_iter().filter(|l| args.layers.is_empty() || args.layers.contains(l)).collect();
    let ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    // In CI everything is needed at once; elsewhere a machine without QEMU still runs the other layers.
    setup::ensure(if ci && layers.contains(&Layer::Vm) { FOR_ALL } else { FOR_BUILD })?;
    let mut lines = Vec::new();
    let mut total = Tally::default();
    for layer in layers {
        let tally = match run(layer) {
            Ok(tally) => tally,
            Err(error) => without_verdict(&error, layer, ci),
        };
        println!("{}: {}", layer.name(), tally.line());
        lines.push(format!("{}: {}", layer.name(), tally.line()));
        total.failed += tally.failed;
        total.inconclusive += tally.inconclusive;
    }
    if lines.len() > 1 {
        println!("\n{}", lines.join("\n"));
    }
    Ok(match (total.failed, total.inconclusive) {
        (1.., _) => status::FAILED,
        (0, 1..) => status::INCONCLUSIVE,
        (0, 0) => 0,
    })
}

/// What a layer that could not run counts as: a failure, save that outside CI a machine may have no VM.
fn without_verdict(error: &anyhow::Error, layer: Layer, ci: bool) -> Tally {
    let unavailable = matches!(status::of(error), status::UNAVAILABLE | status::NO_PERMISSION);
    if unavailable && layer == Layer::Vm && !ci {
        eprintln!("note: skipped: {}", status::one_line(error));
        return Tally { skipped: 1, ..Tally::default() };
    }
    eprintln!("error: {}", status::one_line(error));
    Tally { failed: 1, ..Tally::default() }
}

fn run(layer: Layer) -> Result<Tally> {
    match layer {
        Layer::Tidy => tidy_layer(),
        Layer::Unit => unit_layer(),
        Layer::Repro => repro::run(),
        Layer::Vm => {
            let (mut tally, vm_failure) = vmtest::run(&vmtest::Args::default())?;
            tally.failed += usize::from(vm_failure);
            Ok(tally)
        }
    }
}

/// The rules of `tidy`, then the formatter and the linter.
fn tidy_layer() -> Result<Tally> {
    let mut tally = tidy::run()?;
    ensure_components()?;
    let checks: [(&str, &[&str]); 2] = [
        ("cargo fmt", &["fmt", "--all", "--check"]),
        ("cargo clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    ];
    for (name, args) in checks {
        let passed = process::visible(&mut cargo(args)).is_ok();
        println!("{} {name}", if passed { "pass" } else { "FAIL" });
        if passed { tally.passed += 1 } else { tally.failed += 1 }
    }
    Ok(tally)
}

/// A minimal toolchain has neither formatter nor linter.
fn ensure_components() -> Result<()> {
    for (component, verb) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if process::text(&mut cargo(&[verb, "--version"])).is_ok() {
            continue;
        }
        eprintln!("setup: adding {component} to the Rust toolchain");
        let added = process::visible(Command::new("rustup").args(["component", "add", component]));
        added.map_err(|error| {
            let why =
                format!("{component} is missing and rustup cannot add it ({})", status::one_line(&error));
            status::failure(status::NO_PERMISSION, why)
        })?;
    }
    Ok(())
}

/// Every unit and property test of the workspace, the guest program's included.
fn unit_layer() -> Result<Tally> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--quiet"]);
    command.stdout(Stdio::piped());
    let mut child =
        process::die_with_us(&mut command, Signal::SIGTERM).spawn().context("cannot run cargo")?;
    let mut tally = Tally::default();
    for line in
        child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok)
    {
        count(&line, &mut tally);
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && tally.failed == 0 {
        // Something did not compile or died before it could count.
        tally.failed = 1;
    }
    Ok(tally)
}

/// Adds a line `test result: ok. 12 passed; 0 failed; 1 ignored; …` to the count.
fn count(line: &str, tally: &mut Tally) {
    let Some((_, counts)) = line.trim().strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
    else {
        return;
    };
    for part in counts.split("; ") {
        let mut words = part.split_whitespace();
        let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<usize>), words.next()) else {
            continue;
        };
        match what {
            "passed" => tally.passed += number,
            "failed" => tally.failed += number,
            "ignored" => tally.skipped += number,
            _ => {}
        }
    }
}

fn cargo(args: &[&str]) -> Command {
    let mut command = build::cargo_program();
    command.args(args).current_dir(paths::root());
    for (variable, value) in build_environment() {
        command.env(variable, value);
    }
    command
}
