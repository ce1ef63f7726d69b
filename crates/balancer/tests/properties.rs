// SPDX-License-Identifier: GPL-2.0-only
//! What must hold for every machine and every load.
mod machine;
mod snapshot;

use balancer::*;
use machine::{Machine, Rng};
use proptest::prelude::*;
use snapshot::Source;
use std::collections::{BTreeMap, HashSet};

/// How restricted the tasks of a random machine are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tasks {
    /// All may run everywhere.
    Free,
    /// Masks, preferences, kinds and recent moves of all sorts.
    Restricted,
}

/// Every path on a random tree of the given depth. Keys are sparse.
fn random_places(rng: &mut Rng, domains: usize, depth: usize) -> Vec<DomainPlace> {
    let spread = 1 + rng.below(6);
    let even = rng.below(2) == 0;
    (0..domains)
        .map(|domain| {
            let mut path: Vec<usize> = (1..depth).map(|_| rng.below(spread) * 3).collect();
            path.push(domain * 2);
            DomainPlace { path, capacity: if even { 2.0 } else { rng.between(0.2, 16.0) } }
        })
        .collect()
}

fn random_mask(rng: &mut Rng, domains: usize) -> DomainMask {
    match rng.below(4) {
        0 => DomainMask::single(rng.below(domains)),
        1 => (0..domains).filter(|_| rng.below(2) == 0).collect(),
        2 => (0..domains.div_ceil(2)).collect(),
        _ => DomainMask::all(domains),
    }
}

fn restrict(rng: &mut Rng, task: &mut Task, now_ns: u64, domains: usize) {
    task.allowed = random_mask(rng, domains);
    if rng.below(2) == 0 {
        task.preferred = random_mask(rng, domains);
    }
    task.kind = [TaskKind::Normal, TaskKind::Normal, TaskKind::Normal, TaskKind::Kthread, TaskKind::Pinned]
        [rng.below(5)];
    task.last_moved_ns = [0, 0, 1, now_ns, now_ns - 1][rng.below(5)];
    task.last_ran_ns = [0, 1, now_ns, now_ns - rng.below(100_000_000) as u64, now_ns + 5][rng.below(5)];
    task.cgroup = rng.below(4) as u64;
}

fn random_machine(seed: u64, domains: usize, tasks: usize, depth: usize, sort: Tasks) -> Machine {
    let mut rng = Rng(seed);
    let names = ["node", "package", "llc", "domain"];
    let levels = names[names.len() - depth..].iter().map(|name| LevelParams::named(name)).collect();
    let places = random_places(&mut rng, domains, depth);
    let mut machine = Machine::new(Tree::new(levels, places).unwrap());
    let crowded = 1 + rng.below(domains);
    let equal_weights = rng.below(3) == 0;
    for _ in 0..tasks {
        let weight = if equal_weights { 100 } else { 1 + rng.below(10_000) as u32 };
        let duty = [0.0, 1.0, rng.between(0.0, 1.0), rng.between(0.0, 0.05)][rng.below(4)];
        let now_ns = machine.params.now_ns;
        let domain = rng.below(crowded);
        let task = machine.add_task(domain, weight, duty);
        if sort == Tasks::Restricted {
            restrict(&mut rng, task, now_ns, domains);
        }
    }
    machine.params.max_refusals_explained = rng.below(3) * 100;
    machine
}

fn cgroups_of(machine: &Machine) -> Vec<(u64, DomainId, usize, f64)> {
    let of = |(domain, tasks): (usize, &Vec<Task>)| -> Vec<_> {
        tasks.iter().map(|t| (t.cgroup, domain, weights::weight_bucket(t.weight), t.duty_cycle)).collect()
    };
    machine.tasks.iter().enumerate().flat_map(of).collect()
}

/// Load of a task, from the definition and what the plan says about the scale.
fn load_of(task: &Task, plan: &Plan) -> f64 {
    let weight = |w| f64::from(weights::bucket_weight(weights::weight_bucket(w)));
    match plan.lambda {
        Some(lambda) => task.duty_cycle * weight(task.weight).min(lambda) / weight(100),
        None => task.duty_cycle,
    }
}

fn loads_of(machine: &Machine, plan: &Plan) -> Vec<f64> {
    machine.tasks.iter().map(|tasks| tasks.iter().map(|task| load_of(task, plan)).sum()).collect()
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale.max(1e-12)
}

/// Groups that hold a domain, outermost first: their paths with all their domains.
struct Groups(Vec<BTreeMap<Vec<usize>, Vec<DomainId>>>, Vec<DomainPlace>);

impl Groups {
    fn new(seed: u64, domains: usize, depth: usize) -> Self {
        let places = random_places(&mut Rng(seed), domains, depth);
        let mut levels = vec![BTreeMap::<Vec<usize>, Vec<DomainId>>::new(); depth];
        for (domain, place) in places.iter().enumerate() {
            for (level, groups) in levels.iter_mut().enumerate() {
                groups.entry(place.path[..=level].to_vec()).or_default().push(domain);
            }
        }
        Self(levels, places)
    }

    fn pressure(&self, level: usize, domain: DomainId, loads: &[f64]) -> f64 {
        let members = &self.0[level][&self.1[domain].path[..=level]];
        let capacity: f64 = members.iter().map(|&d| self.1[d].capacity).sum();
        members.iter().map(|&d| loads[d]).sum::<f64>() / capacity
    }
}

/// Replays a plan move by move and checks each rule a move has to keep.
fn check_moves(machine: &Machine, plan: &Plan, groups: &Groups) -> Result<(), TestCaseError> {
    let tasks: BTreeMap<TaskId, (DomainId, &Task)> =
        machine.tasks.iter().enumerate().flat_map(|(d, ts)| ts.iter().map(move |t| (t.id, (d, t)))).collect();
    let mut loads = loads_of(machine, plan);
    let mut seen = HashSet::new();
    let mut last_level = 0;
    for m in &plan.moves {
        let (at, task) = tasks[&m.task];
        prop_assert!(seen.insert(m.task), "moved twice: {}", m);
        prop_assert!(at == m.from && m.from != m.to, "{}", m);
        prop_assert!(task.allowed.contains(m.to) && task.kind == TaskKind::Normal && m.load > 0.0, "{}", m);
        let rest = machine.params.now_ns - task.last_moved_ns >= machine.params.rest_ns;
        prop_assert!(task.last_moved_ns == 0 || rest, "{}", m);
        prop_assert!(close(m.load, load_of(task, plan), m.load), "{}", m);
        prop_assert!(m.reason.gain > m.reason.cost && m.reason.gain <= m.load * (1.0 + 1e-9), "{}", m);
        prop_assert_eq!(m.reason.preferred, task.preferred.contains(m.to));
        prop_assert!(m.level >= last_level, "levels go from the outermost in: {}", m);
        last_level = m.level;

        let differences = |loads: &[f64]| -> Vec<f64> {
            let difference = |l| groups.pressure(l, m.from, loads) - groups.pressure(l, m.to, loads);
            (m.level..groups.0.len()).map(difference).collect()
        };
        let before = differences(&loads);
        loads[m.from] -= m.load;
        loads[m.to] += m.load;
        let after = differences(&loads);
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(after.abs() < before.abs(), "{}: {:?} -> {:?}", m, before, after);
        }
        prop_assert!(close(m.reason.imbalance_before, before[0], plan.total_load), "{}", m);
        prop_assert!(close(m.reason.imbalance_after, after[0], plan.total_load), "{}", m);
        // Same parent up to the level that wants the move.
        let (from, to) = (&groups.1[m.from].path, &groups.1[m.to].path);
        prop_assert!(from[..m.level] == to[..m.level] && from[m.level] != to[m.level], "{}", m);
        prop_assert_eq!((m.reason.from_group, m.reason.to_group), (from[m.level], to[m.level]));
    }
    Ok(())
}

/// What a group gives away on a level stays within its share, the last task aside.
fn check_push_limit(machine: &Machine, plan: &Plan, groups: &Groups) -> Result<(), TestCaseError> {
    let mut loads = loads_of(machine, plan);
    for level in 0..groups.0.len() {
        let at_start = loads.clone();
        let mut pushed: BTreeMap<&[usize], f64> = BTreeMap::new();
        for m in plan.moves.iter().filter(|m| m.level == level) {
            let path = &groups.1[m.from].path[..=level];
            let start: f64 = groups.0[level][path].iter().map(|&d| at_start[d]).sum();
            let sum = pushed.entry(path).or_default();
            prop_assert!(*sum < 0.5 * start * (1.0 + 1e-9), "{} after {} of {}", m, sum, start);
            *sum += m.load;
            loads[m.from] -= m.load;
            loads[m.to] += m.load;
        }
    }
    Ok(())
}

fn check_statistics(machine: &Machine, plan: &Plan, groups: &Groups) -> Result<(), TestCaseError> {
    let total = plan.total_load;
    for level in 0..groups.0.len() {
        let stats: Vec<&GroupStats> = plan.groups.iter().filter(|g| g.level == level).collect();
        prop_assert_eq!(stats.len(), groups.0[level].len());
        prop_assert!(close(stats.iter().map(|g| g.load).sum(), total, total));
        prop_assert!(close(stats.iter().map(|g| g.average).sum(), total, total));
        prop_assert!(close(stats.iter().map(|g| g.delta).sum(), 0.0, total));
        for g in stats {
            let members = &groups.0[level][&g.path];
            let sum = |loads: &[f64]| members.iter().map(|&d| loads[d]).sum::<f64>();
            prop_assert!(close(g.load, sum(&plan.domain_loads), total));
            prop_assert!(close(g.load + g.delta, sum(&plan.predicted_loads), total));
            prop_assert!(close(g.imbalance, g.load - g.average, total));
            prop_assert_eq!(g.key, g.path[level]);
        }
    }
    prop_assert!(machine.asked.iter().all(|&n| n <= 1), "asked twice: {:?}", machine.asked);
    Ok(())
}

fn check_round(machine: &mut Machine, groups: &Groups) -> Result<Plan, TestCaseError> {
    let plan = machine.plan();
    check_moves(machine, &plan, groups)?;
    check_push_limit(machine, &plan, groups)?;
    check_statistics(machine, &plan, groups)?;

    let before = loads_of(machine, &plan);
    machine.apply(&plan);
    let after = loads_of(machine, &plan);
    for domain in 0..after.len() {
        prop_assert!(close(before[domain], plan.domain_loads[domain], plan.total_load));
        prop_assert!(close(after[domain], plan.predicted_loads[domain], plan.total_load));
    }
    prop_assert!(close(plan.predicted_loads.iter().sum(), plan.total_load, plan.total_load));
    Ok(plan)
}

/// Sum of load² / capacity over the domains. Moves must let it fall.
fn energy(machine: &Machine, plan: &Plan) -> f64 {
    let loads = loads_of(machine, plan);
    loads.iter().enumerate().map(|(d, load)| load * load / machine.tree.domain_capacity(d).unwrap()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_holds_on_every_machine(
        seed: u64,
        domains in prop_oneof![8 => 1usize..=12, 3 => 13usize..=130, 1 => 131usize..=512],
        per_domain in 0usize..12,
        depth in 1usize..=4,
        free: bool,
    ) {
        let tasks = (domains * per_domain).min(1500);
        let sort = if free { Tasks::Free } else { Tasks::Restricted };
        let mut machine = random_machine(seed, domains, tasks, depth, sort);
        let groups = Groups::new(seed, domains, depth);
        check_round(&mut machine, &groups)?;
    }

    #[test]
    fn equal_input_gives_an_equal_plan_whatever_the_order_of_tasks(
        seed: u64, domains in 1usize..=70, depth in 1usize..=4,
    ) {
        let mut machine = random_machine(seed, domains, domains * 6, depth, Tasks::Restricted);
        machine.params.max_refusals_explained = 0;
        let first = machine.plan();
        prop_assert_eq!(&first, &machine.plan());
        // The ledger sums in another order then, which may change the last bit; so it is kept.
        let ledger = machine.ledger();
        machine.tasks.iter_mut().for_each(|tasks| tasks.reverse());
        let mut source = |domain: DomainId| Ok(machine.tasks[domain].clone());
        let second = plan(&machine.tree, &ledger, &mut source, &machine.params).unwrap();
        prop_assert_eq!(first, second);
    }

    /// One planner for machine after machine answers what a new one would.
    #[test]
    fn a_planner_remembers_nothing_but_memory(
        seeds in proptest::collection::vec((any::<u64>(), 1usize..=70, 1usize..=4, any::<bool>()), 2..6),
    ) {
        let mut planner = Planner::new();
        for (seed, domains, depth, fails) in seeds {
            let mut machine = random_machine(seed, domains, domains * 6, depth, Tasks::Restricted);
            machine.params.explain = true;
            machine.params.cgroup_statistics = seed % 2 == 0;
            let (ledger, cgroups) = (machine.ledger(), cgroups_of(&machine));
            let round = |planner: &mut Planner| {
                let mut source = Source { tasks: &machine.tasks, cgroups: &cgroups };
                planner.plan(&machine.tree, &ledger, &mut source, &machine.params).unwrap()
            };
            if fails {
                // A round that ends with an error half-way leaves nothing behind either.
                let mut left = 1;
                let mut source = |domain: DomainId| match left {
                    0 => Err("gone".into()),
                    _ => { left -= 1; Ok(machine.tasks[domain].clone()) }
                };
                let _ = planner.plan(&machine.tree, &ledger, &mut source, &machine.params);
            }
            prop_assert_eq!(round(&mut planner), round(&mut Planner::new()));
        }
    }

    /// Cgroup statistics before and after, against the tasks themselves.
    #[test]
    fn cgroup_statistics_follow_the_moves(seed: u64, domains in 1usize..=30, depth in 1usize..=3) {
        let mut machine = random_machine(seed, domains, domains * 8, depth, Tasks::Restricted);
        machine.params.cgroup_statistics = true;
        let cgroups = cgroups_of(&machine);
        let mut source = Source { tasks: &machine.tasks, cgroups: &cgroups };
        let plan = plan(&machine.tree, &machine.ledger(), &mut source, &machine.params).unwrap();
        let loads = |machine: &Machine| {
            let mut loads = BTreeMap::<(u64, DomainId), f64>::new();
            for (domain, tasks) in machine.tasks.iter().enumerate() {
                for task in tasks.iter().filter(|task| task.cgroup != 0) {
                    *loads.entry((task.cgroup, domain)).or_default() += load_of(task, &plan);
                }
            }
            loads
        };
        let before = loads(&machine);
        machine.apply(&plan);
        let after = loads(&machine);
        let figures = |cgroup, domain, loads: &BTreeMap<_, f64>| loads.get(&(cgroup, domain)).copied().unwrap_or(0.0);
        let mut seen = 0;
        for stats in &plan.cgroups {
            prop_assert!(stats.domains.is_sorted_by_key(|d| d.domain));
            prop_assert!(close(stats.load, stats.domains.iter().map(|d| d.load).sum(), plan.total_load));
            for d in &stats.domains {
                seen += usize::from(before.contains_key(&(stats.cgroup, d.domain)));
                let (was, is) = (figures(stats.cgroup, d.domain, &before), figures(stats.cgroup, d.domain, &after));
                prop_assert!(close(d.load, was, plan.total_load) && close(d.load + d.delta, is, plan.total_load));
            }
        }
        prop_assert_eq!(seen, before.len());
    }

    #[test]
    fn rounds_come_to_rest(seed: u64, domains in 1usize..=40, per_domain in 1usize..=10, depth in 1usize..=3) {
        let mut machine = random_machine(seed, domains, domains * per_domain, depth, Tasks::Free);
        machine.params.rest_ns = 0;
        let groups = Groups::new(seed, domains, depth);
        let limit = 4 + 2 * (domains as f64).log2().ceil() as usize;
        let mut last = f64::INFINITY;
        for round in 0.. {
            let plan = check_round(&mut machine, &groups)?;
            if plan.moves.is_empty() {
                break;
            }
            prop_assert!(round < limit, "still {} moves in round {}", plan.moves.len(), round);
            let now = energy(&machine, &plan);
            prop_assert!(now < last, "round {}: {} -> {}", round, last, now);
            last = now;
        }
    }

    /// At rest the most loaded of m equal domains carries at most m / (1 + 0.375 (m - 1)) times the best possible.
    ///
    /// A domain with one task cannot do better. With more, its smallest task has at most half of its load L, and that
    /// task stays because 1.6 times the evening transfer, 0.8 times the difference, is less than it: the difference
    /// to any other domain is at most 1.25 × L / 2, so the others carry 0.375 L or more, and the average, which
    /// nobody can beat, at least L × (1 + 0.375 (m - 1)) / m.
    #[test]
    fn small_machines_end_near_the_optimum(
        duties in proptest::collection::vec(0.05f64..1.0, 1..=7), domains in 2usize..=3,
    ) {
        let mut machine = Machine::new(machine::flat(&vec![1.0; domains]));
        machine.params.rest_ns = 0;
        for duty in &duties {
            machine.add(0, 1, 100, *duty);
        }
        while machine.round() > 0 {}
        let reached = machine.tasks.iter().map(|t| t.iter().map(|t| t.duty_cycle).sum::<f64>()).fold(0.0, f64::max);
        let best = optimum(&duties, domains);
        let m = domains as f64;
        let factor = m / (1.0 + 0.375 * (m - 1.0));
        // Pairs whose evening transfer is below 0.02 are left alone.
        prop_assert!(reached <= factor * best + 0.04, "{} instead of {}: {:?}", reached, best, machine.tasks);
    }
}

/// The smallest possible load of the most loaded domain, by trying every placement.
fn optimum(duties: &[f64], domains: usize) -> f64 {
    (0..domains.pow(duties.len() as u32))
        .map(|mut code| {
            let mut loads = vec![0.0; domains];
            for duty in duties {
                loads[code % domains] += duty;
                code /= domains;
            }
            loads.into_iter().fold(0.0, f64::max)
        })
        .fold(f64::INFINITY, f64::min)
}

#[test]
fn the_largest_machine_is_planned() {
    let mut machine = random_machine(42, MAX_DOMAINS, 3 * MAX_DOMAINS, 3, Tasks::Free);
    let groups = Groups::new(42, MAX_DOMAINS, 3);
    let plan = check_round(&mut machine, &groups).unwrap();
    assert!(plan.moves.len() > 100);
}
