// SPDX-License-Identifier: GPL-2.0-only
//! Kernel objects in the memory that BPF code sees: tasks, CPU masks, cgroups.
//!
//! The model keeps its own state; an object is brought up to date when BPF code is given a pointer to it, and what BPF
//! code may write (slice and vtime of a task) is taken over when a function of the kernel is called and when the callback
//! ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bpf_vm::{Access, Addr, BtfError, Fault, Field, Memory};
use topology::CpuSet;

use crate::abi::SCHED_IDLE;
use crate::bpf::cgroups::{CgroupObject, CssWalk};
use crate::cgroup::{CgroupIdx, Cgroups};
use crate::events::CpuId;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::task::{TaskIdx, Tasks};

/// Where the fields of a task are that change all the time: three of 64 bits, and one of 32.
#[derive(Clone, Copy, Debug)]
struct Hot {
    slice: usize,
    vtime: usize,
    exec: usize,
    flags: usize,
    index: usize,
}

impl Hot {
    fn new(memory: &Memory) -> Result<Self, BtfError> {
        let at = |path: &str, size: u32| {
            let field = memory.field("task_struct", path)?;
            assert_eq!((field.size, field.bit_size), (size, 0), "the modelled kernel types say so of {path}");
            Ok(field.offset as usize)
        };
        Ok(Self {
            slice: at("scx.slice", 8)?,
            vtime: at("scx.dsq_vtime", 8)?,
            exec: at("se.sum_exec_runtime", 8)?,
            flags: at("scx.flags", 4)?,
            index: at("sim_index", 4)?,
        })
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a range of that length")
}

/// Where the fields are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    hot: Hot,
    scx_weight: Field,
    index: Field,
    flags: Field,
    pid: Field,
    tgid: Field,
    nr_allowed: Field,
    migration_disabled: Field,
    cpus_ptr: Field,
    cpus_mask: Field,
    cgroups: Field,
    task_group: Field,
    start_time: Field,
    comm: Field,
    prio: [Field; 2],
    policy: Field,
    group_leader: Field,
    /// Of a run queue.
    rt_running: Field,
    /// Of the struct that `scx_bpf_select_cpu_and` takes: prev_cpu, wake_flags, flags.
    pub select_cpu_args: [Field; 3],
    /// Of the struct that `scx_bpf_dsq_insert_vtime` takes: dsq_id, slice, vtime, enq_flags.
    pub insert_vtime_args: [Field; 4],
}

impl Layout {
    fn new(memory: &Memory) -> Result<Self, BtfError> {
        let field = |path: &str| memory.field("task_struct", path);
        Ok(Self {
            hot: Hot::new(memory)?,
            scx_weight: field("scx.weight")?,
            index: field("sim_index")?,
            flags: field("flags")?,
            pid: field("pid")?,
            tgid: field("tgid")?,
            nr_allowed: field("nr_cpus_allowed")?,
            migration_disabled: field("migration_disabled")?,
            cpus_ptr: field("cpus_ptr")?,
            cpus_mask: field("cpus_mask")?,
            cgroups: field("cgroups")?,
            task_group: field("sched_task_group")?,
            start_time: field("start_time")?,
            comm: field("comm")?,
            prio: [field("prio")?, field("static_prio")?],
            policy: field("policy")?,
            group_leader: field("group_leader")?,
            rt_running: memory.field("rq", "rt.rt_nr_running")?,
            select_cpu_args: {
                let field = |path: &str| memory.field("scx_bpf_select_cpu_and_args", path);
                [field("prev_cpu")?, field("wake_flags")?, field("flags")?]
            },
            insert_vtime_args: {
                let field = |path: &str| memory.field("scx_bpf_dsq_insert_vtime_args", path);
                [field("dsq_id")?, field("slice")?, field("vtime")?, field("enq_flags")?]
            },
        })
    }
}

/// The state of the model that task objects show.
pub(crate) struct Shown<'a> {
    pub tasks: &'a mut Tasks,
    pub machine: &'a Machine,
    pub cgroups: &'a Cgroups,
}

/// Words of a mask that need no allocation: 512 CPUs.
const FEW_WORDS: usize = 8;

/// A mask that BPF code passed. It is read in place: a copy of what was just written word by word would stall the processor.
pub(crate) struct Mask {
    few: [u64; FEW_WORDS],
    many: Vec<u64>,
    len: usize,
}

impl Mask {
    /// Nothing read yet.
    pub(crate) const fn new() -> Self {
        Self { few: [0; FEW_WORDS], many: Vec::new(), len: 0 }
    }

    /// Bit `i` of word `w` is CPU `64 * w + i`.
    pub(crate) fn words(&self) -> &[u64] {
        if self.len <= FEW_WORDS { &self.few[..self.len] } else { &self.many }
    }

    /// The same as a set.
    pub(crate) fn cpus(&self) -> CpuSet {
        CpuSet::from_words(self.words())
    }
}

/// A walk over the tasks of a dispatch queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct DsqWalk {
    pub dsq: u64,
    pub tasks: Vec<TaskIdx>,
    pub at: usize,
    pub slice: Option<u64>,
    pub vtime: Option<u64>,
}

/// The objects of one loaded scheduler.
#[derive(Debug, Default)]
pub struct Objects {
    layout: Option<Layout>,
    tasks: Vec<Addr>,
    /// Tasks that BPF code holds a pointer to since the callback began.
    handed: Vec<TaskIdx>,
    /// Masks of one CPU, made when needed.
    only: HashMap<CpuId, Addr>,
    /// Masks of the kernel by name, made when needed.
    masks: HashMap<&'static str, Addr>,
    pub(super) cgroups: Vec<Option<CgroupObject>>,
    pub(super) cgroup_at: BTreeMap<u64, CgroupIdx>,
    pub(super) css_walks: HashMap<u64, CssWalk>,
    /// References of BPF code to tasks, by address.
    pub(super) task_refs: BTreeMap<u64, u32>,
    /// Objects of dead tasks that BPF code still refers to.
    pub(super) zombies: BTreeSet<u64>,
    /// References of BPF code to masks of its own.
    pub(super) masks_alive: u64,
    /// Stand-ins for tasks that are not the model's, made when needed.
    outsiders: HashMap<&'static str, Addr>,
    /// Run queues by CPU, made when needed.
    run_queues: HashMap<CpuId, Addr>,
    pub(crate) walks: HashMap<u64, DsqWalk>,
    words: u32,
}

impl Objects {
    /// Objects in fresh memory of a machine with so many CPUs.
    pub(crate) fn new(memory: &mut Memory, nr_cpu_ids: usize) -> Result<Self, Fault> {
        let wrong = |error: BtfError| Fault::violation(error.to_string());
        memory.allow_write("task_struct", "scx.slice").map_err(wrong)?;
        memory.allow_write("task_struct", "scx.dsq_vtime").map_err(wrong)?;
        let layout = Some(Layout::new(memory).map_err(wrong)?);
        let words = nr_cpu_ids.div_ceil(64) as u32;
        Ok(Self { layout, words, ..Self::default() })
    }

    fn create(&mut self, memory: &mut Memory, tasks: &Tasks, task: TaskIdx) -> Result<Addr, Fault> {
        let layout = *self.layout()?;
        let addr = memory.alloc("task_struct")?;
        if task >= self.tasks.len() {
            self.tasks.resize(task + 1, Addr::NULL);
        }
        self.tasks[task] = addr;
        let entry = &tasks[task];
        memory.write(addr, &layout.index, task as u64)?;
        memory.write(addr, &layout.pid, entry.pid as u64)?;
        memory.write(addr, &layout.tgid, entry.pid as u64)?;
        memory.write(addr, &layout.start_time, entry.born_at)?;
        memory.write(addr, &layout.group_leader, addr.0)?;
        let name = entry.name.as_bytes();
        let length = name.len().min(15);
        memory.write_bytes(addr.offset(layout.comm.offset.into()), &name[..length])?;
        Ok(addr)
    }

    /// Where the fields are.
    pub(crate) fn layout(&self) -> Result<&Layout, Fault> {
        self.layout.as_ref().ok_or_else(|| Fault::violation("no scheduler is loaded"))
    }

    /// The address of a task's object, brought up to date.
    pub(crate) fn hand_out(
        &mut self,
        memory: &mut Memory,
        shown: &mut Shown<'_>,
        task: TaskIdx,
    ) -> Result<Addr, Fault> {
        let mut addr = self.tasks.get(task).copied().unwrap_or(Addr::NULL);
        if addr.is_null() {
            addr = self.create(memory, shown.tasks, task)?;
            shown.tasks[task].stale = true;
        }
        if !self.handed.contains(&task) {
            self.handed.push(task);
        }
        self.write(memory, shown, task)?;
        Ok(addr)
    }

    fn write(&mut self, memory: &mut Memory, shown: &mut Shown<'_>, task: TaskIdx) -> Result<(), Fault> {
        let (hot, addr) = (self.layout()?.hot, self.tasks[task]);
        let entry = &mut shown.tasks[task];
        let bytes = memory.whole_mut(addr)?;
        put(bytes, hot.slice, entry.slice.to_le_bytes());
        put(bytes, hot.vtime, entry.vtime.to_le_bytes());
        put(bytes, hot.exec, entry.exec_ns.to_le_bytes());
        put(bytes, hot.flags, u32::from(entry.queued).to_le_bytes());
        if !std::mem::take(&mut entry.stale) {
            return Ok(());
        }
        self.write_rarely(memory, shown, task)
    }

    /// Everything else that an object shows.
    fn write_rarely(
        &mut self,
        memory: &mut Memory,
        shown: &mut Shown<'_>,
        task: TaskIdx,
    ) -> Result<(), Fault> {
        let (layout, addr) = (*self.layout()?, self.tasks[task]);
        let entry = &shown.tasks[task];
        memory.write(addr, &layout.scx_weight, entry.weight.into())?;
        memory.write(addr, &layout.policy, entry.policy.into())?;
        // SCHED_IDLE goes by its weight alone.
        let prio = if entry.policy == SCHED_IDLE { 120 } else { priority(entry.weight).into() };
        layout.prio.iter().try_for_each(|field| memory.write(addr, field, prio))?;
        memory.write(addr, &layout.flags, entry.flags.into())?;
        memory.write(addr, &layout.nr_allowed, entry.nr_allowed as u64)?;
        // A program that runs counts one itself, for the current task: objects that know it take one for nothing there.
        let disabled = entry.migration_disabled + u32::from(entry.migration_disabled > 0);
        memory.write(addr, &layout.migration_disabled, disabled.into())?;
        let own = addr.offset(layout.cpus_mask.offset.into());
        write_mask(memory, own, &entry.mask, self.words)?;
        let (cpu, fixed) = (entry.cpu, entry.migration_disabled > 0);
        let (cgroup, sched_cgroup) = (entry.cgroup, entry.sched_cgroup);
        let pointer = if fixed { self.only_mask(memory, shown.machine, cpu)? } else { own };
        memory.write(addr, &layout.cpus_ptr, pointer.0)?;
        let set = self.cgroup(memory, shown.cgroups, cgroup)?.set;
        memory.write(addr, &layout.cgroups, set.0)?;
        let group = self.cgroup(memory, shown.cgroups, sched_cgroup)?.task_group;
        memory.write(addr, &layout.task_group, group.0)
    }

    fn only_mask(&mut self, memory: &mut Memory, machine: &Machine, cpu: CpuId) -> Result<Addr, Fault> {
        if let Some(&addr) = self.only.get(&cpu) {
            return Ok(addr);
        }
        let addr = memory.alloc("cpumask")?;
        write_mask(memory, addr, &machine.places[cpu].only, self.words)?;
        self.only.insert(cpu, addr);
        Ok(addr)
    }

    /// A stand-in for a task that is not the model's: the idle task, a real-time task. BPF code can only read it.
    pub(crate) fn outsider(
        &mut self,
        memory: &mut Memory,
        name: &'static str,
        fields: &[(&str, u64)],
    ) -> Result<Addr, Fault> {
        if let Some(&addr) = self.outsiders.get(name) {
            return Ok(addr);
        }
        let layout = *self.layout()?;
        let addr = memory.alloc("task_struct")?;
        memory.write(addr, &layout.index, u64::from(u32::MAX))?;
        memory.write_bytes(addr.offset(layout.comm.offset.into()), name.as_bytes())?;
        for (path, value) in fields {
            let field = memory.field("task_struct", path);
            memory.write(addr, &field.map_err(|error| Fault::violation(error.to_string()))?, *value)?;
        }
        self.outsiders.insert(name, addr);
        Ok(addr)
    }

    /// The run queue of a CPU, as far as it is modelled: whether real-time work is on it.
    pub(crate) fn run_queue(&mut self, memory: &mut Memory, cpu: CpuId, busy: bool) -> Result<Addr, Fault> {
        let addr = match self.run_queues.get(&cpu) {
            Some(&addr) => addr,
            None => {
                let addr = memory.alloc("rq")?;
                self.run_queues.insert(cpu, addr);
                addr
            }
        };
        memory.write(addr, &self.layout()?.rt_running, busy.into())?;
        Ok(addr)
    }

    /// The affinity mask inside a task's object.
    pub(crate) fn own_mask(&self, task: TaskIdx) -> Option<Addr> {
        let layout = self.layout?;
        Some(self.tasks.get(task)?.offset(layout.cpus_mask.offset.into()))
    }

    /// A mask of the kernel, brought up to date.
    pub(crate) fn kernel_mask(
        &mut self,
        memory: &mut Memory,
        name: &'static str,
        cpus: &CpuSet,
    ) -> Result<Addr, Fault> {
        let addr = match self.masks.get(name) {
            Some(&addr) => addr,
            None => {
                let addr = memory.alloc("cpumask")?;
                self.masks.insert(name, addr);
                addr
            }
        };
        write_mask(memory, addr, cpus, self.words)?;
        Ok(addr)
    }

    /// The task whose object is at `addr`.
    pub(crate) fn task_at(&self, memory: &Memory, addr: u64) -> Result<TaskIdx, Fault> {
        let at = self.layout()?.hot.index;
        let addr = Addr(addr);
        let index = memory.read_u32(addr.offset(at as u64))? as usize;
        if self.tasks.get(index) != Some(&addr) {
            return Err(Fault::violation(format!(
                "a task was expected at {addr}: {}",
                memory.describe(addr)
            )));
        }
        Ok(index)
    }

    /// Takes over what BPF code may have written.
    pub(crate) fn read_back(&self, memory: &Memory, tasks: &mut Tasks, task: TaskIdx) -> Result<(), Fault> {
        let hot = self.layout()?.hot;
        let bytes = memory.whole(self.tasks[task])?;
        tasks[task].slice = u64::from_le_bytes(get(bytes, hot.slice));
        tasks[task].vtime = u64::from_le_bytes(get(bytes, hot.vtime));
        Ok(())
    }

    /// Takes over everything that was handed out; the callback is over.
    pub(crate) fn take_back(&mut self, memory: &Memory, tasks: &mut Tasks) -> Result<(), Fault> {
        while let Some(task) = self.handed.pop() {
            self.read_back(memory, tasks, task)?;
        }
        Ok(())
    }

    /// Brings what BPF code holds up to date after a function of the kernel changed things.
    pub(crate) fn refresh(&mut self, memory: &mut Memory, shown: &mut Shown<'_>) -> Result<(), Fault> {
        for index in 0..self.handed.len() {
            self.write(memory, shown, self.handed[index])?;
        }
        Ok(())
    }

    /// A task is gone; its object is no longer found by it.
    pub(super) fn take_task(&mut self, task: TaskIdx) -> Option<Addr> {
        let addr = self.tasks.get_mut(task).map(std::mem::take).filter(|addr| !addr.is_null())?;
        self.handed.retain(|&other| other != task);
        Some(addr)
    }

    /// CPUs of a mask at `addr`.
    pub(crate) fn read_mask(&self, memory: &Memory, addr: u64, mask: &mut Mask) -> Result<(), Fault> {
        let bytes = memory.readable(Addr(addr), self.words * 8)?;
        let words = bytes.chunks_exact(8).map(|chunk| {
            let chunk = chunk.try_into().expect("chunks of eight bytes");
            u64::from_le_bytes(chunk)
        });
        mask.len = self.words as usize;
        if mask.len <= FEW_WORDS {
            mask.few.iter_mut().zip(words).for_each(|(to, word)| *to = word);
        } else {
            mask.many.extend(words);
        }
        Ok(())
    }

    /// 64-bit words of a mask that can be set.
    pub(crate) fn words(&self) -> u32 {
        self.words
    }
}

/// `p->prio` of a task of SCHED_OTHER with a weight: 100 (nice -20) to 139; each step of nice is a factor of 1.25.
fn priority(weight: u32) -> u32 {
    let steps = (f64::from(weight.max(1)) / 100.0).ln() / 1.25f64.ln();
    (120.0 - steps).round().clamp(100.0, 139.0) as u32
}

/// Writes CPUs into a mask.
pub(crate) fn write_mask(memory: &mut Memory, addr: Addr, cpus: &CpuSet, words: u32) -> Result<(), Fault> {
    let place = memory.bytes_mut(addr, words * 8)?;
    for (index, chunk) in place.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&cpus.words().get(index).copied().unwrap_or(0).to_le_bytes());
    }
    Ok(())
}

/// Text that BPF code may read.
pub(crate) fn text(memory: &mut Memory, name: &str, text: &str) -> Result<Addr, Fault> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    let addr = memory.alloc_bytes(name, bytes.len() as u32, Access::ReadOnly)?;
    memory.write_bytes(addr, &bytes)?;
    Ok(addr)
}

impl Kernel {
    /// The address of a task's object for BPF code.
    pub(crate) fn hand_out(&mut self, memory: &mut Memory, task: TaskIdx) -> Result<u64, Fault> {
        let Self { objects, tasks, machine, cgroups, .. } = self;
        objects.hand_out(memory, &mut Shown { tasks, machine, cgroups }, task).map(u64::from)
    }

    /// The task that BPF code names by address, with what it has written there.
    pub(crate) fn task_argument(&mut self, memory: &Memory, addr: u64) -> Result<TaskIdx, Fault> {
        let task = self.objects.task_at(memory, addr)?;
        self.objects.read_back(memory, &mut self.tasks, task)?;
        Ok(task)
    }

    /// Brings what BPF code holds up to date.
    pub(crate) fn refresh(&mut self, memory: &mut Memory) -> Result<(), Fault> {
        let Self { objects, tasks, machine, cgroups, .. } = self;
        objects.refresh(memory, &mut Shown { tasks, machine, cgroups })
    }
}
