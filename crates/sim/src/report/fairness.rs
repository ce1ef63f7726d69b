// SPDX-License-Identifier: GPL-2.0-only
//! Fairness: what tasks that always wanted to run got, against what their weights entitle them to.
//!
//! Entitlement follows the path of cgroups: tasks and cgroups that are side by side share by weight. A scheduler that leaves
//! cgroups out of account is measured all the same against what their weights say.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cgroup::{CgroupIdx, Cgroups, ROOT};
use crate::kernel::Kernel;

/// A task belongs here if it waited or ran for this share of its life,
const GREEDY_SHARE: f64 = 0.95;
/// and has lived for this share of the run.
const LIFE_SHARE: f64 = 0.5;

/// Errors of the shares, relative to the entitled share. What other tasks of a cgroup had comes out of the share of that cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fairness {
    /// Tasks looked at.
    pub tasks: usize,
    /// The largest error of a task.
    pub max_error: f64,
    /// The mean error.
    pub mean_error: f64,
    /// Least and greatest received share over entitled share.
    pub range: (f64, f64),
    /// The same by weight, lightest first.
    pub by_weight: Vec<OfWeight>,
}

/// Shares of the tasks of one weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfWeight {
    /// The weight.
    pub weight: u32,
    /// Tasks of that weight.
    pub tasks: usize,
    /// What they received together over what they were entitled to.
    pub received: f64,
    /// The mean error of one.
    pub mean_error: f64,
}

/// By weight, from weight, time got and time due of each task.
fn by_weight(tasks: &[(u32, f64, f64)]) -> Vec<OfWeight> {
    let weights: BTreeSet<u32> = tasks.iter().map(|(weight, ..)| *weight).collect();
    let of = |weight: u32| {
        let own = || tasks.iter().filter(move |(other, ..)| *other == weight);
        let count = own().count();
        let (got, due) = own().fold((0.0, 0.0), |(a, b), (_, got, due)| (a + got, b + due));
        let errors: f64 = own().map(|(_, got, due)| (ratio(*got, *due) - 1.0).abs()).sum();
        OfWeight { weight, tasks: count, received: ratio(got, due), mean_error: errors / count as f64 }
    };
    weights.into_iter().map(of).collect()
}

fn ratio(got: f64, due: f64) -> f64 {
    if due > 0.0 { got / due } else { 1.0 }
}

/// Splits `total` among those who compete, each with a weight and a cap: who is capped leaves the rest to the others.
pub fn fair_shares(each: &[(f64, f64)], total: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..each.len()).collect();
    // The least cap for its weight first: if one is not capped at the common rate, none behind it is.
    let reached_at = |index: usize| each[index].1 / each[index].0;
    order.sort_by(|&a, &b| reached_at(a).total_cmp(&reached_at(b)));
    let (mut left, mut weights) = (total, each.iter().map(|(weight, _)| weight).sum::<f64>());
    let mut shares = vec![0.0; each.len()];
    for index in order {
        let (weight, cap) = each[index];
        shares[index] = (left * weight / weights).min(cap);
        left -= shares[index];
        weights -= weight;
    }
    shares
}

/// A task that always wanted to run.
struct Greedy {
    weight: u32,
    got_ns: u64,
    cgroup: CgroupIdx,
}

/// Cgroups with the cpu controller and the tasks looked at in them.
struct Tree<'a> {
    cgroups: &'a Cgroups,
    tasks: &'a [Greedy],
    /// Time of the whole run, ns: what one task can have at most.
    now: u64,
    /// By cgroup, all below it included: CPU time of these tasks, and how many they are.
    below: Vec<(u64, usize)>,
}

impl<'a> Tree<'a> {
    fn new(cgroups: &'a Cgroups, tasks: &'a [Greedy], now: u64) -> Self {
        let mut below = vec![(0, 0); cgroups.len()];
        for task in tasks {
            for level in 0..=cgroups[task.cgroup].level {
                let Some(above) = cgroups.ancestor(task.cgroup, level) else { continue };
                below[above].0 += task.got_ns;
                below[above].1 += 1;
            }
        }
        Self { cgroups, tasks, now, below }
    }

    /// CPU time below a cgroup that none of these tasks had, ns.
    fn others_ns(&self, cgroup: CgroupIdx) -> u64 {
        self.cgroups.usage_ns(cgroup).saturating_sub(self.below[cgroup].0)
    }

    /// Splits the time due to a cgroup: first of all the time that goes to nobody who is looked at is gone, the rest is for
    /// its tasks and for the cgroups right below it that have some.
    fn split(&self, cgroup: CgroupIdx, total: f64, due: &mut [f64]) {
        let children = &self.cgroups[cgroup].children;
        let children: Vec<CgroupIdx> =
            children.iter().copied().filter(|&child| self.below[child].1 > 0).collect();
        let tasks: Vec<usize> =
            (0..self.tasks.len()).filter(|&index| self.tasks[index].cgroup == cgroup).collect();
        let elsewhere: u64 = children.iter().map(|&child| self.others_ns(child)).sum();
        let left = (total - self.others_ns(cgroup).saturating_sub(elsewhere) as f64).max(0.0);
        let of_task = |&index: &usize| (f64::from(self.tasks[index].weight), self.now as f64);
        let of_child = |&child: &CgroupIdx| {
            let cap = self.below[child].1 as f64 * self.now as f64 + self.others_ns(child) as f64;
            (f64::from(self.cgroups[child].weight), cap)
        };
        let each: Vec<(f64, f64)> = tasks.iter().map(of_task).chain(children.iter().map(of_child)).collect();
        let shares = fair_shares(&each, left);
        for (&task, &share) in tasks.iter().zip(&shares) {
            due[task] = share;
        }
        for (&child, &share) in children.iter().zip(&shares[tasks.len()..]) {
            self.split(child, share, due);
        }
    }
}

impl Fairness {
    /// Over the tasks that may run anywhere and always wanted to.
    pub(super) fn of(kernel: &Kernel) -> Self {
        let now = kernel.now;
        let all = kernel.machine.all.len();
        let greedy = kernel.tasks.live().filter(|(_, task)| {
            let life = (now - task.born_at) as f64;
            let waiting = if task.waits() { now - task.waiting_since } else { 0 };
            let wanted = (task.exec_ns + task.wait_ns + waiting) as f64;
            task.nr_allowed >= all && life >= LIFE_SHARE * now as f64 && wanted >= GREEDY_SHARE * life
        });
        let greedy: Vec<Greedy> = greedy
            .map(|(_, task)| Greedy { weight: task.weight, got_ns: task.exec_ns, cgroup: task.sched_cgroup })
            .collect();
        if greedy.is_empty() {
            return Self::default();
        }
        // What they shared is what there was but for the time that others had: that was not theirs to share.
        let mut entitled = vec![0.0; greedy.len()];
        let total = kernel.cgroups.usage_ns(ROOT) as f64;
        Tree::new(&kernel.cgroups, &greedy, now).split(ROOT, total, &mut entitled);
        let each: Vec<(u32, f64, f64)> =
            greedy.iter().zip(&entitled).map(|(task, due)| (task.weight, task.got_ns as f64, *due)).collect();
        let ratios: Vec<f64> = each.iter().map(|(_, got, due)| ratio(*got, *due)).collect();
        let errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        Self {
            tasks: greedy.len(),
            max_error: errors.iter().copied().fold(0.0, f64::max),
            mean_error: errors.iter().sum::<f64>() / errors.len() as f64,
            range: (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
            by_weight: by_weight(&each),
        }
    }
}
