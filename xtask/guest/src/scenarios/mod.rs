// SPDX-License-Identifier: GPL-2.0-only
//! The scenarios: a table that the host reads, and one file for each of them.

mod table;

pub use table::{
    ACTIVE_PUSH, ALL_SCHEDULERS, CELL_SCHEDULER, DEFAULT_TOPOLOGIES, DOMAIN_BALANCER, KernelNeed,
    ScenarioInfo, all, demo_topology, find,
};

#[cfg(feature = "init")]
mod affinity_storm;
#[cfg(feature = "init")]
mod attach;
#[cfg(feature = "init")]
mod attach_in_churn;
#[cfg(feature = "init")]
mod beside_hogs;
#[cfg(feature = "init")]
mod cell_shrinks;
#[cfg(feature = "init")]
mod cgroup_churn;
#[cfg(feature = "init")]
mod cgroup_shares;
#[cfg(feature = "init")]
mod covering_cpusets;
#[cfg(feature = "init")]
mod cpusets;
#[cfg(feature = "init")]
mod daemon_killed;
#[cfg(feature = "init")]
mod domain_moves;
#[cfg(feature = "init")]
mod equal_shares;
#[cfg(feature = "init")]
mod fidelity;
#[cfg(feature = "init")]
mod fifo_hog;
#[cfg(feature = "init")]
mod figures_agree;
#[cfg(feature = "init")]
mod forced_stall;
#[cfg(feature = "init")]
mod fork_storm;
#[cfg(feature = "init")]
mod give_back;
#[cfg(feature = "init")]
mod hotplug;
#[cfg(feature = "init")]
mod huge_weight;
#[cfg(feature = "init")]
mod idle_searches;
#[cfg(feature = "init")]
mod kworker;
#[cfg(feature = "init")]
mod light_beside_heavy;
#[cfg(feature = "init")]
mod lost_llc;
#[cfg(feature = "init")]
mod many_cgroups;
#[cfg(feature = "init")]
mod nice_extremes;
#[cfg(feature = "init")]
mod nice_shares;
#[cfg(feature = "init")]
mod one_waker;
#[cfg(feature = "init")]
mod partial;
#[cfg(feature = "init")]
mod pinned;
#[cfg(feature = "init")]
mod pinned_subsets;
#[cfg(feature = "init")]
pub(crate) mod push_latency;
#[cfg(feature = "init")]
mod push_pull;
#[cfg(feature = "init")]
pub(crate) mod push_rescue;
#[cfg(feature = "init")]
pub(crate) mod push_spread;
#[cfg(feature = "init")]
mod push_storm;
#[cfg(feature = "init")]
pub(crate) mod push_trace;
#[cfg(feature = "init")]
mod refusals;
#[cfg(feature = "init")]
mod reloads;
#[cfg(feature = "init")]
mod reported_domains;
#[cfg(feature = "init")]
mod second_scheduler;
#[cfg(feature = "init")]
mod spread_out;
#[cfg(feature = "init")]
mod tenant_isolation;
#[cfg(feature = "init")]
pub(crate) mod tenants;
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
            "2" => super::reloads::run,
            "3" => super::daemon_killed::run,
            "4" => super::second_scheduler::run,
            "5" => super::refusals::run,
            "5-no-ext" => super::refusals::run_without_sched_ext,
            "6" => super::pinned::run,
            "7" => super::equal_shares::run,
            "8" => super::nice_shares::run,
            "9" => super::nice_extremes::run,
            "11" => super::cpusets::run,
            "10" => super::cgroup_shares::run,
            "12" => super::affinity_storm::run,
            "13" => super::beside_hogs::run_sleepers,
            "14" => super::beside_hogs::run_pairs,
            "15" => super::fork_storm::run,
            "16" => super::one_waker::run,
            "17" => super::hotplug::run,
            "18" => super::fifo_hog::run,
            "19" => super::reported_domains::run,
            "20" => super::spread_out::run,
            "21" => super::forced_stall::run,
            "22" => super::partial::run,
            "23" => super::kworker::run,
            "24" => super::pinned_subsets::run,
            "25" => super::figures_agree::run,
            "26" => super::idle_searches::run,
            "27" => super::light_beside_heavy::run,
            "F1" => super::fidelity::run_f1,
            "F2" => super::fidelity::run_f2,
            "F3" => super::fidelity::run_f3,
            "F4" => super::fidelity::run_f4,
            "D1" => super::domain_moves::run,
            "D2" => super::huge_weight::run,
            "D3" => super::uneven_machine::run,
            "C1" => super::tenant_isolation::run,
            "C2" => super::cell_shrinks::run,
            "C3" => super::covering_cpusets::run,
            "C4" => super::many_cgroups::run,
            "C5" => super::give_back::run,
            "C6" => super::lost_llc::run,
            "C7" => super::cgroup_churn::run,
            "C8" => super::attach_in_churn::run,
            "P1" => super::push_spread::run,
            "P2" => super::push_rescue::run,
            "P3" => super::push_storm::run,
            "P4" => super::push_pull::run,
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
