// SPDX-License-Identifier: GPL-2.0-only
//! Typed errors. Every message is one line that says what is wrong and what to do.

use crate::{DomainId, MAX_DOMAINS, TaskId};

/// What a [`crate::TaskSource`] may fail with.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A level tree that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TreeError {
    /// No level was given.
    #[error("the level tree has no level; give at least the domain level")]
    NoLevels,
    /// The number of domains is outside 1..=1024.
    #[error("{0} domains given; a level tree takes 1 to {MAX_DOMAINS}, so merge or add domains")]
    DomainCount(usize),
    /// A domain's path does not name one group per level.
    #[error("domain {domain} has a path of {got} keys; give one key for each of the {expected} levels")]
    PathLength {
        /// The domain at fault.
        domain: DomainId,
        /// Keys in its path.
        got: usize,
        /// Levels in the tree.
        expected: usize,
    },
    /// Two domains have the same path.
    #[error("domains {first} and {second} have the same path; make the innermost key unique per domain")]
    SamePath {
        /// The domain named first.
        first: DomainId,
        /// The one that repeats its path.
        second: DomainId,
    },
    /// A capacity is NaN, infinite, zero, negative or out of range.
    #[error(
        "domain {domain} has capacity {capacity}; give a finite number of CPUs from 0.000001 to 1000000000"
    )]
    Capacity {
        /// The domain at fault.
        domain: DomainId,
        /// The value given.
        capacity: f64,
    },
    /// The distances do not name one node per domain, are not square, or are zero.
    #[error(
        "node distances: {0}; give one node per domain and a square matrix of distances from 1, the local ones smallest"
    )]
    Distances(&'static str),
    /// A level's parameter is NaN or out of range.
    #[error("level '{level}': {parameter} is {value}; give a finite number {range}")]
    LevelParameter {
        /// The level's name.
        level: String,
        /// The parameter's name.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// What is accepted.
        range: &'static str,
    },
}

/// A value that the ledger does not take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LedgerError {
    /// The domain is not one of the ledger's.
    #[error("domain {domain} is unknown; the ledger has domains 0 to {last}", last = domains.saturating_sub(1))]
    UnknownDomain {
        /// The domain given.
        domain: DomainId,
        /// Domains in the ledger.
        domains: usize,
    },
    /// The weight bucket does not exist.
    #[error("weight bucket {0} does not exist; give 0 to {last}", last = crate::weights::BUCKETS - 1)]
    UnknownBucket(usize),
    /// The duty cycle is NaN, infinite, negative or too large.
    #[error(
        "domain {domain}, bucket {bucket}: duty cycle sum is {duty}; give a finite number from 0 to 1000000000"
    )]
    Duty {
        /// The domain given.
        domain: DomainId,
        /// The bucket given.
        bucket: usize,
        /// The value given.
        duty: f64,
    },
}

/// A cgroup tree whose shares cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SharesError {
    /// Two cgroups have the same id.
    #[error("cgroup {0} is listed twice; list each cgroup once")]
    Duplicate(u64),
    /// A parent is not in the list.
    #[error("cgroup {cgroup} has the unknown parent {parent}; list the parent too, or give none for a root")]
    UnknownParent {
        /// The cgroup at fault.
        cgroup: u64,
        /// The parent it names.
        parent: u64,
    },
    /// A cgroup is its own ancestor.
    #[error("cgroup {0} is among its own ancestors; a tree must end in a root")]
    Cycle(u64),
    /// The weight is outside 1..=10000.
    #[error("cgroup {cgroup} has weight {weight}; give 1 to 10000")]
    Weight {
        /// The cgroup at fault.
        cgroup: u64,
        /// The value given.
        weight: u32,
    },
    /// The load is NaN, infinite, negative or too large.
    #[error("cgroup {cgroup} has load {load}; give a finite number from 0 to 1000000000")]
    Load {
        /// The cgroup at fault.
        cgroup: u64,
        /// The value given.
        load: f64,
    },
}

/// A round that cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Tree and ledger describe different machines.
    #[error("the tree has {tree} domains and the ledger {ledger}; build both from the same topology")]
    DomainCount {
        /// Domains in the tree.
        tree: usize,
        /// Domains in the ledger.
        ledger: usize,
    },
    /// A round parameter is NaN or out of range.
    #[error("{parameter} is {value}; give a finite number of at least 0")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// The value given.
        value: f64,
    },
    /// The task source failed.
    #[error("the tasks of domain {domain} cannot be listed: {error}")]
    Source {
        /// The domain asked for.
        domain: DomainId,
        /// The source's own error.
        #[source]
        error: SourceError,
    },
    /// The task source failed to name the cgroups' loads.
    #[error("the loads of the cgroups cannot be listed: {error}")]
    Cgroups {
        /// The source's own error.
        #[source]
        error: SourceError,
    },
    /// A task's duty cycle is NaN, infinite, negative or too large.
    #[error("task {task} has duty cycle {duty}; give a finite number from 0 to 1000000000")]
    TaskDuty {
        /// The task at fault.
        task: TaskId,
        /// The value given.
        duty: f64,
    },
    /// A task's mask names a domain that the tree lacks.
    #[error(
        "task {task} names domain {domain}; the tree has {domains} domains, so build its masks from the same topology"
    )]
    TaskDomain {
        /// The task at fault.
        task: TaskId,
        /// The unknown domain.
        domain: DomainId,
        /// Domains in the tree.
        domains: usize,
    },
    /// A cost term answered NaN.
    #[error("cost term '{term}' answered {value} for task {task}; a term must answer a number")]
    Cost {
        /// The term's name.
        term: &'static str,
        /// The task it judged.
        task: TaskId,
        /// Its answer.
        value: f64,
    },
    /// A factor that scales a cost term is NaN, infinite or negative.
    #[error("cost term '{term}' is scaled by {value}; give a finite factor of at least 0")]
    CostFactor {
        /// The term's name.
        term: &'static str,
        /// The factor given.
        value: f64,
    },
}
