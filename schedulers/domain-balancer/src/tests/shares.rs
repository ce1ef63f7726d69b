// SPDX-License-Identifier: GPL-2.0-only
//! `cpu.weight` on its way through the loop: from the tree of cgroups to the factors that the BPF side has.

use std::time::Duration;

use super::fake::{FakeObject, ManualHost};
use super::{lopsided, run_with};
use crate::cgroups::CgroupDir;

/// The fake's two cgroups below the root, 7 with weight 300 and 8 with weight 100.
fn host(seconds: u64) -> ManualHost {
    let mut host = ManualHost::new(Duration::from_secs(seconds));
    let dir = |id, parent, weight| CgroupDir { id, parent, weight };
    host.cgroups = vec![dir(1, None, None), dir(7, Some(1), Some(300)), dir(8, Some(1), Some(100))];
    host
}

/// What the object's tasks of one cgroup weigh.
fn weight_of(object: &FakeObject, cgroup: u64) -> u32 {
    let weights: Vec<u32> =
        object.tasks.iter().filter(|task| task.cgroup() == cgroup).map(|task| task.weight).collect();
    assert!(weights.windows(2).all(|pair| pair[0] == pair[1]), "{weights:?}");
    weights[0]
}

#[test]
fn tasks_weigh_what_their_cgroup_makes_of_them() {
    let (mut object, mut host) = (lopsided(), host(12));
    run_with(&mut object, &["--interval", "1"], &mut host);
    // Twelve hogs each: three quarters and one quarter of 24 units.
    assert_eq!((weight_of(&object, 7), weight_of(&object, 8)), (150, 50));
    let last = host.published.last().expect("figures are published");
    assert_eq!((last.cgroups_weighed, last.rounds_failed), (2, 0));
    assert!((last.cgroups[&7].factor - 1.5).abs() < 1e-4 && (last.cgroups[&8].factor - 0.5).abs() < 1e-4);
    // Nothing changed after the first round, so nothing was told again; the third is the root's, for its own tasks.
    assert_eq!((object.renewals, last.factor_changes), (1, 3));
    // Effective weights are what was balanced: every domain has a quarter.
    for domain in 0..4 {
        let tasks = object.tasks.iter().filter(|task| task.domain == domain);
        let load: u32 = tasks.map(|task| task.weight).sum();
        assert!((550..=650).contains(&load), "domain {domain}: {load}");
    }
}

#[test]
fn no_cgroups_leaves_every_task_its_own_weight() {
    let (mut object, mut host) = (lopsided(), host(6));
    run_with(&mut object, &["--interval", "1", "--no-cgroups"], &mut host);
    assert_eq!((weight_of(&object, 7), weight_of(&object, 8), object.renewals), (100, 100, 0));
    assert!(object.factors.is_empty());
    assert_eq!(host.published.last().expect("figures are published").cgroups_weighed, 0);
}

#[test]
fn shares_need_no_balancing() {
    let (mut object, mut host) = (lopsided(), host(6));
    run_with(&mut object, &["--interval", "1", "--no-load-balance"], &mut host);
    assert_eq!((weight_of(&object, 7), weight_of(&object, 8)), (150, 50));
    assert_eq!(object.tasks_per_domain(), [24, 0, 0, 0]);
}

#[test]
fn a_controller_that_is_switched_off_gives_everybody_his_own_weight_back() {
    let (mut object, mut host) = (lopsided(), host(8));
    host.cgroups_end_ns = 4_500_000_000;
    run_with(&mut object, &["--interval", "1"], &mut host);
    assert!(object.factors.is_empty());
    assert_eq!((weight_of(&object, 7), weight_of(&object, 8), object.renewals), (100, 100, 2));
}

#[test]
fn a_refused_factor_is_told_again_and_balancing_goes_on() {
    let (mut object, mut host) = (lopsided(), host(6));
    object.fail_factors = true;
    run_with(&mut object, &["--interval", "1"], &mut host);
    let last = host.published.last().expect("figures are published");
    assert_eq!((last.round, last.rounds_failed, last.factor_changes), (5, 5, 0));
    assert_eq!(object.tasks_per_domain(), [6, 6, 6, 6]);
}

#[test]
fn a_tree_that_is_none_fails_the_round_and_not_the_loop() {
    let (mut object, mut host) = (lopsided(), host(6));
    host.cgroups[1].id = 8;
    run_with(&mut object, &["--interval", "1"], &mut host);
    let last = host.published.last().expect("figures are published");
    assert!(last.rounds_failed == last.round && last.applied > 0);
}
