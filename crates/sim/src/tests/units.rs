// SPDX-License-Identifier: GPL-2.0-only
//! Parts on their own.

use proptest::prelude::*;
use topology::{CpuSet, Topology};

use crate::config::Costs;
use crate::dsq::Dsq;
use crate::events::{Event, EventQueue};
use crate::histogram::Histogram;
use crate::idle::{IdleMasks, Sets, any_after};
use crate::machine::{Distance, Machine};
use crate::program::{Dist, Position, Program, Step};
use crate::rng::Rng;

#[test]
fn events_come_by_time_then_by_age() {
    let mut queue = EventQueue::default();
    for (at, cpu) in [(5, 1), (3, 2), (5, 0), (3, 9)] {
        queue.push(at, Event::Tick(cpu));
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(order, [(3, Event::Tick(2)), (3, Event::Tick(9)), (5, Event::Tick(1)), (5, Event::Tick(0))]);
}

#[test]
fn vtime_order_survives_the_wrap() {
    let mut dsq = Dsq::default();
    for (task, vtime) in [(1, 5u64), (2, u64::MAX - 3), (3, 5), (4, 0)] {
        dsq.push_ordered(task, vtime);
    }
    assert_eq!(dsq.iter().collect::<Vec<_>>(), [2, 4, 1, 3]);
    assert_eq!((dsq.remove(1, 5), dsq.remove(1, 5)), (Some(5), None));
    assert_eq!(dsq.remove(3, 12345), Some(5), "found although its vtime was changed meanwhile");
    assert_eq!(dsq.iter().collect::<Vec<_>>(), [2, 4]);
    dsq.push(5, false);
    assert_eq!(dsq.remove(5, 77), Some(77), "in order of arrival any vtime will do");
}

#[test]
fn programs_loop_and_choose() {
    let body = vec![Step::Run(Dist::Const(1)), Step::Loop(Some(2), vec![Step::Yield])];
    let program =
        Program::new(&[Step::Loop(Some(2), body), Step::Loop(Some(0), vec![Step::Exit]), Step::Done]);
    let mut position = Position::new(program);
    let mut rng = Rng::new(1);
    let steps: Vec<Step> = (0..8).map(|_| position.next(&mut rng)).collect();
    let run = Step::Run(Dist::Const(1));
    let expected =
        [run.clone(), Step::Yield, Step::Yield, run, Step::Yield, Step::Yield, Step::Done, Step::Exit];
    assert_eq!(steps, expected);
    let mut seen = [0; 2];
    let choice = Step::OneOf(vec![vec![Step::Yield], vec![Step::Done]]);
    let mut position = Position::new(Program::new(&[Step::Loop(None, vec![choice])]));
    for _ in 0..1000 {
        seen[usize::from(position.next(&mut rng) == Step::Done)] += 1;
    }
    assert!(seen.iter().all(|count| (400..600).contains(count)), "{seen:?}");
}

#[test]
fn a_program_without_steps_in_its_loop_yields() {
    let mut position = Position::new(Program::new(&[Step::Loop(None, vec![])]));
    assert_eq!(position.next(&mut Rng::new(1)), Step::Yield);
}

#[test]
fn idle_cores_need_all_their_threads() {
    let machine = Machine::new(&Topology::from_spec("2c2t").expect("good"));
    let siblings = machine.places[0].siblings[0];
    let mut idle = IdleMasks::default();
    idle.update(&machine, 0, true);
    assert!(idle.cores.is_empty());
    idle.update(&machine, siblings, true);
    assert_eq!(idle.cores.len(), 2);
    assert!(idle.test_and_clear(&machine, 0) && !idle.test_and_clear(&machine, 0));
    assert!(idle.cores.is_empty() && idle.cpus.contains(siblings));
}

#[test]
fn distances_and_best_rates() {
    let costs = Costs { smt_speed_1024: 600, ..Costs::default() };
    let machine = Machine::new(&Topology::from_spec("2n2l2c2t").expect("good"));
    let first = machine.places.iter().position(|place| place.node == 1).expect("two nodes");
    assert_eq!(machine.distance(0, machine.places[0].siblings[0]), Distance::Core);
    assert_eq!(machine.distance(0, first), Distance::Remote);
    let rates = machine.best_rates(&costs, |_| true, |_| false);
    assert_eq!((rates.len(), rates[0], rates[8], rates[16]), (17, 0, 8 * 1024, 8 * 1200));
    // One thread gone: its core adds nothing beyond the other one.
    let rates = machine.best_rates(&costs, |cpu| cpu != 0, |_| false);
    assert_eq!((rates.len(), rates[8], rates[15]), (16, 8 * 1024, 7 * 1200 + 1024));
    // The same thread held by others slows the other one, which is better than a second thread of a core all the same.
    let rates = machine.best_rates(&costs, |cpu| cpu != 0, |cpu| cpu == 0);
    assert_eq!((rates.len(), rates[7], rates[8]), (16, 7 * 1024, 7 * 1024 + 600));
    assert_eq!(rates[15], 7 * 1200 + 600);
    assert_eq!(machine.migration_ns(&costs, 0, first), costs.migration_ns[3]);
}

proptest! {
    #[test]
    fn searches_go_round(cpus in prop::collection::btree_set(0usize..200, 0..20), after in 0usize..200) {
        let set: CpuSet = cpus.iter().copied().collect();
        let expected = cpus.iter().find(|&&cpu| cpu > after).or_else(|| cpus.iter().next()).copied();
        prop_assert_eq!(any_after(&Sets::new(set.words(), None), after), expected);
    }

    #[test]
    fn quantiles_are_near(values in prop::collection::vec(0u64..1 << 40, 1..200), fraction in 0.0f64..1.0) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let rank = ((values.len() as f64 * fraction).ceil() as usize).clamp(1, values.len());
        let (exact, found) = (sorted[rank - 1], histogram.quantile(fraction));
        prop_assert!(found >= exact && found <= exact + exact / 32 + 1, "{found} for {exact}");
        prop_assert_eq!(histogram.percentiles().max, sorted[sorted.len() - 1]);
    }

    #[test]
    fn draws_stay_in_range(seed: u64, low in 0u64..1000, width in 0u64..1000) {
        let mut rng = Rng::new(seed);
        let value = Dist::Uniform(low, low + width).draw(&mut rng);
        prop_assert!((low..=low + width).contains(&value));
    }
}
