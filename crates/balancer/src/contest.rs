// SPDX-License-Identifier: GPL-2.0-only
//! The children of one parent while they are balanced: who pushes, who pulls, and in which order.
//!
//! The orders are sorted vectors: at most 1024 entries, so putting one back moves a few kilobytes at most, and a round
//! allocates nothing for them once they have grown.

use crate::DomainId;
use ordered_float::OrderedFloat;

/// Groups or domains by load per capacity, then by index.
#[derive(Debug, Default)]
struct Ordered(Vec<(OrderedFloat<f64>, usize)>);

impl Ordered {
    fn insert(&mut self, pressure: f64, index: usize) {
        let key = (OrderedFloat(pressure), index);
        if let Err(at) = self.0.binary_search(&key) {
            self.0.insert(at, key);
        }
    }

    fn remove(&mut self, pressure: f64, index: usize) {
        if let Ok(at) = self.0.binary_search(&(OrderedFloat(pressure), index)) {
            self.0.remove(at);
        }
    }
}

/// One child.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Load when the level began; the push limit is a share of it.
    pub load_at_start: f64,
    /// Load given away on this level so far.
    pub pushed: f64,
    /// Whether it was further from the average than the threshold when the level began. Stays: what has triggered goes
    /// on to the end instead of stopping at the edge of the threshold.
    beyond: bool,
    /// Its load per capacity as it stands in the order.
    pressure: f64,
    /// Its domains in order.
    domains: Ordered,
}

/// One level's competition between siblings. Reused from parent to parent and from round to round.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    pub level: usize,
    /// Load per capacity of all siblings together; moves among them do not change it.
    pub average: f64,
    /// The first sibling; their indices are consecutive.
    first: usize,
    count: usize,
    pushers: Ordered,
    /// All groups: whoever is less loaded than the pusher may pull.
    pullers: Ordered,
    /// Never shortened, for the memory of the members' domain orders.
    members: Vec<Member>,
    /// Pairs that found no task, one bit each. They hardly find one later on the same level, where both have come
    /// closer to the average; if they do, the next round sees it.
    failed: Vec<u64>,
}

impl Contest {
    /// Starts over with other siblings, to be entered in the order of their indices.
    pub fn begin(&mut self, level: usize, average: f64, first: usize) {
        (self.level, self.average, self.first, self.count) = (level, average, first, 0);
        self.pushers.0.clear();
        self.pullers.0.clear();
    }

    /// Enters the next group. `threshold` is relative to the average; `domains` are given with their load per capacity.
    pub fn enter(
        &mut self,
        load: f64,
        pressure: f64,
        threshold: f64,
        domains: impl Iterator<Item = (f64, DomainId)>,
    ) {
        if self.members.len() == self.count {
            self.members.push(Member::default());
        }
        let member = &mut self.members[self.count];
        let beyond = (pressure - self.average).abs() > self.average * threshold;
        (member.load_at_start, member.pushed, member.beyond, member.pressure) = (load, 0.0, beyond, pressure);
        member.domains.0.clear();
        member.domains.0.extend(domains.map(|(pressure, domain)| (OrderedFloat(pressure), domain)));
        member.domains.0.sort_unstable();
        let key = (OrderedFloat(pressure), self.first + self.count);
        if pressure > self.average {
            self.pushers.0.push(key);
        }
        self.pullers.0.push(key);
        self.count += 1;
    }

    /// Ends the entering.
    pub fn start(&mut self) {
        self.pushers.0.sort_unstable();
        self.pullers.0.sort_unstable();
        self.failed.clear();
        self.failed.resize((self.count * self.count).div_ceil(64), 0);
    }

    pub fn member(&self, group: usize) -> &Member {
        &self.members[group - self.first]
    }

    /// The group that pushes next.
    pub fn most_loaded(&self) -> Option<usize> {
        self.pushers.0.last().map(|&(_, group)| group)
    }

    /// The group in this place of the order, the least loaded first, up to the pusher itself.
    pub fn puller(&self, from: usize, place: usize) -> Option<usize> {
        let end = OrderedFloat(self.member(from).pressure);
        self.pullers.0.get(place).filter(|next| next.0 < end).map(|&(_, group)| group)
    }

    /// Whether two groups are out of balance and have not failed each other.
    pub fn may_exchange(&self, from: usize, to: usize) -> bool {
        let (word, bit) = self.place_of(from, to);
        (self.member(from).beyond || self.member(to).beyond) && self.failed[word] >> bit & 1 == 0
    }

    /// Notes that a pair found no task.
    pub fn fail(&mut self, from: usize, to: usize) {
        let (word, bit) = self.place_of(from, to);
        self.failed[word] |= 1 << bit;
    }

    fn place_of(&self, from: usize, to: usize) -> (usize, usize) {
        let place = (from - self.first) * self.count + (to - self.first);
        (place / 64, place % 64)
    }

    /// The domain in this place of a group's order, the least loaded first.
    pub fn domain(&self, group: usize, place: usize) -> Option<DomainId> {
        self.member(group).domains.0.get(place).map(|&(_, domain)| domain)
    }

    /// Number of a group's domains.
    pub fn domains(&self, group: usize) -> usize {
        self.member(group).domains.0.len()
    }

    /// Ends a group's pushing on this level.
    pub fn retire(&mut self, group: usize) {
        self.pushers.remove(self.member(group).pressure, group);
    }

    /// Notes that a group has given away this much load.
    pub fn gave(&mut self, group: usize, load: f64) {
        self.members[group - self.first].pushed += load;
    }

    /// Restores the order after a group and one of its domains have changed their load per capacity.
    pub fn reorder(&mut self, group: usize, pressure: f64, domain: DomainId, before: f64, after: f64) {
        let member = &mut self.members[group - self.first];
        let old = std::mem::replace(&mut member.pressure, pressure);
        member.domains.remove(before, domain);
        member.domains.insert(after, domain);
        self.pushers.remove(old, group);
        self.pullers.remove(old, group);
        // Above the average it may push.
        if pressure > self.average {
            self.pushers.insert(pressure, group);
        }
        self.pullers.insert(pressure, group);
    }
}
