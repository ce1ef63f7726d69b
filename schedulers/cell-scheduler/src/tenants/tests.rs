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
    tenants.update(&found(&[tenant(1, &[10, 11]), tenant(2, &[20])]));
    assert_eq!(tenants.untold(), [(10, Some(1)), (11, Some(1)), (20, Some(2))]);
    tell_all(&mut tenants);
    let same = tenants.update(&found(&[tenant(2, &[20]), tenant(1, &[11, 10])]));
    assert_eq!(same, Update::default());
    assert!(tenants.untold().is_empty());
    let next = tenants.update(&found(&[tenant(1, &[10, 20]), tenant(2, &[])]));
    assert!(next.changed && next.added.is_empty());
    assert_eq!(tenants.untold(), [(11, None), (20, Some(1))]);
}

#[test]
fn what_could_not_be_told_is_told_later() {
    let mut tenants = tenants();
    tenants.update(&found(&[tenant(1, &[10]), tenant(2, &[20])]));
    tenants.told(20, Some(2));
    let same = tenants.update(&found(&[tenant(1, &[10]), tenant(2, &[20])]));
    assert_eq!(same, Update::default(), "the members are the same");
    assert_eq!(tenants.untold(), [(10, Some(1))]);
    // One that never became known does not have to be taken away.
    tenants.update(&found(&[]));
    assert_eq!(tenants.untold(), [(20, None)]);
    tell_all(&mut tenants);
    assert!(tenants.untold().is_empty());
}

fn tell_all(tenants: &mut Tenants) {
    for (cgroup, slot) in tenants.untold() {
        tenants.told(cgroup, slot);
    }
}

#[test]
fn totals_keep_what_those_who_are_gone_have_counted() {
    let mut tenants = tenants();
    let first = tenants.update(&found(&[tenant(1, &[10]), tenant(2, &[20])])).added[0];
    let at = |borrowed_ns, local| {
        let counters = Counters { local, ..Counters::default() };
        Figures { borrowed_ns, counters, ..Figures::default() }
    };
    for (member, local) in tenants.iter_mut().zip([5, 100, 7]) {
        member.observe(at(0, 0), true);
        member.observe(at(10 * local, local), false);
    }
    let before = tenants.sums();
    assert_eq!((before.0.local, before.1), (112, 1120));
    assert_eq!(tenants.leaving(&found(&[tenant(2, &[20]), tenant(3, &[30])])), [first]);
    // The slot goes on where the one before left it.
    let next = tenants.update(&found(&[tenant(2, &[20]), tenant(3, &[30])])).added[0];
    assert_eq!((next.slot, tenants.sums()), (first.slot, before));
    let member = tenants.get_mut(next).expect("it is there");
    member.observe(at(1000, 100), true);
    member.observe(at(1003, 101), true);
    let after = tenants.sums();
    assert_eq!((after.0.local, after.1), (113, 1123));
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
    member.observe(at(100, 9), false);
    assert_eq!((member.live.used_ns, member.live.nr_tasks), (0, 9));
    member.observe(at(150, 3), true);
    member.observe(at(180, 4), false);
    assert_eq!((member.live.used_ns, member.live.nr_tasks, member.total.used_ns), (80, 4, 50));
    member.observe(at(200, 2), true);
    // A report in between does not shorten the round.
    assert_eq!((member.total.used_ns, member.recent.used_ns), (100, 50));
}
