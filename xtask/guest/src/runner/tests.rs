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
