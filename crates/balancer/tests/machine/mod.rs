// SPDX-License-Identifier: GPL-2.0-only
//! A toy machine for the tests: domains with tasks, a plan, and the plan applied.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use balancer::*;

/// Time between two rounds; longer than the default rest, so that rest does not hide a ping-pong.
pub const ROUND_NS: u64 = 10_000_000_000;

/// Domains with their tasks.
pub struct Machine {
    pub tree: Tree,
    pub tasks: Vec<Vec<Task>>,
    pub params: PlanParams,
    /// How often each domain was asked for its tasks in the last round.
    pub asked: Vec<usize>,
    next_pid: i32,
}

/// A node level over a domain level, each with its default parameters.
pub fn two_level(domains_per_node: &[usize], capacity: f64) -> Tree {
    let paths = domains_per_node.iter().enumerate().flat_map(|(node, &n)| (0..n).map(move |_| node));
    let places = paths.enumerate().map(|(d, node)| DomainPlace { path: vec![node, d], capacity }).collect();
    Tree::new(vec![LevelParams::named("node"), LevelParams::named("domain")], places).unwrap()
}

/// All domains beside each other.
pub fn flat(capacities: &[f64]) -> Tree {
    Tree::flat(LevelParams::named("domain"), capacities).unwrap()
}

impl Machine {
    pub fn new(tree: Tree) -> Self {
        let domains = tree.domains();
        let params = PlanParams { now_ns: ROUND_NS, ..PlanParams::default() };
        Self { tree, tasks: vec![Vec::new(); domains], params, asked: vec![0; domains], next_pid: 1 }
    }

    /// Adds tasks of one weight and duty cycle that may run everywhere.
    pub fn add(&mut self, domain: DomainId, count: usize, weight: u32, duty_cycle: f64) -> &mut Self {
        for _ in 0..count {
            self.add_task(domain, weight, duty_cycle);
        }
        self
    }

    /// Adds one task and hands it out to be changed.
    pub fn add_task(&mut self, domain: DomainId, weight: u32, duty_cycle: f64) -> &mut Task {
        let id = TaskId { pid: self.next_pid, generation: 7 };
        self.next_pid += 1;
        let allowed = DomainMask::all(self.tree.domains());
        let preferred = DomainMask::empty();
        let kind = TaskKind::Normal;
        let task = Task {
            id,
            weight,
            duty_cycle,
            allowed,
            preferred,
            last_moved_ns: 0,
            last_ran_ns: 0,
            cgroup: 0,
            kind,
        };
        self.tasks[domain].push(task);
        self.tasks[domain].last_mut().unwrap()
    }

    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(self.tasks.len());
        for (domain, tasks) in self.tasks.iter().enumerate() {
            for task in tasks {
                ledger.add(domain, weights::weight_bucket(task.weight), task.duty_cycle).unwrap();
            }
        }
        ledger
    }

    pub fn plan(&mut self) -> Plan {
        self.try_plan().unwrap()
    }

    pub fn try_plan(&mut self) -> Result<Plan, PlanError> {
        let ledger = self.ledger();
        self.asked.fill(0);
        let (tasks, asked) = (&self.tasks, &mut self.asked);
        let mut source = |domain: DomainId| {
            asked[domain] += 1;
            Ok(tasks[domain].clone())
        };
        plan(&self.tree, &ledger, &mut source, &self.params)
    }

    pub fn apply(&mut self, plan: &Plan) {
        for m in &plan.moves {
            let at = self.tasks[m.from]
                .iter()
                .position(|t| t.id == m.task)
                .expect("the task is where the plan says");
            let mut task = self.tasks[m.from].remove(at);
            assert!(task.allowed.contains(m.to), "{m}");
            task.last_moved_ns = self.params.now_ns;
            self.tasks[m.to].push(task);
        }
    }

    /// One round; answers how many tasks moved.
    pub fn round(&mut self) -> usize {
        let plan = self.plan();
        self.apply(&plan);
        self.params.now_ns += ROUND_NS;
        plan.moves.len()
    }

    pub fn counts(&self) -> Vec<usize> {
        self.tasks.iter().map(Vec::len).collect()
    }

    /// Gives every task another duty cycle, as running averages do.
    pub fn jitter(&mut self, mut duty: impl FnMut() -> f64) {
        self.tasks.iter_mut().flatten().for_each(|task| task.duty_cycle = duty());
    }
}

/// A small deterministic generator, so that a failing test can be repeated from its seed.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
