// SPDX-License-Identifier: GPL-2.0-only
//! One rule of the balancer at a time.
mod machine;

use balancer::*;
use machine::{Machine, ROUND_NS, flat, two_level};

fn moved(plan: &Plan) -> Vec<(i32, DomainId, DomainId)> {
    plan.moves.iter().map(|m| (m.task.pid, m.from, m.to)).collect()
}

#[test]
fn the_task_nearest_to_the_wish_goes_first() {
    let mut machine = Machine::new(flat(&[4.0, 4.0]));
    for duty in [0.1, 0.3, 0.45, 0.8, 0.35] {
        machine.add_task(0, 100, duty);
    }
    // 2.0 against 0.0: the excess is 1.0, the wish half of it.
    let plan = machine.plan();
    assert_eq!(plan.moves[0].task.pid, 3);
    assert!((plan.moves[0].reason.wished - 0.5).abs() < 1e-12);
    assert!((plan.moves[0].reason.imbalance_before - 0.5).abs() < 1e-12);
    assert!((plan.moves[0].reason.imbalance_after - (1.55 - 0.45) / 4.0).abs() < 1e-12);
}

#[test]
fn preferred_tasks_go_before_nearer_ones_and_reluctant_ones_last() {
    let mut machine = Machine::new(flat(&[2.0, 2.0]));
    machine.add_task(0, 100, 0.5).preferred = DomainMask::single(0);
    machine.add_task(0, 100, 0.5);
    machine.add_task(0, 100, 0.1).preferred = DomainMask::single(1);
    machine.add_task(0, 100, 0.9).preferred = DomainMask::single(0);
    let plan = machine.plan();
    let order: Vec<i32> = plan.moves.iter().map(|m| m.task.pid).collect();
    assert_eq!(order, [3, 2, 1]);
    assert!(plan.moves[0].reason.preferred && !plan.moves[1].reason.preferred);
}

#[test]
fn what_cannot_move_stays_and_is_counted() {
    let mut machine = Machine::new(flat(&[2.0, 2.0]));
    machine.add_task(0, 100, 1.0).kind = TaskKind::Kthread;
    machine.add_task(0, 100, 1.0).kind = TaskKind::Pinned;
    machine.add_task(0, 100, 0.0);
    machine.add_task(0, 100, 1.0).allowed = DomainMask::single(0);
    machine.add_task(0, 100, 1.0).last_moved_ns = ROUND_NS - 1_000_000_000;
    let plan = machine.plan();
    assert!(plan.moves.is_empty());
    let expected =
        Refusals { not_movable: 2, zero_load: 1, not_allowed: 1, just_moved: 1, ..Refusals::default() };
    assert_eq!(plan.refusals, expected);
    assert_eq!(plan.refusals.total(), 5);
}

#[test]
fn rest_ends_and_clock_skew_is_a_recent_move() {
    let at = |last_moved_ns, rest_ns| {
        let mut machine = Machine::new(flat(&[2.0, 2.0]));
        machine.params.rest_ns = rest_ns;
        machine.add(0, 1, 100, 1.0);
        machine.add_task(0, 100, 1.0).last_moved_ns = last_moved_ns;
        machine.tasks[0][0].kind = TaskKind::Pinned;
        machine.plan().moves.len()
    };
    let rest = PlanParams::default().rest_ns;
    assert_eq!(at(ROUND_NS - rest, rest), 1);
    assert_eq!(at(ROUND_NS - rest + 1, rest), 0);
    assert_eq!(at(ROUND_NS + 5, rest), 0);
    assert_eq!(at(0, u64::MAX), 1);
    assert_eq!(at(ROUND_NS, 0), 1);
}

#[test]
fn a_task_refused_for_one_destination_goes_to_another() {
    let mut machine = Machine::new(flat(&[1.0; 3]));
    machine.add(0, 3, 100, 1.0).add(2, 1, 100, 0.2);
    for task in &mut machine.tasks[0] {
        task.allowed = [0, 2].into_iter().collect();
    }
    // Domain 1 is the emptiest and is asked first.
    let plan = machine.plan();
    assert_eq!(moved(&plan)[0].2, 2);
    // That puts domain 2 above the average, and its own task, which may run everywhere, makes room.
    assert_eq!(moved(&plan)[1..], [(4, 2, 1)]);
    assert!(plan.refusals.not_allowed >= 1);
}

#[test]
fn another_domain_of_the_pushing_group_gives_if_the_most_loaded_cannot() {
    let mut machine = Machine::new(two_level(&[2, 2], 2.0));
    machine.add(0, 8, 100, 1.0).add(1, 6, 100, 1.0);
    machine.tasks[0].iter_mut().for_each(|task| task.kind = TaskKind::Pinned);
    let plan = machine.plan();
    assert!(plan.moves.iter().all(|m| m.from == 1 && m.level == 0), "{:?}", moved(&plan));
    machine.apply(&plan);
    // Emptying domain 1 would even out the nodes, and crowd domains 2 and 3 to leave CPUs of domain 1 idle.
    assert_eq!(machine.counts(), [8, 2, 2, 2]);
}

#[test]
fn only_pushing_domains_are_asked_and_only_once() {
    let mut machine = Machine::new(two_level(&[4, 4], 2.0));
    machine.add(5, 40, 100, 1.0);
    machine.plan();
    assert_eq!(machine.asked, [0, 0, 0, 0, 0, 1, 0, 0]);
    let mut even = Machine::new(flat(&[2.0; 4]));
    for domain in 0..4 {
        even.add(domain, 5, 100, 0.98);
    }
    even.plan();
    assert_eq!(even.asked, [0; 4]);
}

#[test]
fn within_the_threshold_nothing_moves_and_beyond_it_goes_to_the_end() {
    // Small tasks, so that only the threshold holds them back.
    let run = |surplus: usize| {
        let mut machine = Machine::new(flat(&[8.0, 8.0]));
        machine.add(0, 100 + surplus, 100, 0.05).add(1, 100, 100, 0.05);
        (machine.round(), machine.counts())
    };
    assert_eq!(run(10), (0, vec![110, 100])); // 4.8 % above the average
    let (moves, counts) = run(12); // 5.7 %
    assert!(moves >= 5, "{moves}");
    assert!(counts[0].abs_diff(counts[1]) <= 2, "{counts:?}");
}

#[test]
fn the_push_limit_is_a_share_of_the_load_at_the_start() {
    let params = LevelParams { push_limit: 0.25, ..LevelParams::named("domain") };
    let mut machine = Machine::new(Tree::flat(params, &[2.0; 4]).unwrap());
    machine.add(0, 16, 100, 1.0);
    let plan = machine.plan();
    assert_eq!(plan.moves.len(), 4);
    assert_eq!(plan.refusals.push_limit, 1);
}

#[test]
fn the_last_task_may_cross_the_push_limit() {
    let params = LevelParams { push_limit: 0.01, ..LevelParams::named("domain") };
    let mut machine = Machine::new(Tree::flat(params, &[2.0; 2]).unwrap());
    machine.add(0, 4, 100, 1.0);
    assert_eq!([machine.round(), machine.round(), machine.round()], [1, 1, 0]);
}

#[test]
fn the_number_of_moves_can_be_limited() {
    let mut machine = Machine::new(flat(&[2.0; 4]));
    machine.add(0, 24, 100, 1.0);
    machine.params.max_moves = 5;
    let plan = machine.plan();
    assert_eq!(plan.moves.len(), 5);
    assert_eq!(plan.refusals.move_limit, 1);
}

#[test]
fn a_task_that_would_overshoot_is_refused_for_a_smaller_one() {
    let mut machine = Machine::new(flat(&[1.0, 1.0]));
    machine.add(0, 1, 100, 1.9).add(0, 1, 100, 0.1);
    machine.params.max_refusals_explained = 10;
    // Nearest to the wish of 0.5 is 0.1; then 1.9 is left against 0.1.
    let plan = machine.plan();
    assert_eq!(moved(&plan), [(2, 0, 1)]);
    assert_eq!((plan.refusals.no_improvement, plan.refusals.cost), (1, 0));
    let refusal = &plan.refused[0];
    assert_eq!((refusal.task.pid, refusal.to, refusal.cause), (1, Some(1), RefusalCause::NoImprovement));
}

#[test]
fn cost_refuses_and_explains_by_term() {
    #[derive(Debug)]
    struct NeverToTwo;
    impl CostTerm for NeverToTwo {
        fn name(&self) -> &'static str {
            "never-to-two"
        }
        fn cost(&self, context: &MoveContext<'_>) -> f64 {
            if context.to == 2 { f64::INFINITY } else { 0.0 }
        }
    }
    let mut machine = Machine::new(flat(&[2.0; 3]));
    machine.add(0, 9, 100, 1.0);
    machine.params.cost = CostModel::default().with(NeverToTwo);
    machine.params.max_refusals_explained = 1;
    let plan = machine.plan();
    assert!(plan.moves.iter().all(|m| m.to == 1));
    assert!(plan.refusals.cost > 0);
    let [refusal] = &plan.refused[..] else { panic!("{:?}", plan.refused) };
    assert_eq!(refusal.cause, RefusalCause::Cost);
    assert_eq!(
        refusal.terms,
        [
            ("reluctance", 0.25),
            ("level-distance", 0.0),
            ("cache-warmth", 0.0),
            ("cgroup-cohesion", 0.0),
            ("never-to-two", f64::INFINITY)
        ]
    );
    machine.params.cost = CostModel::default().with(NeverToTwo).without("never-to-two");
    assert!(machine.plan().moves.iter().any(|m| m.to == 2));
}

#[test]
fn isolation_keeps_a_quiet_domain_quiet() {
    let mut machine = Machine::new(flat(&[2.0; 3]));
    machine.add(0, 9, 100, 1.0).add(1, 3, 100, 1.0);
    let term = Isolation { quiet_below: 0.1, share: f64::INFINITY };
    machine.params.cost = CostModel::default().with(term);
    machine.round();
    assert_eq!(machine.counts(), [6, 6, 0]);
    machine.params.cost = CostModel::default();
    machine.round();
    assert!(machine.counts()[2] >= 3);
}

#[test]
fn distance_makes_the_outer_move_dearer() {
    // Two nodes of one domain. One task of 1.0 over an evening transfer of 0.65: gain 0.3.
    let run = |cost: CostModel| {
        let mut machine = Machine::new(two_level(&[1, 1], 1.0));
        machine.add(0, 1, 100, 1.0).add_task(0, 100, 0.3).kind = TaskKind::Pinned;
        machine.params.cost = cost;
        machine.plan().moves.len()
    };
    assert_eq!(run(CostModel::default().without("level-distance")), 1);
    assert_eq!(run(CostModel::default()), 0);
}

#[test]
fn a_task_named_by_two_domains_moves_once() {
    let mut machine = Machine::new(flat(&[2.0; 4]));
    machine.add(0, 6, 100, 1.0).add(1, 6, 100, 1.0);
    let twice = machine.tasks[0].clone();
    let plan = {
        let ledger = machine.ledger();
        let mut source = |_domain: DomainId| Ok(twice.clone());
        plan(&machine.tree, &ledger, &mut source, &machine.params).unwrap()
    };
    let mut ids: Vec<i32> = plan.moves.iter().map(|m| m.task.pid).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count > 0);
}

#[test]
fn statistics_add_up() {
    let mut machine = Machine::new(two_level(&[2, 1], 2.0));
    machine.add(0, 9, 100, 1.0);
    let plan = machine.plan();
    let find = |level, key| plan.groups.iter().find(|g| g.level == level && g.key == key).unwrap();
    assert_eq!(plan.groups.len(), 2 + 3);
    let node = find(0, 0);
    assert_eq!((node.load, node.average, node.imbalance, node.capacity), (9.0, 6.0, 3.0, 4.0));
    assert_eq!((node.delta, find(0, 1).delta), (-3.0, 3.0));
    let domain = find(1, 0);
    assert_eq!((domain.load, domain.average, domain.imbalance), (9.0, 4.5, 4.5));
    assert_eq!(domain.path, [0, 0]);
    assert_eq!(domain.load + domain.delta, plan.predicted_loads[0]);
    assert_eq!(plan.predicted_loads, [3.0, 3.0, 3.0]);
    assert_eq!((plan.total_load, plan.domain_loads[0]), (9.0, 9.0));
    assert!(plan.saturated);
}

#[test]
fn a_move_explains_itself_in_one_line() {
    let mut machine = Machine::new(two_level(&[1, 1], 2.0));
    machine.add(0, 8, 100, 1.0);
    let text = machine.plan().moves[0].to_string();
    assert_eq!(
        text,
        "task 8#7 (load 1.000): domain 0 -> 1; node 0 -> 1: imbalance +4.000 -> +3.000, wished 2.000, \
         gain 1.000 > cost 0.350"
    );
}

#[test]
fn the_most_loaded_domain_of_the_most_loaded_group_gives_first() {
    let mut machine = Machine::new(two_level(&[2, 2, 1], 2.0));
    machine.add(0, 7, 100, 1.0).add(1, 9, 100, 1.0).add(2, 8, 100, 1.0).add(3, 11, 100, 1.0);
    machine.params.max_moves = 1;
    let plan = machine.plan();
    // Node 1 (19 hogs) before node 0 (16); in it, domain 3.
    assert_eq!((plan.moves[0].from, plan.moves[0].to), (3, 4));
    let stays = machine.tasks[3].split_off(0);
    machine.tasks[2].extend(stays);
    let plan = machine.plan();
    assert_eq!((plan.moves[0].from, plan.moves[0].to), (2, 4));
}

#[test]
fn light_weights_balance_as_well_as_heavy_ones() {
    for weight in [1, 3, 10_000] {
        let mut machine = Machine::new(flat(&[1.0, 1.0]));
        machine.add(0, 4, weight, 1.0);
        machine.round();
        assert_eq!(machine.counts(), [2, 2], "weight {weight}");
    }
}

#[test]
fn tasks_beyond_the_first_that_is_too_large_are_not_even_tried() {
    let mut machine = Machine::new(flat(&[2.0, 2.0]));
    machine.add(0, 1, 100, 0.6).add(0, 1, 100, 0.6).add(1, 1, 100, 0.7);
    machine.tasks[1][0].kind = TaskKind::Pinned;
    let plan = machine.plan();
    // 1.2 against 0.7: the evening transfer is 0.25, 0.6 is more than twice that.
    assert_eq!((plan.moves.len(), plan.refusals.no_improvement), (0, 1));
}
