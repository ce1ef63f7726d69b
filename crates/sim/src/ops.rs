// SPDX-License-Identifier: GPL-2.0-only
//! A scheduler as the kernel sees it: the callbacks of `struct sched_ext_ops`.

use crate::cgroup::{Bandwidth, CgroupIdx};
use crate::events::CpuId;
use crate::kernel::{ExitInfo, Kernel, Traits};
use crate::task::TaskIdx;
use crate::timers::Callback;

/// What one or several callbacks took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Callbacks called.
    pub callbacks: u64,
    /// BPF instructions executed.
    pub instructions: u64,
}

/// The callbacks. Those with a default do nothing unless the scheduler has them; [`Ops::traits`] says which of the others
/// are there. Inside a callback a scheduler acts through the methods of [`Kernel`] in [`crate::kfuncs`].
pub trait Ops {
    /// What the scheduler is like.
    fn traits(&self) -> Traits;

    /// Cost of the callbacks since the last call.
    fn take_cost(&mut self) -> Cost {
        Cost::default()
    }

    /// ops.init; 0 or a negative errno.
    fn init(&mut self, _kernel: &mut Kernel) -> i32 {
        0
    }

    /// ops.exit.
    fn exit(&mut self, _kernel: &mut Kernel, _info: &ExitInfo) {}

    /// ops.init_task; 0 or a negative errno.
    fn init_task(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _fork: bool) -> i32 {
        0
    }

    /// ops.exit_task.
    fn exit_task(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.enable.
    fn enable(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.disable.
    fn disable(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.select_cpu.
    fn select_cpu(&mut self, _kernel: &mut Kernel, _task: TaskIdx, prev: CpuId, _wake_flags: u64) -> i32 {
        prev as i32
    }

    /// ops.enqueue.
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, enq_flags: u64);

    /// ops.dequeue.
    fn dequeue(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _deq_flags: u64) {}

    /// ops.dispatch.
    fn dispatch(&mut self, _kernel: &mut Kernel, _cpu: CpuId, _prev: Option<TaskIdx>) {}

    /// ops.tick.
    fn tick(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.runnable.
    fn runnable(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _enq_flags: u64) {}

    /// ops.running.
    fn running(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.stopping.
    fn stopping(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _runnable: bool) {}

    /// ops.quiescent.
    fn quiescent(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _deq_flags: u64) {}

    /// ops.yield.
    fn yields(&mut self, _kernel: &mut Kernel, _task: TaskIdx) -> bool {
        false
    }

    /// ops.set_weight.
    fn set_weight(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _weight: u32) {}

    /// ops.set_cpumask.
    fn set_cpumask(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// ops.update_idle.
    fn update_idle(&mut self, _kernel: &mut Kernel, _cpu: CpuId, _idle: bool) {}

    /// ops.cpu_online.
    fn cpu_online(&mut self, _kernel: &mut Kernel, _cpu: CpuId) {}

    /// ops.cpu_offline.
    fn cpu_offline(&mut self, _kernel: &mut Kernel, _cpu: CpuId) {}

    /// ops.cgroup_init; 0 or a negative errno.
    fn cgroup_init(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx) -> i32 {
        0
    }

    /// ops.cgroup_exit.
    fn cgroup_exit(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx) {}

    /// ops.cgroup_prep_move; 0 or a negative errno.
    fn cgroup_prep_move(
        &mut self,
        _kernel: &mut Kernel,
        _task: TaskIdx,
        _from: CgroupIdx,
        _to: CgroupIdx,
    ) -> i32 {
        0
    }

    /// ops.cgroup_move.
    fn cgroup_move(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _from: CgroupIdx, _to: CgroupIdx) {}

    /// ops.cgroup_cancel_move.
    fn cgroup_cancel_move(&mut self, _kernel: &mut Kernel, _task: TaskIdx, _from: CgroupIdx, _to: CgroupIdx) {
    }

    /// ops.cgroup_set_weight.
    fn cgroup_set_weight(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx, _weight: u32) {}

    /// ops.cgroup_set_bandwidth.
    fn cgroup_set_bandwidth(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx, _bandwidth: Bandwidth) {}

    /// ops.cgroup_set_idle.
    fn cgroup_set_idle(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx, _idle: bool) {}

    /// ops.cpu_acquire.
    fn cpu_acquire(&mut self, _kernel: &mut Kernel, _cpu: CpuId) {}

    /// ops.cpu_release, to a real-time task.
    fn cpu_release(&mut self, _kernel: &mut Kernel, _cpu: CpuId) {}

    /// A timer of the scheduler fires.
    fn timer(&mut self, _kernel: &mut Kernel, _callback: Callback) {}

    /// What the scheduler holds although it should have given it back by now, at its end.
    fn leftovers(&mut self, _kernel: &mut Kernel) -> Option<String> {
        None
    }

    /// ops.dump and ops.dump_task for every task: adds to [`Kernel::dump`].
    fn dump(&mut self, _kernel: &mut Kernel) {}

    /// A task is gone and its slot may be given to another one.
    fn forget_task(&mut self, _kernel: &mut Kernel, _task: TaskIdx) {}

    /// A cgroup is gone.
    fn forget_cgroup(&mut self, _kernel: &mut Kernel, _cgroup: CgroupIdx) {}
}
