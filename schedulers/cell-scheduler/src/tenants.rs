// SPDX-License-Identifier: GPL-2.0-only
//! The members of the cells: who there is, under which slot, and what each did since it was found.

use std::collections::BTreeMap;

use crate::cells::{Cell, CellId, CellKey, Registry};
use crate::snapshot::Figures;

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
    /// Policy and bounds of everything else, if something was said about it.
    pub root: Option<Cell>,
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
    /// The slot's figures when the member was found.
    pub baseline: Figures,
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
            baseline: none,
            live: none,
            total: none,
            recent: none,
        }
    }

    /// Takes the slot's present figures; `round` ends the time that `recent` covers.
    pub fn observe(&mut self, raw: Figures, round: bool) {
        self.live = Figures { nr_tasks: raw.nr_tasks, ..raw - self.baseline };
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
    refused: usize,
}

/// What an update means for the BPF side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Cgroups that belong to no slot, or to another one, any more.
    pub gone: Vec<u64>,
    /// Cgroups that belong to a slot now.
    pub come: Vec<(u64, u32)>,
    /// Members that are new.
    pub added: Vec<CellId>,
    /// Whether anything that an assignment depends on differs.
    pub changed: bool,
}

impl Tenants {
    /// Nobody but everything else; at most `limit` slots.
    pub fn new(limit: u32, root: Cell) -> Self {
        let members = BTreeMap::from([(0, Member::new(CellId::ROOT, "/".to_owned(), root))]);
        Self { registry: Registry::new(limit), members, cgroups: BTreeMap::new(), refused: 0 }
    }

    /// Makes the members be those found.
    pub fn update(&mut self, found: &Found) -> Update {
        let changes = self.registry.update(found.tenants.iter().map(|tenant| &tenant.key));
        let mut update = Update {
            changed: !changes.added.is_empty() || !changes.removed.is_empty(),
            added: changes.added,
            ..Update::default()
        };
        self.refused = changes.refused;
        for id in changes.removed {
            self.members.remove(&id.slot);
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
        if let (Some(root), Some(member)) = (&found.root, self.members.get_mut(&0)) {
            let root = Cell { id: CellId::ROOT, demand: 0.0, ..root.clone() };
            update.changed |= member.template != root;
            member.template = root;
        }
        let differs =
            |(cgroup, slot): &(&u64, &u32), others: &BTreeMap<u64, u32>| others.get(cgroup) != Some(slot);
        update.gone =
            self.cgroups.iter().filter(|e| differs(e, &cgroups)).map(|(cgroup, _)| *cgroup).collect();
        update.come = cgroups
            .iter()
            .filter(|e| differs(e, &self.cgroups))
            .map(|(cgroup, slot)| (*cgroup, *slot))
            .collect();
        update.changed |= !update.gone.is_empty() || !update.come.is_empty();
        self.cgroups = cgroups;
        update
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

#[cfg(test)]
mod tests;
