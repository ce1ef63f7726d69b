// SPDX-License-Identifier: GPL-2.0-only
//! cgroup shares along the path.

use balancer::SharesError;
use balancer::shares::{Cgroup, Shares};
use proptest::prelude::*;

fn cgroup(id: u64, parent: u64, weight: u32, load: f64) -> Cgroup {
    Cgroup { id, parent: (parent != 0).then_some(parent), weight, load }
}

fn close(a: Option<f64>, b: f64) {
    assert!(a.is_some_and(|a| (a - b).abs() < 1e-12 * b.max(1.0)), "{a:?} {b}");
}

#[test]
fn shares_multiply_along_the_path() {
    // Root 1: 10 (weight 100) against 20 (weight 300); in 20: 21 (100) against 22 (400). 4, 2 and 2 hogs.
    let tree = [
        cgroup(1, 0, 100, 0.0),
        cgroup(10, 1, 100, 4.0),
        cgroup(20, 1, 300, 0.0),
        cgroup(21, 20, 100, 2.0),
        cgroup(22, 20, 400, 2.0),
    ];
    let shares = Shares::compute(&tree).unwrap();
    for (id, share) in [(1, 1.0), (10, 0.25), (20, 0.75), (21, 0.15), (22, 0.6)] {
        close(shares.share(id), share);
    }
    // 8 hogs on the machine: cgroup 10 gets 2 of 8 units for its 4 hogs.
    for (id, factor) in [(10, 0.5), (21, 0.6), (22, 2.4)] {
        close(shares.factor(id), factor);
    }
    assert_eq!(shares.effective_weight(22, 100), 240);
    assert_eq!(shares.effective_weight(22, 9_999), 10_000);
    assert_eq!(shares.effective_weight(10, 1), 1);
    assert_eq!((shares.effective_weight(99, 70), shares.factor(99), shares.share(99)), (70, None, None));
}

#[test]
fn idle_siblings_do_not_count_and_wake_up_smoothly() {
    let factor = |idle_load: f64| {
        let tree = [cgroup(1, 0, 100, 0.0), cgroup(2, 1, 100, 3.0), cgroup(3, 1, 10_000, idle_load)];
        Shares::compute(&tree).unwrap().factor(2).unwrap()
    };
    assert_eq!(factor(0.0), 1.0);
    assert!((factor(1e-9) - 1.0).abs() < 1e-6);
    assert!(factor(0.5) < 0.1);
}

#[test]
fn a_cgroup_that_runs_now_and_then_has_its_weight_and_no_more() {
    let tree = [cgroup(1, 0, 100, 0.0), cgroup(2, 1, 100, 3.0), cgroup(3, 1, 100, 0.001)];
    // Half of a machine with 3.001 hogs while it runs.
    close(Shares::compute(&tree).unwrap().factor(3), 3.001 / 2.0);
}

#[test]
fn tasks_of_the_parent_compete_with_the_children() {
    // One hog in the root and one cgroup of weight 100 with three: half each.
    let shares = Shares::compute(&[cgroup(1, 0, 100, 1.0), cgroup(2, 1, 100, 3.0)]).unwrap();
    close(shares.factor(1), 2.0);
    close(shares.factor(2), 2.0 / 3.0);
    // Without cgroups nothing changes.
    for load in [0.0, 0.3, 5.0] {
        close(Shares::compute(&[cgroup(1, 0, 100, load)]).unwrap().factor(1), 1.0);
    }
}

#[test]
fn bad_trees() {
    let error = |tree: &[Cgroup]| Shares::compute(tree).unwrap_err();
    assert_eq!(error(&[cgroup(1, 0, 100, 0.0); 2]), SharesError::Duplicate(1));
    assert_eq!(error(&[cgroup(2, 7, 100, 0.0)]), SharesError::UnknownParent { cgroup: 2, parent: 7 });
    let cycle = [cgroup(1, 0, 100, 0.0), cgroup(2, 3, 100, 0.0), cgroup(3, 2, 100, 0.0)];
    assert!(matches!(error(&cycle), SharesError::Cycle(2 | 3)));
    assert_eq!(error(&[cgroup(4, 4, 100, 0.0)]), SharesError::Cycle(4));
    for weight in [0, 10_001] {
        assert_eq!(error(&[cgroup(1, 0, weight, 0.0)]), SharesError::Weight { cgroup: 1, weight });
    }
    for load in [f64::NAN, f64::INFINITY, -0.5, 1e300] {
        assert!(matches!(error(&[cgroup(1, 0, 1, load)]), SharesError::Load { cgroup: 1, .. }));
    }
    assert_eq!(Shares::compute(&[]).unwrap().factor(1), None);
}

/// A random tree: each cgroup below an earlier one.
fn trees() -> impl Strategy<Value = Vec<Cgroup>> {
    let one = (any::<prop::sample::Index>(), 1u32..=10_000, prop_oneof![Just(0.0), 0.0f64..1.0, 1.0f64..9.0]);
    proptest::collection::vec(one, 1..30).prop_map(|list| {
        let place = |i: usize, index: prop::sample::Index| if i == 0 { 0 } else { 1 + index.index(i) as u64 };
        let all = list.into_iter().enumerate();
        all.map(|(i, (parent, weight, load))| cgroup(i as u64 + 1, place(i, parent), weight, load)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn shares_stay_within_their_parents(tree in trees()) {
        let shares = Shares::compute(&tree).unwrap();
        for c in &tree {
            let (share, factor) = (shares.share(c.id).unwrap(), shares.factor(c.id).unwrap());
            prop_assert!(share > 0.0 && share <= 1.0 && factor > 0.0 && factor.is_finite());
            if let Some(parent) = c.parent {
                prop_assert!(share <= shares.share(parent).unwrap());
            }
        }
        let mut reversed = tree.clone();
        reversed.reverse();
        let other = Shares::compute(&reversed).unwrap();
        for c in &tree {
            let (a, b) = (shares.factor(c.id).unwrap(), other.factor(c.id).unwrap());
            prop_assert!((a - b).abs() <= 1e-9 * a);
        }
    }

    /// Where everybody is busy, loads are redistributed, not made.
    #[test]
    fn busy_trees_keep_their_load(mut tree in trees()) {
        tree.iter_mut().for_each(|c| c.load += 1.0);
        let shares = Shares::compute(&tree).unwrap();
        let before: f64 = tree.iter().map(|c| c.load).sum();
        let after: f64 = tree.iter().map(|c| c.load * shares.factor(c.id).unwrap()).sum();
        prop_assert!((before - after).abs() <= 1e-9 * before, "{before} {after}");
    }
}
