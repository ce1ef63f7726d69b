// SPDX-License-Identifier: GPL-2.0-only
//! A round explains itself.
mod machine;

use balancer::*;
use machine::{Machine, two_level};

fn machine() -> Machine {
    let mut machine = Machine::new(two_level(&[1, 1], 2.0));
    machine.add(0, 2, 100, 1.0).add(0, 1, 100, 0.0).add(0, 1, 100, 5.0);
    machine.tasks[0][0].last_ran_ns = machine.params.now_ns;
    machine.params.max_refusals_explained = 10;
    machine.params.explain = true;
    machine
}

#[test]
fn terms_add_up_to_the_cost() {
    let plan = machine().plan();
    assert!(!plan.moves.is_empty());
    for m in &plan.moves {
        let sum: f64 = m.reason.terms.iter().map(|(_, cost)| cost).sum();
        assert_eq!((sum, m.reason.terms.len()), (m.reason.cost, 4));
    }
    let mut quiet = machine();
    quiet.params.explain = false;
    assert!(quiet.plan().moves.iter().all(|m| m.reason.terms.is_empty()));
}

#[test]
fn one_line_for_each_decision() {
    let text = machine().plan().explanation().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "load 7.000, 2 moves, 2 refusals, saturated: weights count up to 173.2",
            "task 2#7 (load 1.000): domain 0 -> 1; node 0 -> 1: imbalance +3.500 -> +2.500, wished 1.750, \
             gain 1.000 > cost 0.350 (reluctance 0.250, level-distance 0.100)",
            "task 1#7 (load 1.000): domain 0 -> 1; node 0 -> 1: imbalance +2.500 -> +1.500, wished 1.250, \
             gain 1.000 > cost 0.450 (reluctance 0.250, level-distance 0.100, cache-warmth 0.100)",
            "task 3#7 (load 0.000) stays in domain 0: no load",
            "task 4#7 (load 5.000) stays in domain 0, not to 1: too large to improve the pair: gain -2.000",
            "refused 1: no load",
            "refused 1: too large to improve the pair",
        ]
    );
}

#[test]
fn tasks_have_the_names_they_are_given() {
    let mut explanation = machine().plan().explanation();
    explanation.name_tasks(|task| (task.pid != 1).then(|| format!("worker-{}", task.pid)));
    let text = explanation.to_string();
    assert!(text.contains("\ntask 2#7 \"worker-2\" (load 1.000): domain 0 -> 1"), "{text}");
    assert!(text.contains("\ntask 1#7 (load 1.000): domain 0 -> 1"), "{text}");
    assert!(text.contains("\ntask 3#7 \"worker-3\" (load 0.000) stays in domain 0"), "{text}");
}

#[test]
fn a_refusal_for_cost_names_its_numbers() {
    let mut machine = Machine::new(two_level(&[1, 1], 1.0));
    machine.add(0, 1, 100, 1.0).add_task(0, 100, 0.3).kind = TaskKind::Pinned;
    machine.params.max_refusals_explained = 2;
    let explanation = machine.plan().explanation();
    assert_eq!(
        explanation.refused[1].to_string(),
        "task 1#7 (load 1.000) stays in domain 0, not to 1: gain does not exceed the cost: \
         gain 0.300 <= cost 0.350 (reluctance 0.250, level-distance 0.100)"
    );
    assert!(explanation.to_string().starts_with("load 1.300, 0 moves, 2 refusals, not saturated: "));
}

#[cfg(feature = "serde")]
#[test]
fn explanations_are_json() {
    let json = serde_json::to_value(machine().plan().explanation()).unwrap();
    let first = &json["moves"][0];
    assert_eq!((first["task"]["pid"].as_i64(), first["to"].as_u64()), (Some(2), Some(1)));
    assert_eq!(first["reason"]["level_name"], "node");
    assert_eq!(first["reason"]["terms"]["reluctance"], 0.25);
    assert_eq!(json["refused"][1]["cause"], "no_improvement");
    assert_eq!(json["refusals"]["zero_load"], 1);
    assert_eq!(json["lambda"], 173.25);
}
