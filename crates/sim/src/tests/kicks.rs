// SPDX-License-Identifier: GPL-2.0-only
//! `SCX_KICK_IDLE` from callbacks that hold the lock of the run queue they kick: the kick is judged after them.

use std::rc::Rc;

use topology::Topology;

use crate::abi::{SCX_ENQ_LAST, SCX_KICK_IDLE, SCX_OPS_ENQ_LAST, SCX_SLICE_DFL};
use crate::events::CpuId;
use crate::kernel::{Kernel, Traits};
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{TaskIdx, TaskSpec};
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

/// The queue.
const QUEUE: u64 = 7;

/// One queue; ops.enqueue kicks the CPU of the task that goes into it, if that idles.
#[derive(Default)]
struct Kicker {
    /// Tasks enqueued because they were the last on their CPU.
    last: usize,
}

impl Ops for Kicker {
    fn traits(&self) -> Traits {
        Traits {
            flags: SCX_OPS_ENQ_LAST,
            select_cpu: true,
            enqueue: true,
            dispatch: true,
            ..Traits::default()
        }
    }
    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(QUEUE)
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        self.last += usize::from(flags & SCX_ENQ_LAST != 0);
        kernel.dsq_insert(task, QUEUE, SCX_SLICE_DFL, flags);
        kernel.kick_cpu(kernel.tasks[task].cpu as i32, SCX_KICK_IDLE);
    }
    fn dispatch(&mut self, kernel: &mut Kernel, _cpu: CpuId, _prev: Option<TaskIdx>) {
        kernel.dsq_move_to_local(QUEUE);
    }
}

fn machine(spec: &str, costs: Costs) -> Sim<Kicker> {
    let config = Config { costs, check_every: 1, ..Config::oldest_kernel() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("a good spec"), config);
    sim.attach(Kicker::default()).expect("init succeeds");
    sim
}

fn pinned(name: &str, cpu: CpuId, steps: &[Step]) -> TaskSpec {
    TaskSpec { cpus: Some(Rc::new([cpu].into_iter().collect())), ..TaskSpec::new(name, Program::new(steps)) }
}

#[test]
fn a_cpu_that_kicks_itself_while_it_puts_its_last_task_aside_runs_on() {
    let mut sim = machine("1c", Costs::none());
    let task = sim.add_task(&pinned("hog", 0, &[Step::RunForever]), 0);
    sim.run_until(100 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    sim.kernel.update_curr(0);
    // Slices of 20 ms.
    assert!(sim.ops.as_ref().expect("attached").last >= 4);
    assert_eq!(sim.kernel.tasks[task].exec_ns, 100 * MS);
}

#[test]
fn whether_a_cpu_idles_is_seen_at_once_only_without_its_lock() {
    let costs = Costs { deferred_ns: MS, ..Costs::none() };
    let mut sim = machine("1c", costs);
    sim.add_task(&pinned("runs", 0, &[Step::RunForever]), 0);
    sim.run_until(2 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    sim.kernel.kick_cpu(0, SCX_KICK_IDLE);
    assert_eq!(sim.kernel.cpus[0].kicks, 0, "it is busy: nothing to kick");
    // ops.enqueue of a wake-up has the lock: the kick is on its way until the lock is dropped, and has no effect then.
    let work = [Step::Run(Dist::Const(MS))];
    sim.add_task(&pinned("wakes", 0, &work), 3 * MS);
    sim.run_until(3 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((sim.kernel.cpus[0].kicks, sim.kernel.locked), (1, None));
    sim.run_until(5 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!((sim.kernel.cpus[0].kicks, sim.kernel.cpus[0].need_resched), (0, false));
}
