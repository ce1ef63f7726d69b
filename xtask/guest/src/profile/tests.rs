// SPDX-License-Identifier: GPL-2.0-only
//! Every scheduler that scenarios concern has a profile.
use super::*;
use crate::scenarios::ALL_SCHEDULERS;

#[test]
fn every_scheduler_has_one_profile() {
    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    assert_eq!(names, ALL_SCHEDULERS);
    assert!(find("nobody").is_none());
}

#[test]
fn refused_command_lines_are_told_apart_and_say_what_is_wrong() {
    for profile in PROFILES {
        for cpus in [1, 8] {
            let bad = (profile.bad_arguments)(cpus);
            for (at, one) in bad.iter().enumerate() {
                assert!(!one.arguments.is_empty() && !one.names.is_empty(), "{}: {one:?}", profile.name);
                assert!(!bad[..at].contains(one), "{}: {one:?} twice", profile.name);
            }
        }
    }
}
