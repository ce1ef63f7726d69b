// SPDX-License-Identifier: GPL-2.0-only
//! Timers of BPF code (`struct bpf_timer`): armed in virtual time, fired on the CPU that started them.

use std::collections::BTreeMap;

use crate::abi::{EBUSY, EINVAL};
use crate::events::{CpuId, Event};
use crate::kernel::Kernel;

/// The time is absolute.
const ABSOLUTE: u64 = 1;
/// The timer stays on its CPU.
const PINNED: u64 = 2;

/// What a timer calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// Address of the BPF function; 0: none is set.
    pub function: u64,
    /// Its arguments: the map, the key, the value that the timer is in.
    pub args: [u64; 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    callback: Callback,
    /// Which start this was; a pending event of an older one means nothing.
    generation: u64,
    pending: bool,
    cpu: CpuId,
}

/// All timers by address.
#[derive(Debug, Default)]
pub struct Timers {
    list: BTreeMap<u64, Timer>,
    generation: u64,
}

impl Timers {
    /// `bpf_timer_init`.
    pub(crate) fn init(&mut self, timer: u64, args: [u64; 3]) -> i32 {
        if self.list.contains_key(&timer) {
            return -EBUSY;
        }
        let callback = Callback { function: 0, args };
        self.list.insert(timer, Timer { callback, ..Timer::default() });
        0
    }

    /// `bpf_timer_set_callback`.
    pub(crate) fn set_callback(&mut self, timer: u64, function: u64) -> i32 {
        match self.list.get_mut(&timer) {
            Some(timer) => {
                timer.callback.function = function;
                0
            }
            None => -EINVAL,
        }
    }

    /// `bpf_timer_cancel`: 1 if it was pending.
    pub(crate) fn cancel(&mut self, timer: u64) -> i32 {
        match self.list.get_mut(&timer) {
            Some(timer) => i32::from(std::mem::take(&mut timer.pending)),
            None => -EINVAL,
        }
    }
}

impl Kernel {
    /// `bpf_timer_start`.
    pub(crate) fn start_timer(&mut self, timer: u64, ns: u64, flags: u64) -> i32 {
        let timers = &mut self.timers;
        timers.generation += 1;
        let generation = timers.generation;
        let Some(entry) = timers.list.get_mut(&timer).filter(|entry| entry.callback.function != 0) else {
            return -EINVAL;
        };
        if flags & !(ABSOLUTE | PINNED) != 0 {
            return -EINVAL;
        }
        (entry.pending, entry.generation, entry.cpu) = (true, generation, self.this_cpu);
        let at = if flags & ABSOLUTE != 0 { ns.max(self.now) } else { self.now.saturating_add(ns) };
        self.events.push(at, Event::BpfTimer { timer, generation });
        0
    }

    /// The timer's time has come: what to call, and where; `None` if it was cancelled or started again.
    pub(crate) fn timer_fires(&mut self, timer: u64, generation: u64) -> Option<(CpuId, Callback)> {
        let entry = self.timers.list.get_mut(&timer)?;
        if !entry.pending || entry.generation != generation {
            return None;
        }
        entry.pending = false;
        let cpu = if self.cpus[entry.cpu].online { entry.cpu } else { self.online.first().unwrap_or(0) };
        Some((cpu, entry.callback))
    }
}
