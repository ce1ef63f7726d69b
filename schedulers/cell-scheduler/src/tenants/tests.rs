// SPDX-License-Identifier: GPL-2.0-only
//! Who comes, who goes, and what the BPF side is told about it.

use super::*;

fn tenant(inode: u64, cgroups: &[u64]) -> Tenant {
    Tenant {
        key: CellKey::Named(format!("tenant-{inode}")),
        name: format!("tenant-{inode}"),
        cgroups: cgroups.to_vec(),
        paths: cgroups.iter().map(|cgroup| format!("cgroup-{cgroup}")).collect(),
        template: Cell::new(CellId::ROOT),
    }
}

fn found(tenants: &[Tenant]) -> Found {
    Found { tenants: tenants.to_vec(), ..Found::default() }
}

fn tenants() -> Tenants {
    Tenants::new(8, Cell::new(CellId::ROOT))
}

#[test]
fn only_differences_are_told() {
    let mut tenants = tenants();
    let first = tenants.update(&found(&[tenant(1, &[10, 11]), tenant(2, &[20])]));
    assert_eq!((first.come, first.gone), (vec![(10, 1), (11, 1), (20, 2)], vec![]));
    let same = tenants.update(&found(&[tenant(2, &[20]), tenant(1, &[11, 10])]));
    assert_eq!(same, Update::default());
    let next = tenants.update(&found(&[tenant(1, &[10, 20]), tenant(2, &[])]));
    assert!(next.changed && next.added.is_empty());
    // A cgroup that changes member is taken away before it is given.
    assert_eq!((next.gone, next.come), (vec![11, 20], vec![(20, 1)]));
}

#[test]
fn a_template_that_changes_is_a_change() {
    let mut tenants = tenants();
    tenants.update(&found(&[tenant(1, &[10])]));
    let mut heavier = tenant(1, &[10]);
    heavier.template.weight = 200;
    assert!(tenants.update(&found(&[heavier.clone()])).changed);
    assert!(!tenants.update(&found(&[heavier])).changed);
}

#[test]
fn a_slot_that_is_given_again_is_another_member() {
    let mut tenants = tenants();
    let first = tenants.update(&found(&[tenant(1, &[10])])).added[0];
    tenants.update(&found(&[]));
    let second = tenants.update(&found(&[tenant(2, &[20])])).added[0];
    assert_eq!(first.slot, second.slot);
    assert!(tenants.get(first).is_none());
    assert_eq!(tenants.get(second).expect("it is there").name, "tenant-2");
}

#[test]
fn figures_begin_at_the_baseline() {
    let mut tenants = tenants();
    tenants.update(&found(&[tenant(1, &[10])]));
    let at = |used_ns, nr_tasks| Figures { used_ns, nr_tasks, ..Figures::default() };
    let member = tenants.iter_mut().nth(1).expect("the second");
    member.baseline = at(100, 9);
    member.observe(at(150, 3), true);
    member.observe(at(180, 4), false);
    assert_eq!((member.live.used_ns, member.live.nr_tasks, member.total.used_ns), (80, 4, 50));
    member.observe(at(200, 2), true);
    // A report in between does not shorten the round.
    assert_eq!((member.total.used_ns, member.recent.used_ns), (100, 50));
}

#[test]
fn everything_else_can_have_a_policy() {
    let mut tenants = tenants();
    let root = Cell { lend: false, ..Cell::new(CellId::ROOT) };
    assert!(tenants.update(&Found { root: Some(root), ..Found::default() }).changed);
    assert!(!tenants.get(CellId::ROOT).expect("always there").template.lend);
}
