// SPDX-License-Identifier: GPL-2.0-only
//! What is taken from the CPUs: real-time tasks, the server that gives starved tasks a share beside them, and interrupts.
//!
//! Real-time tasks are not tasks of the model: all of a CPU's real-time work is one length of time that comes before
//! everything else. The server is that of kernels from 7.0 on: when real-time work has held a CPU for 950 ms, tasks that
//! wait there get 50 ms.

use crate::events::{CpuId, Event};
use crate::kernel::Curr;
use crate::ops::Ops;
use crate::sim::Sim;
use crate::trace::Stretch;

/// How long real-time work may hold a CPU beside waiting tasks.
const SERVER_AFTER_NS: u64 = 950_000_000;
/// What waiting tasks get then.
const SERVER_SHARE_NS: u64 = 50_000_000;

impl<O: Ops> Sim<O> {
    pub(super) fn rt_start(&mut self, cpu: CpuId, length_ns: u64) {
        self.kernel.this_cpu = cpu;
        if !self.kernel.cpus[cpu].online || length_ns == 0 {
            return;
        }
        self.kernel.cpus[cpu].rt_wanted_ns += length_ns;
        if self.kernel.cpus[cpu].curr != Curr::Rt {
            self.schedule(cpu);
        }
    }

    pub(super) fn rt_end(&mut self, cpu: CpuId) {
        self.kernel.this_cpu = cpu;
        if self.kernel.cpus[cpu].curr != Curr::Rt {
            return;
        }
        self.account_rt(cpu);
        let left = self.kernel.cpus[cpu].rt_wanted_ns;
        if left > 0 {
            self.kernel.events.push(self.kernel.now + left, Event::RtEnd(cpu));
        } else {
            self.schedule(cpu);
        }
    }

    /// Brings the real-time work of a CPU up to now.
    pub(super) fn account_rt(&mut self, cpu: CpuId) {
        let kernel = &mut self.kernel;
        let held = kernel.now - kernel.cpus[cpu].since;
        kernel.metrics.rt_ns += held;
        let from = kernel.cpus[cpu].since;
        kernel.trace.stretch(Stretch { cpu, pid: -1, group: usize::MAX, from, to: kernel.now });
        kernel.cpus[cpu].since = kernel.now;
        kernel.cpus[cpu].rt_wanted_ns = kernel.cpus[cpu].rt_wanted_ns.saturating_sub(held);
    }

    /// Real-time work first, unless it is the server's turn and there is something for it.
    pub(super) fn choose(&mut self, cpu: CpuId, prev: Curr) -> Curr {
        if self.kernel.cpus[cpu].rt_wanted_ns == 0 {
            return self.pick(cpu, prev);
        }
        if self.kernel.cpus[cpu].server_runs {
            let next = self.pick(cpu, prev);
            if next != Curr::Idle {
                return next;
            }
            self.kernel.cpus[cpu].server_runs = false;
        }
        self.ask_in_vain(cpu, prev);
        Curr::Rt
    }

    /// Real-time work gets the CPU.
    pub(super) fn rt_takes(&mut self, cpu: CpuId) {
        let kernel = &mut self.kernel;
        kernel.set_curr(cpu, Curr::Rt);
        kernel.arm_tick(cpu);
        kernel.cpus[cpu].rt_since = kernel.now;
        let wanted = kernel.cpus[cpu].rt_wanted_ns;
        kernel.events.push(kernel.now + wanted, Event::RtEnd(cpu));
        if kernel.config.ext_server && !kernel.cpus[cpu].server_armed {
            kernel.cpus[cpu].server_armed = true;
            kernel.events.push(kernel.now + SERVER_AFTER_NS, Event::ServerStart(cpu));
        }
    }

    pub(super) fn server_start(&mut self, cpu: CpuId) {
        let kernel = &mut self.kernel;
        kernel.this_cpu = cpu;
        kernel.cpus[cpu].server_armed = false;
        if kernel.cpus[cpu].curr != Curr::Rt || !kernel.cpus[cpu].online {
            return;
        }
        let due = kernel.cpus[cpu].rt_since + SERVER_AFTER_NS;
        if kernel.now < due {
            kernel.cpus[cpu].server_armed = true;
            kernel.events.push(due, Event::ServerStart(cpu));
            return;
        }
        kernel.cpus[cpu].server_runs = true;
        kernel.metrics.server_runs += 1;
        kernel.events.push(kernel.now + SERVER_SHARE_NS, Event::ServerEnd(cpu));
        self.schedule(cpu);
        if self.kernel.cpus[cpu].curr == Curr::Rt {
            // Nobody waited: look again after as long a time.
            let kernel = &mut self.kernel;
            (kernel.cpus[cpu].rt_since, kernel.cpus[cpu].server_armed) = (kernel.now, true);
            kernel.events.push(kernel.now + SERVER_AFTER_NS, Event::ServerStart(cpu));
        }
    }

    pub(super) fn server_end(&mut self, cpu: CpuId) {
        self.kernel.this_cpu = cpu;
        if std::mem::take(&mut self.kernel.cpus[cpu].server_runs) && self.kernel.cpus[cpu].online {
            self.schedule(cpu);
        }
    }

    /// Interrupts hold a CPU: the running task loses the time though it is charged, real-time work lasts longer, an idle
    /// CPU reacts later.
    pub(super) fn interrupt(&mut self, cpu: CpuId, length_ns: u64) {
        let kernel = &mut self.kernel;
        kernel.this_cpu = cpu;
        if !kernel.cpus[cpu].online {
            return;
        }
        kernel.metrics.interrupt_ns += length_ns;
        match kernel.cpus[cpu].curr {
            Curr::Idle => {
                let from = kernel.cpus[cpu].interrupted_until.max(kernel.now);
                kernel.cpus[cpu].interrupted_until = from + length_ns;
            }
            Curr::Rt => kernel.cpus[cpu].rt_wanted_ns += length_ns,
            Curr::Task(_) => {
                kernel.update_curr(cpu);
                kernel.cpus[cpu].overhead_ns += length_ns;
                kernel.arm_work(cpu);
            }
        }
    }

    /// The CPU reschedules: those that kicked it with `SCX_KICK_WAIT` have spun until now.
    pub(super) fn release_kick_waiters(&mut self, cpu: CpuId) {
        for (from, since) in std::mem::take(&mut self.kernel.cpus[cpu].kick_waiters) {
            let spun = self.kernel.now - since;
            self.kernel.metrics.kick_wait_ns += spun;
            if spun > 0 && matches!(self.kernel.cpus[from].curr, Curr::Task(_)) {
                self.kernel.update_curr(from);
                self.kernel.cpus[from].overhead_ns += spun;
                self.kernel.arm_work(from);
            }
        }
    }
}
