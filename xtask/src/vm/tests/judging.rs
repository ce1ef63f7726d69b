// SPDX-License-Identifier: GPL-2.0-only
//! What a boot proves: only a whole and orderly account counts as a pass.

use crate::vm::console::{Finding, Severity};
use crate::vm::session::{End, ScenarioResult, Session};
use crate::vm::verdict::{Judged, Tally, judge};
use guest::protocol::Verdict;
use std::time::Duration;

fn result(scenario: &str, verdict: Verdict) -> ScenarioResult {
    let failures = if verdict == Verdict::Fail { vec!["x".to_owned()] } else { Vec::new() };
    ScenarioResult {
        scenario: scenario.into(),
        verdict,
        figures: Default::default(),
        failures,
        reason: String::new(),
    }
}

fn session(results: Vec<ScenarioResult>, end: End) -> Session {
    Session { ready: Some("7.3".into()), results, findings: Vec::new(), garbled: 0, table: Vec::new(), end }
}

fn plan(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verdicts(judged: &[Judged]) -> Vec<(Verdict, bool)> {
    judged.iter().map(|one| (one.result.verdict, one.not_run)).collect()
}

const PASS: (Verdict, bool) = (Verdict::Pass, false);
const FAIL: (Verdict, bool) = (Verdict::Fail, false);
const NOT_RUN: (Verdict, bool) = (Verdict::Fail, true);

#[test]
fn a_whole_account_keeps_the_guests_verdicts() {
    let given =
        vec![result("1", Verdict::Pass), result("3", Verdict::Skip), result("4", Verdict::Inconclusive)];
    let judged = judge(&plan(&["1", "3", "4"]), &session(given, End::Done));
    let expected = [PASS, (Verdict::Skip, false), (Verdict::Inconclusive, false)];
    assert_eq!(verdicts(&judged), expected);
}

#[test]
fn a_machine_that_dies_fails_what_ran_and_leaves_the_rest_for_another_boot() {
    for end in [
        End::Panic("Kernel panic".into()),
        End::Late(Duration::from_secs(3)),
        End::Exited("exit status: 0".into()),
    ] {
        let judged =
            judge(&plan(&["1", "3", "4", "5"]), &session(vec![result("1", Verdict::Pass)], end.clone()));
        assert_eq!(verdicts(&judged), [PASS, FAIL, NOT_RUN, NOT_RUN], "{end}");
        assert!(judged[1].result.failures[0].contains(&end.to_string()));
    }
}

#[test]
fn a_guest_that_leaves_scenarios_out_fails_them() {
    let judged = judge(&plan(&["1", "3", "4"]), &session(vec![result("1", Verdict::Pass)], End::Done));
    assert_eq!(verdicts(&judged), [PASS, FAIL, FAIL]);
}

#[test]
fn results_without_an_end_are_not_trusted() {
    let given = vec![result("1", Verdict::Pass), result("3", Verdict::Pass)];
    let judged = judge(&plan(&["1", "3"]), &session(given, End::Exited("signal: 9".into())));
    assert_eq!(verdicts(&judged), [PASS, FAIL]);
}

#[test]
fn results_out_of_order_or_too_many_are_not_trusted() {
    let given = vec![result("3", Verdict::Pass), result("1", Verdict::Pass)];
    assert_eq!(verdicts(&judge(&plan(&["1", "3"]), &session(given, End::Done))), [FAIL, FAIL]);
    let given = vec![result("1", Verdict::Pass), result("1", Verdict::Pass)];
    assert_eq!(verdicts(&judge(&plan(&["1"]), &session(given, End::Done))), [FAIL]);
}

#[test]
fn a_pass_with_failures_is_a_failure_and_a_failure_has_a_reason() {
    let mut contradictory = result("1", Verdict::Pass);
    contradictory.failures.push("something".into());
    assert_eq!(verdicts(&judge(&plan(&["1"]), &session(vec![contradictory], End::Done))), [FAIL]);
    let mut silent = result("1", Verdict::Fail);
    silent.failures.clear();
    let judged = judge(&plan(&["1"]), &session(vec![silent], End::Done));
    assert!(!judged[0].result.failures.is_empty());
}

#[test]
fn what_the_kernel_complains_about_fails_the_scenario_that_ran() {
    let given = vec![result("1", Verdict::Pass), result("3", Verdict::Pass), result("4", Verdict::Pass)];
    let mut session = session(given, End::Done);
    session.findings.push((1, Finding { severity: Severity::Serious, line: "WARNING: at x".into() }));
    let judged = judge(&plan(&["1", "3", "4"]), &session);
    assert_eq!(verdicts(&judged), [PASS, FAIL, PASS]);
    assert_eq!(judged[1].result.failures, ["kernel: WARNING: at x"]);
}

#[test]
fn the_summary_names_what_there_is() {
    let mut tally = Tally::default();
    for verdict in [Verdict::Pass, Verdict::Pass, Verdict::Fail] {
        tally.add(verdict);
    }
    assert_eq!(tally.line(), "2 passed, 1 failed");
    tally.add(Verdict::Inconclusive);
    tally.add(Verdict::Skip);
    assert_eq!(tally.line(), "2 passed, 1 failed, 1 inconclusive, 1 skipped");
}
