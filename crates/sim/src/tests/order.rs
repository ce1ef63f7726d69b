// SPDX-License-Identifier: GPL-2.0-only
//! The order of callbacks, against the table of how the kernel schedules a task out.

use std::rc::Rc;

use topology::Topology;

use crate::abi::{
    EBUSY, ENOENT, SCX_DSQ_LOCAL, SCX_DSQ_LOCAL_ON, SCX_ENQ_LAST, SCX_KICK_PREEMPT,
    SCX_OPS_ALLOW_QUEUED_WAKEUP, SCX_OPS_ENQ_LAST, SCX_OPS_KEEP_BUILTIN_IDLE, SCX_OPS_SWITCH_PARTIAL,
    SCX_PICK_IDLE_IN_NODE, SCX_SLICE_DFL,
};
use crate::events::{CpuId, Event};
use crate::kernel::{Kernel, Traits};
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{TaskIdx, TaskSpec};
use crate::{Config, Costs};

/// Writes down what is called; queues in one DSQ.
#[derive(Default)]
struct Recorder {
    flags: u64,
    log: Vec<String>,
    /// Where the next enqueue of a task alone goes.
    last_target: Option<u64>,
    /// Sets the slice to 0 in stopping(runnable).
    give_up_slice: bool,
    /// Has ops.update_idle.
    update_idle: bool,
}

impl Recorder {
    fn say(&mut self, kernel: &Kernel, what: &str, task: TaskIdx) {
        self.log.push(format!("{what} {}", kernel.tasks[task].name));
    }
}

impl Ops for Recorder {
    fn traits(&self) -> Traits {
        let (flags, update_idle) = (self.flags, self.update_idle);
        Traits { flags, update_idle, select_cpu: true, enqueue: true, dispatch: true, ..Traits::default() }
    }
    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(7)
    }
    fn select_cpu(&mut self, kernel: &mut Kernel, task: TaskIdx, prev: CpuId, _flags: u64) -> i32 {
        self.say(kernel, "select", task);
        prev as i32
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        let what = if flags & SCX_ENQ_LAST != 0 { "enqueue-last" } else { "enqueue" };
        self.say(kernel, what, task);
        let target = if flags & SCX_ENQ_LAST != 0 { self.last_target.unwrap_or(7) } else { 7 };
        kernel.dsq_insert(task, target, SCX_SLICE_DFL, flags);
    }
    fn dispatch(&mut self, kernel: &mut Kernel, _cpu: CpuId, prev: Option<TaskIdx>) {
        let prev = prev.map_or_else(|| "-".to_owned(), |task| kernel.tasks[task].name.clone());
        self.log.push(format!("dispatch {prev}"));
        kernel.dsq_move_to_local(7);
    }
    fn runnable(&mut self, kernel: &mut Kernel, task: TaskIdx, _flags: u64) {
        self.say(kernel, "runnable", task);
    }
    fn running(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.say(kernel, "running", task);
    }
    fn stopping(&mut self, kernel: &mut Kernel, task: TaskIdx, runnable: bool) {
        self.say(kernel, if runnable { "stopping+" } else { "stopping-" }, task);
        if runnable && self.give_up_slice {
            kernel.tasks[task].slice = 0;
        }
    }
    fn quiescent(&mut self, kernel: &mut Kernel, task: TaskIdx, _flags: u64) {
        self.say(kernel, "quiescent", task);
    }
    fn set_cpumask(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.say(kernel, "cpumask", task);
    }
}

fn machine(spec: &str, recorder: Recorder) -> Sim<Recorder> {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("a good spec"), config);
    sim.attach(recorder).expect("init succeeds");
    sim
}

fn hog(name: &str) -> TaskSpec {
    TaskSpec::new(name, Program::new(&[Step::RunForever]))
}

fn log_after(sim: &mut Sim<Recorder>, until: u64) -> Vec<String> {
    sim.ops.as_mut().expect("attached").log.clear();
    sim.run_until(until).expect("no violation");
    assert_eq!(sim.kernel.exit, None);
    std::mem::take(&mut sim.ops.as_mut().expect("attached").log)
}

const MS: u64 = 1_000_000;

#[test]
fn slice_end_beside_another_task() {
    let mut sim = machine("1c", Recorder::default());
    sim.add_task(&hog("a"), 0);
    sim.add_task(&hog("b"), 0);
    let start = log_after(&mut sim, 19 * MS);
    // With one CPU to choose from, ops.select_cpu is not asked.
    assert_eq!(start[..2], ["runnable a", "enqueue a"].map(str::to_owned));
    // The slice of 20 ms ends at the tick at 20 ms, never in between.
    assert_eq!(log_after(&mut sim, 21 * MS), ["dispatch a", "stopping+ a", "enqueue a", "running b"]);
}

#[test]
fn slice_end_alone_keeps_the_task_silently() {
    let mut sim = machine("1c", Recorder::default());
    sim.add_task(&hog("a"), 0);
    sim.run_until(19 * MS).expect("no violation");
    assert_eq!(log_after(&mut sim, 21 * MS), ["dispatch a"]);
}

#[test]
fn slice_end_alone_with_enq_last() {
    let recorder =
        Recorder { flags: SCX_OPS_ENQ_LAST, last_target: Some(SCX_DSQ_LOCAL), ..Recorder::default() };
    let mut sim = machine("1c", recorder);
    sim.add_task(&hog("a"), 0);
    sim.run_until(19 * MS).expect("no violation");
    assert_eq!(log_after(&mut sim, 21 * MS), ["dispatch a", "stopping+ a", "enqueue-last a", "running a"]);
}

#[test]
fn the_last_task_may_leave_for_another_cpu() {
    let target = SCX_DSQ_LOCAL_ON | 1;
    let mut sim =
        machine("2c", Recorder { flags: SCX_OPS_ENQ_LAST, last_target: Some(target), ..Recorder::default() });
    let task = sim.add_task(&hog("a"), 0);
    sim.run_until(21 * MS).expect("no violation");
    assert_eq!((sim.kernel.tasks[task].cpu, sim.kernel.task_running(task)), (1, true));
}

#[test]
fn a_real_time_task_puts_the_task_back_without_enqueue() {
    let mut sim = machine("1c", Recorder::default());
    let task = sim.add_task(&hog("a"), 0);
    sim.kernel.events.push(5 * MS, Event::RtStart { cpu: 0, length_ns: 2 * MS });
    sim.run_until(4 * MS).expect("no violation");
    assert_eq!(log_after(&mut sim, 6 * MS), ["stopping+ a"]);
    assert_eq!(log_after(&mut sim, 7 * MS), ["running a"]);
    assert_eq!(sim.kernel.tasks[task].slice, 15 * MS, "its slice goes on where it was");
}

#[test]
fn a_slice_given_up_in_stopping_is_enqueued() {
    let mut sim = machine("1c", Recorder { give_up_slice: true, ..Recorder::default() });
    sim.add_task(&hog("a"), 0);
    sim.kernel.events.push(5 * MS, Event::RtStart { cpu: 0, length_ns: 2 * MS });
    sim.run_until(4 * MS).expect("no violation");
    assert_eq!(log_after(&mut sim, 8 * MS), ["stopping+ a", "enqueue a", "dispatch -", "running a"]);
}

#[test]
fn sleeping_and_waking() {
    let mut sim = machine("2c", Recorder::default());
    let steps = [Step::Run(Dist::Const(MS)), Step::Sleep(Dist::Const(2 * MS)), Step::RunForever];
    sim.add_task(&TaskSpec::new("a", Program::new(&steps)), 0);
    let log = log_after(&mut sim, 2 * MS);
    assert_eq!(
        log,
        [
            "select a",
            "runnable a",
            "enqueue a",
            "dispatch -",
            "running a",
            "stopping- a",
            "quiescent a",
            "dispatch a"
        ]
    );
    assert_eq!(
        log_after(&mut sim, 4 * MS),
        ["select a", "runnable a", "enqueue a", "dispatch -", "running a"]
    );
}

#[test]
fn a_change_of_affinity_while_running_passes_no_enqueue() {
    let mut sim = machine("2c", Recorder::default());
    let task = sim.add_task(&hog("a"), 0);
    sim.run_until(MS).expect("no violation");
    sim.ops.as_mut().expect("attached").log.clear();
    let here: topology::CpuSet = [0].into_iter().collect();
    sim.set_affinity(task, &Rc::new(here));
    let log = std::mem::take(&mut sim.ops.as_mut().expect("attached").log);
    assert_eq!(log, ["stopping- a", "quiescent a", "cpumask a", "runnable a", "running a"]);
    // A mask without its CPU sends it away.
    let there: topology::CpuSet = [1].into_iter().collect();
    sim.set_affinity(task, &Rc::new(there));
    sim.run_until(2 * MS).expect("no violation");
    assert_eq!((sim.kernel.tasks[task].cpu, sim.kernel.task_running(task)), (1, true));
}

#[test]
fn preempting_kick_ends_the_slice() {
    let mut sim = machine("1c", Recorder::default());
    sim.add_task(&hog("a"), 0);
    sim.add_task(&hog("b"), 0);
    sim.run_until(5 * MS).expect("no violation");
    sim.kernel.kick_cpu(0, SCX_KICK_PREEMPT);
    assert_eq!(log_after(&mut sim, 6 * MS), ["dispatch a", "stopping+ a", "enqueue a", "running b"]);
}

#[test]
fn wrong_requests_end_the_scheduler() {
    type Request = fn(&mut Kernel);
    let cases: [(&str, Request); 4] = [
        ("combined", |kernel| kernel.kick_cpu(0, crate::abi::SCX_KICK_IDLE | SCX_KICK_PREEMPT)),
        ("outside", |kernel| _ = kernel.dsq_insert(0, SCX_DSQ_LOCAL, 1, 0)),
        ("invalid CPU 9", |kernel| kernel.kick_cpu(9, 0)),
        ("non-existent", |kernel| _ = kernel.dsq_peek(99)),
    ];
    for (words, request) in cases {
        let mut sim = machine("1c", Recorder::default());
        sim.add_task(&hog("a"), 0);
        sim.run_until(MS).expect("no violation");
        request(&mut sim.kernel);
        sim.kernel.events.push(MS, Event::Nop);
        assert!(sim.run_until(40 * MS).expect("no violation"), "the scheduler has ended");
        let end = sim.ended().expect("an exit record").clone();
        assert_eq!(end.kind, crate::abi::SCX_EXIT_ERROR, "{words}");
        assert!(end.message.contains(words), "{words}: {}", end.message);
        // Tasks go on without it.
        sim.run_until(80 * MS).expect("no violation");
        assert_eq!(sim.kernel.metrics.busy_ns, 80 * MS);
    }
}

#[test]
fn flags_that_are_not_modelled_are_refused() {
    let attach = |flags: u64| {
        let mut sim = Sim::new(&Topology::from_spec("1c").expect("good"), Config::default());
        let attached = sim.attach(Recorder { flags, ..Recorder::default() });
        attached.map_err(|error| error.to_string())
    };
    assert_eq!(attach(SCX_OPS_ENQ_LAST | SCX_OPS_ALLOW_QUEUED_WAKEUP), Ok(()));
    let refused = attach(SCX_OPS_ENQ_LAST | SCX_OPS_SWITCH_PARTIAL);
    assert_eq!(refused, Err("flags 0x8 are not modelled".to_owned()));
}

/// A scheduler that tracks idle CPUs itself cannot ask the kernel for them: its masks stand still.
#[test]
fn without_idle_tracking_its_functions_end_the_scheduler() {
    type Request = fn(&mut Kernel) -> i32;
    let requests: [Request; 4] = [
        |kernel| kernel.pick_idle_cpu(&[1], 0),
        |kernel| kernel.pick_idle_cpu_node(&[1], 0, 0),
        |kernel| kernel.select_cpu_and(0, 0, 0, &[1], 0),
        |kernel| if kernel.test_and_clear_cpu_idle(0) { 0 } else { -EBUSY },
    ];
    for (flags, tracked) in [(0, false), (SCX_OPS_KEEP_BUILTIN_IDLE, true)] {
        let attached = || {
            let mut sim = machine("1c", Recorder { flags, update_idle: true, ..Recorder::default() });
            sim.add_task(&hog("a"), 1_000 * MS);
            sim
        };
        for request in requests {
            let mut sim = attached();
            assert_eq!(request(&mut sim.kernel), if tracked { 0 } else { -EBUSY });
            let message = sim.kernel.exit.clone().map(|exit| exit.message);
            let expected = "built-in idle tracking is disabled";
            assert_eq!(message.as_deref(), (!tracked).then_some(expected));
        }
        // Any CPU is any CPU.
        let mut sim = attached();
        assert_eq!(sim.kernel.pick_any_cpu(&[1], 0), 0);
        assert_eq!(sim.kernel.pick_any_cpu_node(&[1], 0, 0), 0);
        assert_eq!(sim.kernel.exit, None);
    }
}

#[test]
fn choices_by_node_stay_on_it_or_begin_there() {
    let mut sim = machine("3n1l2c1t", Recorder::default());
    let kernel = &mut sim.kernel;
    let everywhere = Rc::clone(&kernel.machine.all);
    let all = everywhere.words();
    let nodes = kernel.machine.nodes.clone();
    let on = |node: usize, cpu: i32| usize::try_from(cpu).is_ok_and(|cpu| nodes[node].contains(cpu));
    for _ in 0..2 {
        let cpu = kernel.pick_idle_cpu_node(all, 1, SCX_PICK_IDLE_IN_NODE);
        assert!(on(1, cpu), "{cpu}");
    }
    assert_eq!(kernel.pick_idle_cpu_node(all, 1, SCX_PICK_IDLE_IN_NODE), -EBUSY);
    let cpu = kernel.pick_any_cpu_node(all, 1, SCX_PICK_IDLE_IN_NODE);
    assert!(on(1, cpu), "{cpu}: none is idle, and yet no other node");
    // Nobody is idle there: the search goes on with the next nodes, the lower number of equally far ones first.
    for node in [0, 0, 2, 2] {
        let cpu = kernel.pick_any_cpu_node(all, 1, 0);
        assert!(on(node, cpu), "{cpu} for node {node}");
    }
    assert_eq!(kernel.pick_idle_cpu_node(all, 1, 0), -EBUSY);
    assert!(kernel.pick_any_cpu_node(all, 1, 0) >= 0);
    // No node at all is no fault; one that there is not is.
    assert_eq!((kernel.pick_any_cpu_node(all, -1, 0), kernel.exit.clone()), (-ENOENT, None));
    assert!(kernel.pick_idle_cpu_node(all, 3, 0) < 0);
    let message = kernel.exit.clone().map(|exit| exit.message);
    assert_eq!(message.as_deref(), Some("invalid node 3"));
}

#[test]
fn a_task_nobody_dispatches_stalls() {
    struct Hoarder;
    impl Ops for Hoarder {
        fn traits(&self) -> Traits {
            Traits { enqueue: true, dispatch: true, timeout_ns: 2_000 * MS, ..Traits::default() }
        }
        fn select_cpu(&mut self, _: &mut Kernel, _: TaskIdx, prev: CpuId, _: u64) -> i32 {
            prev as i32
        }
        fn enqueue(&mut self, _: &mut Kernel, _: TaskIdx, _: u64) {}
    }
    let mut sim = Sim::new(&Topology::from_spec("2c").expect("good"), Config::default());
    sim.attach(Hoarder).expect("init succeeds");
    // Two are placed on idle CPUs by the default choice, the third falls into the scheduler's hands.
    sim.add_task(&hog("a"), 0);
    sim.add_task(&hog("b"), MS);
    sim.add_task(&hog("c"), 2 * MS);
    assert!(sim.run_until(10_000 * MS).expect("no violation"));
    let end = sim.ended().expect("an exit record");
    assert_eq!(end.kind, crate::abi::SCX_EXIT_ERROR_STALL);
    assert!(end.message.starts_with("c[3] failed to run for"), "{}", end.message);
}
