// SPDX-License-Identifier: GPL-2.0-only
//! The status for an outcome. An `ExitCode` says its number only by its debug text.

use std::io::{self, Write};

use scx_stats::{Meta, StatsMeta};
use scx_stats_derive::Stats;
use serde::{Deserialize, Serialize};

use super::*;
use crate::daemon::StartError;
use crate::exit::{FAILURE, STATS_SOCKET, UsageError};
use crate::stats::StatsError;

fn shown(code: ExitCode) -> String {
    format!("{code:?}")
}

type Boxed = Box<dyn StdError + Send + Sync>;

#[test]
fn success_is_zero_and_every_error_has_its_documented_status() {
    let fine: Result<(), Boxed> = Ok(());
    assert_eq!(shown(end("test", fine)), shown(ExitCode::SUCCESS));
    let bad: Boxed = UsageError("--x: no".into()).into();
    assert_eq!(shown(end("test", Err(bad))), shown(ExitCode::from(USAGE)));
    let broken: Boxed = std::io::Error::other("broken").into();
    assert_eq!(shown(end("test", Err(broken))), shown(ExitCode::from(FAILURE)));
}

/// Figures of a scheduler that nobody wrote.
#[derive(Serialize, Deserialize, Stats)]
#[stat(top)]
struct Nothing {
    #[stat(desc = "Of nothing")]
    count: u64,
}

impl Figures for Nothing {
    fn descriptions() -> Vec<StatsMeta> {
        vec![Self::meta()]
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.count)
    }
}

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: CommonArgs,
}

#[test]
fn only_what_needs_no_machine_is_answered_at_once() {
    let common =
        |words: &[&str]| Options::parse_from(std::iter::once("test").chain(words.iter().copied())).common;
    let answered = |version, common: &CommonArgs| answered::<Nothing>("test", version, common);
    assert!(!answered(None, &common(&[])).expect("nothing was asked"));
    assert!(answered(Some("1"), &common(&[])).expect("a version"));
    assert!(answered(None, &common(&["--help-stats"])).expect("descriptions"));
}

#[test]
fn a_status_survives_every_way_to_the_end() {
    let in_use = || StatsError::InUse { path: "/run/x".into() };
    let status = |error: anyhow::Error| shown(end("test", Err(error)));
    let expected = shown(ExitCode::from(STATS_SOCKET));
    assert_eq!(status(in_use().into()), expected);
    assert_eq!(status(anyhow::Error::from(StartError::Stats(in_use()))), expected);
    assert_eq!(status(anyhow::Error::from(StartError::Stats(in_use())).context("starting")), expected);
    assert_eq!(status(UsageError("--x: no".into()).into()), shown(ExitCode::from(USAGE)));
    let line = crate::exit::one_line(&StartError::Stats(in_use()));
    assert_eq!(line.matches("in use").count(), 1, "said once: {line}");
}
