// SPDX-License-Identifier: GPL-2.0-only
//! Ids of logical cells.

use super::super::{CellId, CellKey, Registry};

fn cgroup(path: &str, inode: u64) -> CellKey {
    CellKey::Cgroup { path: path.to_owned(), inode }
}

#[test]
fn the_same_path_with_another_inode_is_another_cell() {
    let mut registry = Registry::new(100);
    let (old, other) = (cgroup("a", 10), cgroup("b", 11));
    let first = registry.update([&old, &other]);
    assert_eq!(first.added, [CellId { slot: 1, generation: 0 }, CellId { slot: 2, generation: 0 }]);
    let new = cgroup("a", 12);
    let second = registry.update([&new, &other]);
    assert_eq!(second.removed, [CellId { slot: 1, generation: 0 }]);
    assert_eq!(second.added, [CellId { slot: 1, generation: 1 }]);
    assert_eq!(registry.id(&other), Some(CellId { slot: 2, generation: 0 }), "the other keeps its id");
    assert_eq!(registry.key(first.added[0]), None, "the old id names nobody");
    assert_eq!(registry.key(second.added[0]), Some(&new));
    assert_eq!(registry.update([&new, &other]), Default::default());
}

#[test]
fn a_full_registry_refuses_and_recovers() {
    let mut registry = Registry::new(2);
    let keys: Vec<CellKey> = (0..4).map(|at| CellKey::Named(format!("cell{at}"))).collect();
    let changes = registry.update(&keys);
    assert_eq!((changes.added.len(), changes.refused, registry.len()), (2, 2, 2));
    let changes = registry.update(&keys[2..]);
    assert_eq!((changes.added.len(), changes.removed.len(), changes.refused), (2, 2, 0));
    assert!(changes.added.iter().all(|id| id.generation == 1));
    // Named twice is named once.
    assert_eq!(registry.update([&keys[2], &keys[3], &keys[2]]).refused, 0);
    assert_eq!(registry.len(), 2);
}
