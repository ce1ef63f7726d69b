// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask build`: the schedulers, and the guest program that tests them.

use crate::packages::{FOR_BUILD, build_environment};
use crate::progress::Step;
use crate::{paths, process, status};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The guest runs on the host's architecture; naming it keeps build scripts free of the guest's flags.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Options of `build`.
#[derive(clap::Args)]
pub struct Args {
    /// Schedulers to build [default: all]
    schedulers: Vec<String>,
    /// Optimise as for a release
    #[arg(long)]
    release: bool,
}

/// Runs the command.
///
/// # Errors
/// When a scheduler is not known (status 2) or something does not compile.
pub fn main(args: &Args) -> Result<u8> {
    let names = if args.schedulers.is_empty() { schedulers()? } else { args.schedulers.clone() };
    for name in &names {
        known(name)?;
    }
    super::setup::ensure(FOR_BUILD)?;
    for name in &names {
        println!("{}", paths::shown(&program(name, args.release)?));
    }
    Ok(0)
}

/// The names of all schedulers: the packages under `schedulers/`.
///
/// # Errors
/// When the folder cannot be read.
pub fn schedulers() -> Result<Vec<String>> {
    let folder = paths::root().join("schedulers");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let packages = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut names: Vec<String> = packages.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Refuses a scheduler that does not exist.
///
/// # Errors
/// One line with the known ones, status 2.
pub fn known(name: &str) -> Result<()> {
    let names = schedulers()?;
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(status::usage(format!("scheduler '{name}' is not known; known: {}", names.join(", "))))
}

/// Builds a package that needs what the schedulers need, such as one of them, and gives its program.
///
/// It names the program and not the package: then the packages that it shares with the rest of the workspace have the features that
/// the tests were built with, and are not built once more for each program.
///
/// # Errors
/// When it does not compile.
pub fn program(name: &str, release: bool) -> Result<PathBuf> {
    let mut cargo = cargo_for(name);
    if release {
        cargo.arg("--release");
    }
    for (variable, value) in build_environment() {
        cargo.env(variable, value);
    }
    compile(cargo, name)
}

/// The same with other settings of cargo, such as `profile.dev.package.sim.opt-level=3`.
///
/// # Errors
/// When it does not compile.
pub fn program_with(name: &str, settings: &[String]) -> Result<PathBuf> {
    let mut cargo = cargo_for(name);
    settings.iter().for_each(|setting| _ = cargo.args(["--config", setting]));
    cargo.envs(build_environment());
    compile(cargo, name)
}

/// Builds the guest program, linked statically: the VM has no libraries but those of the schedulers.
///
/// # Errors
/// When it does not compile.
pub fn guest() -> Result<PathBuf> {
    let mut cargo = cargo_program();
    cargo.args(["build", "--package", "guest"]).current_dir(paths::root());
    cargo.args(["--target", GUEST_TARGET]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    compile(cargo, "guest")
}

/// The cargo that runs this program, else the one in `PATH`.
pub fn cargo_program() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// cargo, building one program out of the whole workspace.
fn cargo_for(program: &str) -> Command {
    let mut command = cargo_program();
    command.args(["build", "--workspace", "--bin", program]).current_dir(paths::root());
    command
}

/// A message of cargo's, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Runs cargo with a progress bar and gives the program it built.
fn compile(mut cargo: Command, package: &str) -> Result<PathBuf> {
    let step = Step::new(format!("building {package}"), dependency_count(package));
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process::die_with_us(&mut cargo, Signal::SIGTERM).spawn().context("cannot run cargo")?;
    let stderr = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        // Whatever could be read is shown when the build fails.
        let _ = stderr.map(|mut stream| stream.read_to_string(&mut text));
        text
    });
    let (mut program, mut seen) = (None, BTreeSet::new());
    for line in
        child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok)
    {
        let Ok(message) = serde_json::from_str::<Message>(&line) else { continue };
        if message.reason != "compiler-artifact" {
            continue;
        }
        let name = message.target.map(|target| target.name).unwrap_or_default();
        seen.insert(message.package_id);
        step.at(seen.len() as u64, &name);
        if name == package {
            program = message.executable.or(program);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    let errors = errors.join().unwrap_or_default();
    if !status.success() {
        step.clear();
        eprint!("{errors}");
        bail!("{package} does not build: see above");
    }
    let Some(program) = program else { bail!("{package} builds no program of that name") };
    step.done("");
    Ok(program)
}

/// How many packages a build of `package` involves: the length of its progress bar.
fn dependency_count(package: &str) -> u64 {
    let text = process::text(&mut tree(&["--package", package], "normal,build", "{p}")).unwrap_or_default();
    packages(&text).len() as u64
}

/// cargo, listing what the selected packages need through dependencies of these kinds.
fn tree(selection: &[&str], edges: &str, format: &str) -> Command {
    let mut tree = cargo_program();
    tree.args(["tree", "--prefix", "none", "--edges", edges, "--format", format]).args(selection);
    tree.current_dir(paths::root());
    tree
}

/// What such a list names, each once.
fn packages(text: &str) -> BTreeSet<&str> {
    text.lines().map(|line| line.trim_end_matches(" (*)")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_share_what_both_need() {
        let list = |edges| process::text(&mut tree(&["--workspace"], edges, "{p} {f}")).unwrap();
        let (programs, all) = (list("normal,build"), list("all"));
        let (programs, all) = (packages(&programs), packages(&all));
        assert!(programs.len() > 100, "{programs:?}");
        let apart: Vec<_> = programs.difference(&all).collect();
        assert!(
            apart.is_empty(),
            "tests ask for more features of these than programs, so each is built twice, and with it all that depends on it; \
             xtask/Cargo.toml evens that out: {apart:#?}"
        );
    }
}
