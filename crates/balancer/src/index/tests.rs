// SPDX-License-Identifier: GPL-2.0-only
//! The index against a plain list.
use super::*;
use crate::TaskId;
use proptest::prelude::*;

/// One domain with one class between two others, which must not leak into it.
fn index(loads: &[f64]) -> DomainIndex {
    let task = |pid| Task {
        id: TaskId { pid, generation: 0 },
        weight: 100,
        duty_cycle: 1.0,
        allowed: DomainMask::all(2),
        preferred: DomainMask::empty(),
        last_moved_ns: 0,
        last_ran_ns: 0,
        cgroup: 0,
        kind: TaskKind::Normal,
    };
    let class =
        |len| Class { allowed: DomainMask::all(2), preferred: DomainMask::empty(), start: 0, len, left: 0 };
    let others = [(0, 0.7), (2, 1.3)];
    let loads = loads.iter().map(|&load| (1, load)).chain(others);
    let entry = |(slot, (class, load))| Entry { load, class, slot: slot as u32 };
    let entries: Vec<Entry> = loads.enumerate().map(entry).collect();
    let tasks = (0..entries.len() as i32).map(task).collect();
    let classes = vec![class(1), class(entries.len() - 2), class(1)];
    let mut index = DomainIndex { tasks, entries, classes, ..DomainIndex::default() };
    index.order();
    index
}

fn walk(index: &mut DomainIndex, wish: f64) -> Vec<f64> {
    let mut walk = index.nearest(1, wish);
    std::iter::from_fn(|| index.next(&mut walk).map(|position| index.candidate(1, position).1)).collect()
}

#[test]
fn both_ends_and_an_empty_class() {
    assert!(walk(&mut index(&[]), 1.0).is_empty());
    assert_eq!(walk(&mut index(&[3.0, 1.0, 2.0]), 0.0), [1.0, 2.0, 3.0]);
    assert_eq!(walk(&mut index(&[3.0, 1.0, 2.0]), 9.0), [3.0, 2.0, 1.0]);
    assert_eq!(walk(&mut index(&[3.0, 1.0]), 2.0), [1.0, 3.0]);
    let mut only_below = index(&[1.0, 2.5, 3.0]);
    let mut nearest = only_below.nearest(1, 2.0);
    nearest.end_above();
    assert_eq!(only_below.next(&mut nearest), Some(0));
    assert_eq!(only_below.next(&mut nearest), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a plain list: every search sees what has not been taken, nearest first.
    #[test]
    fn searches_see_what_is_left(
        loads in proptest::collection::vec(0.0f64..4.0, 0..40),
        steps in proptest::collection::vec((0.0f64..4.0, 0usize..6), 0..40),
    ) {
        let mut class = index(&loads);
        let mut left = loads;
        for (wish, skip) in steps {
            let mut search = class.nearest(1, wish);
            let position = (0..=skip).filter_map(|_| class.next(&mut search)).last();
            left.sort_by(|a, b| (a - wish).abs().total_cmp(&(b - wish).abs()));
            prop_assert_eq!(walk(&mut class, wish), left.clone());
            match position {
                Some(position) => {
                    let taken = class.candidate(1, position).1;
                    prop_assert_eq!(taken, left.remove(skip.min(left.len() - 1)));
                    class.take(1, position);
                }
                None => prop_assert!(left.is_empty()),
            }
            prop_assert_eq!(class.classes[1].left, left.len());
        }
    }
}
