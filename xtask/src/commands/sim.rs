// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask sim`: builds the simulator, optimised, and runs it. Every argument is the simulator's, `--help` included.

use super::{build, setup};
use crate::packages::FOR_BUILD;
use crate::{process, status};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// The simulator's package and program.
const SIMULATOR: &str = "sched-sim";
/// What the simulator reads from its environment: how it was started, for the commands it prints to make a run again.
const STARTED_BY: (&str, &str) = ("SCHED_SIM_COMMAND", "cargo xtask sim");

/// Options of `sim`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The simulator's options; `cargo xtask sim --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    arguments: Vec<String>,
}

/// Runs the command; the status is the simulator's.
///
/// # Errors
/// When what building needs is missing (status 77) or the simulator does not compile.
pub fn main(args: &Args) -> Result<u8> {
    setup::ensure(FOR_BUILD)?;
    let program = build::program(SIMULATOR, true)?;
    let ended = process::die_with_us(&mut simulator(&program, args), Signal::SIGTERM).status();
    Ok(code(ended.with_context(|| format!("cannot run {SIMULATOR}"))?))
}

/// It begins where the user stands: relative paths in its options mean what they say.
fn simulator(program: &Path, args: &Args) -> Command {
    let (name, value) = STARTED_BY;
    let mut command = Command::new(program);
    command.args(&args.arguments).env(name, value);
    command
}

/// A signal counts as an interruption.
fn code(ended: ExitStatus) -> u8 {
    if ended.signal().is_some() {
        return status::INTERRUPTED;
    }
    ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(status::FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::ffi::OsStr;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn every_argument_is_the_simulators() {
        let words = ["--topology", "2n4c", "--help", "-h", "--", "x"];
        let cli = Cli::try_parse_from(std::iter::once("sim").chain(words)).unwrap();
        assert_eq!(cli.args.arguments, words);
    }

    #[test]
    fn the_simulator_learns_how_it_was_started() {
        let args = Args { arguments: vec!["--seed".to_owned(), "3".to_owned()] };
        let command = simulator(Path::new("sched-sim"), &args);
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--seed", "3"]);
        let (name, value) = STARTED_BY;
        assert!(command.get_envs().any(|(key, given)| key == name && given == Some(OsStr::new(value))));
    }

    #[test]
    fn the_simulators_status_is_passed_on() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(2 << 8)), 2);
        assert_eq!(code(ExitStatus::from_raw(Signal::SIGINT as i32)), status::INTERRUPTED);
    }
}
