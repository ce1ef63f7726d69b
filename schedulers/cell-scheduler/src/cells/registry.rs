// SPDX-License-Identifier: GPL-2.0-only
//! Ids for logical cells: a cell keeps its id while it exists, and an id that is used again differs in its generation.

use std::collections::BTreeMap;

use super::types::CellId;

/// What makes a cell the same cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CellKey {
    /// A cgroup. One that is removed and made again under the same path has another inode: it is another cell.
    Cgroup {
        /// Its path below the parent.
        path: String,
        /// Its inode number, which is the kernel's cgroup id.
        inode: u64,
    },
    /// A cell from the configuration file.
    Named(String),
}

/// What an update found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New cells, in the order they were named.
    pub added: Vec<CellId>,
    /// Cells that are gone.
    pub removed: Vec<CellId>,
    /// Cells that found no free slot; they belong to cell 0.
    pub refused: usize,
}

/// Which cell has which id.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The highest slot that is given out.
    limit: u32,
    ids: BTreeMap<CellKey, CellId>,
    keys: BTreeMap<u32, CellKey>,
    /// Per slot that was ever used: the generation it was last given with.
    generations: BTreeMap<u32, u32>,
}

impl Registry {
    /// A registry of at most `limit` cells besides cell 0.
    pub fn new(limit: u32) -> Self {
        Self { limit, ids: BTreeMap::new(), keys: BTreeMap::new(), generations: BTreeMap::new() }
    }

    /// Makes the cells be exactly those named. Known ones keep their ids; new ones get the lowest free slots.
    pub fn update<'a>(&mut self, names: impl IntoIterator<Item = &'a CellKey>) -> Changes {
        let mut changes = Changes::default();
        let mut fresh: Vec<&CellKey> = Vec::new();
        let mut gone = std::mem::take(&mut self.ids);
        for name in names {
            match gone.remove(name) {
                Some(id) => _ = self.ids.insert(name.clone(), id),
                None => fresh.push(name),
            }
        }
        for id in gone.into_values() {
            self.keys.remove(&id.slot);
            changes.removed.push(id);
        }
        changes.removed.sort_unstable();
        let mut slot = 1;
        for name in fresh {
            if self.ids.contains_key(name) {
                continue;
            }
            while self.keys.contains_key(&slot) {
                slot += 1;
            }
            if slot > self.limit {
                changes.refused += 1;
                continue;
            }
            let generation = self.generations.get(&slot).map_or(0, |last| last.wrapping_add(1));
            let id = CellId { slot, generation };
            self.generations.insert(slot, generation);
            self.keys.insert(slot, name.clone());
            self.ids.insert(name.clone(), id);
            changes.added.push(id);
        }
        changes
    }

    /// The id of a cell.
    pub fn id(&self, key: &CellKey) -> Option<CellId> {
        self.ids.get(key).copied()
    }

    /// The cell of an id, if it still exists.
    pub fn key(&self, id: CellId) -> Option<&CellKey> {
        let key = self.keys.get(&id.slot)?;
        (self.ids.get(key) == Some(&id)).then_some(key)
    }

    /// All cells by rising slot; cell 0 is not among them.
    pub fn iter(&self) -> impl Iterator<Item = (CellId, &CellKey)> {
        self.keys.values().filter_map(|key| Some((*self.ids.get(key)?, key)))
    }

    /// How many cells there are, without cell 0.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no cell but cell 0.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
