// SPDX-License-Identifier: GPL-2.0-only
//! Queued tasks go through ops.enqueue once more (`scx_bpf_dsq_reenq`), and timers of BPF code fire.

use crate::abi::SCX_ENQ_REENQ;
use crate::events::CpuId;
use crate::kernel::{Curr, Within};
use crate::ops::Ops;
use crate::queueing::Target;
use crate::sim::Sim;
use crate::task::TaskIdx;

impl<O: Ops> Sim<O> {
    /// All tasks that wait on a queue now are taken off and enqueued again.
    pub(crate) fn reenqueue(&mut self, cpu: CpuId, dsq: u64) {
        let target = self.kernel.reenq_target(dsq, cpu);
        let waiting: Vec<TaskIdx> = match target {
            Some(Target::Local(cpu)) => self.kernel.cpus[cpu].local.iter().copied().collect(),
            Some(Target::Queue(index)) => self.kernel.dsqs[index].iter().collect(),
            None => return,
        };
        for &task in &waiting {
            self.kernel.take(task);
        }
        for task in waiting {
            let rq = self.kernel.tasks[task].cpu;
            self.do_enqueue(rq, task, SCX_ENQ_REENQ);
            if self.kernel.cpus[rq].curr == Curr::Idle {
                self.kernel.resched(rq);
            }
            self.kernel.run_deferred(rq);
        }
    }

    pub(crate) fn fire_timer(&mut self, timer: u64, generation: u64) {
        if let Some((cpu, callback)) = self.kernel.timer_fires(timer, generation) {
            self.kernel.this_cpu = cpu;
            self.call(Within::Other, |ops, kernel| ops.timer(kernel, callback));
        }
    }
}
