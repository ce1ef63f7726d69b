// SPDX-License-Identifier: GPL-2.0-only
//! The tree of cgroups: ids, paths, weights, cpusets and usage.
//!
//! The scheduler sees the cgroups that have the cpu controller; a task of another one counts as one of the nearest
//! ancestor that has it ([`Cgroups::of_controller`]). Changes that call the scheduler are in [`crate::sim`].

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use thiserror::Error;
use topology::CpuSet;

use crate::kernel::{Curr, Kernel};

/// Index of a cgroup; never reused in a run.
pub type CgroupIdx = usize;
/// The root.
pub const ROOT: CgroupIdx = 0;
/// cpu.weight of a cgroup that nobody has set.
pub const DEFAULT_WEIGHT: u32 = 100;

/// cpu.max: µs, with the kernel's value for "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Length of a period.
    pub period_us: u64,
    /// CPU time in a period; `u64::MAX`: all there is. Told to the scheduler, whose affair it is, as in the kernel.
    pub quota_us: u64,
    /// What may be saved up.
    pub burst_us: u64,
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self { period_us: 100_000, quota_us: u64::MAX, burst_us: 0 }
    }
}

/// One cgroup.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// Kernel id, unique for the run.
    pub id: u64,
    /// Last part of the path; empty for the root.
    pub name: String,
    /// From the root, beginning with "/".
    pub path: String,
    /// The one it is in; the root is its own parent.
    pub parent: CgroupIdx,
    /// Depth; 0 for the root.
    pub level: usize,
    /// cpu.weight, 1 to 10000.
    pub weight: u32,
    /// cpu.idle.
    pub idle: bool,
    /// cpu.max.
    pub bandwidth: Bandwidth,
    /// Has the cpu controller.
    pub controller: bool,
    /// cpuset.cpus of its own; `None`: as its parent.
    pub cpuset: Option<Rc<CpuSet>>,
    /// Not removed.
    pub alive: bool,
    /// ops.cgroup_init has been called.
    pub known: bool,
    /// CPU time of its own tasks and of removed descendants, ns, up to the last accounting.
    pub own_usage_ns: u64,
    /// Tasks in it.
    pub tasks: usize,
    /// Live children in the order they were made.
    pub children: Vec<CgroupIdx>,
}

/// What userspace can read of a cgroup in the filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CgroupView {
    /// Index in the model.
    #[serde(skip)]
    pub cgroup: CgroupIdx,
    /// From the root, beginning with "/".
    pub path: String,
    /// Kernel id (inode number of the directory).
    pub id: u64,
    /// Kernel id of the parent; the root names itself.
    pub parent_id: u64,
    /// Depth.
    pub level: usize,
    /// cpu.weight.
    pub weight: u32,
    /// Has the cpu controller.
    pub controller: bool,
    /// cpuset.cpus.effective in list form, such as `0-3,8`.
    pub cpuset: String,
    /// Whether the cgroup or an ancestor sets cpuset.cpus.
    pub restricted: bool,
    /// CPU time with all descendants, ns (cpu.stat usage_usec).
    pub usage_ns: u64,
    /// Tasks in it, descendants not included.
    pub tasks: usize,
}

impl CgroupView {
    /// Kernel id of the parent; `None` for the root.
    pub fn parent(&self) -> Option<u64> {
        (self.level > 0).then_some(self.parent_id)
    }
}

/// Why a change of cgroups is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CgroupError {
    /// There is none of that path or index.
    #[error("no cgroup {0}")]
    Missing(String),
    /// There is one already.
    #[error("cgroup {0} exists")]
    Exists(String),
    /// It has tasks or children.
    #[error("cgroup {0} is in use: it has tasks or children")]
    Busy(String),
    /// A path that is no path, or a change that the root does not know.
    #[error("cgroup {0}: {1}")]
    Invalid(String, &'static str),
    /// A callback of the scheduler refused.
    #[error("{callback} refused with {errno}")]
    Refused {
        /// Which.
        callback: &'static str,
        /// A negative errno.
        errno: i32,
    },
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Cgroups {
    list: Vec<Cgroup>,
    by_id: BTreeMap<u64, CgroupIdx>,
    all: Rc<CpuSet>,
}

impl Cgroups {
    /// The root alone, on a machine with these CPUs.
    pub fn new(all: Rc<CpuSet>) -> Self {
        let root = Cgroup {
            id: 1,
            name: String::new(),
            path: "/".to_owned(),
            parent: ROOT,
            level: 0,
            weight: DEFAULT_WEIGHT,
            idle: false,
            bandwidth: Bandwidth::default(),
            controller: true,
            cpuset: None,
            alive: true,
            known: false,
            own_usage_ns: 0,
            tasks: 0,
            children: Vec::new(),
        };
        Self { list: vec![root], by_id: BTreeMap::from([(1, ROOT)]), all }
    }

    /// Adds a child; it has the cpu controller if its parent has.
    pub(crate) fn add(&mut self, parent: CgroupIdx, name: &str, weight: u32) -> CgroupIdx {
        let index = self.list.len();
        let above = &self.list[parent];
        // Every directory of the kernel's filesystem brings files with ids of their own.
        let id = 100 + 17 * index as u64;
        let slash = if parent == ROOT { "" } else { "/" };
        let cgroup = Cgroup {
            id,
            name: name.to_owned(),
            path: format!("{}{slash}{name}", above.path),
            parent,
            level: above.level + 1,
            weight: weight.clamp(1, 10_000),
            idle: false,
            bandwidth: Bandwidth::default(),
            controller: above.controller,
            cpuset: None,
            alive: true,
            known: false,
            own_usage_ns: 0,
            tasks: 0,
            children: Vec::new(),
        };
        self.list.push(cgroup);
        self.by_id.insert(id, index);
        self.list[parent].children.push(index);
        index
    }

    /// Takes one without tasks and children out of the tree; its usage stays with its parent.
    pub(crate) fn remove(&mut self, cgroup: CgroupIdx) {
        let (parent, usage) = (self.list[cgroup].parent, self.list[cgroup].own_usage_ns);
        self.list[cgroup].alive = false;
        self.by_id.remove(&self.list[cgroup].id);
        self.list[parent].children.retain(|&child| child != cgroup);
        self.list[parent].own_usage_ns += usage;
    }

    /// How many have ever been made, the root included; indices are below it.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// By index, dead ones included.
    pub fn get(&self, cgroup: CgroupIdx) -> Option<&Cgroup> {
        self.list.get(cgroup)
    }

    /// The live one with a kernel id.
    pub fn by_id(&self, id: u64) -> Option<CgroupIdx> {
        self.by_id.get(&id).copied()
    }

    /// The live one at a path ("/" is the root; a missing leading "/" is forgiven).
    pub fn find(&self, path: &str) -> Option<CgroupIdx> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.into_iter().try_fold(ROOT, |at, part| {
            self.list[at].children.iter().copied().find(|&child| self.list[child].name == part)
        })
    }

    /// Live ones, parents before children.
    pub fn live(&self) -> Vec<CgroupIdx> {
        self.descendants(ROOT)
    }

    /// A live cgroup and everything below it, parents first.
    pub fn descendants(&self, from: CgroupIdx) -> Vec<CgroupIdx> {
        let (mut order, mut todo) = (Vec::new(), vec![from]);
        while let Some(next) = todo.pop() {
            order.push(next);
            todo.extend(self.list[next].children.iter().rev());
        }
        order
    }

    /// The same, children first.
    pub fn descendants_post(&self, from: CgroupIdx) -> Vec<CgroupIdx> {
        let mut order = Vec::new();
        for &child in &self.list[from].children {
            order.extend(self.descendants_post(child));
        }
        order.push(from);
        order
    }

    /// The ancestor at a level, itself included.
    pub fn ancestor(&self, cgroup: CgroupIdx, level: usize) -> Option<CgroupIdx> {
        let mut at = cgroup;
        if level > self.list.get(at)?.level {
            return None;
        }
        while self.list[at].level > level {
            at = self.list[at].parent;
        }
        Some(at)
    }

    /// The cgroup that the scheduler takes it for: the nearest one with the cpu controller.
    pub fn of_controller(&self, cgroup: CgroupIdx) -> CgroupIdx {
        let mut at = cgroup;
        while !self.list[at].controller {
            at = self.list[at].parent;
        }
        at
    }

    /// cpuset.cpus.effective: what it may use within what its ancestors may; never empty.
    pub fn effective_cpuset(&self, cgroup: CgroupIdx) -> Rc<CpuSet> {
        let entry = &self.list[cgroup];
        let above = if cgroup == ROOT { Rc::clone(&self.all) } else { self.effective_cpuset(entry.parent) };
        match &entry.cpuset {
            Some(own) if own.intersects(&above) => Rc::new(own.intersection(&above)),
            _ => above,
        }
    }

    /// Whether it or an ancestor sets cpuset.cpus.
    pub fn restricted(&self, cgroup: CgroupIdx) -> bool {
        let entry = &self.list[cgroup];
        entry.cpuset.is_some() || (cgroup != ROOT && self.restricted(entry.parent))
    }

    /// CPU time with all descendants, ns, up to the last accounting of each CPU.
    pub fn usage_ns(&self, cgroup: CgroupIdx) -> u64 {
        self.descendants(cgroup).into_iter().map(|index| self.list[index].own_usage_ns).sum()
    }

    /// What userspace reads of the live cgroups, parents before children. `running` is CPU time not yet accounted: cgroup
    /// and ns.
    fn views(&self, running: &[(CgroupIdx, u64)]) -> Vec<CgroupView> {
        let view = |cgroup: CgroupIdx| {
            let level = self.list[cgroup].level;
            let below = running.iter().filter(|(from, _)| self.ancestor(*from, level) == Some(cgroup));
            let pending: u64 = below.map(|(_, ns)| ns).sum();
            let entry = &self.list[cgroup];
            CgroupView {
                cgroup,
                path: entry.path.clone(),
                id: entry.id,
                parent_id: self.list[entry.parent].id,
                level: entry.level,
                weight: entry.weight,
                controller: entry.controller,
                cpuset: self.effective_cpuset(cgroup).to_string(),
                restricted: self.restricted(cgroup),
                usage_ns: self.usage_ns(cgroup) + pending,
                tasks: entry.tasks,
            }
        };
        self.live().into_iter().map(view).collect()
    }
}

impl Kernel {
    /// What userspace reads of the live cgroups now, parents before children. Changes nothing.
    pub fn cgroup_views(&self) -> Vec<CgroupView> {
        let running: Vec<(CgroupIdx, u64)> = self
            .cpus
            .iter()
            .filter_map(|cpu| match cpu.curr {
                Curr::Task(task) => Some((self.tasks[task].cgroup, self.now - cpu.accounted_at)),
                Curr::Idle | Curr::Rt => None,
            })
            .collect();
        self.cgroups.views(&running)
    }
}

impl std::ops::Index<CgroupIdx> for Cgroups {
    type Output = Cgroup;
    fn index(&self, cgroup: CgroupIdx) -> &Cgroup {
        &self.list[cgroup]
    }
}

impl std::ops::IndexMut<CgroupIdx> for Cgroups {
    fn index_mut(&mut self, cgroup: CgroupIdx) -> &mut Cgroup {
        &mut self.list[cgroup]
    }
}
