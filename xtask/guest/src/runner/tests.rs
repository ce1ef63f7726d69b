// SPDX-License-Identifier: GPL-2.0-only
//! What a result becomes when there is more to add.
use super::*;

#[test]
fn something_to_add_turns_a_pass_into_a_failure() {
    let result = with_failures(empty_result("1"), vec!["kernel message: Oops".into()]);
    match result {
        Record::Result { verdict, failures, .. } => {
            assert_eq!((verdict, failures.len()), (Verdict::Fail, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_to_add_leaves_the_result_alone() {
    assert_eq!(with_failures(empty_result("1"), Vec::new()), empty_result("1"));
}

#[test]
fn messages_are_wrong_when_they_are_not_those_that_are_expected() {
    let said = || vec!["sched_ext: x disabled (runnable task stall)".to_owned(), "Oops".to_owned()];
    assert_eq!(about_messages(said(), &["task stall"]), ["kernel message: Oops"]);
    assert_eq!(about_messages(said(), &[]).len(), 2);
    assert_eq!(about_messages(Vec::new(), &["task stall"]), ["the kernel never said \"task stall\""]);
}
