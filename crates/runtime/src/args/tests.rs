// SPDX-License-Identifier: GPL-2.0-only
//! Parsing.

use clap::Parser;
use clap::error::ErrorKind;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    common: CommonArgs,
}

fn parse(arguments: &[&str]) -> Result<CommonArgs, clap::Error> {
    Command::try_parse_from(std::iter::once(&"scheduler").chain(arguments)).map(|command| command.common)
}

#[test]
fn defaults() {
    let args = parse(&[]).unwrap();
    assert_eq!((args.stats, args.monitor, args.help_stats, args.verbose), (None, None, false, 0));
    assert_eq!(args.exit_dump_len, 0);
    assert_eq!(args.socket_path("domain-balancer"), Path::new("/run/domain-balancer/stats.sock"));
}

#[test]
fn every_option_reaches_its_field() {
    let args =
        parse(&["--stats", "0.5", "-vv", "--exit-dump-len", "4096", "--stats-socket", "/tmp/s"]).unwrap();
    assert_eq!(args.stats, Some(Duration::from_millis(500)));
    assert_eq!((args.verbose, args.exit_dump_len), (2, 4096));
    assert_eq!(args.socket_path("x"), Path::new("/tmp/s"));
    assert_eq!(parse(&["--monitor", "2"]).unwrap().monitor, Some(Duration::from_secs(2)));
    assert!(parse(&["--help-stats"]).unwrap().help_stats);
}

#[test]
fn a_setup_is_completed_as_asked() {
    let plain = Setup { ops_flags: vec!["SCX_OPS_ENQ_LAST"], ..Setup::default() };
    assert_eq!(parse(&[]).unwrap().complete(plain.clone()), plain);
    let asked = parse(&["--exit-dump-len", "4096", "--partial", "--forced-stall", "7"]).unwrap();
    let setup = asked.complete(plain);
    assert_eq!(setup.ops_flags, ["SCX_OPS_ENQ_LAST", "SCX_OPS_SWITCH_PARTIAL"]);
    assert_eq!((setup.exit_dump_len, setup.timeout_ms), (4096, 10_000));
    assert_eq!(setup.read_only, [("forced_stall_pid", 7i32.to_ne_bytes().to_vec())]);
    assert!(parse(&["--forced-stall", "0"]).is_err());
}

#[test]
fn bad_values_are_usage_errors_that_name_the_option() {
    for arguments in
        [["--stats", "0"], ["--monitor", "-1"], ["--stats", "soon"], ["--exit-dump-len", "99999999999"]]
    {
        let error = parse(&arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
        assert!(error.to_string().contains(arguments[0]), "{error}");
    }
    assert!(parse(&["--exit-dump-len", "16777217"]).is_err());
    let error = parse(&["--stats", "1", "--monitor", "1"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn seconds_accept_times_that_make_sense() {
    assert_eq!(parse_seconds("0.5").unwrap(), Duration::from_millis(500));
    assert_eq!(parse_seconds(" 2 ").unwrap(), Duration::from_secs(2));
    assert_eq!(parse_seconds("0.001").unwrap(), Duration::from_millis(1));
    assert_eq!(parse_seconds("1e3").unwrap(), Duration::from_secs(1000));
    assert_eq!(parse_seconds("86400").unwrap(), Duration::from_secs(86_400));
}

#[test]
fn seconds_refuse_the_rest_in_one_line() {
    for text in [
        "0", "-0", "-1", "NaN", "inf", "-inf", "infinity", "1e300", "1e-300", "86400.1", "", "1s", "1,5", "٣",
    ] {
        let error = parse_seconds(text).unwrap_err();
        assert!(!error.contains('\n') && error.contains(text), "{text}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_accepted_is_in_range(text in "[-+0-9.eEinfa]{0,12}") {
        if let Ok(time) = parse_seconds(&text) {
            prop_assert!(time >= Duration::from_millis(1) && time <= Duration::from_secs(86_400), "{text} {time:?}");
        }
    }
}

#[test]
fn the_version_names_the_target() {
    let text = version_text("1.2.3");
    assert!(text.starts_with("1.2.3 (") && text.contains("linux") && text.ends_with(')'), "{text}");
    assert!(!text.contains('\n'));
}

/// A bad command line is told in one line that names the option.
#[test]
fn usage_errors_are_one_line() {
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
    }

    for (arguments, words) in [
        (vec!["--monitor", "0"], "--monitor"),
        (vec!["--no-such-option"], "--no-such-option"),
        (vec!["--stats", "1", "--monitor", "1"], "--monitor"),
        (vec!["--exit-dump-len", "many"], "many"),
    ] {
        let error =
            Program::try_parse_from([&["program"], &arguments[..]].concat()).expect_err("bad arguments");
        let line = usage_line(&error);
        assert!(line.contains(words) && !line.contains('\n') && !line.contains("Usage"), "{line}");
        assert!(!line.starts_with("error"), "{line}");
    }
}
