// SPDX-License-Identifier: GPL-2.0-only
//! Replies of the statistics socket.
use super::*;

const ANSWER: &str = r#"{"errno":0,"args":{"resp":{"round":7,"applied":18,"domains":{
    "10":{"cpus":"4-5","node":1,"load":0.5},"2":{"cpus":"0-1,3","node":0,"load":6.25}}}}}"#;

fn parsed(line: &str) -> Stats {
    parse(line).unwrap().unwrap()
}

#[test]
fn reads_counters_and_domains_in_numeric_order() {
    let stats = parsed(ANSWER);
    assert_eq!(stats.counter("applied").unwrap(), 18);
    assert!(stats.counter("nothing").is_err());
    let domains = stats.domains().unwrap();
    assert_eq!(domains.iter().map(|domain| domain.id).collect::<Vec<_>>(), [2, 10]);
    assert_eq!(domains[0].cpus, Cpus::from([0, 1, 3]));
    assert_eq!((domains[1].node, domains[0].load), (1, 6.25));
}

#[test]
fn reads_the_cpus_of_any_object() {
    let stats = parsed(ANSWER);
    assert_eq!(stats.cpus_in("domains").unwrap(), Cpus::from([0, 1, 3, 4, 5]));
    assert!(stats.cpus_in("cells").is_err());
    let without = parsed(r#"{"errno":0,"args":{"resp":{"cells":{"0":{"name":"x"}}}}}"#);
    assert!(without.cpus_in("cells").is_err());
}

#[test]
fn refusals_and_garbage_are_errors() {
    assert!(parse(r#"{"errno":22,"args":{"resp":"no such target"}}"#).is_err());
    assert!(parse(r#"{"errno":0,"args":{}}"#).is_err());
    assert!(parse("").is_err());
    assert!(parsed(r#"{"errno":0,"args":{"resp":{"domains":{"0":{"cpus":"x"}}}}}"#).domains().is_err());
}

#[test]
fn a_scheduler_without_figures_is_asked_again() {
    assert!(parse(r#"{"errno":11,"args":{"resp":"no statistics yet; ask again"}}"#).unwrap().is_none());
}

#[test]
fn only_figures_from_before_the_question_are_old() {
    let dated = parsed(r#"{"errno":0,"args":{"resp":{"at_ns":1000}}}"#);
    assert!(dated.is_since(999) && dated.is_since(1000));
    assert!(!dated.is_since(1001));
    assert!(parsed(ANSWER).is_since(u64::MAX));
}
