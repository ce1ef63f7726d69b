// SPDX-License-Identifier: GPL-2.0-only
//! What a daemon makes of an ending, and who asks it for figures.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: CommonArgs,
}

fn daemon(words: &[&str]) -> Daemon {
    let options = Options::parse_from(std::iter::once("daemon").chain(words.iter().copied()));
    let live = Live::new(Shutdown::without_signals().expect("a pipe"), &options.common);
    Daemon::new("daemon", options.common, live)
}

fn ended(kind: i32, exit_code: i64) -> Ending {
    Ending::Kernel(ExitRecord { kind, exit_code, ..ExitRecord::default() })
}

#[test]
fn a_shutdown_ends_well() {
    assert!(!daemon(&[]).goes_on(&Ending::Shutdown).expect("no error"));
}

#[test]
fn only_the_restart_code_attaches_again() {
    // SCX_EXIT_UNREG_BPF with SCX_ECODE_ACT_RESTART, and without.
    let restart = 1 << 48;
    assert!(daemon(&[]).goes_on(&ended(65, restart)).expect("no error"));
    assert!(!daemon(&[]).goes_on(&ended(65, 0)).expect("no error"));
}

#[test]
fn an_error_of_the_scheduler_is_an_error_of_the_process() {
    let error = daemon(&[]).goes_on(&ended(1025, 0)).expect_err("SCX_EXIT_ERROR_BPF");
    assert_eq!(exit::status_of(&error), exit::KERNEL_ERROR);
}

#[test]
fn figures_are_wanted_when_a_client_asks_or_printing_is_due() {
    let quiet = daemon(&[]);
    assert!(!quiet.live.wants_metrics());
    let printing = daemon(&["--stats", "0.001"]);
    std::thread::sleep(Duration::from_millis(5));
    assert!(printing.live.wants_metrics(), "an interval has passed");
}
