// SPDX-License-Identifier: GPL-2.0-only
//! Fairness: what tasks that always wanted to run got, against what their weights entitle them to.

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
        let ratios: Vec<f64> =
            got.iter().zip(&entitled).map(|(got, due)| if *due > 0.0 { got / due } else { 1.0 }).collect();
        let errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        Self {
            tasks: weights.len(),
            max_error: errors.iter().copied().fold(0.0, f64::max),
            mean_error: errors.iter().sum::<f64>() / errors.len() as f64,
            range: (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
        }
    }
}
