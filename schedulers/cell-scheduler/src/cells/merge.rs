// SPDX-License-Identifier: GPL-2.0-only
//! Which logical cells share a physical one.
//!
//! Starts from the groups there are. Two small groups merge; a member that has grown splits off; what does not fit
//! (more groups than table entries or CPUs, or more confined groups than CPUs in their cpusets) merges by least quota.
//! Only groups with a CPU in common can merge, so a group's CPUs suit all of its members.

use std::collections::HashMap;

use topology::CpuSet;

use super::flow::overfull;
use super::ground::Ground;
use super::types::{Assignment, CellId, Params};

/// A logical cell, as far as merging cares.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which one.
    pub id: CellId,
    /// CPUs it should have, real.
    pub quota: f64,
    /// Online CPUs it may use; none if its cpuset has none.
    pub allowed: CpuSet,
}

/// Logical cells that share a physical cell.
#[derive(Debug, Clone)]
pub struct Group {
    /// Members by index; for the first group of a layout the first is cell 0.
    pub members: Vec<usize>,
    /// Sum of the members' quotas.
    pub quota: f64,
    /// CPUs that all members may use; never empty.
    pub allowed: CpuSet,
    /// The physical cells that went into it, by index in the previous assignment.
    pub lineage: Vec<usize>,
    /// When it last merged or split; `None` if never.
    pub since_ns: Option<u64>,
}

/// The groups; the first holds cell 0. `members[0]` must be cell 0.
pub fn groups(
    ground: &Ground<'_>,
    members: &[Member],
    previous: Option<&Assignment>,
    params: &Params,
    now_ns: u64,
) -> Vec<Group> {
    let limit = (params.max_cells as usize).clamp(1, ground.online.len().max(1));
    let mut layout = Layout { ground, members, params, now_ns, limit, groups: Vec::new() };
    layout.inherit(previous);
    layout.merge_small();
    layout.relieve(&[], f64::INFINITY);
    layout.split_grown();
    layout.merge_small();
    layout.groups
}

/// The CPUs that both admit. A member of cell 0 that admits none of its CPUs narrows nothing: it is there because it has
/// no other place.
fn narrowed(group: &CpuSet, member: &CpuSet) -> CpuSet {
    if group.intersects(member) { group.intersection(member) } else { group.clone() }
}

#[derive(Clone)]
struct Layout<'a> {
    ground: &'a Ground<'a>,
    members: &'a [Member],
    params: &'a Params,
    now_ns: u64,
    limit: usize,
    groups: Vec<Group>,
}

impl Layout<'_> {
    fn single(&self, member: usize, since_ns: Option<u64>) -> Group {
        let Member { quota, allowed, .. } = &self.members[member];
        Group {
            members: vec![member],
            quota: *quota,
            allowed: allowed.clone(),
            lineage: Vec::new(),
            since_ns,
        }
    }

    /// The groups of the previous assignment without the members that are gone or no longer suit each other; everybody
    /// else alone. Cells without a usable CPU join cell 0.
    fn inherit(&mut self, previous: Option<&Assignment>) {
        let index: HashMap<CellId, usize> =
            self.members.iter().enumerate().map(|(at, member)| (member.id, at)).collect();
        let mut placed = vec![false; self.members.len()];
        let mut first = self.single(0, None);
        let crowded = self.members.len() > self.params.max_cells as usize;
        placed[0] = true;
        let cells = previous.map_or(&[][..], |previous| &previous.cells);
        for (at, cell) in cells.iter().enumerate() {
            let mut group: Option<Group> = None;
            for &member in cell.members.iter().filter_map(|id| index.get(id)) {
                let into = if at == 0 { Some(&mut first) } else { group.as_mut() };
                match into {
                    Some(_) if placed[member] || self.members[member].allowed.is_empty() => {}
                    Some(into)
                        if (at == 0 && crowded) || into.allowed.intersects(&self.members[member].allowed) =>
                    {
                        self.join(into, member);
                        placed[member] = true;
                    }
                    Some(_) => {}
                    None if placed[member] || self.members[member].allowed.is_empty() => {}
                    None => {
                        group = Some(self.single(member, cell.since_ns));
                        placed[member] = true;
                    }
                }
            }
            if at == 0 {
                first.since_ns = cell.since_ns;
                first.lineage.push(0);
            } else if let Some(mut group) = group {
                group.lineage.push(at);
                self.groups.push(group);
            }
        }
        for member in (0..self.members.len()).filter(|&member| !placed[member]) {
            if self.members[member].allowed.is_empty() {
                first.members.push(member);
                first.quota += self.members[member].quota;
            } else {
                self.groups.push(self.single(member, None));
            }
        }
        self.groups.insert(0, first);
    }

    fn join(&self, group: &mut Group, member: usize) {
        group.members.push(member);
        group.quota += self.members[member].quota;
        group.allowed = narrowed(&group.allowed, &self.members[member].allowed);
    }

    fn rested(&self, group: &Group) -> bool {
        group.since_ns.is_none_or(|since_ns| self.now_ns.saturating_sub(since_ns) >= self.params.cool_down_ns)
    }

    /// Merges small groups with the same possibilities, the smallest first. Where groups that are worth less than the
    /// CPU each of them holds leave too little for the others, those just below the level at which members split
    /// count as small too. Cell 0's group stays out of it: nobody should share with the rest of the system without need.
    fn merge_small(&mut self) {
        let held = |quota: f64| quota.max(1.0);
        let all = self.ground.online.len() as f64;
        let mut excess = self.groups.iter().map(|group| held(group.quota)).sum::<f64>() - (all + 1.0);
        let limit = self.params.split_above.max(self.params.merge_below);
        let mut small: Vec<usize> = (1..self.groups.len())
            .filter(|&at| self.groups[at].quota < limit && self.rested(&self.groups[at]))
            .collect();
        small.sort_by(|&a, &b| self.groups[a].quota.total_cmp(&self.groups[b].quota).then(a.cmp(&b)));
        let mut gone = vec![false; self.groups.len()];
        // The group that is being filled, by possibilities.
        let mut filling: HashMap<CpuSet, usize> = HashMap::new();
        for at in small {
            let key = self.groups[at].allowed.clone();
            let Some(&into) = filling.get(&key) else {
                filling.insert(key, at);
                continue;
            };
            let (have, more) = (self.groups[into].quota, self.groups[at].quota);
            if (have < self.params.merge_below && more < self.params.merge_below)
                || (excess > 0.0 && have < limit)
            {
                self.absorb(into, at);
                gone[at] = true;
                excess -= held(have) + held(more) - held(have + more);
            } else {
                filling.insert(key, at);
            }
        }
        let mut gone = gone.into_iter();
        self.groups.retain(|_| gone.next() != Some(true));
    }

    /// Moves all of one group into another, which stays where it is; the emptied one is to be removed.
    fn absorb(&mut self, into: usize, from: usize) {
        let taken = self.groups[from].clone();
        let now_ns = self.now_ns;
        let group = &mut self.groups[into];
        group.members.extend(taken.members);
        group.quota += taken.quota;
        group.allowed = narrowed(&group.allowed, &taken.allowed);
        group.lineage.extend(taken.lineage);
        group.since_ns = Some(now_ns);
    }

    /// Merges until one CPU for each group is possible. Groups with a member of `spared` are left alone, and only groups
    /// whose quotas add up to less than `below` merge. False if that is not enough; the groups are then in no useful
    /// state.
    fn relieve(&mut self, spared: &[usize], below: f64) -> bool {
        while let Some(tight) = self.tight() {
            let free = |at: &usize| !self.groups[*at].members.iter().any(|member| spared.contains(member));
            let candidates: Vec<usize> = tight.into_iter().filter(free).collect();
            let Some((into, from)) = self.cheapest_pair(&candidates) else {
                return below == f64::INFINITY && self.crowd_into_root();
            };
            if self.groups[into].quota + self.groups[from].quota >= below {
                return false;
            }
            self.absorb(into, from);
            self.groups.remove(from);
        }
        true
    }

    /// Merges the smallest groups into cell 0's although they have no CPU in common with it: what is left to do when
    /// there are more disjoint cpusets than table entries.
    fn crowd_into_root(&mut self) -> bool {
        while self.groups.len() > self.limit {
            let others = 1..self.groups.len();
            let Some(least) = others.min_by(|&a, &b| self.groups[a].quota.total_cmp(&self.groups[b].quota))
            else {
                return false;
            };
            self.absorb(0, least);
            self.groups.remove(least);
        }
        self.tight().is_none()
    }

    /// Groups of which not all can have a CPU.
    fn tight(&self) -> Option<Vec<usize>> {
        if self.groups.len() > self.limit {
            return Some((0..self.groups.len()).collect());
        }
        let allowed: Vec<&CpuSet> = self.groups.iter().map(|group| &group.allowed).collect();
        overfull(&allowed, &self.ground.online)
    }

    /// The two groups with the least quotas together that may merge: those with equal possibilities first, those with
    /// common ones next; cell 0's group only if there is no other way. The second is never cell 0's.
    fn cheapest_pair(&self, candidates: &[usize]) -> Option<(usize, usize)> {
        let mut order: Vec<usize> = candidates.iter().copied().filter(|&at| at != 0).collect();
        order.sort_by(|&a, &b| self.groups[a].quota.total_cmp(&self.groups[b].quota).then(a.cmp(&b)));
        let quota = |pair: &(usize, usize)| self.groups[pair.0].quota + self.groups[pair.1].quota;
        let mut equal: Vec<(usize, usize)> = Vec::new();
        let mut waiting: HashMap<&CpuSet, usize> = HashMap::new();
        for &at in &order {
            match waiting.get(&self.groups[at].allowed) {
                Some(&first) => equal.push((first.min(at), first.max(at))),
                None => _ = waiting.insert(&self.groups[at].allowed, at),
            }
        }
        let cheapest = |pairs: Vec<(usize, usize)>| {
            pairs.into_iter().min_by(|a, b| quota(a).total_cmp(&quota(b)).then(a.cmp(b)))
        };
        if !equal.is_empty() {
            return cheapest(equal);
        }
        let mut common: Vec<(usize, usize)> = Vec::new();
        for (place, &a) in order.iter().enumerate() {
            // The partners come by rising quota: the first that suits is the best for this one.
            let suits = |b: &&usize| self.groups[a].allowed.intersects(&self.groups[**b].allowed);
            if let Some(&b) = order[place + 1..].iter().find(suits) {
                common.push((a.min(b), a.max(b)));
            }
        }
        let with_root = |at: &&usize| self.groups[0].allowed.intersects(&self.groups[**at].allowed);
        cheapest(common).or_else(|| Some((0, *order.iter().find(with_root)?)))
    }

    /// Gives members that have grown a group of their own, the largest first. Where there is no room for one more group,
    /// two others must merge for it, and only two that are together smaller than the one that wants out.
    fn split_grown(&mut self) {
        let mut grown: Vec<usize> = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            if group.members.len() < 2 || !self.rested(group) {
                continue;
            }
            let enough = self.params.split_above.max(self.params.merge_below);
            let leaves = |member: &usize| {
                let Member { id, quota, allowed } = &self.members[*member];
                // Nobody stays with cell 0 without need.
                *id != CellId::ROOT && !allowed.is_empty() && (*quota >= enough || at == 0)
            };
            let mut leaving: Vec<usize> = group.members.iter().copied().filter(leaves).collect();
            leaving.sort_by(|&a, &b| self.by_quota(a, b));
            // Somebody stays; in cell 0's group that is cell 0.
            let stay = usize::from(at != 0);
            leaving.truncate(group.members.len() - stay);
            grown.extend(leaving);
        }
        grown.sort_by(|&a, &b| self.by_quota(a, b));
        for (place, &member) in grown.iter().enumerate() {
            let holds = |group: &Group| group.members.len() > 1 && group.members.contains(&member);
            let Some(at) = self.groups.iter().position(holds) else { continue };
            let whole = self.groups[at].clone();
            self.split(at, member);
            if self.tight().is_none() {
                continue;
            }
            // Those that have just split off must not pay for the next.
            let mut tried = self.clone();
            if tried.relieve(&grown[..=place], self.members[member].quota) {
                self.groups = tried.groups;
            } else {
                self.groups.pop();
                self.groups[at] = whole;
            }
        }
    }

    /// Largest quota first.
    fn by_quota(&self, a: usize, b: usize) -> std::cmp::Ordering {
        self.members[b].quota.total_cmp(&self.members[a].quota).then(a.cmp(&b))
    }

    /// Takes the member out of the group at `at`; its new group is the last.
    fn split(&mut self, at: usize, member: usize) {
        let members = self.members;
        let group = &mut self.groups[at];
        group.members.retain(|&other| other != member);
        let others = || group.members.iter().map(|&other| &members[other]);
        let allowed = others().fold(self.ground.online.clone(), |all, other| narrowed(&all, &other.allowed));
        group.quota = others().map(|other| other.quota).sum();
        group.allowed = allowed;
        group.since_ns = Some(self.now_ns);
        let single = self.single(member, Some(self.now_ns));
        self.groups.push(single);
    }
}
