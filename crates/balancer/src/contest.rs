// SPDX-License-Identifier: GPL-2.0-only
//! The children of one parent while they are balanced: who pushes, who pulls, and in which order.

use crate::DomainId;
use ordered_float::OrderedFloat;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

/// Groups or domains by load per capacity, then by index.
pub(crate) type Ordered = BTreeSet<(OrderedFloat<f64>, usize)>;

/// One child.
#[derive(Debug)]
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

/// One level's competition between siblings.
#[derive(Debug)]
pub(crate) struct Contest {
    pub level: usize,
    /// Load per capacity of all siblings together; moves among them do not change it.
    pub average: f64,
    pushers: Ordered,
    /// All groups: whoever is less loaded than the pusher may pull.
    pullers: Ordered,
    members: BTreeMap<usize, Member>,
    /// Pairs that found no task. They hardly find one later on the same level, where both have come closer to the
    /// average; if they do, the next round sees it.
    failed: HashSet<(usize, usize)>,
}

impl Contest {
    pub fn new(level: usize, average: f64) -> Self {
        Self {
            level,
            average,
            pushers: Ordered::new(),
            pullers: Ordered::new(),
            members: BTreeMap::new(),
            failed: HashSet::new(),
        }
    }

    /// Enters a group. `threshold` is relative to the average; `domains` are given with their load per capacity.
    pub fn enter(
        &mut self,
        group: usize,
        load: f64,
        pressure: f64,
        threshold: f64,
        domains: impl Iterator<Item = (f64, DomainId)>,
    ) {
        let beyond = (pressure - self.average).abs() > self.average * threshold;
        let domains = domains.map(|(pressure, domain)| (OrderedFloat(pressure), domain)).collect();
        self.members.insert(group, Member { load_at_start: load, pushed: 0.0, beyond, pressure, domains });
        self.place(group, pressure);
    }

    /// Puts a group into the order; above the average it may push.
    fn place(&mut self, group: usize, pressure: f64) {
        if pressure > self.average {
            self.pushers.insert((OrderedFloat(pressure), group));
        }
        self.pullers.insert((OrderedFloat(pressure), group));
    }

    pub fn member(&self, group: usize) -> &Member {
        // A group in one of the orders has been entered.
        &self.members[&group]
    }

    /// The group that pushes next.
    pub fn most_loaded(&self) -> Option<usize> {
        self.pushers.last().map(|&(_, group)| group)
    }

    /// The group to ask after `previous`; the least loaded first, up to the pusher itself.
    pub fn next_puller(&self, from: usize, previous: Option<usize>) -> Option<usize> {
        let end = OrderedFloat(self.member(from).pressure);
        let start = match previous {
            Some(group) => Bound::Excluded((OrderedFloat(self.member(group).pressure), group)),
            None => Bound::Unbounded,
        };
        self.pullers
            .range((start, Bound::Unbounded))
            .next()
            .filter(|next| next.0 < end)
            .map(|&(_, group)| group)
    }

    /// Whether two groups are out of balance and have not failed each other.
    pub fn may_exchange(&self, from: usize, to: usize) -> bool {
        (self.member(from).beyond || self.member(to).beyond) && !self.failed.contains(&(from, to))
    }

    /// Notes that a pair found no task.
    pub fn fail(&mut self, from: usize, to: usize) {
        self.failed.insert((from, to));
    }

    /// Domains of a group, the least loaded first.
    pub fn domains(&self, group: usize) -> impl DoubleEndedIterator<Item = DomainId> + '_ {
        self.member(group).domains.iter().map(|&(_, domain)| domain)
    }

    /// Ends a group's pushing on this level.
    pub fn retire(&mut self, group: usize) {
        self.pushers.remove(&(OrderedFloat(self.member(group).pressure), group));
    }

    /// Notes that a group has given away this much load.
    pub fn gave(&mut self, group: usize, load: f64) {
        if let Some(member) = self.members.get_mut(&group) {
            member.pushed += load;
        }
    }

    /// Restores the order after a group and one of its domains have changed their load per capacity.
    pub fn reorder(&mut self, group: usize, pressure: f64, domain: DomainId, before: f64, after: f64) {
        let Some(member) = self.members.get_mut(&group) else { return };
        let old = (OrderedFloat(member.pressure), group);
        member.pressure = pressure;
        member.domains.remove(&(OrderedFloat(before), domain));
        member.domains.insert((OrderedFloat(after), domain));
        self.pushers.remove(&old);
        self.pullers.remove(&old);
        self.place(group, pressure);
    }
}
