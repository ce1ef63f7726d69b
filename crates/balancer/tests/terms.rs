// SPDX-License-Identifier: GPL-2.0-only
//! The cost terms, one by one and all together.
mod machine;
mod snapshot;

use balancer::*;
use machine::{Machine, ROUND_NS, Rng, flat, two_level};
use proptest::prelude::*;
use snapshot::Source;

fn task(last_ran_ns: u64) -> Task {
    let mut machine = Machine::new(flat(&[1.0]));
    let task = machine.add_task(0, 100, 1.0);
    task.last_ran_ns = last_ran_ns;
    task.clone()
}

fn context(task: &Task, load: f64) -> MoveContext<'_> {
    MoveContext {
        task,
        load,
        from: 0,
        to: 1,
        level: 0,
        depth: 1,
        from_pressure: 2.0,
        to_pressure: 0.0,
        now_ns: ROUND_NS,
        distance: None,
        cgroup: None,
    }
}

/// A round whose source names the cgroups too.
fn plan_with_cgroups(machine: &Machine) -> Plan {
    let mut cgroups = vec![];
    for (domain, tasks) in machine.tasks.iter().enumerate() {
        cgroups
            .extend(tasks.iter().map(|t| (t.cgroup, domain, weights::weight_bucket(t.weight), t.duty_cycle)));
    }
    let mut source = Source { tasks: &machine.tasks, cgroups: &cgroups };
    plan(&machine.tree, &machine.ledger(), &mut source, &machine.params).unwrap()
}

#[test]
fn warmth_falls_by_half_per_half_life() {
    let cost = |term: CacheWarmth, last_ran_ns| term.cost(&context(&task(last_ran_ns), 2.0));
    let term = CacheWarmth { share: 0.4, half_life_ns: 1_000 };
    assert_eq!(cost(term, ROUND_NS), 0.8);
    assert_eq!(cost(term, ROUND_NS + 5), 0.8, "another CPU's clock");
    assert!((cost(term, ROUND_NS - 1_000) - 0.4).abs() < 1e-12);
    assert!((cost(term, ROUND_NS - 3_000) - 0.1).abs() < 1e-12);
    assert_eq!(cost(term, 0), 0.0, "unknown");
    assert!(cost(term, 1) < 1e-100);
    let running_only = CacheWarmth { half_life_ns: 0, ..term };
    assert_eq!((cost(running_only, ROUND_NS), cost(running_only, ROUND_NS - 1)), (0.8, 0.0));
}

#[test]
fn of_similar_tasks_the_cold_one_goes() {
    let run = |cost: CostModel| {
        let mut machine = Machine::new(flat(&[2.0, 2.0]));
        machine.add(0, 4, 100, 1.0);
        for (task, duty) in machine.tasks[0].iter_mut().zip([0.97, 1.0, 0.99, 0.98]) {
            (task.duty_cycle, task.last_ran_ns) = (duty, ROUND_NS);
        }
        machine.tasks[0][1].last_ran_ns = ROUND_NS - 1_000_000_000;
        machine.params.cost = cost;
        machine.params.max_moves = 1;
        machine.plan().moves[0].task.pid
    };
    // The wish is half of the excess, 0.985: 0.98 is the nearest, the smaller on a tie.
    assert_eq!(run(CostModel::default().without(CacheWarmth::NAME)), 4);
    assert_eq!(run(CostModel::default().scaled(CacheWarmth::NAME, 0.0)), 4);
    assert_eq!(run(CostModel::default()), 2);
}

#[test]
fn a_much_nearer_task_goes_however_warm() {
    let mut machine = Machine::new(flat(&[2.0, 2.0]));
    for (duty, last_ran_ns) in [(0.5, ROUND_NS), (1.0, 0), (0.5, ROUND_NS)] {
        machine.add_task(0, 100, duty).last_ran_ns = last_ran_ns;
    }
    machine.params.max_moves = 1;
    assert_eq!(machine.plan().moves[0].load, 0.5);
}

#[test]
fn cohesion_is_the_part_of_the_rest_that_is_left_or_joined() {
    let cost = |total, from, to| {
        let task = task(0);
        let cgroup = Some(CgroupShare { total, from, to });
        CgroupCohesion { share: 0.2 }.cost(&MoveContext { cgroup, ..context(&task, 1.0) })
    };
    assert_eq!(cost(1.0, 1.0, 0.0), 0.0, "alone");
    assert_eq!(cost(5.0, 5.0, 0.0), 0.2, "leaves all");
    assert_eq!(cost(5.0, 1.0, 4.0), -0.2, "joins all");
    assert_eq!(cost(5.0, 3.0, 2.0), 0.0, "as many here as there");
    assert!((cost(5.0, 2.0, 0.0) - 0.05).abs() < 1e-12, "leaves one of four");
    assert_eq!(cost(5.0, 0.5, 0.0), 0.0, "a ledger that lags behind");
    assert_eq!(CgroupCohesion::default().cost(&context(&task(0), 1.0)), 0.0, "unknown");
}

#[test]
fn tasks_follow_their_cgroup() {
    let machine = |cost: CostModel| {
        let mut machine = Machine::new(flat(&[4.0; 2]));
        // Cgroup 5 is in domain 1 but for one task; cgroup 6 is in domain 0.
        for (domain, count, cgroup) in [(0, 1, 5), (0, 5, 6), (1, 2, 5)] {
            (0..count).for_each(|_| machine.add_task(domain, 100, 1.0).cgroup = cgroup);
        }
        machine.params.cost = cost;
        plan_with_cgroups(&machine)
    };
    let plan = machine(CostModel::default());
    assert_eq!(plan.moves[0].task.pid, 1);
    assert!(plan.moves.iter().all(|m| m.reason.gain > m.reason.cost));
    assert_eq!(machine(CostModel::default().without(CgroupCohesion::NAME)).moves[0].task.pid, 6);

    let stats = &plan.cgroups;
    assert_eq!((stats.len(), stats[0].cgroup, stats[0].load, stats[1].load), (2, 5, 3.0, 5.0));
    let loads = |stats: &CgroupStats| -> Vec<(usize, f64, f64)> {
        stats.domains.iter().map(|d| (d.domain, d.load, d.delta)).collect()
    };
    assert_eq!(plan.moves.len(), 2, "{:?}", plan.moves);
    assert_eq!(loads(&stats[0]), [(0, 1.0, -1.0), (1, 2.0, 1.0)]);
    assert_eq!(loads(&stats[1]), [(0, 5.0, -1.0), (1, 0.0, 1.0)]);
}

#[test]
fn a_task_without_cgroup_is_not_judged_by_its_neighbours() {
    let mut machine = Machine::new(flat(&[4.0; 2]));
    // All of cgroup 6 is here, so its tasks cost more; the search meets the last of them first.
    for cgroup in [6, 0, 6, 6] {
        machine.add_task(0, 100, 1.0).cgroup = cgroup;
    }
    assert_eq!(plan_with_cgroups(&machine).moves[0].task.pid, 2);
}

#[test]
fn cohesion_sees_the_moves_before() {
    let mut machine = Machine::new(flat(&[4.0; 2]));
    (0..4).for_each(|_| machine.add_task(0, 100, 1.0).cgroup = 6);
    machine.params.explain = true;
    let plan = plan_with_cgroups(&machine);
    let cohesion =
        |m: &Move| m.reason.terms.iter().find(|(name, _)| *name == CgroupCohesion::NAME).unwrap().1;
    let costs: Vec<f64> = plan.moves.iter().map(cohesion).collect();
    // Three others here; then two here and one there.
    assert_eq!(costs.len(), 2);
    assert!((costs[0] - 0.1).abs() < 1e-12 && (costs[1] - 0.1 / 3.0).abs() < 1e-12, "{costs:?}");
}

#[test]
fn cgroups_are_asked_for_when_something_pushes_or_statistics_are_wanted() {
    let mut machine = Machine::new(flat(&[2.0; 2]));
    machine.add_task(0, 100, 0.5).cgroup = 9;
    machine.add_task(1, 100, 0.5).cgroup = 9;
    assert!(plan_with_cgroups(&machine).cgroups.is_empty());
    machine.params.cgroup_statistics = true;
    let plan = plan_with_cgroups(&machine);
    assert_eq!((plan.cgroups.len(), plan.cgroups[0].load), (1, 1.0));

    type Fill = fn(&mut CgroupLedger) -> Result<(), LedgerError>;
    struct Bad(Fill);
    impl TaskSource for Bad {
        fn fill(&mut self, _: DomainId, _: &mut Vec<Task>) -> Result<(), SourceError> {
            Ok(())
        }
        fn cgroups(&mut self, ledger: &mut CgroupLedger) -> Result<(), SourceError> {
            self.0(ledger).map_err(Into::into)
        }
    }
    let bad: [Fill; 3] = [
        |ledger| ledger.add(1, 2, 0, 1.0),
        |ledger| ledger.add(1, 0, 90, 1.0),
        |ledger| ledger.add(1, 0, 0, f64::NAN),
    ];
    for bad in bad {
        let error = plan_error(&machine, &mut Bad(bad));
        assert!(matches!(error, PlanError::Cgroups { .. }), "{error}");
    }
}

fn plan_error(machine: &Machine, source: &mut dyn TaskSource) -> PlanError {
    plan(&machine.tree, &machine.ledger(), source, &machine.params).unwrap_err()
}

#[test]
fn distance_comes_from_the_nodes_or_else_from_the_levels() {
    let cost = |distance, level, depth| {
        let task = task(0);
        LevelDistance::default().cost(&MoveContext { distance, level, depth, ..context(&task, 1.0) })
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(cost(None, 0, 3), 0.2);
    close(cost(None, 2, 3), 0.0);
    close(cost(Some(1.0), 1, 3), 0.1); // One node: its caches' levels count.
    close(cost(Some(2.0), 0, 3), 0.1);
    close(cost(Some(3.2), 0, 3), 0.22);
    close(cost(Some(25.4), 0, 3), 0.3);
}

#[test]
fn the_near_node_gets_what_the_far_one_may_not() {
    let distances = [vec![10, 11, 40], vec![11, 10, 40], vec![40, 40, 10]];
    let run = |tree: Tree| {
        let mut machine = Machine::new(tree);
        // One task of 1.0 beside what cannot move: an evening transfer of 0.7 or so, so the gain is 0.4.
        machine.add(0, 1, 100, 1.0).add(0, 1, 100, 0.45).add(1, 1, 100, 0.05);
        machine.tasks[0][1].kind = TaskKind::Pinned;
        machine.tasks[1][0].kind = TaskKind::Pinned;
        machine.plan().moves.iter().map(|m| m.to).collect::<Vec<_>>()
    };
    let tree = || two_level(&[1, 1, 1], 1.0);
    assert_eq!(run(tree()), [2], "the empty one");
    let known = tree().with_distances(&[0, 1, 2], &distances).unwrap();
    assert_eq!((known.distance(0, 1), known.distance(2, 0)), (Some(1.1), Some(4.0)));
    assert_eq!((known.distance(0, 3), tree().distance(0, 1)), (None, None));
    assert_eq!(run(known), [1], "the near one");
}

#[test]
fn bad_distances_are_refused() {
    let bad: [(&[usize], &[&[u32]]); 5] = [
        (&[0], &[&[10, 20], &[20, 10]]),
        (&[0, 1], &[&[10, 20], &[20]]),
        (&[0, 2], &[&[10, 20], &[20, 10]]),
        (&[0, 1], &[&[10, 9], &[20, 10]]),
        (&[0, 1], &[&[0, 20], &[20, 10]]),
    ];
    for (node_of, distances) in bad {
        let distances: Vec<Vec<u32>> = distances.iter().map(|row| row.to_vec()).collect();
        let error = flat(&[1.0; 2]).with_distances(node_of, &distances).unwrap_err();
        assert!(matches!(error, TreeError::Distances(_)), "{error}");
    }
}

#[test]
fn terms_by_name() {
    let model =
        CostModel::NAMES.iter().fold(CostModel::free(), |model, name| model.with_named(name).unwrap());
    assert_eq!(model.names().collect::<Vec<_>>(), CostModel::NAMES);
    assert_eq!(model.clone().with_named("isolation").unwrap().names().count(), 5, "no second one");
    assert!(CostModel::free().with_named("warmth").is_none());
    for name in CostModel::NAMES {
        assert!(!model.clone().without(name).names().any(|n| n == name));
    }
    let task = task(ROUND_NS);
    let context = context(&task, 1.0);
    let half = CostModel::default().scaled("reluctance", 0.5).scaled("cache-warmth", 3.0);
    let terms: Vec<(&str, f64)> = half.terms(&context).collect();
    let tripled = 3.0 * 0.1;
    assert_eq!(
        terms,
        [("reluctance", 0.125), ("level-distance", 0.0), ("cache-warmth", tripled), ("cgroup-cohesion", 0.0)]
    );
    let silent = CostModel::free().with(Reluctance { share: f64::INFINITY }).scaled("reluctance", 0.0);
    assert_eq!(silent.terms(&context).next(), Some(("reluctance", 0.0)));

    let mut machine = Machine::new(flat(&[1.0; 2]));
    for factor in [-1.0, f64::NAN, f64::INFINITY] {
        machine.params.cost = CostModel::default().scaled("reluctance", factor);
        assert!(matches!(machine.try_plan(), Err(PlanError::CostFactor { term: "reluctance", .. })));
    }
}

/// Rounds until nothing moves, everything warm, all in one cgroup, node distances known.
fn settle(machine: &mut Machine, mut duty: impl FnMut() -> f64) -> usize {
    let (mut busy, mut quiet) = (0, 0);
    while quiet < 3 {
        machine.jitter(&mut duty);
        let now_ns = machine.params.now_ns;
        machine.tasks.iter_mut().flatten().for_each(|t| (t.last_ran_ns, t.cgroup) = (now_ns, 1));
        let plan = plan_with_cgroups(machine);
        machine.apply(&plan);
        machine.params.now_ns += ROUND_NS;
        quiet = if plan.moves.is_empty() { quiet + 1 } else { 0 };
        busy += usize::from(!plan.moves.is_empty());
        assert!(busy < 30, "never comes to rest: {:?}", machine.counts());
    }
    busy
}

#[test]
fn equal_hogs_end_even_with_every_term_against_them() {
    let tree = || {
        let distances = [vec![10, 32], vec![32, 10]];
        two_level(&[2, 2], 2.0).with_distances(&[0, 0, 1, 1], &distances).unwrap()
    };
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut machine = Machine::new(tree());
        machine.add(0, 24, 100, 1.0);
        let rounds = settle(&mut machine, || rng.between(0.97, 1.0));
        assert_eq!((machine.counts(), rounds), (vec![6; 4], 1), "seed {seed}");

        // From averages that still rise.
        let mut machine = Machine::new(tree());
        machine.add(0, 24, 100, 1.0);
        let mut round = 0;
        let rounds = settle(&mut machine, || {
            round += 1;
            if round <= 24 { rng.between(0.3, 0.9) } else { rng.between(0.97, 1.0) }
        });
        assert_eq!(machine.counts(), [6; 4], "seed {seed}");
        assert!(rounds <= 4, "seed {seed}: {rounds} rounds");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What a term promises, it keeps: the round relies on it.
    #[test]
    fn no_move_costs_less_than_promised(
        load in 1e-6f64..100.0,
        share in -1.0f64..2.0,
        limit in -1.0f64..1.0,
        age in 0u64..100_000_000,
        (total, from, to) in (0.0f64..100.0, 0.0f64..100.0, 0.0f64..100.0),
        pressure in 0.0f64..1.0,
        distance in proptest::option::of(1.0f64..26.0),
        level in 0usize..4,
    ) {
        let task = task(ROUND_NS - age);
        let cgroup = Some(CgroupShare { total, from, to });
        let context = MoveContext { to_pressure: pressure, distance, level, depth: 4, cgroup, ..context(&task, load) };
        let terms: [&dyn CostTerm; 5] = [
            &Reluctance { share },
            &LevelDistance { share, limit },
            &CacheWarmth { share, half_life_ns: 10_000_000 },
            &CgroupCohesion { share },
            &Isolation { quiet_below: 0.5, share },
        ];
        for term in terms {
            let (cost, least) = (term.cost(&context), term.least_share());
            prop_assert!(cost >= least * load - 1e-9 * load, "{}: {} < {}", term.name(), cost, least * load);
        }
        // The defaults never outweigh a move that does not overshoot.
        let defaults: f64 = CostModel::default().with(Isolation::default()).terms(&context).map(|(_, c)| c).sum();
        prop_assert!(defaults < load);
    }
}
