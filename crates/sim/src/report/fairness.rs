// SPDX-License-Identifier: GPL-2.0-only
//! Fairness: what tasks that always wanted to run got, against what their weights entitle them to.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::kernel::Kernel;

/// A task belongs here if it waited or ran for this share of its life,
const GREEDY_SHARE: f64 = 0.95;
/// and has lived for this share of the run.
const LIFE_SHARE: f64 = 0.5;

/// Errors of the shares, relative to the entitled share.
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

/// Splits `total` among weights so that nobody gets more than `cap`: who is capped leaves the rest to the others.
pub fn fair_shares(weights: &[f64], total: f64, cap: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // Heaviest first: if one is not capped at the common rate, no lighter one is.
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let (mut left, mut weight) = (total, weights.iter().sum::<f64>());
    let mut shares = vec![0.0; weights.len()];
    for index in order {
        let share = (left * weights[index] / weight).min(cap);
        shares[index] = share;
        left -= share;
        weight -= weights[index];
    }
    shares
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
        let (weights, got): (Vec<f64>, Vec<f64>) =
            greedy.map(|(_, task)| (f64::from(task.weight), task.exec_ns as f64)).unzip();
        if weights.is_empty() {
            return Self::default();
        }
        // What they shared is what they had together: others' time was not theirs to share.
        let entitled = fair_shares(&weights, got.iter().sum(), now as f64);
        let ratios: Vec<f64> = got.iter().zip(&entitled).map(|(got, due)| ratio(*got, *due)).collect();
        let each = weights.iter().zip(got.iter().zip(&entitled));
        let each: Vec<_> = each.map(|(weight, (got, due))| (*weight as u32, *got, *due)).collect();
        let errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        Self {
            tasks: weights.len(),
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
