// SPDX-License-Identifier: GPL-2.0-only
//! Demonstrations: what `cargo xtask run` shows. Each scheduler has its own, in its own file, because each is for another
//! kind of load; every one of them runs the same load under the kernel's scheduler and under the plan's.

mod active_push;
mod cell_scheduler;
mod domain_balancer;

use crate::context::Context;
use crate::protocol::TableRow;
use crate::scenarios::Run;

/// Length of a phase when the plan names none.
const DEFAULT_SECONDS: f64 = 20.0;

/// The demonstration of this scheduler.
pub fn of(scheduler: &str) -> Option<Run> {
    Some(match scheduler {
        "domain-balancer" => domain_balancer::run,
        "cell-scheduler" => cell_scheduler::run,
        "active-push" => active_push::run,
        _ => return None,
    })
}

/// Length of each of the two phases.
fn length_seconds(context: &Context) -> f64 {
    if context.plan.seconds > 0.0 { context.plan.seconds } else { DEFAULT_SECONDS }
}

/// One line of the summary.
fn row(metric: &str, kernel: String, scheduler: String) -> TableRow {
    TableRow { metric: metric.to_owned(), kernel, scheduler }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::ALL_SCHEDULERS;

    #[test]
    fn every_scheduler_has_a_demonstration() {
        for scheduler in ALL_SCHEDULERS {
            assert!(of(scheduler).is_some(), "{scheduler}");
        }
        assert!(of("nobody").is_none());
    }
}
