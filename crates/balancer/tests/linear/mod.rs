// SPDX-License-Identifier: GPL-2.0-only
//! The algorithm as its description reads, without any index: for every move, every task of the source domain is looked
//! at again for each candidate destination. The yardstick of the benchmarks and, where the cost plays no part, an oracle
//! for the tests.
#![allow(dead_code, reason = "each test binary uses a part of this module")]

use balancer::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// How many destinations a scan looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scan {
    /// All of them; the best is taken.
    Every,
    /// Until one has a task that can move.
    FirstFit,
}

type Groups = BTreeMap<Vec<usize>, (Vec<DomainId>, f64)>;

pub struct Linear<'a> {
    pub levels: &'a [LevelParams],
    pub places: &'a [DomainPlace],
    pub tree: &'a Tree,
    pub params: &'a PlanParams,
    pub scan: Scan,
    tasks: Vec<Vec<Task>>,
    factor: [f64; weights::BUCKETS],
    min_transfer: f64,
    /// Domains and load of every group, by level and path.
    groups: Vec<Groups>,
    pub moves: Vec<(TaskId, DomainId, DomainId)>,
}

struct Sibling {
    path: Vec<usize>,
    start: f64,
    pushed: f64,
    beyond: bool,
    retired: bool,
}

impl<'a> Linear<'a> {
    pub fn new(
        (tree, levels, places): (&'a Tree, &'a [LevelParams], &'a [DomainPlace]),
        ledger: &Ledger,
        tasks: &[Vec<Task>],
        params: &'a PlanParams,
        scan: Scan,
    ) -> Self {
        let duty: [f64; weights::BUCKETS] =
            std::array::from_fn(|b| (0..tree.domains()).map(|d| ledger.bucket_duty(d, b)).sum());
        let lambda = weights::infeasible_lambda(&duty, tree.capacity());
        let weight = |b| f64::from(weights::bucket_weight(b));
        let normal = weight(weights::weight_bucket(100));
        let factor = std::array::from_fn(|b| lambda.map_or(1.0, |lambda| weight(b).min(lambda) / normal));
        let load = |d| (0..weights::BUCKETS).map(|b| ledger.bucket_duty(d, b) * factor[b]).sum::<f64>();
        let loads: Vec<f64> = (0..tree.domains()).map(load).collect();
        let mut groups = vec![Groups::new(); levels.len()];
        for (level, groups) in groups.iter_mut().enumerate() {
            for (domain, place) in places.iter().enumerate() {
                groups.entry(place.path[..=level].to_vec()).or_default().0.push(domain);
            }
            groups.values_mut().for_each(|(domains, sum)| *sum = domains.iter().map(|&d| loads[d]).sum());
        }
        let (total, total_duty): (f64, f64) = (loads.iter().sum(), duty.iter().sum());
        let min_transfer = params.min_transfer * if total_duty > 0.0 { total / total_duty } else { 0.0 };
        let (tasks, moves) = (tasks.to_vec(), Vec::new());
        Self { levels, places, tree, params, scan, tasks, factor, min_transfer, groups, moves }
    }

    pub fn run(mut self) -> Self {
        for level in 0..self.levels.len() {
            let parents: BTreeSet<Vec<usize>> =
                self.groups[level].keys().map(|path| path[..level].to_vec()).collect();
            for parent in parents {
                self.balance(level, &parent);
            }
        }
        self
    }

    pub fn loads(&self) -> Vec<f64> {
        let last = self.levels.len() - 1;
        self.places.iter().map(|place| self.groups[last][&place.path].1).collect()
    }

    fn capacity(&self, level: usize, path: &[usize]) -> f64 {
        self.groups[level][path].0.iter().map(|&d| self.places[d].capacity).sum()
    }

    fn pressure(&self, level: usize, path: &[usize]) -> f64 {
        self.groups[level][path].1 / self.capacity(level, path)
    }

    fn domain_pressure(&self, domain: DomainId) -> f64 {
        self.pressure(self.levels.len() - 1, &self.places[domain].path)
    }

    fn even(&self, level: usize, from: &[usize], to: &[usize]) -> f64 {
        let per_load = 1.0 / self.capacity(level, from) + 1.0 / self.capacity(level, to);
        (self.pressure(level, from) - self.pressure(level, to)) / per_load
    }

    fn balance(&mut self, level: usize, parent: &[usize]) {
        let paths: Vec<Vec<usize>> =
            self.groups[level].keys().filter(|path| path.starts_with(parent)).cloned().collect();
        let capacity: f64 = paths.iter().map(|path| self.capacity(level, path)).sum();
        let average = paths.iter().map(|path| self.groups[level][path].1).sum::<f64>() / capacity;
        let threshold = average * self.levels[level].imbalance_threshold;
        let mut siblings: Vec<Sibling> = paths
            .into_iter()
            .map(|path| Sibling {
                start: self.groups[level][&path].1,
                pushed: 0.0,
                beyond: (self.pressure(level, &path) - average).abs() > threshold,
                retired: false,
                path,
            })
            .collect();
        let mut failed = BTreeSet::new();
        loop {
            let pressure = |i: usize| self.pressure(level, &siblings[i].path);
            let by_pressure = |a: &usize, b: &usize| pressure(*a).total_cmp(&pressure(*b)).then(a.cmp(b));
            let mut order: Vec<usize> = (0..siblings.len()).collect();
            order.sort_by(by_pressure);
            let pusher = order.iter().rev().find(|&&i| !siblings[i].retired && pressure(i) > average);
            let Some(&from) = pusher else { return };
            let spent = siblings[from].pushed >= self.levels[level].push_limit * siblings[from].start;
            let mut best = None;
            for &to in order.iter().filter(|&&to| pressure(to) < pressure(from)) {
                let beyond = siblings[from].beyond || siblings[to].beyond;
                if spent
                    || !beyond
                    || failed.contains(&(from, to))
                    || (best.is_some() && self.scan == Scan::FirstFit)
                {
                    continue;
                }
                match self.find(level, average, &siblings[from].path, &siblings[to].path) {
                    Some(found) => best = best.or(Some((to, found))),
                    None if best.is_none() => drop(failed.insert((from, to))),
                    None => {}
                }
            }
            let Some((to, (slot, from_domain, to_domain))) = best else {
                siblings[from].retired = true;
                continue;
            };
            siblings[from].pushed += self.shift(slot, from_domain, to_domain);
            (siblings[from].retired, siblings[to].retired) = (false, false);
        }
    }

    fn shift(&mut self, slot: usize, from: DomainId, to: DomainId) -> f64 {
        let task = self.tasks[from].remove(slot);
        let load = self.load(&task);
        for level in 0..self.levels.len() {
            let mut add = |domain: DomainId, load: f64| {
                let path = &self.places[domain].path[..=level];
                self.groups[level].get_mut(path).unwrap().1 += load;
            };
            add(from, -load);
            add(to, load);
        }
        self.moves.push((task.id, from, to));
        load
    }

    fn load(&self, task: &Task) -> f64 {
        self.factor[weights::weight_bucket(task.weight)] * task.duty_cycle
    }

    fn find(
        &self,
        level: usize,
        average: f64,
        from_group: &[usize],
        to_group: &[usize],
    ) -> Option<(usize, DomainId, DomainId)> {
        let above = |path: &[usize]| self.groups[level][path].1 - average * self.capacity(level, path);
        let (excess, deficit) = (above(from_group), -above(to_group));
        let even = self.even(level, from_group, to_group);
        if even <= self.min_transfer {
            return None;
        }
        let imbalance = excess.min(if deficit > 0.0 { deficit } else { even });
        let wish = (imbalance * self.levels[level].transfer_ratio).max(self.min_transfer);
        let by_pressure = |a: &DomainId, b: &DomainId| {
            self.domain_pressure(*a).total_cmp(&self.domain_pressure(*b)).then(a.cmp(b))
        };
        let sorted = |path: &[usize]| {
            let mut domains = self.groups[level][path].0.clone();
            domains.sort_by(by_pressure);
            domains
        };
        for &from in sorted(from_group).iter().rev() {
            for &to in &sorted(to_group) {
                let on_way = (level..self.levels.len())
                    .map(|l| self.even(l, &self.places[from].path[..=l], &self.places[to].path[..=l]));
                let even = on_way.fold(f64::INFINITY, f64::min);
                if even > self.min_transfer
                    && let Some(slot) = self.scan_tasks(level, wish, even, from, to)
                {
                    return Some((slot, from, to));
                }
            }
        }
        None
    }

    /// One pass over all tasks of the source domain.
    fn scan_tasks(&self, level: usize, wish: f64, even: f64, from: DomainId, to: DomainId) -> Option<usize> {
        let (from_pressure, to_pressure) = (self.domain_pressure(from), self.domain_pressure(to));
        let mut best: Option<(usize, (u8, f64, f64, i128))> = None;
        for (slot, task) in self.tasks[from].iter().enumerate() {
            let load = self.load(task);
            let resting = task.last_moved_ns != 0
                && self.params.now_ns.saturating_sub(task.last_moved_ns) < self.params.rest_ns;
            if task.kind != TaskKind::Normal || load <= 0.0 || resting || !task.allowed.contains(to) {
                continue;
            }
            let gain = even - (even - load).abs();
            let (depth, now_ns, cgroup) = (self.levels.len(), self.params.now_ns, None);
            let context = MoveContext {
                task,
                load,
                from,
                to,
                level,
                depth,
                from_pressure,
                to_pressure,
                now_ns,
                distance: None,
                cgroup,
            };
            if gain <= 0.0 || gain <= self.params.cost.terms(&context).map(|(_, cost)| cost).sum() {
                continue;
            }
            let rank = match (task.preferred.contains(to), task.preferred.contains(from)) {
                (true, _) => 0,
                (_, false) => 1,
                _ => 2,
            };
            // Of equal loads, the walk away from the wish meets the last first if it goes down.
            let id = (i128::from(task.id.pid) << 64) + i128::from(task.id.generation);
            let key = (rank, (load - wish).abs(), load, if load <= wish { -id } else { id });
            if best.as_ref().is_none_or(|(_, best)| key.partial_cmp(best) == Some(Ordering::Less)) {
                best = Some((slot, key));
            }
        }
        best.map(|(slot, _)| slot)
    }
}
