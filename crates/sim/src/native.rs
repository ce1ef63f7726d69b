// SPDX-License-Identifier: GPL-2.0-only
//! A small scheduler in Rust: one queue for the machine, in order of arrival or of weighted vtime. It shows what the model
//! does without any BPF, and serves as a yardstick.

use crate::abi::{SCX_DSQ_LOCAL, SCX_SLICE_DFL};
use crate::events::CpuId;
use crate::kernel::{Kernel, Traits};
use crate::ops::{Cost, Ops};
use crate::task::TaskIdx;

/// The queue.
const SHARED: u64 = 1;

/// One shared queue.
#[derive(Debug, Default)]
pub struct SharedQueue {
    fifo: bool,
    flags: u64,
    vtime_now: u64,
    exec: Vec<u64>,
    callbacks: u64,
}

impl SharedQueue {
    /// In order of arrival.
    pub fn fifo() -> Self {
        Self { fifo: true, ..Self::default() }
    }

    /// In order of weighted vtime.
    pub fn vtime() -> Self {
        Self::default()
    }

    /// With `SCX_OPS_*`.
    #[must_use]
    pub fn with_flags(mut self, flags: u64) -> Self {
        self.flags = flags;
        self
    }

    fn exec(&mut self, task: TaskIdx) -> &mut u64 {
        if task >= self.exec.len() {
            self.exec.resize(task + 1, 0);
        }
        &mut self.exec[task]
    }
}

impl Ops for SharedQueue {
    fn traits(&self) -> Traits {
        Traits {
            flags: self.flags,
            timeout_ns: 30_000_000_000,
            select_cpu: true,
            enqueue: true,
            dispatch: true,
            ..Traits::default()
        }
    }

    fn take_cost(&mut self) -> Cost {
        Cost { callbacks: std::mem::take(&mut self.callbacks), instructions: 0 }
    }

    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(SHARED)
    }

    fn enable(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        kernel.tasks[task].vtime = self.vtime_now;
    }

    fn select_cpu(&mut self, kernel: &mut Kernel, task: TaskIdx, prev: CpuId, wake_flags: u64) -> i32 {
        self.callbacks += 1;
        let cpu = kernel.select_cpu_dfl(task, prev, wake_flags, None, 0);
        if cpu < 0 {
            return prev as i32;
        }
        kernel.dsq_insert(task, SCX_DSQ_LOCAL, SCX_SLICE_DFL, 0);
        cpu
    }

    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, enq_flags: u64) {
        self.callbacks += 1;
        if self.fifo {
            kernel.dsq_insert(task, SHARED, SCX_SLICE_DFL, enq_flags);
            return;
        }
        let earliest = self.vtime_now.wrapping_sub(SCX_SLICE_DFL);
        let vtime = kernel.tasks[task].vtime;
        let vtime = if (vtime.wrapping_sub(earliest)).cast_signed() < 0 { earliest } else { vtime };
        kernel.dsq_insert_vtime(task, SHARED, SCX_SLICE_DFL, vtime, enq_flags);
    }

    fn dispatch(&mut self, kernel: &mut Kernel, _cpu: CpuId, _prev: Option<TaskIdx>) {
        self.callbacks += 1;
        kernel.dsq_move_to_local(SHARED);
    }

    fn running(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        *self.exec(task) = kernel.tasks[task].exec_ns;
        if kernel.tasks[task].vtime.wrapping_sub(self.vtime_now).cast_signed() > 0 {
            self.vtime_now = kernel.tasks[task].vtime;
        }
    }

    fn stopping(&mut self, kernel: &mut Kernel, task: TaskIdx, _runnable: bool) {
        let used = kernel.tasks[task].exec_ns - *self.exec(task);
        let weight = u64::from(kernel.tasks[task].weight);
        kernel.tasks[task].vtime = kernel.tasks[task].vtime.wrapping_add(used * 100 / weight);
    }
}
