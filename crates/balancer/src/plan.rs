// SPDX-License-Identifier: GPL-2.0-only
//! The answer of a round: moves, refusals and statistics. Owned values only.

use crate::{DomainId, TaskId};
use std::fmt;
use std::sync::Arc;

/// The numbers that led to a move.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MoveReason {
    /// Name of the level that wanted it.
    pub level_name: Arc<str>,
    /// Key of the group that gives, on that level.
    pub from_group: usize,
    /// Key of the group that takes, on that level.
    pub to_group: usize,
    /// Difference of the two groups' load per capacity before the move.
    pub imbalance_before: f64,
    /// The same after the move; negative if the sides changed.
    pub imbalance_after: f64,
    /// The load that the pair wished to transfer.
    pub wished: f64,
    /// By how much the move helps, as a load: at most the task's own.
    pub gain: f64,
    /// What the move costs, as a load: less than the gain.
    pub cost: f64,
    /// Whether the task prefers its destination.
    pub preferred: bool,
    /// The cost term by term, if [`crate::PlanParams::explain`] asked for it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "terms_by_name"))]
    pub terms: Vec<(&'static str, f64)>,
}

/// One task to be moved.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Move {
    /// The task.
    pub task: TaskId,
    /// Its name, for people; empty unless [`crate::Explanation::name_tasks`] gave it one.
    pub name: String,
    /// Where it was in the snapshot.
    pub from: DomainId,
    /// Where it shall go.
    pub to: DomainId,
    /// Its load, in the plan's scale.
    pub load: f64,
    /// The level that wanted it; 0 is the outermost.
    pub level: usize,
    /// Why.
    pub reason: MoveReason,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = &self.reason;
        write!(
            f,
            "task {}{} (load {:.3}): domain {} -> {}; {} {} -> {}: imbalance {:+.3} -> {:+.3}, wished {:.3}, \
             gain {:.3} > cost {:.3}",
            self.task,
            Named(&self.name),
            self.load,
            self.from,
            self.to,
            reason.level_name,
            reason.from_group,
            reason.to_group,
            reason.imbalance_before,
            reason.imbalance_after,
            reason.wished,
            reason.gain,
            reason.cost,
        )?;
        write_terms(f, &reason.terms)?;
        f.write_str(if reason.preferred { ", preferred there" } else { "" })
    }
}

/// ` "name"`, or nothing.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " \"{}\"", self.0) }
    }
}

/// `{"reluctance": 0.25, "level-distance": 0.1}`.
#[cfg(feature = "serde")]
fn terms_by_name<S: serde::Serializer>(
    terms: &[(&'static str, f64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(terms.iter().copied())
}

/// ` (reluctance 0.250, level-distance 0.100)`; terms that say nothing are left out.
fn write_terms(f: &mut fmt::Formatter<'_>, terms: &[(&'static str, f64)]) -> fmt::Result {
    let mut separator = " (";
    for (name, cost) in terms.iter().filter(|(_, cost)| *cost != 0.0) {
        write!(f, "{separator}{name} {cost:.3}")?;
        separator = ", ";
    }
    f.write_str(if separator == ", " { ")" } else { "" })
}

/// Why something did not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum RefusalCause {
    /// A kernel thread, or pinned.
    NotMovable,
    /// It has no load.
    ZeroLoad,
    /// It changed its domain a short while ago.
    JustMoved,
    /// Its allowed domains exclude the destination (or everything but where it is).
    NotAllowed,
    /// Its load would not bring the pair closer together.
    NoImprovement,
    /// The gain does not exceed the cost.
    Cost,
    /// The group has given away its share for this round.
    PushLimit,
    /// The round has as many moves as it may have.
    MoveLimit,
}

impl RefusalCause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::NotMovable,
        Self::ZeroLoad,
        Self::JustMoved,
        Self::NotAllowed,
        Self::NoImprovement,
        Self::Cost,
        Self::PushLimit,
        Self::MoveLimit,
    ];
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMovable => "kernel thread or pinned",
            Self::ZeroLoad => "no load",
            Self::JustMoved => "moved a short while ago",
            Self::NotAllowed => "not allowed there",
            Self::NoImprovement => "too large to improve the pair",
            Self::Cost => "gain does not exceed the cost",
            Self::PushLimit => "the group has given away its share",
            Self::MoveLimit => "the round is full",
        })
    }
}

/// Refusals by cause. The first three count tasks of the domains that had to push, once a round; `no_improvement` and
/// `cost` count decisions, where one task may be refused for several destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusals {
    /// See [`RefusalCause::NotMovable`].
    pub not_movable: u64,
    /// See [`RefusalCause::ZeroLoad`].
    pub zero_load: u64,
    /// See [`RefusalCause::JustMoved`].
    pub just_moved: u64,
    /// See [`RefusalCause::NotAllowed`]; counts tasks that may go nowhere else, once a round, and pairs of domains that
    /// exchange nothing while some tasks are not allowed to.
    pub not_allowed: u64,
    /// See [`RefusalCause::NoImprovement`].
    pub no_improvement: u64,
    /// See [`RefusalCause::Cost`].
    pub cost: u64,
    /// See [`RefusalCause::PushLimit`]; counts groups.
    pub push_limit: u64,
    /// See [`RefusalCause::MoveLimit`]; counts groups.
    pub move_limit: u64,
}

impl Refusals {
    pub(crate) fn count(&mut self, cause: RefusalCause, by: u64) {
        *match cause {
            RefusalCause::NotMovable => &mut self.not_movable,
            RefusalCause::ZeroLoad => &mut self.zero_load,
            RefusalCause::JustMoved => &mut self.just_moved,
            RefusalCause::NotAllowed => &mut self.not_allowed,
            RefusalCause::NoImprovement => &mut self.no_improvement,
            RefusalCause::Cost => &mut self.cost,
            RefusalCause::PushLimit => &mut self.push_limit,
            RefusalCause::MoveLimit => &mut self.move_limit,
        } += by;
    }

    /// How often a cause occurred.
    pub fn of(&self, cause: RefusalCause) -> u64 {
        match cause {
            RefusalCause::NotMovable => self.not_movable,
            RefusalCause::ZeroLoad => self.zero_load,
            RefusalCause::JustMoved => self.just_moved,
            RefusalCause::NotAllowed => self.not_allowed,
            RefusalCause::NoImprovement => self.no_improvement,
            RefusalCause::Cost => self.cost,
            RefusalCause::PushLimit => self.push_limit,
            RefusalCause::MoveLimit => self.move_limit,
        }
    }

    /// All causes together.
    pub fn total(&self) -> u64 {
        RefusalCause::ALL.iter().map(|&cause| self.of(cause)).sum()
    }
}

/// One refusal in detail.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusal {
    /// The task.
    pub task: TaskId,
    /// Its name, for people; empty unless [`crate::Explanation::name_tasks`] gave it one.
    pub name: String,
    /// Its load, in the plan's scale.
    pub load: f64,
    /// Where it is.
    pub from: DomainId,
    /// Where it would have gone; `None` if it could go nowhere.
    pub to: Option<DomainId>,
    /// Why not.
    pub cause: RefusalCause,
    /// By how much the move would have helped, as a load; not above 0 if it would not. 0 where no move was considered.
    pub gain: f64,
    /// What the move would have cost; 0 where the cost was not asked for.
    pub cost: f64,
    /// The cost term by term, where the cost was the cause.
    #[cfg_attr(feature = "serde", serde(serialize_with = "terms_by_name"))]
    pub terms: Vec<(&'static str, f64)>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Named(&self.name);
        write!(f, "task {}{name} (load {:.3}) stays in domain {}", self.task, self.load, self.from)?;
        if let Some(to) = self.to {
            write!(f, ", not to {to}")?;
        }
        write!(f, ": {}", self.cause)?;
        match self.cause {
            RefusalCause::Cost => {
                write!(f, ": gain {:.3} <= cost {:.3}", self.gain, self.cost)?;
                write_terms(f, &self.terms)
            }
            RefusalCause::NoImprovement => write!(f, ": gain {:.3}", self.gain),
            _ => Ok(()),
        }
    }
}

/// One group's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStats {
    /// Its level; 0 is the outermost.
    pub level: usize,
    /// Its key on that level.
    pub key: usize,
    /// Its keys from the outermost level down to its own.
    pub path: Vec<usize>,
    /// Its capacity, in CPUs.
    pub capacity: f64,
    /// Its load before the round.
    pub load: f64,
    /// The load it would have if its siblings shared evenly by capacity.
    pub average: f64,
    /// `load - average`.
    pub imbalance: f64,
    /// What the plan adds to its load (negative: takes away); `load + delta` is the load once the plan is applied.
    pub delta: f64,
}

/// Where one cgroup has its load.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CgroupStats {
    /// The cgroup's id.
    pub cgroup: u64,
    /// Its load on the whole machine; moves do not change it.
    pub load: f64,
    /// Its load in each domain where it has any, by rising domain.
    pub domains: Vec<CgroupDomain>,
}

/// One cgroup's load in one domain.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CgroupDomain {
    /// The domain.
    pub domain: DomainId,
    /// The load before the round.
    pub load: f64,
    /// What the plan adds to it (negative: takes away).
    pub delta: f64,
}

/// The outcome of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to move, in the order decided.
    pub moves: Vec<Move>,
    /// Figures of every group: outermost level first, by path within a level. The innermost level has one per domain.
    pub groups: Vec<GroupStats>,
    /// Whether all duty cycles together exceed the machine's capacity, so that weights counted.
    pub saturated: bool,
    /// The weight that larger ones were clamped to; `None` when not saturated.
    pub lambda: Option<f64>,
    /// Load of every cgroup that the source named, by rising id; empty if it was not asked.
    pub cgroups: Vec<CgroupStats>,
    /// Load of the machine; moves do not change it.
    pub total_load: f64,
    /// Load of every domain before the round, by [`DomainId`].
    pub domain_loads: Vec<f64>,
    /// Load of every domain once the plan is applied.
    pub predicted_loads: Vec<f64>,
    /// Refusals by cause.
    pub refusals: Refusals,
    /// The first refusals in detail, as many as [`crate::PlanParams::max_refusals_explained`] asked for.
    pub refused: Vec<Refusal>,
}
