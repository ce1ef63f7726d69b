// SPDX-License-Identifier: GPL-2.0-only
use super::*;
use crate::TaskId;
use proptest::prelude::*;

fn class(loads: &[f64]) -> Class {
    let task = |pid| Task {
        id: TaskId { pid, generation: 0 },
        weight: 100,
        duty_cycle: 1.0,
        allowed: DomainMask::all(2),
        preferred: DomainMask::empty(),
        last_moved_ns: 0,
        cgroup: 0,
        kind: TaskKind::Normal,
    };
    let candidates = loads.iter().enumerate().map(|(i, &load)| Candidate { load, task: task(i as i32) });
    Class::new(DomainMask::all(2), DomainMask::empty(), candidates.collect())
}

fn walk(class: &mut Class, wish: f64) -> Vec<f64> {
    let mut walk = class.nearest(wish);
    std::iter::from_fn(|| walk.next(class).map(|position| class.candidate(position).load)).collect()
}

#[test]
fn both_ends_and_an_empty_class() {
    assert!(walk(&mut class(&[]), 1.0).is_empty());
    assert_eq!(walk(&mut class(&[3.0, 1.0, 2.0]), 0.0), [1.0, 2.0, 3.0]);
    assert_eq!(walk(&mut class(&[3.0, 1.0, 2.0]), 9.0), [3.0, 2.0, 1.0]);
    assert_eq!(walk(&mut class(&[3.0, 1.0]), 2.0), [1.0, 3.0]);
    let mut only_below = class(&[1.0, 2.5, 3.0]);
    let mut nearest = only_below.nearest(2.0);
    nearest.end_above();
    assert_eq!(nearest.next(&mut only_below), Some(0));
    assert_eq!(nearest.next(&mut only_below), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a plain list: every search sees what has not been taken, nearest first.
    #[test]
    fn searches_see_what_is_left(
        loads in proptest::collection::vec(0.0f64..4.0, 0..40),
        steps in proptest::collection::vec((0.0f64..4.0, 0usize..6), 0..40),
    ) {
        let mut class = class(&loads);
        let mut left = loads;
        for (wish, skip) in steps {
            let mut search = class.nearest(wish);
            let position = (0..=skip).filter_map(|_| search.next(&mut class)).last();
            left.sort_by(|a, b| (a - wish).abs().total_cmp(&(b - wish).abs()));
            prop_assert_eq!(walk(&mut class, wish), left.clone());
            match position {
                Some(position) => {
                    let taken = class.candidate(position).load;
                    prop_assert_eq!(taken, left.remove(skip.min(left.len() - 1)));
                    class.take(position);
                }
                None => prop_assert!(left.is_empty()),
            }
            prop_assert_eq!(class.len(), left.len());
        }
    }
}
