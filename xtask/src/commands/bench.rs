// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask bench`: the criterion benches. They compare within one run, so their ratios hold on any machine.

use crate::packages::{FOR_BUILD, build_environment};
use crate::{paths, process, status};
use anyhow::Result;

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Crates to bench, of those that have benches [default: all of them]
    crates: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When a crate is not known (status 2) or a bench fails.
pub fn main(args: &Args) -> Result<u8> {
    let known = with_benches();
    let chosen = if args.crates.is_empty() { known.clone() } else { args.crates.clone() };
    if let Some(name) = chosen.iter().find(|name| !known.contains(name)) {
        return Err(status::usage(format!("'{name}' has no benches; these have: {}", known.join(", "))));
    }
    super::setup::ensure(FOR_BUILD)?;
    for name in chosen.iter().flat_map(|name| packages(name)) {
        let mut cargo = super::build::cargo_program();
        cargo.args(["bench", "--package", name]).current_dir(paths::root()).envs(build_environment());
        process::visible(&mut cargo)?;
    }
    Ok(0)
}

/// The simulator is the model alone and, in a package of its own, the model with schedulers.
fn packages(name: &str) -> Vec<&str> {
    if name == "sim" { vec!["sim", "sched-sim"] } else { vec![name] }
}

/// Crates with a `benches` folder.
fn with_benches() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(paths::root().join("crates")) else { return Vec::new() };
    let crates = entries.flatten().filter(|entry| entry.path().join("benches").is_dir());
    let mut names: Vec<String> = crates.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
