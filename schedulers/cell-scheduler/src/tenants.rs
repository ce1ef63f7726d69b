// SPDX-License-Identifier: GPL-2.0-only
//! The members of the cells: who there is, under which slot, and what each did since it was found.

use std::collections::{BTreeMap, BTreeSet};

use crate::cells::{Cell, CellId, CellKey, Registry};
use crate::snapshot::{Counters, Figures};

/// A member as it was found: a cgroup or a named cell of the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// What makes it the same one.
    pub key: CellKey,
    /// Name in the statistics.
    pub name: String,
    /// Ids of the cgroups that belong to it, with all that lies below them.
    pub cgroups: Vec<u64>,
    /// Their paths.
    pub paths: Vec<String>,
    /// Weight, bounds, cpuset and policy; id and demand are filled in.
    pub template: Cell,
}

/// What a look for members found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The members, in any order.
    pub tenants: Vec<Tenant>,
    /// What could not be read or does not fit, one line each.
    pub warnings: Vec<String>,
}

/// One member with its id and figures.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its slot on the BPF side, with a generation.
    pub id: CellId,
    /// Name in the statistics.
    pub name: String,
    /// Paths of its cgroups.
    pub paths: Vec<String>,
    /// How often it came to share a cell, and how often it got one of its own again.
    pub merges: u64,
    /// See `merges`.
    pub splits: u64,
    /// Weight, bounds, cpuset and policy.
    pub template: Cell,
    /// The slot's figures when the member was found; none before they could be read.
    pub baseline: Option<Figures>,
    /// Its figures now, without what was there before it.
    pub live: Figures,
    /// The same at the end of the last round.
    pub total: Figures,
    /// What was added by the last round.
    pub recent: Figures,
}

impl Member {
    fn new(id: CellId, name: String, template: Cell) -> Self {
        let none = Figures::default();
        Self {
            id,
            name,
            paths: Vec::new(),
            merges: 0,
            splits: 0,
            template,
            baseline: None,
            live: none,
            total: none,
            recent: none,
        }
    }

    /// Takes the slot's present figures; `round` ends the time that `recent` covers. The first ones are where the member
    /// begins: what the slot counted for others before is not its own.
    pub fn observe(&mut self, raw: Figures, round: bool) {
        let baseline = *self.baseline.get_or_insert(raw);
        self.live = Figures { nr_tasks: raw.nr_tasks, ..raw - baseline };
        if round {
            self.recent = self.live - self.total;
            self.total = self.live;
        }
    }
}

/// All members, everything else (slot 0) first.
#[derive(Debug)]
pub struct Tenants {
    registry: Registry,
    members: BTreeMap<u32, Member>,
    /// Slot of each cgroup, as it should be on the BPF side.
    cgroups: BTreeMap<u64, u32>,
    /// Slot of each cgroup, as the BPF side was told.
    told: BTreeMap<u64, u32>,
    /// Events and borrowed ns of the members that are gone.
    departed: (Counters, u64),
    refused: usize,
}

/// What an update changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Members that are new.
    pub added: Vec<CellId>,
    /// Whether anything that an assignment depends on differs.
    pub changed: bool,
}

impl Tenants {
    /// Nobody but everything else; at most `limit` others.
    pub fn new(limit: u32, root: Cell) -> Self {
        // Nobody had slot 0 before.
        let baseline = Some(Figures::default());
        let root = Member { baseline, ..Member::new(CellId::ROOT, "/".to_owned(), root) };
        Self {
            registry: Registry::new(limit),
            members: BTreeMap::from([(0, root)]),
            cgroups: BTreeMap::new(),
            told: BTreeMap::new(),
            departed: (Counters::default(), 0),
            refused: 0,
        }
    }

    /// The members that an update with `found` ends. What they count last is lost unless they are observed before it.
    pub fn leaving(&self, found: &Found) -> Vec<CellId> {
        let stay: BTreeSet<&CellKey> = found.tenants.iter().map(|tenant| &tenant.key).collect();
        self.registry.iter().filter(|(_, key)| !stay.contains(key)).map(|(id, _)| id).collect()
    }

    /// Makes the members be those found.
    pub fn update(&mut self, found: &Found) -> Update {
        let changes = self.registry.update(found.tenants.iter().map(|tenant| &tenant.key));
        let mut update = Update {
            changed: !changes.added.is_empty() || !changes.removed.is_empty(),
            added: changes.added,
        };
        self.refused = changes.refused;
        for id in changes.removed {
            if let Some(member) = self.members.remove(&id.slot) {
                self.departed = with_member(self.departed, &member);
            }
        }
        let mut cgroups = BTreeMap::new();
        for tenant in &found.tenants {
            // One without a slot belongs to everything else, as do its cgroups.
            let Some(id) = self.registry.id(&tenant.key) else { continue };
            let template = Cell { id, demand: 0.0, ..tenant.template.clone() };
            let member = self
                .members
                .entry(id.slot)
                .or_insert_with(|| Member::new(id, tenant.name.clone(), template.clone()));
            update.changed |= member.template != template;
            member.template = template;
            member.paths.clone_from(&tenant.paths);
            cgroups.extend(tenant.cgroups.iter().map(|cgroup| (*cgroup, id.slot)));
        }
        update.changed |= self.cgroups != cgroups;
        self.cgroups = cgroups;
        update
    }

    /// What the BPF side has to learn: first the cgroups that belong to no slot any more, then those that belong to one it
    /// does not know of, with that slot.
    pub fn untold(&self) -> Vec<(u64, Option<u32>)> {
        let gone = self.told.keys().filter(|cgroup| !self.cgroups.contains_key(*cgroup));
        let come = self.cgroups.iter().filter(|(cgroup, slot)| self.told.get(*cgroup) != Some(*slot));
        let come = come.map(|(cgroup, slot)| (*cgroup, Some(*slot)));
        gone.map(|cgroup| (*cgroup, None)).chain(come).collect()
    }

    /// Notes what the BPF side has learnt.
    pub fn told(&mut self, cgroup: u64, slot: Option<u32>) {
        match slot {
            Some(slot) => self.told.insert(cgroup, slot),
            None => self.told.remove(&cgroup),
        };
    }

    /// Sums of all members, those that are gone included: they never fall.
    pub fn sums(&self) -> (Counters, u64) {
        self.members.values().fold(self.departed, with_member)
    }

    /// The slot that each cgroup is a root of.
    pub fn cgroups(&self) -> &BTreeMap<u64, u32> {
        &self.cgroups
    }

    /// The members by slot.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The members by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// The member of an id, if it still exists.
    pub fn get(&self, id: CellId) -> Option<&Member> {
        self.members.get(&id.slot).filter(|member| member.id == id)
    }

    /// As [`Tenants::get`].
    pub fn get_mut(&mut self, id: CellId) -> Option<&mut Member> {
        self.members.get_mut(&id.slot).filter(|member| member.id == id)
    }

    /// The name of a member, or the number of its slot once it is gone.
    pub fn name_of(&self, id: CellId) -> String {
        self.get(id).map_or_else(|| id.slot.to_string(), |member| member.name.clone())
    }

    /// How many slots a table must describe: one more than the highest in use.
    pub fn nr_slots(&self) -> usize {
        self.members.keys().last().map_or(0, |slot| *slot as usize + 1)
    }

    /// How many members there are, everything else included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never: everything else is always there.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members for which there was no slot at the last update.
    pub fn refused(&self) -> usize {
        self.refused
    }
}

/// Sums with a member's figures added.
fn with_member((counters, borrowed_ns): (Counters, u64), member: &Member) -> (Counters, u64) {
    (counters + member.live.counters, borrowed_ns + member.live.borrowed_ns)
}

#[cfg(test)]
mod tests;
