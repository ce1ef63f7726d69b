// SPDX-License-Identifier: GPL-2.0-only
//! The plan against other ways to it: a scan without index, the classical two-level algorithm, and the best placement.
mod linear;
mod machine;
mod snapshot;

use balancer::*;
use linear::{Linear, Scan};
use machine::{Machine, Rng, flat, two_level};
use proptest::prelude::*;
use snapshot::Snapshot;

/// The classical algorithm, from its description, for equal hogs on equal domains: nodes first, then the domains within
/// each node. On both levels, whoever is above the average by more than the threshold pushes to whoever is below, one
/// task at a time, the most loaded to the least loaded; a node pushes from its most loaded domain to the other node's
/// least loaded one; nobody gives away more than half of what it had. Two separate procedures on purpose.
struct Classical {
    counts: Vec<Vec<usize>>,
    crossings: usize,
}

impl Classical {
    const THRESHOLD: f64 = 0.05;

    fn node_load(&self, node: usize) -> usize {
        self.counts[node].iter().sum()
    }

    fn between_nodes(&mut self) -> usize {
        let nodes = self.counts.len();
        let average = (0..nodes).map(|n| self.node_load(n)).sum::<usize>() as f64 / nodes as f64;
        let limit: Vec<usize> = (0..nodes).map(|n| self.node_load(n).div_ceil(2)).collect();
        let mut pushed = vec![0; nodes];
        let mut moves = 0;
        loop {
            let push = (0..nodes)
                .filter(|&n| {
                    self.node_load(n) as f64 > average * (1.0 + Self::THRESHOLD) && pushed[n] < limit[n]
                })
                .max_by_key(|&n| self.node_load(n));
            let pull = (0..nodes).min_by_key(|&n| self.node_load(n)).unwrap();
            let Some(push) = push else { return moves };
            let from = (0..self.counts[push].len()).max_by_key(|&d| self.counts[push][d]).unwrap();
            let to = (0..self.counts[pull].len()).min_by_key(|&d| self.counts[pull][d]).unwrap();
            let helps = self.node_load(push) > self.node_load(pull) + 1;
            if !helps || self.counts[push][from] <= self.counts[pull][to] + 1 {
                return moves;
            }
            self.counts[push][from] -= 1;
            self.counts[pull][to] += 1;
            pushed[push] += 1;
            (moves, self.crossings) = (moves + 1, self.crossings + 1);
        }
    }

    fn within_node(&mut self, node: usize) -> usize {
        let counts = &mut self.counts[node];
        let average = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        let limit: Vec<usize> = counts.iter().map(|n| n.div_ceil(2)).collect();
        let mut pushed = vec![0; counts.len()];
        let mut moves = 0;
        loop {
            let push = (0..counts.len())
                .filter(|&d| counts[d] as f64 > average * (1.0 + Self::THRESHOLD) && pushed[d] < limit[d])
                .max_by_key(|&d| counts[d]);
            let pull = (0..counts.len()).min_by_key(|&d| counts[d]).unwrap();
            match push {
                Some(push) if counts[push] > counts[pull] + 1 => {
                    counts[push] -= 1;
                    counts[pull] += 1;
                    pushed[push] += 1;
                    moves += 1;
                }
                _ => return moves,
            }
        }
    }

    fn settle(&mut self) {
        while self.between_nodes() + (0..self.counts.len()).map(|n| self.within_node(n)).sum::<usize>() > 0 {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Equal hogs that can be shared evenly: both must end even, with as few moves between nodes as any algorithm.
    #[test]
    fn agrees_with_the_classical_two_level_algorithm(
        nodes in 2usize..=4, per_node in 1usize..=3, each in 1usize..=5, seed: u64,
    ) {
        let domains = nodes * per_node;
        let mut rng = Rng(seed);
        let crowded = 1 + rng.below(domains);
        let mut machine = Machine::new(two_level(&vec![per_node; nodes], 1.0));
        for _ in 0..domains * each {
            machine.add(rng.below(crowded), 1, 100, 1.0);
        }
        let node_of = |domain: usize| domain / per_node;
        let counts: Vec<Vec<usize>> = machine.counts().chunks(per_node).map(<[usize]>::to_vec).collect();
        let excess = |node: &Vec<usize>| node.iter().sum::<usize>().saturating_sub(each * per_node);
        let fewest: usize = counts.iter().map(excess).sum();
        let mut classical = Classical { counts, crossings: 0 };
        classical.settle();

        let mut crossings = 0;
        loop {
            let plan = machine.plan();
            crossings += plan.moves.iter().filter(|m| node_of(m.from) != node_of(m.to)).count();
            machine.apply(&plan);
            machine.params.now_ns += machine::ROUND_NS;
            if plan.moves.is_empty() {
                break;
            }
        }
        prop_assert_eq!(machine.counts(), classical.counts.concat());
        prop_assert_eq!(machine.counts(), vec![each; domains]);
        prop_assert_eq!((crossings, classical.crossings), (fewest, fewest));
    }

    /// With moves that cost nothing or a fixed share, index and links must find the very tasks that a scan over everything finds.
    #[test]
    fn agrees_with_a_scan_over_everything(seed: u64, domains in 2usize..=20, per_domain in 1usize..=30, share in 0.0f64..0.9) {
        let mut snapshot = Snapshot::new(domains.max(4), domains * per_domain, seed);
        let mut rng = Rng(seed ^ 1);
        for task in snapshot.tasks.iter_mut().flatten() {
            if rng.below(4) == 0 {
                task.preferred = DomainMask::single(rng.below(domains));
            }
        }
        snapshot.params.cost = CostModel::free();
        if rng.below(2) == 0 {
            snapshot.params.cost = CostModel::free().with(Reluctance { share });
        }
        let plan = snapshot.round(&mut Planner::new());
        let moves: Vec<_> = plan.moves.iter().map(|m| (m.task, m.from, m.to)).collect();
        for scan in [Scan::FirstFit, Scan::Every] {
            let linear =
                Linear::new(snapshot.shape(), &snapshot.ledger, &snapshot.tasks, &snapshot.params, scan).run();
            prop_assert_eq!(&linear.moves, &moves, "{:?}", scan);
            for (a, b) in linear.loads().iter().zip(&plan.predicted_loads) {
                prop_assert!((a - b).abs() <= 1e-9 * plan.total_load);
            }
        }
    }

    /// Unequal capacities, warm tasks: at rest, no domain has more than twice the best possible load per capacity plus
    /// what its smallest task weighs there.
    #[test]
    fn small_unequal_machines_end_near_the_optimum(
        duties in proptest::collection::vec(0.05f64..1.0, 1..=7),
        capacities in proptest::collection::vec(prop_oneof![Just(0.5), Just(1.0), Just(2.0)], 2..=3),
    ) {
        let mut machine = Machine::new(flat(&capacities));
        machine.params.rest_ns = 0;
        for duty in &duties {
            machine.add_task(0, 100, *duty);
        }
        loop {
            let now_ns = machine.params.now_ns;
            machine.tasks.iter_mut().flatten().for_each(|task| task.last_ran_ns = now_ns);
            if machine.round() == 0 {
                break;
            }
        }
        let best = optimum(&duties, &capacities);
        for (tasks, capacity) in machine.tasks.iter().zip(&capacities) {
            let load: f64 = tasks.iter().map(|t| t.duty_cycle).sum();
            let smallest = tasks.iter().map(|t| t.duty_cycle).fold(f64::INFINITY, f64::min);
            let bound = 2.0 * best + smallest / capacity + 0.04;
            prop_assert!(tasks.is_empty() || load / capacity <= bound, "{:?} best {}", machine.tasks, best);
        }
    }
}

/// The smallest possible load per capacity of the most loaded domain, by trying every placement.
fn optimum(duties: &[f64], capacities: &[f64]) -> f64 {
    (0..capacities.len().pow(duties.len() as u32))
        .map(|mut code| {
            let mut loads = vec![0.0; capacities.len()];
            for duty in duties {
                loads[code % capacities.len()] += duty;
                code /= capacities.len();
            }
            loads.iter().zip(capacities).map(|(load, capacity)| load / capacity).fold(0.0, f64::max)
        })
        .fold(f64::INFINITY, f64::min)
}

/// Nothing can be moved: every pusher must find that out at its first puller, not at each.
#[test]
fn pairs_that_fail_do_not_multiply() {
    let domains = 512;
    let mut machine = Machine::new(flat(&vec![1.0; domains]));
    // Two tasks too large to help anywhere in one half, one in the other.
    for domain in 0..domains {
        let heavy = domain % 2 == 0;
        machine.add(domain, if heavy { 2 } else { 1 }, 100, if heavy { 1.0 } else { 1.5 });
    }
    let plan = machine.plan();
    assert!(plan.moves.is_empty());
    assert_eq!(plan.refusals.total(), domains as u64 / 2, "{:?}", plan.refusals);
}

/// Tasks that cost too much for every destination are not tried against all of them.
#[test]
fn costly_tasks_do_not_multiply() {
    #[derive(Debug)]
    struct Never;
    impl CostTerm for Never {
        fn name(&self) -> &'static str {
            "never"
        }
        fn cost(&self, _: &MoveContext<'_>) -> f64 {
            f64::INFINITY
        }
    }
    let domains = 512;
    let mut machine = Machine::new(flat(&vec![1.0; domains]));
    (0..domains / 2).for_each(|domain| {
        machine.add(domain, 4, 100, 1.0);
    });
    machine.params.cost = CostModel::free().with(Never);
    let plan = machine.plan();
    assert!(plan.moves.is_empty());
    // 64 pairs at most, 4 tasks each.
    assert!(plan.refusals.cost <= domains as u64 / 2 * 64 * 4, "{:?}", plan.refusals);
}
