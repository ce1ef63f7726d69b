// SPDX-License-Identifier: GPL-2.0-only
//! States that differ in nothing that matters are one state.

use crate::state::{Asking, Cpu, Identity, PushState, State, bit};

/// All orders of three things.
const ORDERS: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Bits moved to where `order` puts their numbers.
fn moved(bits: u8, order: &[u8; 3]) -> u8 {
    (0..3).filter(|&index| bits & bit(index) != 0).map(|index| bit(order[index as usize])).sum()
}

/// CPUs are alike and tasks are alike: of all states that differ in their numbering only, one stands for all.
impl State {
    /// A CPU that has something to run neither looks nor is kicked; one that does not is not kicked unless it is idle or
    /// about to be.
    pub fn forget_what_does_not_matter(&mut self) {
        for cpu in &mut self.cpus {
            if cpu.local != 0 || cpu.running.is_some() || cpu.leaving.is_some() {
                cpu.looking = false;
                cpu.idle_bit = false;
            }
            cpu.kicked &= cpu.looking || cpu.idle_bit;
        }
    }

    pub fn representative(&self) -> State {
        let renumbered =
            ORDERS.iter().flat_map(|cpus| ORDERS.iter().map(|tasks| self.renumbered(cpus, tasks)));
        renumbered.min().unwrap_or_else(|| self.clone())
    }

    pub fn renumbered(&self, cpus: &[u8; 3], tasks: &[u8; 3]) -> State {
        let mut state = self.clone();
        let cpu_of = |cpu: u8| cpus[cpu as usize];
        let task_of = |task: u8| tasks[task as usize];
        let identity = |(task, generation): Identity| (task_of(task), generation);
        for (index, from) in self.tasks.iter().enumerate() {
            let to = &mut state.tasks[tasks[index] as usize];
            *to = from.clone();
            to.affinity = moved(from.affinity, cpus);
            to.push_target = from.push_target.map(cpu_of);
        }
        for (index, from) in self.cpus.iter().enumerate() {
            let to = &mut state.cpus[cpus[index] as usize];
            *to = from.clone();
            to.running = from.running.map(task_of);
            to.leaving = from.leaving.map(task_of);
            to.queue = moved(from.queue, tasks);
            to.local = moved(from.local, tasks);
            to.request_of = from.request_of.map(identity);
            to.request_target = if from.incoming_matters() { cpu_of(from.request_target) } else { 0 };
            to.incoming = from.incoming.map(cpu_of);
            to.asking = match from.asking {
                Asking::No => Asking::No,
                Asking::Recording { source } => Asking::Recording { source: cpu_of(source) },
                Asking::Claimed { source, of } => {
                    Asking::Claimed { source: cpu_of(source), of: identity(of) }
                }
            };
        }
        state
    }
}

impl Cpu {
    /// The target has a meaning: from the claim on.
    pub fn incoming_matters(&self) -> bool {
        self.request != PushState::None
    }
}
