// SPDX-License-Identifier: GPL-2.0-only
//! Cgroups as BPF code sees them: their objects, and the functions that take and give them.
//!
//! References are counted: an object of a removed cgroup lives, with the storage attached to it, until the last reference
//! that BPF code took is given back.

use bpf_vm::{Addr, BtfError, Ctx, Fault, Memory, Registry};

use crate::abi::{EINVAL, ENOENT};
use crate::bpf::objects::{Objects, text};
use crate::cgroup::{CgroupIdx, Cgroups, ROOT};
use crate::kernel::{Curr, Kernel};

type C<'a> = Ctx<'a, Kernel>;
type R = Result<u64, Fault>;

/// `enum bpf_cgroup_iter_order`.
const SELF_ONLY: u64 = 1;
const DESCENDANTS_PRE: u64 = 2;
const DESCENDANTS_POST: u64 = 3;
const ANCESTORS_UP: u64 = 4;
const CHILDREN: u64 = 5;

/// The objects of one cgroup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CgroupObject {
    /// `struct cgroup`; its first member is its `cgroup_subsys_state`.
    pub group: Addr,
    /// `struct css_set` whose `dfl_cgrp` it is.
    pub set: Addr,
    /// `struct task_group` whose `css.cgroup` it is.
    pub task_group: Addr,
    node: Addr,
    name: Addr,
    refs: u32,
    dead: bool,
}

/// A walk over cgroups.
#[derive(Clone, Debug, Default)]
pub(crate) struct CssWalk {
    cgroups: Vec<CgroupIdx>,
    at: usize,
}

fn wrong(error: BtfError) -> Fault {
    Fault::violation(error.to_string())
}

impl Objects {
    /// The objects of a cgroup, made with those of its ancestors when first asked for.
    pub(crate) fn cgroup(
        &mut self,
        memory: &mut Memory,
        cgroups: &Cgroups,
        cgroup: CgroupIdx,
    ) -> Result<CgroupObject, Fault> {
        if let Some(Some(object)) = self.cgroups.get(cgroup) {
            return Ok(*object);
        }
        let entry = &cgroups[cgroup];
        let mut ancestors: Vec<Addr> = Vec::with_capacity(entry.level + 1);
        for level in 0..entry.level {
            // A level above its own has an ancestor.
            let Some(ancestor) = cgroups.ancestor(cgroup, level) else { continue };
            ancestors.push(self.cgroup(memory, cgroups, ancestor)?.group);
        }
        let group = memory.alloc_extra("cgroup", 8 * (entry.level as u32 + 1))?;
        ancestors.push(group);
        let (node, set, task_group) =
            (memory.alloc("kernfs_node")?, memory.alloc("css_set")?, memory.alloc("task_group")?);
        let name = text(memory, "cgroup name", &entry.name)?;
        let parent = match cgroup {
            ROOT => None,
            _ => self.cgroups.get(entry.parent).copied().flatten(),
        };
        let mut put = |base: Addr, of: &str, path: &str, value: u64| {
            let field = memory.field(of, path).map_err(wrong)?;
            memory.write(base, &field, value)
        };
        put(node, "kernfs_node", "id", entry.id)?;
        put(node, "kernfs_node", "name", name.0)?;
        put(node, "kernfs_node", "__parent", parent.map_or(0, |parent| parent.node.0))?;
        put(group, "cgroup", "kn", node.0)?;
        put(group, "cgroup", "level", entry.level as u64)?;
        put(group, "cgroup", "self.cgroup", group.0)?;
        put(group, "cgroup", "self.parent", parent.map_or(0, |parent| parent.group.0))?;
        put(group, "cgroup", "self.serial_nr", cgroup as u64 + 1)?;
        put(set, "css_set", "dfl_cgrp", group.0)?;
        put(task_group, "task_group", "css.cgroup", group.0)?;
        put(task_group, "task_group", "css.parent", parent.map_or(0, |parent| parent.task_group.0))?;
        let first = u64::from(memory.field("cgroup", "ancestors").map_err(wrong)?.offset);
        for (level, ancestor) in ancestors.iter().enumerate() {
            memory.write_u64(group.offset(first + 8 * level as u64), ancestor.0)?;
        }
        let object = CgroupObject { group, set, task_group, node, name, refs: 0, dead: false };
        if cgroup >= self.cgroups.len() {
            self.cgroups.resize(cgroup + 1, None);
        }
        self.cgroups[cgroup] = Some(object);
        self.cgroup_at.insert(group.0, cgroup);
        Ok(object)
    }

    fn cgroup_index(&self, memory: &Memory, addr: u64) -> Result<CgroupIdx, Fault> {
        self.cgroup_at.get(&addr).copied().ok_or_else(|| {
            let what = memory.describe(Addr(addr));
            Fault::violation(format!("a cgroup was expected at {}: {what}", Addr(addr)))
        })
    }

    /// Counts a reference that BPF code now has.
    fn get_cgroup(&mut self, cgroup: CgroupIdx) -> u64 {
        match self.cgroups.get_mut(cgroup) {
            Some(Some(object)) => {
                object.refs += 1;
                object.group.0
            }
            _ => 0,
        }
    }

    /// Takes back a reference from BPF code.
    pub(crate) fn put_cgroup(&mut self, memory: &mut Memory, addr: u64) -> Result<(), Fault> {
        let cgroup = self.cgroup_index(memory, addr)?;
        let Some(Some(object)) = self.cgroups.get_mut(cgroup) else { return Ok(()) };
        object.refs = object.refs.checked_sub(1).ok_or_else(|| {
            Fault::violation("a cgroup is released that was not acquired, or was released before")
        })?;
        if object.refs == 0 && object.dead { self.free_cgroup(memory, cgroup) } else { Ok(()) }
    }

    /// References to cgroups that BPF code has.
    pub(crate) fn cgroup_references(&self) -> u32 {
        self.cgroups.iter().flatten().map(|object| object.refs).sum()
    }

    /// A cgroup is removed: its objects go when nobody refers to them.
    pub(crate) fn forget_cgroup(&mut self, memory: &mut Memory, cgroup: CgroupIdx) -> Result<(), Fault> {
        let Some(Some(object)) = self.cgroups.get_mut(cgroup) else { return Ok(()) };
        object.dead = true;
        if object.refs == 0 { self.free_cgroup(memory, cgroup) } else { Ok(()) }
    }

    fn free_cgroup(&mut self, memory: &mut Memory, cgroup: CgroupIdx) -> Result<(), Fault> {
        let Some(object) = self.cgroups.get_mut(cgroup).and_then(Option::take) else { return Ok(()) };
        self.cgroup_at.remove(&object.group.0);
        [object.group, object.set, object.task_group, object.node, object.name]
            .into_iter()
            .try_for_each(|addr| memory.free(addr))
    }
}

pub(super) fn register(registry: &mut Registry<Kernel>) {
    registry.functions(&[
        ("scx_bpf_task_cgroup___new", |ctx, a| task_cgroup(ctx, a[0])),
        ("bpf_cgroup_acquire", acquire),
        ("bpf_cgroup_release", release),
        ("bpf_cgroup_from_id", from_id),
        ("bpf_cgroup_ancestor", ancestor),
        ("bpf_task_under_cgroup", under),
        ("bpf_iter_css_new", walk_new),
        ("bpf_iter_css_next", walk_next),
        ("bpf_iter_css_destroy", walk_destroy),
    ]);
    registry.helpers(&[
        (80, "bpf_get_current_cgroup_id", |ctx, _| current_ancestor(ctx, None)),
        (123, "bpf_get_current_ancestor_cgroup_id", |ctx, a| current_ancestor(ctx, Some(a[0]))),
    ]);
}

/// A new reference to a cgroup.
fn give(ctx: &mut C<'_>, cgroup: CgroupIdx) -> R {
    let kernel = &mut *ctx.state;
    kernel.objects.cgroup(ctx.mem, &kernel.cgroups, cgroup)?;
    Ok(kernel.objects.get_cgroup(cgroup))
}

fn task_cgroup(ctx: &mut C<'_>, p: u64) -> R {
    let task = ctx.state.objects.task_at(ctx.mem, p)?;
    let cgroup = ctx.state.tasks[task].sched_cgroup;
    give(ctx, cgroup)
}

fn acquire(ctx: &mut C<'_>, [cgroup, ..]: [u64; 5]) -> R {
    let index = ctx.state.objects.cgroup_index(ctx.mem, cgroup)?;
    Ok(ctx.state.objects.get_cgroup(index))
}

fn release(ctx: &mut C<'_>, [cgroup, ..]: [u64; 5]) -> R {
    ctx.state.objects.put_cgroup(ctx.mem, cgroup)?;
    Ok(0)
}

fn from_id(ctx: &mut C<'_>, [id, ..]: [u64; 5]) -> R {
    match ctx.state.cgroups.by_id(id) {
        Some(cgroup) => give(ctx, cgroup),
        None => Ok(0),
    }
}

fn ancestor(ctx: &mut C<'_>, [cgroup, level, ..]: [u64; 5]) -> R {
    let index = ctx.state.objects.cgroup_index(ctx.mem, cgroup)?;
    let level = usize::try_from(level as i32).ok();
    match level.and_then(|level| ctx.state.cgroups.ancestor(index, level)) {
        Some(found) => give(ctx, found),
        None => Ok(0),
    }
}

/// Whether a task's own cgroup is `cgroup` or below it.
fn under(ctx: &mut C<'_>, [p, cgroup, ..]: [u64; 5]) -> R {
    let task = ctx.state.objects.task_at(ctx.mem, p)?;
    let above = ctx.state.objects.cgroup_index(ctx.mem, cgroup)?;
    let (cgroups, own) = (&ctx.state.cgroups, ctx.state.tasks[task].cgroup);
    Ok((cgroups.ancestor(own, cgroups[above].level) == Some(above)).into())
}

fn current_ancestor(ctx: &mut C<'_>, level: Option<u64>) -> R {
    let Curr::Task(task) = ctx.state.cpus[ctx.state.this_cpu].curr else { return Ok(0) };
    let (cgroups, own) = (&ctx.state.cgroups, ctx.state.tasks[task].cgroup);
    let level = level.map_or(Some(cgroups[own].level), |level| usize::try_from(level as i32).ok());
    let found = level.and_then(|level| cgroups.ancestor(own, level));
    Ok(found.map_or(0, |cgroup| cgroups[cgroup].id))
}

/// `(iterator, start, order)`.
fn walk_new(ctx: &mut C<'_>, [walk, css, order, ..]: [u64; 5]) -> R {
    let errno = |number: i32| Ok(i64::from(-number).cast_unsigned());
    ctx.state.objects.css_walks.remove(&walk);
    let start = ctx.state.objects.cgroup_index(ctx.mem, css)?;
    let cgroups = &ctx.state.cgroups;
    let list = match u64::from(order as u32) {
        SELF_ONLY => vec![start],
        DESCENDANTS_PRE => cgroups.descendants(start),
        DESCENDANTS_POST => cgroups.descendants_post(start),
        CHILDREN => cgroups[start].children.clone(),
        ANCESTORS_UP => {
            (0..=cgroups[start].level).rev().filter_map(|level| cgroups.ancestor(start, level)).collect()
        }
        _ => return errno(EINVAL),
    };
    if !cgroups[start].alive {
        return errno(ENOENT);
    }
    ctx.state.objects.css_walks.insert(walk, CssWalk { cgroups: list, at: 0 });
    Ok(0)
}

fn walk_next(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    let kernel = &mut *ctx.state;
    let Some(entry) = kernel.objects.css_walks.get_mut(&walk) else { return Ok(0) };
    while let Some(&cgroup) = entry.cgroups.get(entry.at) {
        entry.at += 1;
        if kernel.cgroups[cgroup].alive {
            return kernel.objects.cgroup(ctx.mem, &kernel.cgroups, cgroup).map(|object| object.group.0);
        }
    }
    Ok(0)
}

fn walk_destroy(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    ctx.state.objects.css_walks.remove(&walk);
    Ok(0)
}
