// SPDX-License-Identifier: GPL-2.0-only
//! References to kernel objects that BPF code holds: counted, given back when a map element with them goes, and checked
//! at the end of the scheduler.

use bpf_vm::{Addr, Ctx, Fault, Memory, Registry};

use crate::bpf::objects::Objects;
use crate::kernel::Kernel;
use crate::task::TaskIdx;

type C<'a> = Ctx<'a, Kernel>;
type R = Result<u64, Fault>;

pub(super) fn register(registry: &mut Registry<Kernel>) {
    registry.functions(&[
        ("bpf_task_acquire", |ctx, a| {
            ctx.state.objects.get_task(ctx.mem, a[0])?;
            Ok(a[0])
        }),
        ("bpf_task_release", |ctx, a| {
            ctx.state.objects.put_task(ctx.mem, a[0])?;
            Ok(0)
        }),
        ("bpf_task_from_pid", from_pid),
        ("bpf_task_from_vpid", from_pid),
    ]);
}

fn from_pid(ctx: &mut C<'_>, [pid, ..]: [u64; 5]) -> R {
    let Some(task) = ctx.state.tasks.by_pid(pid as i32) else { return Ok(0) };
    let addr = ctx.state.hand_out(ctx.mem, task)?;
    ctx.state.objects.get_task(ctx.mem, addr)?;
    Ok(addr)
}

impl Objects {
    /// Counts a reference to a task that BPF code now has.
    pub(super) fn get_task(&mut self, memory: &Memory, addr: u64) -> Result<(), Fault> {
        if !memory.is_a(Addr(addr), "task_struct") {
            return Err(not_a("task", memory, addr));
        }
        *self.task_refs.entry(addr).or_default() += 1;
        Ok(())
    }

    /// Takes back a reference to a task; the object of a dead one goes with the last.
    pub(super) fn put_task(&mut self, memory: &mut Memory, addr: u64) -> Result<(), Fault> {
        let Some(count) = self.task_refs.get_mut(&addr) else {
            let what = memory.describe(Addr(addr));
            return Err(Fault::violation(format!("a task is released that was not acquired: {what}")));
        };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.task_refs.remove(&addr);
        if self.zombies.remove(&addr) { memory.free(Addr(addr)) } else { Ok(()) }
    }

    /// A task is gone: so is its object, with the storage attached to it, unless BPF code holds a reference.
    pub(crate) fn forget(&mut self, memory: &mut Memory, task: TaskIdx) -> Result<(), Fault> {
        let Some(addr) = self.take_task(task) else { return Ok(()) };
        if self.task_refs.contains_key(&addr.0) {
            self.zombies.insert(addr.0);
            return Ok(());
        }
        memory.free(addr)?;
        self.release_dropped(memory)
    }

    /// Gives back what the kernel pointers of removed map elements held.
    pub(crate) fn release_dropped(&mut self, memory: &mut Memory) -> Result<(), Fault> {
        loop {
            let dropped = memory.take_dropped_kptrs();
            if dropped.is_empty() {
                return Ok(());
            }
            for addr in dropped {
                if memory.is_a(addr, "bpf_cpumask") {
                    self.masks_alive -= 1;
                    drop_cpumask(memory, addr)?;
                } else if memory.is_a(addr, "cgroup") {
                    self.put_cgroup(memory, addr.0)?;
                } else if memory.is_a(addr, "task_struct") {
                    self.put_task(memory, addr.0)?;
                } else {
                    return Err(not_a("kernel object", memory, addr.0));
                }
            }
        }
    }

    /// What is wrong with the references at the end: each must be held by exactly one pointer in a map.
    pub(crate) fn leak(&self, memory: &Memory) -> Option<String> {
        let held = memory.held_kptrs();
        let count = |of: &str| held.iter().filter(|&&addr| memory.is_a(addr, of)).count() as u64;
        let tasks: u64 = self.task_refs.values().map(|&count| u64::from(count)).sum();
        let counts = [
            ("CPU masks", self.masks_alive, count("bpf_cpumask")),
            ("references to cgroups", self.cgroup_references().into(), count("cgroup")),
            ("references to tasks", tasks, count("task_struct")),
        ];
        let (what, alive, held) = counts.into_iter().find(|(_, alive, held)| alive != held)?;
        Some(format!("{alive} {what} of BPF code are alive and {held} are held by maps: some are lost"))
    }
}

fn not_a(what: &str, memory: &Memory, addr: u64) -> Fault {
    Fault::violation(format!("a {what} was expected: {}", memory.describe(Addr(addr))))
}

/// Counts a reference down; the mask goes with the last.
pub(super) fn drop_cpumask(memory: &mut Memory, addr: Addr) -> Result<(), Fault> {
    let usage =
        memory.field("bpf_cpumask", "usage.counter").map_err(|error| Fault::violation(error.to_string()))?;
    match memory.read(addr, &usage)? {
        0 | 1 => memory.free(addr),
        count => memory.write(addr, &usage, count - 1),
    }
}
