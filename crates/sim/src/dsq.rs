// SPDX-License-Identifier: GPL-2.0-only
//! Dispatch queues: in order of arrival, or of vtime.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::task::TaskIdx;

/// One user or global queue.
#[derive(Debug, Default)]
pub struct Dsq {
    /// Its id.
    pub id: u64,
    fifo: VecDeque<TaskIdx>,
    // Keys are vtimes read as signed numbers: vtimes wrap, and all that are in use lie around zero.
    prio: BTreeMap<(i64, u64), TaskIdx>,
    inserted: u64,
}

impl Dsq {
    /// How many tasks wait.
    pub fn len(&self) -> usize {
        self.fifo.len() + self.prio.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.fifo.is_empty() && self.prio.is_empty()
    }

    /// Whether tasks wait in order of vtime.
    pub fn is_ordered(&self) -> bool {
        !self.prio.is_empty()
    }

    /// Adds at the tail, or at the head.
    pub fn push(&mut self, task: TaskIdx, head: bool) {
        if head { self.fifo.push_front(task) } else { self.fifo.push_back(task) }
    }

    /// Adds by vtime, behind those of the same vtime.
    pub fn push_ordered(&mut self, task: TaskIdx, vtime: u64) {
        self.inserted += 1;
        self.prio.insert((vtime.cast_signed(), self.inserted), task);
    }

    /// Takes a task out, wherever it is; `vtime` is the one it was inserted with.
    pub fn remove(&mut self, task: TaskIdx, vtime: u64) -> bool {
        if let Some(at) = self.fifo.iter().position(|&other| other == task) {
            self.fifo.remove(at);
            return true;
        }
        let low = (vtime.cast_signed(), 0);
        let high = (vtime.cast_signed(), u64::MAX);
        let mut key = self.prio.range(low..=high).find(|(_, other)| **other == task).map(|(key, _)| *key);
        if key.is_none() {
            // The scheduler wrote the vtime of a task that waits.
            key = self.prio.iter().find(|(_, other)| **other == task).map(|(key, _)| *key);
        }
        key.is_some_and(|key| self.prio.remove(&key).is_some())
    }

    /// The first task.
    pub fn first(&self) -> Option<TaskIdx> {
        self.iter().next()
    }

    /// The tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = TaskIdx> {
        self.fifo.iter().copied().chain(self.prio.values().copied())
    }

    /// Tasks in order of vtime with the vtime they were inserted with.
    pub fn ordered(&self) -> impl Iterator<Item = (u64, TaskIdx)> {
        self.prio.iter().map(|((vtime, _), &task)| (vtime.cast_unsigned(), task))
    }
}

/// Spreads queue ids by a multiplication: schedulers look queues up in most callbacks, and choose the ids themselves.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        let product = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The table takes its bits from both ends.
        self.0 = product ^ product >> 32;
    }
}

/// All queues but the local ones: one global queue a node first, then the scheduler's.
#[derive(Debug, Default)]
pub struct Dsqs {
    queues: Vec<Dsq>,
    by_id: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    globals: usize,
}

impl Dsqs {
    /// Global queues only.
    pub fn new(globals: usize) -> Self {
        let queues = (0..globals).map(|_| Dsq { id: crate::abi::SCX_DSQ_GLOBAL, ..Dsq::default() }).collect();
        Self { queues, by_id: HashMap::default(), globals }
    }

    /// Adds a queue; false if the id is taken.
    pub fn create(&mut self, id: u64) -> bool {
        if self.by_id.contains_key(&id) {
            return false;
        }
        self.by_id.insert(id, self.queues.len());
        self.queues.push(Dsq { id, ..Dsq::default() });
        true
    }

    /// Forgets an empty queue.
    pub fn destroy(&mut self, id: u64) -> bool {
        match self.by_id.get(&id) {
            Some(&index) if self.queues[index].is_empty() => self.by_id.remove(&id).is_some(),
            _ => false,
        }
    }

    /// Forgets the scheduler's queues, which must be empty.
    pub fn clear_user(&mut self) {
        self.by_id.clear();
        self.queues.truncate(self.globals);
    }

    /// Index of a user queue.
    pub fn find(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// How many global queues there are; they have the first indices.
    pub fn globals(&self) -> usize {
        self.globals
    }

    /// All queues with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Dsq)> {
        self.queues.iter().enumerate()
    }
}

impl std::ops::Index<usize> for Dsqs {
    type Output = Dsq;
    fn index(&self, index: usize) -> &Dsq {
        &self.queues[index]
    }
}

impl std::ops::IndexMut<usize> for Dsqs {
    fn index_mut(&mut self, index: usize) -> &mut Dsq {
        &mut self.queues[index]
    }
}
