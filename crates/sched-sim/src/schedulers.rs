// SPDX-License-Identifier: GPL-2.0-only
//! The schedulers that the simulator knows by name: one row each.

use anyhow::Result;

use crate::active_push::{self, ActivePush};
use crate::cell_scheduler::{self, CellScheduler};
use crate::domain_balancer::{self, DomainBalancer};
use crate::drive::Scheduler;

/// Makes a scheduler from the words of its command line.
type Make = fn(&[String]) -> Result<Box<dyn Scheduler>>;

/// Name, and how it is made.
const TABLE: [(&str, Make); 3] = [
    (::domain_balancer::NAME, |words| Ok(Box::new(DomainBalancer::new(domain_balancer::options(words)?)))),
    (::cell_scheduler::NAME, |words| Ok(Box::new(CellScheduler::new(cell_scheduler::options(words)?)?))),
    (::active_push::NAME, |words| Ok(Box::new(ActivePush::new(active_push::options(words)?)))),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The scheduler of this name, with options in the words of its own command line; `None` for an unknown name.
///
/// # Errors
/// What the scheduler itself would say about the options.
pub fn make(name: &str, words: &[String]) -> Option<Result<Box<dyn Scheduler>>> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, make)| make(words))
}
