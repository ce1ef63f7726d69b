// SPDX-License-Identifier: GPL-2.0-only
//! Which CPUs are idle, and the kernel's built-in choice among them.

use topology::CpuSet;

use crate::abi::{EBUSY, SCX_OPS_KEEP_BUILTIN_IDLE, SCX_PICK_IDLE_CORE, SCX_WAKE_SYNC};
use crate::events::CpuId;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::task::TaskIdx;

/// The built-in idle masks.
#[derive(Debug, Default)]
pub struct IdleMasks {
    /// Idle CPUs not yet claimed.
    pub cpus: CpuSet,
    /// CPUs of cores that are idle as a whole.
    pub cores: CpuSet,
}

impl IdleMasks {
    /// A CPU became idle or busy.
    pub fn update(&mut self, machine: &Machine, cpu: CpuId, idle: bool) {
        if idle {
            self.cpus.insert(cpu);
        } else {
            self.cpus.remove(cpu);
        }
        if !machine.smt {
            return;
        }
        let core = &machine.places[cpu].core_cpus;
        if !idle {
            core.iter().for_each(|thread| _ = self.cores.remove(thread));
        } else if core.is_subset(&self.cpus) {
            core.iter().for_each(|thread| _ = self.cores.insert(thread));
        }
    }

    /// Claims a CPU if it is idle.
    pub fn test_and_clear(&mut self, machine: &Machine, cpu: CpuId) -> bool {
        if machine.smt {
            machine.places[cpu].core_cpus.iter().for_each(|thread| _ = self.cores.remove(thread));
        }
        self.cpus.remove(cpu)
    }
}

/// Sets of CPUs as bitmaps, of which those CPUs are looked for that are in all of them: a chain of references, because sets
/// that are made and copied in one go stall the processor.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    words: &'a [u64],
    rest: Option<&'a Sets<'a>>,
}

impl<'a> Sets<'a> {
    /// A set and others.
    pub fn new(words: &'a [u64], rest: Option<&'a Sets<'a>>) -> Self {
        Self { words, rest }
    }

    fn iter(&self) -> impl Iterator<Item = &'a [u64]> + use<'a> {
        std::iter::successors(Some(*self), |sets| sets.rest.copied()).map(|sets| sets.words)
    }
}

fn contains(words: &[u64], cpu: CpuId) -> bool {
    words.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 != 0)
}

/// The first CPU after `after`, going round, that is in all sets.
pub fn any_after(sets: &Sets<'_>, after: CpuId) -> Option<CpuId> {
    let words = sets.iter().map(<[u64]>::len).min()?;
    let word_at = |index: usize| sets.iter().fold(u64::MAX, |all, set| all & set[index]);
    let start = after + 1;
    let (first_word, first_bit) = (start / 64, start % 64);
    for index in first_word..words {
        let mut word = word_at(index);
        if index == first_word {
            word &= u64::MAX << first_bit;
        }
        if word != 0 {
            return Some(index * 64 + word.trailing_zeros() as usize);
        }
    }
    for index in 0..words.min(first_word + 1) {
        let word = word_at(index);
        if word != 0 {
            return Some(index * 64 + word.trailing_zeros() as usize);
        }
    }
    None
}

impl Kernel {
    /// Whether the kernel tracks idle CPUs itself: not beside ops.update_idle, unless the scheduler asks for it.
    pub fn tracks_idle(&self) -> bool {
        self.scheduler
            .is_none_or(|traits| !traits.update_idle || traits.flags & SCX_OPS_KEEP_BUILTIN_IDLE != 0)
    }

    /// The same for a function that lives on it: without, the call ends the scheduler.
    pub(crate) fn needs_idle_tracking(&mut self) -> bool {
        let tracked = self.tracks_idle();
        if !tracked {
            self.error("built-in idle tracking is disabled");
        }
        tracked
    }

    /// `cpumask_any_and_distribute`: going on where the last search of this CPU stopped.
    pub fn any_and_distribute(&mut self, sets: &Sets<'_>) -> Option<CpuId> {
        let this = self.this_cpu;
        let found = any_after(sets, self.cpus[this].distribute_prev)?;
        self.cpus[this].distribute_prev = found;
        Some(found)
    }

    /// Claims an idle CPU that is in all sets (`scx_pick_idle_cpu`): one of an idle core first.
    pub fn pick_idle(&mut self, sets: Option<&Sets<'_>>, flags: u64) -> Option<CpuId> {
        if self.machine.smt {
            let cores = std::mem::take(&mut self.idle.cores);
            let found = self.any_and_distribute(&Sets::new(cores.words(), sets));
            self.idle.cores = cores;
            if let Some(cpu) = found {
                self.idle.test_and_clear(&self.machine, cpu);
                return Some(cpu);
            }
            if flags & SCX_PICK_IDLE_CORE != 0 {
                return None;
            }
        }
        let cpus = std::mem::take(&mut self.idle.cpus);
        let found = self.any_and_distribute(&Sets::new(cpus.words(), sets));
        self.idle.cpus = cpus;
        let cpu = found?;
        self.idle.test_and_clear(&self.machine, cpu);
        Some(cpu)
    }

    /// The kernel's default choice of an idle CPU for a task, restricted to `restrict` (`scx_bpf_select_cpu_and`): the
    /// waker's CPU for a synchronous wake-up, an idle core near the previous CPU, the previous CPU, any idle CPU near
    /// it. Negative if there is none.
    pub fn select_cpu_dfl(
        &mut self,
        task: TaskIdx,
        prev: CpuId,
        wake_flags: u64,
        restrict: Option<&[u64]>,
        flags: u64,
    ) -> i32 {
        if prev >= self.cpus.len() {
            self.error(&format!("invalid CPU {prev} given to the default choice of an idle CPU"));
            return -crate::abi::EINVAL;
        }
        // Cheap shared handle: the search below needs the masks and the kernel at the same time.
        let mask = self.allowed(task);
        let pinned = self.tasks[task].nr_allowed == 1 || self.tasks[task].migration_disabled > 0;
        let may_prev = mask.contains(prev) && restrict.is_none_or(|words| contains(words, prev));
        if pinned {
            let taken = may_prev && self.idle.test_and_clear(&self.machine, prev);
            return if taken { prev as i32 } else { -EBUSY };
        }
        let own = Sets::new(mask.words(), None);
        let own = (self.tasks[task].nr_allowed < self.machine.all.len()).then_some(&own);
        let both = restrict.map(|restrict| Sets::new(restrict, own));
        let sets = both.as_ref().or(own);
        if wake_flags & SCX_WAKE_SYNC != 0
            && let Some(cpu) = self.sync_wake_cpu(prev, may_prev, sets)
        {
            return cpu as i32;
        }
        self.nearest_idle(prev, may_prev, sets, flags).map_or(-EBUSY, |cpu| cpu as i32)
    }

    fn nearest_idle(
        &mut self,
        prev: CpuId,
        may_prev: bool,
        sets: Option<&Sets<'_>>,
        flags: u64,
    ) -> Option<CpuId> {
        if self.idle.cpus.is_empty() {
            return None;
        }
        let place = &self.machine.places[prev];
        let llc = self.machine.llc_aware.then(|| self.machine.llcs[place.llc].clone());
        let node = self.machine.numa_aware.then(|| self.machine.nodes[place.node].clone());
        let passes: &[u64] = if self.machine.smt { &[SCX_PICK_IDLE_CORE, 0] } else { &[0] };
        for &pass in passes {
            if pass == 0 && flags & SCX_PICK_IDLE_CORE != 0 {
                return None;
            }
            let prev_fits = if pass == SCX_PICK_IDLE_CORE {
                self.idle.cores.contains(prev)
            } else {
                self.idle.cpus.contains(prev)
            };
            if may_prev && prev_fits && self.idle.test_and_clear(&self.machine, prev) {
                return Some(prev);
            }
            for near in [llc.as_deref(), node.as_deref()].into_iter().flatten() {
                let found = self.pick_idle(Some(&Sets::new(near.words(), sets)), pass);
                if found.is_some() {
                    return found;
                }
            }
            let found = self.pick_idle(sets, pass);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The choice for a wake-up by a task that is about to sleep; `None`: look on as usual.
    fn sync_wake_cpu(&mut self, prev: CpuId, may_prev: bool, sets: Option<&Sets<'_>>) -> Option<CpuId> {
        let this = self.this_cpu;
        let cache_affine = self.machine.places[this].llc == self.machine.places[prev].llc;
        if may_prev && cache_affine && self.idle.test_and_clear(&self.machine, prev) {
            return Some(prev);
        }
        let usable = sets.is_none_or(|sets| sets.iter().all(|words| contains(words, this)));
        (self.cpus[this].local.is_empty() && !self.idle.cpus.is_empty() && usable).then_some(this)
    }
}
