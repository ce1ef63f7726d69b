// SPDX-License-Identifier: GPL-2.0-only
//! One hierarchical load balancer over any number of levels.
//!
//! The input is a [`Tree`] of groups (machine → node → domain, or any other depth), a [`Ledger`] with the duty cycle
//! of every domain by weight bucket, and a lazy [`TaskSource`] that names the tasks of a domain. [`plan()`] answers with
//! an ordered list of moves, a reason for each, and statistics per group. The same algorithm runs at every level; a
//! level is data ([`LevelParams`]). Who plans round after round keeps a [`Planner`], which keeps its memory.
//!
//! The crate is pure: time comes in as [`PlanParams::now_ns`], nothing is read or written, no thread is started, and
//! equal input gives an equal plan.
//!
//! # Units
//!
//! * **Capacity** is in CPUs: 1.0 is one CPU of full speed. Divide the kernel's 0..=1024 scale by 1024.
//! * **Duty cycle** is the share of wall time in which a task is runnable (running or waiting): 1.0 is always.
//! * **Load** is duty cycle × weight, relative to the weight of nice 0: 1.0 is one always-runnable task of nice 0. A
//!   task counts with the weight that stands for its bucket, so tasks and ledger add up.
//!
//! # Rules
//!
//! 1. While the machine is not saturated (all duty cycles together fit into its capacity) weights say nothing about who
//!    can run, so load is the bare duty cycle. On a saturated machine weights count, clamped to the largest weight that
//!    any number of CPUs could honour ([`weights::infeasible_lambda`]).
//! 2. Groups are compared by load per capacity, among the children of one parent, from the outermost level inwards.
//! 3. Groups above the parent's average push, the most loaded first; the least loaded pulls first. A pair is out of
//!    balance when at least one of the two is further from the average than the level's threshold when the level begins
//!    (above or below: one idle group among many slightly busy ones counts). Once triggered, moves go on until none
//!    helps. A group at or above the average pulls only if no group below it could (its tasks may not run there).
//! 4. The wished amount is the smaller of the pusher's excess and the puller's deficit, times the transfer ratio. The
//!    movable task with the nearest load goes, tasks that prefer the destination first; of several about as near, the
//!    cheapest to move.
//! 5. A move must bring every pair of groups on its way, from the level that wants it down to the two domains, strictly
//!    closer together. The smallest such gain must exceed the move's cost ([`CostModel`]). Because of that the variance
//!    of the domains' load per capacity falls with every move, and repeated rounds cannot go in circles.
//! 6. In one round a group gives away at most the push limit's share of the load it had when its level began (the last
//!    task may cross the line, so that a limit smaller than every task does not stop everything), and a task moves at
//!    most once.
//! 7. cgroups count twice: [`shares`] turns `cpu.weight` along the path into the weights that [`Task`] and [`Ledger`]
//!    carry, and a source that names the cgroups' loads ([`TaskSource::cgroups`]) lets the cost keep a cgroup's tasks
//!    together and the plan report its load by domain.
//!
//! # Cost of a round
//!
//! A domain that has to push is sorted once, `n log n` in its tasks; the others are not looked at. A move then costs
//! `log n` plus the number of classes (different pairs of allowed and preferred domains) of the source. A pusher whose
//! smallest task is too large for the least loaded destination is done at once, and one whose tasks cost too much gives
//! up after 64 destinations. In a planner that has seen the machine before, nothing is allocated per task.
//!
//! # Example
//!
//! ```
//! use balancer::{DomainMask, DomainPlace, Ledger, LevelParams, PlanParams, Task, TaskId, TaskKind, Tree, weights};
//!
//! // Two nodes of two domains with two CPUs each; 24 busy tasks, all in domain 0.
//! let places = (0..4).map(|domain| DomainPlace { path: vec![domain / 2, domain], capacity: 2.0 }).collect();
//! let tree = Tree::new(vec![LevelParams::named("node"), LevelParams::named("domain")], places)?;
//! let mut ledger = Ledger::new(tree.domains());
//! ledger.set(0, weights::weight_bucket(100), 24.0)?;
//! let mut source = |_domain| {
//!     Ok((1..=24)
//!         .map(|pid| Task {
//!             id: TaskId { pid, generation: 1 },
//!             weight: 100,
//!             duty_cycle: 1.0,
//!             allowed: DomainMask::all(4),
//!             preferred: DomainMask::empty(),
//!             last_moved_ns: 0,
//!             last_ran_ns: 0,
//!             cgroup: 0,
//!             kind: TaskKind::Normal,
//!         })
//!         .collect())
//! };
//! let plan = balancer::plan(&tree, &ledger, &mut source, &PlanParams::default())?;
//! assert_eq!(plan.moves.len(), 18);
//! assert_eq!(plan.predicted_loads, [6.0; 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod cgroups;
mod choice;
mod contest;
mod cost;
mod engine;
mod error;
mod explain;
mod hash;
mod index;
mod ledger;
mod mask;
mod params;
mod plan;
mod planner;
pub mod shares;
mod task;
mod tree;
pub mod weights;

pub use cgroups::CgroupLedger;
pub use cost::{
    CacheWarmth, CgroupCohesion, CgroupShare, CostModel, CostTerm, Isolation, LevelDistance, MoveContext,
    Reluctance,
};
pub use error::{LedgerError, PlanError, SharesError, SourceError, TreeError};
pub use explain::Explanation;
pub use ledger::Ledger;
pub use mask::DomainMask;
pub use params::PlanParams;
pub use plan::{
    CgroupDomain, CgroupStats, GroupStats, Move, MoveReason, Plan, Refusal, RefusalCause, Refusals,
};
pub use planner::{Planner, plan};
pub use task::{Task, TaskId, TaskKind, TaskSource};
pub use tree::{DomainPlace, LevelParams, Tree};

/// Index of a domain: dense, `0..Tree::domains()`.
pub type DomainId = usize;

/// The largest number of domains in one tree.
pub const MAX_DOMAINS: usize = 1024;
