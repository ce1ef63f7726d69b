// SPDX-License-Identifier: GPL-2.0-only
//! The planner: what a round works in, kept for the next one.

use crate::cgroups::{CgroupLedger, CgroupLoads};
use crate::contest::Contest;
use crate::engine::Round;
use crate::hash::FastSet;
use crate::index::{ClassFinder, DomainIndex};
use crate::{Ledger, Plan, PlanError, PlanParams, TaskId, TaskSource, Tree};

/// Plans rounds, one after the other, in memory that it keeps.
///
/// Once it has seen a machine of this size, a round allocates what the [`Plan`] holds (moves, statistics) and nothing
/// per task, as long as the source does not either. What a round answers does not depend on earlier ones. The memory
/// kept is about 150 bytes for each task of the domains that had to push.
#[derive(Debug, Default)]
pub struct Planner {
    memory: Memory,
}

/// Everything that is worth keeping.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Load of every group, by level; the innermost level has one group per domain.
    pub loads: Vec<Vec<f64>>,
    pub loads_before: Vec<Vec<f64>>,
    pub indices: Vec<DomainIndex>,
    /// Which indices are of this round.
    pub built: Vec<bool>,
    pub finder: ClassFinder,
    pub contest: Contest,
    pub moved: FastSet<TaskId>,
    pub cgroup_ledger: CgroupLedger,
    pub cgroups: CgroupLoads,
}

impl Planner {
    /// A planner without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans one round; see [`plan`], which this is with a new planner.
    pub fn plan(
        &mut self,
        tree: &Tree,
        ledger: &Ledger,
        source: &mut dyn TaskSource,
        params: &PlanParams,
    ) -> Result<Plan, PlanError> {
        if tree.domains() != ledger.domains() {
            return Err(PlanError::DomainCount { tree: tree.domains(), ledger: ledger.domains() });
        }
        params.check()?;
        let mut round = Round::new(tree, ledger, source, params, &mut self.memory);
        if params.cgroup_statistics {
            round.ask_cgroups()?;
        }
        for level in 0..tree.depth() {
            for siblings in &tree.levels[level].siblings {
                round.balance(level, siblings)?;
            }
        }
        Ok(round.finish())
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        self.memory = Memory::default();
    }
}

impl Memory {
    /// Makes room for a tree and forgets the last round; the rest is emptied when it is used.
    pub fn begin(&mut self, tree: &Tree) {
        let (depth, domains) = (tree.depth(), tree.domains());
        self.loads.resize_with(depth, Vec::new);
        self.loads_before.resize_with(depth, Vec::new);
        self.indices.resize_with(domains, DomainIndex::default);
        self.built.clear();
        self.built.resize(domains, false);
        self.moved.clear();
        self.cgroup_ledger.reset(domains);
        self.cgroups.clear();
    }
}

/// Plans one round.
///
/// `source` is asked once for every domain that has to push. Fails if tree and ledger differ in size, a task carries a
/// number that makes no sense or a mask beyond the tree, the source fails, or a cost term answers NaN. Who plans round
/// after round had better keep a [`Planner`].
pub fn plan(
    tree: &Tree,
    ledger: &Ledger,
    source: &mut dyn TaskSource,
    params: &PlanParams,
) -> Result<Plan, PlanError> {
    Planner::new().plan(tree, ledger, source, params)
}
