// SPDX-License-Identifier: GPL-2.0-only
//! Demonstrations: what `cargo xtask run` shows. Each scheduler has its own, in its own file, because each is for another
//! kind of load; every one of them runs the same load under the kernel's scheduler and under the plan's.

mod domain_balancer;

use crate::scenarios::Run;

/// The demonstration of this scheduler.
pub fn of(scheduler: &str) -> Option<Run> {
    Some(match scheduler {
        "domain-balancer" => domain_balancer::run,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_that_is_not_known_has_no_demonstration() {
        assert!(of("domain-balancer").is_some());
        assert!(of("nobody").is_none());
    }
}
