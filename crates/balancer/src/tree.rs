// SPDX-License-Identifier: GPL-2.0-only
//! The level tree: which groups exist on each level, what they hold and what they can do.

use crate::{DomainId, MAX_DOMAINS, TreeError};
use std::collections::BTreeMap;
use std::sync::Arc;

const CAPACITY_MIN: f64 = 1e-6;
const CAPACITY_MAX: f64 = 1e9;

/// How one level balances. A level is data; the algorithm is the same for all.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelParams {
    /// What the groups of this level are: `node`, `llc`, `domain`, …
    pub name: String,
    /// How far a group may be from its siblings' average, as a share of that average, before anything moves. At least 0.
    pub imbalance_threshold: f64,
    /// Share of a pair's imbalance (the smaller of excess and deficit) that the next move wishes to transfer. Smaller
    /// values prefer several small tasks to one large. In (0, 1].
    pub transfer_ratio: f64,
    /// Share of its load, as it was when the level began, that a group may give away in one round. Measured against
    /// the load, not the excess: a lone busy group then reaches an even share in at most log2(groups) rounds, where
    /// halving the excess would come ever closer and stop at the threshold. In (0, 1].
    pub push_limit: f64,
}

impl LevelParams {
    /// The defaults for a level of this name: threshold 0.05, transfer ratio 0.5 and push limit 0.5, on every level.
    ///
    /// Balancers of this kind often tolerate more between nodes, such as 0.17. Here what a node boundary costs is said by
    /// the cost term [`crate::LevelDistance`], move by move, and noise is kept out by [`crate::Reluctance`]; a wide
    /// threshold on top would only let the error of a first round, planned on averages that still rise, stand for good:
    /// 14 and 10 equal tasks on two nodes are within 0.17. In 500 simulated starts of 24 tasks in one of four domains,
    /// 0.17 ended even in 86, 0.10 in 426, 0.05 in 500.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), imbalance_threshold: 0.05, transfer_ratio: 0.5, push_limit: 0.5 }
    }

    fn check(&self) -> Result<(), TreeError> {
        let bad = |parameter, value, range| {
            Err(TreeError::LevelParameter { level: self.name.clone(), parameter, value, range })
        };
        if !(0.0..=1e9).contains(&self.imbalance_threshold) {
            return bad("imbalance_threshold", self.imbalance_threshold, "of at least 0");
        }
        for (parameter, value) in [("transfer_ratio", self.transfer_ratio), ("push_limit", self.push_limit)] {
            if !(value > 0.0 && value <= 1.0) {
                return bad(parameter, value, "above 0 and up to 1");
            }
        }
        Ok(())
    }
}

/// Where a domain is in the tree, and what it can do.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainPlace {
    /// Key of the domain's group on each level, outermost first; the last stands for the domain itself. Keys may be
    /// sparse; equal keys under different parents are different groups.
    pub path: Vec<usize>,
    /// Capacity of its online CPUs, in CPUs of full speed.
    pub capacity: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub path: Vec<usize>,
    pub capacity: f64,
    pub domains: Vec<DomainId>,
}

#[derive(Debug, Clone)]
pub(crate) struct Level {
    /// The parameters' name, shared by the moves of all rounds.
    pub name: Arc<str>,
    pub params: LevelParams,
    pub groups: Vec<Group>,
    /// The level's groups, gathered by parent: each inner list is balanced within itself. Because groups are numbered
    /// in the order of their paths, it holds consecutive numbers.
    pub siblings: Vec<Vec<usize>>,
    /// Group of each domain on this level.
    pub group_of: Vec<usize>,
}

/// An immutable level tree over 1..=1024 domains, of any depth.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) levels: Vec<Level>,
    capacity: f64,
    domains: usize,
    distances: Option<Distances>,
}

/// Memory distances between nodes, relative to the local one.
#[derive(Debug, Clone)]
struct Distances {
    node_of: Vec<usize>,
    relative: Vec<Vec<f64>>,
}

impl Tree {
    /// Builds the tree. `levels` goes from the outermost to the domains; `domains[i]` places [`DomainId`] `i`.
    pub fn new(levels: Vec<LevelParams>, domains: Vec<DomainPlace>) -> Result<Self, TreeError> {
        check(&levels, &domains)?;
        let mut built: Vec<Level> = Vec::with_capacity(levels.len());
        for (depth, params) in levels.into_iter().enumerate() {
            let level = build_level(params, &domains, depth, built.last());
            built.push(level);
        }
        let capacity = domains.iter().map(|place| place.capacity).sum();
        Ok(Self { levels: built, capacity, domains: domains.len(), distances: None })
    }

    /// Adds memory distances, as the firmware states them (10 is local). `node_of[i]` is the row and column of
    /// [`DomainId`] `i` in `distances`. Without them, the levels that a move crosses count as its distance.
    pub fn with_distances(mut self, node_of: &[usize], distances: &[Vec<u32>]) -> Result<Self, TreeError> {
        let bad = |what| Err(TreeError::Distances(what));
        if node_of.len() != self.domains {
            return bad("the number of domains differs from the tree's");
        }
        if distances.iter().any(|row| row.len() != distances.len()) {
            return bad("the matrix is not square");
        }
        if node_of.iter().any(|&node| node >= distances.len()) {
            return bad("a domain is on a node that the matrix lacks");
        }
        let local = |node: usize, row: &[u32]| row[node];
        if distances.iter().enumerate().any(|(node, row)| row.iter().any(|&d| d < local(node, row).max(1))) {
            return bad("a distance is zero or smaller than the local one");
        }
        let relative = |(node, row): (usize, &Vec<u32>)| {
            row.iter().map(|&distance| f64::from(distance) / f64::from(local(node, row))).collect()
        };
        let relative = distances.iter().enumerate().map(relative).collect();
        self.distances = Some(Distances { node_of: node_of.to_vec(), relative });
        Ok(self)
    }

    /// Memory distance between two domains' nodes in units of the local distance; `None` without distances or for an
    /// unknown domain.
    pub fn distance(&self, from: DomainId, to: DomainId) -> Option<f64> {
        let distances = self.distances.as_ref()?;
        let (from, to) = (*distances.node_of.get(from)?, *distances.node_of.get(to)?);
        Some(distances.relative[from][to])
    }

    /// One level only: every domain beside every other.
    pub fn flat(params: LevelParams, capacities: &[f64]) -> Result<Self, TreeError> {
        let places = capacities.iter().enumerate();
        let places = places.map(|(i, &capacity)| DomainPlace { path: vec![i], capacity }).collect();
        Self::new(vec![params], places)
    }

    /// Number of domains.
    pub fn domains(&self) -> usize {
        self.domains
    }

    /// Number of levels.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Capacity of the whole machine, in CPUs of full speed.
    pub fn capacity(&self) -> f64 {
        self.capacity
    }

    /// Capacity of one domain; `None` if unknown.
    pub fn domain_capacity(&self, domain: DomainId) -> Option<f64> {
        let level = self.levels.last()?;
        level.group_of.get(domain).map(|&group| level.groups[group].capacity)
    }

    /// Parameters of a level; `None` past the innermost.
    pub fn level(&self, level: usize) -> Option<&LevelParams> {
        self.levels.get(level).map(|level| &level.params)
    }
}

fn check(levels: &[LevelParams], domains: &[DomainPlace]) -> Result<(), TreeError> {
    if levels.is_empty() {
        return Err(TreeError::NoLevels);
    }
    if domains.is_empty() || domains.len() > MAX_DOMAINS {
        return Err(TreeError::DomainCount(domains.len()));
    }
    levels.iter().try_for_each(LevelParams::check)?;
    let mut seen = BTreeMap::new();
    for (domain, place) in domains.iter().enumerate() {
        let (got, expected) = (place.path.len(), levels.len());
        if got != expected {
            return Err(TreeError::PathLength { domain, got, expected });
        }
        if !(CAPACITY_MIN..=CAPACITY_MAX).contains(&place.capacity) {
            return Err(TreeError::Capacity { domain, capacity: place.capacity });
        }
        if let Some(first) = seen.insert(&place.path, domain) {
            return Err(TreeError::SamePath { first, second: domain });
        }
    }
    Ok(())
}

/// Groups in the order of their paths, so that the order of the domains does not matter to the numbering.
fn build_level(params: LevelParams, domains: &[DomainPlace], depth: usize, outer: Option<&Level>) -> Level {
    let mut members: BTreeMap<&[usize], Vec<DomainId>> = BTreeMap::new();
    for (domain, place) in domains.iter().enumerate() {
        members.entry(&place.path[..=depth]).or_default().push(domain);
    }
    let mut group_of = vec![0; domains.len()];
    let mut siblings = vec![Vec::new(); outer.map_or(1, |level| level.groups.len())];
    let mut groups = Vec::with_capacity(members.len());
    for (path, members) in members {
        let group = groups.len();
        for &domain in &members {
            group_of[domain] = group;
        }
        siblings[outer.map_or(0, |level| level.group_of[members[0]])].push(group);
        let capacity = members.iter().map(|&domain| domains[domain].capacity).sum();
        groups.push(Group { path: path.to_vec(), capacity, domains: members });
    }
    Level { name: params.name.as_str().into(), params, groups, siblings, group_of }
}
