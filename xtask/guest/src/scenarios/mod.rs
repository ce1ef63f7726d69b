// SPDX-License-Identifier: GPL-2.0-only
//! The scenarios: a table that the host reads, and one file for each of them.

mod table;

pub use table::{
    ACTIVE_PUSH, ALL_SCHEDULERS, CELL_SCHEDULER, DEFAULT_TOPOLOGIES, DOMAIN_BALANCER, KernelNeed,
    ScenarioInfo, all, find,
};

#[cfg(feature = "init")]
mod affinity_storm;
#[cfg(feature = "init")]
mod attach;
#[cfg(feature = "init")]
mod daemon_killed;
#[cfg(feature = "init")]
mod domain_moves;
#[cfg(feature = "init")]
mod equal_shares;
#[cfg(feature = "init")]
mod fork_storm;
#[cfg(feature = "init")]
mod hotplug;
#[cfg(feature = "init")]
mod huge_weight;
#[cfg(feature = "init")]
mod nice_shares;
#[cfg(feature = "init")]
mod pinned;
#[cfg(feature = "init")]
mod refusals;
#[cfg(feature = "init")]
mod reported_domains;
#[cfg(feature = "init")]
mod second_scheduler;
#[cfg(feature = "init")]
mod spread_out;
#[cfg(feature = "init")]
mod uneven_machine;
#[cfg(feature = "init")]
mod windows;

#[cfg(feature = "init")]
pub use running::{Run, implementation};

#[cfg(feature = "init")]
mod running {
    use anyhow::Result;

    use crate::context::Context;

    /// Runs one scenario; an error is a failure.
    pub type Run = fn(&mut Context) -> Result<()>;

    /// The code of a scenario.
    pub fn implementation(name: &str) -> Option<Run> {
        Some(match name {
            "1" => super::attach::run,
            "3" => super::daemon_killed::run,
            "4" => super::second_scheduler::run,
            "5" => super::refusals::run,
            "5-no-ext" => super::refusals::run_without_sched_ext,
            "6" => super::pinned::run,
            "7" => super::equal_shares::run,
            "8" => super::nice_shares::run,
            "12" => super::affinity_storm::run,
            "15" => super::fork_storm::run,
            "17" => super::hotplug::run,
            "19" => super::reported_domains::run,
            "20" => super::spread_out::run,
            "D1" => super::domain_moves::run,
            "D2" => super::huge_weight::run,
            "D3" => super::uneven_machine::run,
            _ => return None,
        })
    }
}

#[cfg(all(test, feature = "init"))]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_table_has_its_code() {
        for info in all() {
            assert!(implementation(info.name).is_some(), "scenario {} has no code", info.name);
        }
        assert!(implementation("2x").is_none());
    }
}
