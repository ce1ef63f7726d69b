// SPDX-License-Identifier: GPL-2.0-only
//! What the harness knows of each scheduler beyond the command line that all of them share: its own names for the
//! options and statistics that common scenarios need. One file for each scheduler.

mod active_push;
mod cell_scheduler;
mod domain_balancer;

use anyhow::{Context as _, Result};

use crate::context::Context;

/// One scheduler, as the common scenarios see it.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its package and program.
    pub name: &'static str,
    /// Options for scenarios that watch its statistics: whatever makes its own loop as short as it may be (about 1 s).
    pub brisk: &'static [&'static str],
    /// The object of its statistics whose entries have `cpus` lists that together are all online CPUs; None when it
    /// reports no CPUs.
    pub cpus_in: Option<&'static str>,
    /// Counters of its statistics that together count every placement of a task that wakes.
    pub placements: &'static [&'static str],
    /// Tries to claim an idle CPU, at most, for a task whose slice ended.
    pub searches_on_leaving: usize,
    /// Its own command lines that are wrong on a machine with so many CPUs (numbered from 0).
    pub bad_arguments: fn(usize) -> Vec<BadArguments>,
}

/// A command line that must be refused.
#[derive(Clone, Debug, PartialEq)]
pub struct BadArguments {
    /// The arguments.
    pub arguments: Vec<String>,
    /// What the message must name.
    pub names: String,
}

impl BadArguments {
    /// These arguments, refused with a line that holds `names`.
    pub fn new(arguments: &[&str], names: &str) -> Self {
        Self {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            names: names.to_owned(),
        }
    }
}

const PROFILES: &[Profile] = &[domain_balancer::PROFILE, cell_scheduler::PROFILE, active_push::PROFILE];

/// The profile of this scheduler.
pub fn find(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The profile of the plan's scheduler.
///
/// # Errors
/// The harness does not know it.
pub fn of(context: &Context) -> Result<&'static Profile> {
    let name = &context.plan.scheduler;
    find(name).with_context(|| format!("the harness has no profile of {name}: add one beside the others"))
}

#[cfg(test)]
mod tests;
