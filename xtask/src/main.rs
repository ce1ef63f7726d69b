// SPDX-License-Identifier: GPL-2.0-only
//! The project's commands, as `cargo xtask COMMAND`. Each is a file of [`commands`]; this one only dispatches.

mod commands;
mod initramfs;
mod kernels;
mod packages;
mod paths;
mod process;
mod progress;
mod report;
mod status;
mod tidy;
mod vm;

use clap::{Parser, Subcommand};
use commands::{bench, build, run, setup, sim, test, tidy as tidy_command, vmtest};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about = "The project's commands")]
#[command(
    after_help = "Exit status: 0 done, 1 something failed, 2 wrong usage (vmtest and run: also inconclusive), \
                        69 the VM or its kernel cannot be had, 77 packages are missing and cannot be installed, \
                        130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building and testing needs
    Setup(setup::Args),
    /// Build the schedulers
    Build(build::Args),
    /// Show a scheduler at work in a virtual machine, beside the kernel's own
    Run(run::Args),
    /// Run every layer of tests
    Test(test::Args),
    /// Check the house rules
    Tidy,
    /// Measure the crates that have benches
    Bench(bench::Args),
    /// Run the simulator: a scheduler on any machine, in virtual time
    Sim(sim::Args),
    /// Run scenarios on real kernels in virtual machines
    Vmtest(vmtest::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return status::report(&usage(&error)),
        // Help or the version was asked for; a closed pipe is no reason to complain.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let done = process::handle_signals().and_then(|()| match &cli.command {
        Command::Setup(args) => setup::main(args),
        Command::Build(args) => build::main(args),
        Command::Run(args) => run::main(args),
        Command::Test(args) => test::main(args),
        Command::Bench(args) => bench::main(args),
        Command::Sim(args) => sim::main(args),
        Command::Tidy => tidy_command::main(),
        Command::Vmtest(args) => vmtest::main(args),
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => status::report(&error),
    }
}

/// What clap says, on one line.
fn usage(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return status::usage("which command? See cargo xtask --help");
    }
    let words = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim();
    let hint = "see cargo xtask --help";
    status::usage(format!("{words}; {hint}"))
}
