// SPDX-License-Identifier: GPL-2.0-only
//! Dispatch queues: in order of arrival, or of vtime.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::task::TaskIdx;

/// One user or global queue.
#[derive(Debug, Default)]
pub struct Dsq {
    /// Its id.
    pub id: u64,
    fifo: VecDeque<TaskIdx>,
    // In order of vtimes read as signed numbers: vtimes wrap, and all that are in use lie around zero. Queues are short and
    // lose their first task most of the time, which a tree would pay for with an allocation for every other task.
    prio: VecDeque<(i64, TaskIdx)>,
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
        let vtime = vtime.cast_signed();
        let at = self.prio.partition_point(|&(other, _)| other <= vtime);
        self.prio.insert(at, (vtime, task));
    }

    /// Takes a task out, wherever it is; `vtime` is what it has now. Returns the vtime it was inserted with (`vtime` itself for
    /// one that waited in order of arrival), or nothing if it is not there.
    pub fn remove(&mut self, task: TaskIdx, vtime: u64) -> Option<u64> {
        if let Some(at) = self.fifo.iter().position(|&other| other == task) {
            self.fifo.remove(at);
            return Some(vtime);
        }
        let vtime = vtime.cast_signed();
        let first = self.prio.partition_point(|&(other, _)| other < vtime);
        let mut same = self.prio.range(first..).take_while(|(other, _)| *other == vtime);
        let mut at = same.position(|&(_, other)| other == task).map(|offset| first + offset);
        if at.is_none() {
            // The scheduler wrote the vtime of a task that waits.
            at = self.prio.iter().position(|&(_, other)| other == task);
        }
        self.prio.remove(at?).map(|(inserted, _)| inserted.cast_unsigned())
    }

    /// The first task.
    pub fn first(&self) -> Option<TaskIdx> {
        self.iter().next()
    }

    /// The tasks in order.
    pub fn iter(&self) -> impl Iterator<Item = TaskIdx> {
        self.fifo.iter().copied().chain(self.prio.iter().map(|&(_, task)| task))
    }

    /// Tasks in order of vtime with the vtime they were inserted with.
    pub fn ordered(&self) -> impl Iterator<Item = (u64, TaskIdx)> {
        self.prio.iter().map(|&(vtime, task)| (vtime.cast_unsigned(), task))
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

/// Places for queues that are found at once.
const NEAR: usize = 1024;

/// All queues but the local ones: one global queue a node first, then the scheduler's.
#[derive(Debug, Default)]
pub struct Dsqs {
    queues: Vec<Dsq>,
    by_id: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    /// Some of them by the lower bits of their id: (id, index), or an index that none has.
    near: Vec<(u64, usize)>,
    globals: usize,
}

fn near(id: u64) -> usize {
    // Ids with a base of their own for each kind of queue are spread as well.
    (id ^ id >> 11) as usize % NEAR
}

impl Dsqs {
    /// Global queues only.
    pub fn new(globals: usize) -> Self {
        let queues = (0..globals).map(|_| Dsq { id: crate::abi::SCX_DSQ_GLOBAL, ..Dsq::default() }).collect();
        Self { queues, by_id: HashMap::default(), near: vec![(0, usize::MAX); NEAR], globals }
    }

    /// Adds a queue; false if the id is taken.
    pub fn create(&mut self, id: u64) -> bool {
        if self.by_id.contains_key(&id) {
            return false;
        }
        self.by_id.insert(id, self.queues.len());
        self.near[near(id)] = (id, self.queues.len());
        self.queues.push(Dsq { id, ..Dsq::default() });
        true
    }

    /// Forgets an empty queue.
    pub fn destroy(&mut self, id: u64) -> bool {
        match self.by_id.get(&id) {
            Some(&index) if self.queues[index].is_empty() => {
                if self.near[near(id)].0 == id {
                    self.near[near(id)] = (0, usize::MAX);
                }
                self.by_id.remove(&id).is_some()
            }
            _ => false,
        }
    }

    /// Forgets the scheduler's queues, which must be empty.
    pub fn clear_user(&mut self) {
        self.by_id.clear();
        self.near.fill((0, usize::MAX));
        self.queues.truncate(self.globals);
    }

    /// Index of a user queue.
    pub fn find(&self, id: u64) -> Option<usize> {
        let (found, index) = self.near[near(id)];
        if found == id && index != usize::MAX {
            return Some(index);
        }
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
