// SPDX-License-Identifier: GPL-2.0-only
//! How a verdict comes about.
use super::*;
use anyhow::anyhow;

fn context() -> Context {
    let plan = serde_json::from_str(r#"{"scheduler":"domain-balancer"}"#).unwrap();
    Context::new("7", plan)
}

fn verdict(context: Context, outcome: Result<()>) -> (Verdict, Vec<String>, String) {
    match context.finish(outcome) {
        Record::Result { verdict, failures, reason, .. } => (verdict, failures, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_wrong_is_a_pass() {
    let mut quiet = context();
    quiet.require(true, || unreachable!());
    quiet.require_measured(true, || unreachable!());
    assert_eq!(verdict(quiet, Ok(())), (Verdict::Pass, vec![], String::new()));
}

#[test]
fn a_broken_bound_on_a_punctual_machine_is_a_failure() {
    let mut broken = context();
    broken.require_measured(false, || "ratio 9".into());
    assert_eq!(verdict(broken, Ok(())), (Verdict::Fail, vec!["ratio 9".into()], String::new()));
}

#[test]
fn a_broken_bound_on_a_starved_machine_is_inconclusive_with_the_figure() {
    let mut starved = context();
    starved.latest_wake = Duration::from_millis(2500);
    starved.require_measured(false, || "ratio 9".into());
    let (verdict, failures, reason) = verdict(starved, Ok(()));
    assert_eq!((verdict, failures), (Verdict::Inconclusive, vec!["ratio 9".into()]));
    assert!(reason.contains("2.5 s late"), "{reason}");
}

#[test]
fn a_hard_failure_or_an_error_stays_a_failure_on_any_machine() {
    let mut starved = context();
    starved.latest_wake = Duration::from_secs(9);
    starved.require_measured(false, || "ratio 9".into());
    starved.fail("scheduler gone");
    assert_eq!(verdict(starved, Ok(())).0, Verdict::Fail);
    let mut starved = context();
    starved.latest_wake = Duration::from_secs(9);
    let failed = verdict(starved, Err(anyhow!("inner").context("outer")));
    assert_eq!((failed.0, failed.1), (Verdict::Fail, vec!["outer: inner".into()]));
}

#[test]
fn a_slow_machine_alone_is_no_reason_to_doubt_a_pass() {
    let mut slow = context();
    slow.latest_wake = Duration::from_secs(9);
    assert_eq!(verdict(slow, Ok(())).0, Verdict::Pass);
}

#[test]
fn a_skip_keeps_its_reason_but_not_over_a_failure() {
    let skip = || Err(Skipped("one CPU".into()).into());
    assert_eq!(verdict(context(), skip()), (Verdict::Skip, vec![], "one CPU".into()));
    let mut failed = context();
    failed.fail("x");
    assert_eq!(verdict(failed, skip()).0, Verdict::Fail);
}

#[test]
fn waiting_ends_with_what_was_found_or_at_the_deadline() {
    let mut context = context();
    let mut looks = 0;
    let found = context.wait_for(Duration::from_secs(5), Duration::from_millis(1), |_| {
        looks += 1;
        Ok((looks == 3).then_some(looks))
    });
    assert_eq!(found.unwrap(), Some(3));
    let none: Option<()> =
        context.wait_for(Duration::from_millis(5), Duration::from_millis(1), |_| Ok(None)).unwrap();
    assert_eq!(none, None);
}
