// SPDX-License-Identifier: GPL-2.0-only
//! Factors of cgroups that share a cell.

use super::*;

const ROOT: u64 = 1;

fn node(id: u64, parent: u64, weight: u32) -> TreeNode {
    TreeNode { id, parent: Some(parent), weight }
}

fn tree(nodes: &[TreeNode]) -> Vec<TreeNode> {
    [&[TreeNode { id: ROOT, parent: None, weight: 100 }], nodes].concat()
}

fn seats(list: &[(u32, u32, u32)]) -> BTreeMap<u32, Seat> {
    list.iter().map(|&(slot, cell, weight)| (slot, Seat { cell, weight })).collect()
}

/// The factor each cgroup has on the BPF side after these changes; 1 where it was never told.
fn factors(changes: &Changes) -> impl Fn(u64) -> f64 {
    let set: BTreeMap<u64, u32> = changes.set.iter().copied().collect();
    move |id| f64::from(set.get(&id).copied().unwrap_or(ONE)) / f64::from(ONE)
}

/// Shares of two cgroups with `loads` by their factors.
fn ratio(factor: &impl Fn(u64) -> f64, a: (u64, f64), b: (u64, f64)) -> f64 {
    (factor(a.0) * a.1) / (factor(b.0) * b.1)
}

#[test]
fn merged_members_share_by_weight_whatever_they_run() {
    let tree = tree(&[node(10, ROOT, 300), node(11, ROOT, 100)]);
    let loads = BTreeMap::from([(10, 2.0), (11, 6.0)]);
    let slots = BTreeMap::from([(10, 1), (11, 2)]);
    let weigher = Weigher::new(0);
    let changes = weigher
        .changes(&tree, &loads, &slots, &seats(&[(0, 0, 100), (1, 5, 300), (2, 5, 100)]))
        .expect("a tree");
    let factor = factors(&changes);
    let ratio = ratio(&factor, (10, 2.0), (11, 6.0));
    assert!((2.8..3.2).contains(&ratio), "{ratio}");
}

#[test]
fn members_with_cells_of_their_own_do_not_compete() {
    let tree = tree(&[node(10, ROOT, 300), node(11, ROOT, 100)]);
    let loads = BTreeMap::from([(10, 4.0), (11, 4.0)]);
    let slots = BTreeMap::from([(10, 1), (11, 2)]);
    let weigher = Weigher::new(0);
    let changes = weigher
        .changes(&tree, &loads, &slots, &seats(&[(0, 0, 100), (1, 5, 300), (2, 6, 100)]))
        .expect("a tree");
    assert_eq!(changes, Changes::default());
}

#[test]
fn nested_cgroups_share_inside_their_cell() {
    let tree = tree(&[node(10, ROOT, 100), node(20, 10, 300), node(21, 10, 100)]);
    let loads = BTreeMap::from([(20, 4.0), (21, 4.0)]);
    let slots = BTreeMap::from([(10, 1)]);
    let weigher = Weigher::new(0);
    let changes =
        weigher.changes(&tree, &loads, &slots, &seats(&[(0, 0, 100), (1, 3, 100)])).expect("a tree");
    let ratio = ratio(&factors(&changes), (20, 4.0), (21, 4.0));
    assert!((2.8..3.2).contains(&ratio), "{ratio}");
}

#[test]
fn without_members_the_hierarchy_counts_as_it_is() {
    let tree = tree(&[node(10, ROOT, 300), node(11, ROOT, 100)]);
    let loads = BTreeMap::from([(10, 4.0), (11, 4.0)]);
    let weigher = Weigher::new(0);
    let changes = weigher.changes(&tree, &loads, &BTreeMap::new(), &seats(&[(0, 0, 100)])).expect("a tree");
    let ratio = ratio(&factors(&changes), (10, 4.0), (11, 4.0));
    assert!((2.8..3.2).contains(&ratio), "{ratio}");
}

#[test]
fn what_has_not_changed_is_not_told_again_and_what_has_gone_is_taken_back() {
    let nodes = tree(&[node(10, ROOT, 300), node(11, ROOT, 100)]);
    let loads = BTreeMap::from([(10, 4.0), (11, 4.0)]);
    let mut weigher = Weigher::new(0);
    let alone = seats(&[(0, 0, 100)]);
    let first = weigher.changes(&nodes, &loads, &BTreeMap::new(), &alone).expect("a tree");
    // The root's own tasks, though it has none now, would compete with both.
    assert_eq!(first.set.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ROOT, 10, 11]);
    weigher.told(&first);
    let again = weigher.changes(&nodes, &loads, &BTreeMap::new(), &alone).expect("a tree");
    assert_eq!(again, Changes::default());
    let less = tree(&[node(10, ROOT, 300)]);
    let gone = weigher.changes(&less, &loads, &BTreeMap::new(), &alone).expect("a tree");
    assert_eq!(gone.removed, [11]);
    // The other one has no rival any more.
    assert!(gone.set.contains(&(10, ONE)), "{gone:?}");
}

#[test]
fn what_could_not_be_told_comes_again() {
    let nodes = tree(&[node(10, ROOT, 300), node(11, ROOT, 100)]);
    let loads = BTreeMap::from([(10, 4.0), (11, 4.0)]);
    let mut weigher = Weigher::new(0);
    let alone = seats(&[(0, 0, 100)]);
    let none = BTreeMap::new();
    let first = weigher.changes(&nodes, &loads, &none, &alone).expect("a tree");
    let part = |id: u64| first.set.iter().copied().filter(|(of, _)| *of == id).collect::<Vec<_>>();
    weigher.told(&Changes { removed: Vec::new(), set: [part(ROOT), part(11)].concat() });
    let again = weigher.changes(&nodes, &loads, &none, &alone).expect("a tree");
    assert_eq!(again, Changes { removed: Vec::new(), set: part(10) });
    weigher.told(&again);
    // The one that is gone stays on the list until it could be taken back.
    let less = tree(&[node(10, ROOT, 300)]);
    for _ in 0..2 {
        assert_eq!(weigher.changes(&less, &loads, &none, &alone).expect("a tree").removed, [11]);
    }
    weigher.told(&Changes { removed: vec![11], set: Vec::new() });
    assert!(weigher.changes(&less, &loads, &none, &alone).expect("a tree").removed.is_empty());
}

#[test]
fn loads_are_rates_of_what_was_added() {
    let mut weigher = Weigher::new(0);
    weigher.loads(&BTreeMap::from([(10, 1_000)]), 1_000);
    let loads = weigher.loads(&BTreeMap::from([(10, 3_000), (11, 500)]), 1_000);
    assert_eq!(loads, BTreeMap::from([(10, 2.0), (11, 0.5)]));
    assert_eq!(weigher.gone(&tree(&[node(10, ROOT, 100)])), [11]);
    weigher.forget(11);
    assert!(weigher.gone(&tree(&[node(10, ROOT, 100)])).is_empty());
}

#[test]
fn loads_that_come_in_lumps_are_smoothed() {
    let mut weigher = Weigher::new(1_000);
    let average = |weigher: &mut Weigher, total| weigher.loads(&BTreeMap::from([(10, total)]), 1_000)[&10];
    assert_eq!(average(&mut weigher, 4_000), 4.0, "the first value is all there is");
    assert_eq!(average(&mut weigher, 4_000), 2.0);
    assert_eq!(average(&mut weigher, 4_000), 1.0);
    assert_eq!(average(&mut weigher, 8_000), 2.5);
}
