// SPDX-License-Identifier: GPL-2.0-only
//! Which factors are told, and when.

use super::{Changes, ONE, Weigher};
use crate::cgroups::CgroupDir;
use crate::kernel::abi;
use crate::snapshot::TaskState;

fn dir(id: u64, parent: u64, weight: u32) -> CgroupDir {
    CgroupDir { id, parent: (parent != 0).then_some(parent), weight: (weight != 0).then_some(weight) }
}

/// `count` tasks of one cgroup that run for this share of the time.
fn tasks(cgroup: u64, count: usize, duty_cycle: f64) -> Vec<TaskState> {
    let task = TaskState {
        pid: 1,
        generation: 1,
        domain: 0,
        weight: 77,
        own_weight: 100,
        duty_cycle,
        last_moved_ns: 0,
        last_ran_ns: 0,
        cgroup,
        kthread: false,
        pinned: false,
        allowed: None,
        comm: *b"a \"task\"\n\0xxxxxx",
    };
    vec![task; count]
}

/// Takes the changes as a BPF side that refuses nothing.
fn take(weigher: &mut Weigher, tree: &[CgroupDir], tasks: &[TaskState]) -> Changes {
    let changes = weigher.changes(tree, tasks).expect("a good tree");
    changes.removed.iter().for_each(|&id| weigher.told(id, None));
    changes.set.iter().for_each(|&(id, factor)| weigher.told(id, Some(factor)));
    changes
}

fn close(weigher: &Weigher, cgroup: u64, factor: f64) {
    assert!((weigher.factor(cgroup) - factor).abs() < 1e-4 * factor, "{} {factor}", weigher.factor(cgroup));
}

#[test]
fn equal_weights_share_evenly_whatever_the_number_of_tasks() {
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 100)];
    let mut weigher = Weigher::default();
    take(&mut weigher, &tree, &[tasks(2, 2, 1.0), tasks(3, 14, 1.0)].concat());
    // Eight units each.
    close(&weigher, 2, 4.0);
    close(&weigher, 3, 8.0 / 14.0);
}

#[test]
fn nested_shares_multiply() {
    let tree = [dir(1, 0, 0), dir(2, 1, 300), dir(3, 1, 100), dir(4, 2, 300), dir(5, 2, 100)];
    let mut weigher = Weigher::default();
    take(&mut weigher, &tree, &[tasks(3, 4, 1.0), tasks(4, 4, 1.0), tasks(5, 4, 1.0)].concat());
    // Of 12 units: 3 for group 3; 9 for group 2, of which 6.75 and 2.25.
    close(&weigher, 3, 3.0 / 4.0);
    close(&weigher, 4, 6.75 / 4.0);
    close(&weigher, 5, 2.25 / 4.0);
    assert_eq!(weigher.weighed(), 4);
}

#[test]
fn a_cgroup_that_the_controller_does_not_reach_counts_as_its_parent() {
    // 4 and, below it, 5 have no weight: their tasks are 2's.
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 100), dir(4, 2, 0), dir(5, 4, 0)];
    let mut weigher = Weigher::default();
    take(&mut weigher, &tree, &[tasks(4, 1, 1.0), tasks(5, 1, 1.0), tasks(3, 6, 1.0)].concat());
    for cgroup in [2, 4, 5] {
        close(&weigher, cgroup, 2.0);
    }
    close(&weigher, 3, 4.0 / 6.0);
}

#[test]
fn noise_is_not_told_and_change_is() {
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 300)];
    let mut weigher = Weigher::default();
    let busy = |share| [tasks(2, 4, share), tasks(3, 4, 1.0)].concat();
    assert!(!take(&mut weigher, &tree, &busy(1.0)).is_empty());
    assert!(take(&mut weigher, &tree, &busy(0.98)).is_empty());
    assert!(take(&mut weigher, &tree, &busy(1.0)).is_empty());
    assert!(!take(&mut weigher, &tree, &busy(0.5)).is_empty());
}

#[test]
fn slow_drift_is_told_in_the_end() {
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 300)];
    let mut weigher = Weigher::default();
    for step in 0..=50u32 {
        let share = 1.0 - f64::from(step) / 100.0;
        take(&mut weigher, &tree, &[tasks(2, 4, share), tasks(3, 4, 1.0)].concat());
    }
    // At the end 6 units, 1.5 of them for 2 units of load.
    let off = weigher.factor(2) / 0.75 - 1.0;
    assert!(off.abs() <= 1.0 / 31.0, "{off}");
}

#[test]
fn what_is_gone_is_taken_back_and_an_empty_tree_takes_all() {
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 300)];
    let mut weigher = Weigher::default();
    let all = [tasks(2, 4, 1.0), tasks(3, 4, 1.0)].concat();
    take(&mut weigher, &tree, &all);
    let changes = take(&mut weigher, &tree[..2], &all);
    assert_eq!((changes.removed, weigher.factor(3)), (vec![3], 1.0));
    // Alone it has everything: its own weight.
    close(&weigher, 2, 1.0);
    take(&mut weigher, &[], &all);
    assert!(!weigher.has_published());
}

#[test]
fn the_only_busy_cgroup_needs_no_factor() {
    let mut weigher = Weigher::default();
    let tree = [dir(1, 0, 0), dir(2, 1, 1234)];
    let changes = take(&mut weigher, &tree, &tasks(2, 4, 1.0));
    // Only tasks of the root would have one, if there were any.
    assert!(changes.set.iter().all(|&(id, _)| id == 1), "{changes:?}");
}

#[test]
fn tasks_of_an_unknown_cgroup_wait_for_the_next_round() {
    let mut weigher = Weigher::default();
    let tree = [dir(1, 0, 0), dir(2, 1, 100), dir(3, 1, 100)];
    take(&mut weigher, &tree, &[tasks(2, 4, 1.0), tasks(3, 4, 1.0), tasks(99, 40, 1.0)].concat());
    assert_eq!((weigher.factor(2), weigher.factor(99)), (1.0, 1.0));
}

#[test]
fn more_cgroups_than_room_leave_out_the_idle_ones() {
    let room = u64::from(abi::db_limits_DB_MAX_CGROUPS);
    let tree: Vec<CgroupDir> =
        std::iter::once(dir(1, 0, 0)).chain((2..room + 100).map(|id| dir(id, 1, 50))).collect();
    let mut weigher = Weigher::default();
    let last = room + 99;
    take(&mut weigher, &tree, &[tasks(1, 4, 1.0), tasks(last, 4, 1.0)].concat());
    assert!(weigher.published.len() <= room as usize);
    assert!(weigher.factor(last) < 1.0 && weigher.factor(last) > 0.0);
}

#[test]
fn factors_stay_in_the_range_of_the_bpf_side() {
    assert_eq!((super::fixed(0.0), super::fixed(1.0), super::fixed(1e12)), (1, ONE, u32::MAX));
}

#[test]
fn names_are_text_on_one_line() {
    assert_eq!(tasks(1, 1, 1.0)[0].name(), "a \\\"task\\\"\\n");
}
