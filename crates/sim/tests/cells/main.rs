// SPDX-License-Identifier: GPL-2.0-only
//! What BPF code sees of cgroups, timers, references and queues, with a small scheduler compiled here.

use std::process::Command;

use runtime::seam::BpfObject;
use runtime::setup::Setup;
use runtime::signals::Wake;
use sim::bpf::{BpfScheduler, Session};
use sim::cgroup::CgroupIdx;
use sim::program::{Dist, Program, Step};
use sim::sim::Sim;
use sim::task::{TaskIdx, TaskSpec};
use sim::world::Outside;
use sim::{Config, Costs};
use topology::Topology;

const MS: u64 = 1_000_000;

fn compile(define: &str) -> Vec<u8> {
    let clang = std::env::var("BPF_CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cells/cells.bpf.c");
    let object = std::env::temp_dir().join(format!("sim-cells-{}-{define}.o", std::process::id()));
    let arguments = ["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-std=gnu11", "-c", source];
    let output = Command::new(&clang)
        .args(arguments)
        .args(["-D", define, "-o"])
        .arg(&object)
        .output()
        .expect("clang runs: the build needed it too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&object).expect("clang wrote it");
    std::fs::remove_file(&object).expect("it was there");
    bytes
}

fn machine(define: &str) -> (Sim<BpfScheduler>, CgroupIdx, TaskIdx) {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec("1c").expect("good"), config);
    let a = sim.create_cgroup("/alpha", 300).expect("made");
    let hog = |cgroup| TaskSpec { cgroup, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
    let first = sim.add_task(&hog(a), 0);
    sim.add_task(&hog(0), 0);
    sim.add_task(&hog(0), 0);
    let scheduler = BpfScheduler::load(&compile(define), &Setup::default(), 1).expect("it loads");
    sim.attach(scheduler).unwrap_or_else(|error| panic!("{error}"));
    (sim, a, first)
}

fn pass(session: &Session, ms: u64) {
    let until = session.now_ns() + ms * MS;
    while session.now_ns() < until {
        assert_eq!(
            session.wait(std::time::Duration::from_millis(ms)),
            Wake::Timeout,
            "{:?}",
            session.violation()
        );
    }
}

fn number(session: &Session, name: &str) -> u64 {
    let bytes = session.object().read_global(name).expect("a variable of the object");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn run<const N: usize>(session: &Session, program: &str, values: [u64; N]) -> (i32, [u64; N]) {
    let mut context: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let result = session.object().run_syscall(program, &mut context).expect("it runs");
    let value = |at: usize| u64::from_le_bytes(context[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
    (result, std::array::from_fn(value))
}

#[test]
fn cgroups_reach_the_scheduler() {
    let (sim, a, first) = machine("PLAIN");
    let session = Session::new(sim, 1_000 * MS);
    let id = |cgroup: CgroupIdx| session.with(|sim| sim.kernel.cgroups[cgroup].id);
    assert_eq!((number(&session, "inits"), number(&session, "known_tasks")), (2, id(a) + 1 + 1));
    let b = session.with(|sim| sim.create_cgroup("/alpha/beta", 50)).expect("made");
    session.with(|sim| sim.move_task(first, b)).expect("moved");
    assert_eq!(
        (number(&session, "moves"), number(&session, "last_from"), number(&session, "last_to")),
        (1, id(a), id(b))
    );
    pass(&session, 200);
    let (result, seen) = run(&session, "look", [id(b), 0, 0, 0, 0, 0, 0]);
    assert_eq!(result, 0);
    assert_eq!(seen[1..6], [2, id(a), u64::from(b'b'), 0, 50]);
    assert!(seen[6] > 2, "{} enqueues in the cgroup", seen[6]);
    let (_, seen) = run(&session, "look", [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!((seen[1], seen[4], seen[5]), (0, 2, 100), "the root and the two below it");
    assert_eq!(run(&session, "look", [12345, 0, 0, 0, 0, 0, 0]).0, -2);
    session.with(|sim| sim.move_task(first, 0)).expect("moved");
    session.with(|sim| sim.remove_cgroup(b)).expect("empty");
    assert_eq!(run(&session, "look", [id(b), 0, 0, 0, 0, 0, 0]).0, -2, "it is gone");
    pass(&session, 100);
    assert_eq!((number(&session, "exits"), number(&session, "wrong")), (1, 0));
    session.with(sim::Sim::detach).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(number(&session, "exits"), 3);
    session
        .with(|sim| sim.run_until(2_000 * MS).map(|_| ()))
        .unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn timers_fire_in_virtual_time_and_queues_are_enqueued_again() {
    let (sim, _, _) = machine("TIMER");
    let session = Session::new(sim, 1_000 * MS);
    pass(&session, 4);
    assert_eq!((number(&session, "fires"), number(&session, "reenqueued")), (0, 0));
    pass(&session, 2);
    // One runs, two wait and were enqueued again.
    assert_eq!((number(&session, "fires"), number(&session, "reenqueued")), (1, 2));
    pass(&session, 100);
    assert_eq!(
        (number(&session, "fires"), number(&session, "last_key"), number(&session, "wrong")),
        (4, 1, 0)
    );
    assert_eq!(number(&session, "reenqueued"), 8);
}

#[test]
fn custody_ends_by_dispatch_or_by_change() {
    let (sim, a, first) = machine("DEQUEUE");
    let session = Session::new(sim, 1_000 * MS);
    pass(&session, 100);
    let dispatched = number(&session, "left");
    let switches = session.with(|sim| sim.kernel.metrics.switches);
    assert_eq!((dispatched, number(&session, "changed")), (switches, 0), "each switch was a dispatch");
    let waits = session.with(|sim| sim.kernel.tasks[first].waits());
    let waiter =
        session.with(|sim| sim.kernel.tasks.live().find(|(_, task)| task.waits()).map(|(task, _)| task));
    let waiter = if waits { first } else { waiter.expect("three tasks, one CPU") };
    session.with(|sim| sim.set_weight(waiter, 50));
    assert_eq!((number(&session, "left"), number(&session, "changed")), (dispatched, 1));
    let _ = a;
}

#[test]
fn what_runs_on_a_cpu_is_seen() {
    let (mut sim, _, first) = machine("CURR");
    sim.add_source(
        Outside::RealTime { cpu: Some(0), every: Dist::Const(1_000 * MS), length: Dist::Const(50 * MS) },
        10 * MS,
    );
    let pid = sim.kernel.tasks[first].pid;
    let session = Session::new(sim, 1_000 * MS);
    pass(&session, 5);
    assert_eq!(run(&session, "who_runs", [0, 0, 0]).1[1], pid as u64);
    pass(&session, 20);
    assert_eq!(run(&session, "who_runs", [0, 0, 0]).1[1], 1 << 22, "a real-time task");
}

#[test]
fn lost_references_end_the_run() {
    for (kind, words) in [(0, "references to cgroups"), (1, "references to tasks")] {
        let (sim, a, first) = machine("LOST");
        let target = if kind == 0 { sim.kernel.cgroups[a].id } else { sim.kernel.tasks[first].pid as u64 };
        let session = Session::new(sim, 1_000 * MS);
        pass(&session, 5);
        run(&session, "misuse", [kind, target]);
        let violation = session.with(sim::Sim::detach).expect_err("one is lost");
        assert!(violation.what.contains(words), "{violation}");
    }
    let (sim, a, _) = machine("TWICE");
    let id = sim.kernel.cgroups[a].id;
    let session = Session::new(sim, 1_000 * MS);
    let mut context: Vec<u8> = [2, id].iter().flat_map(|value: &u64| value.to_le_bytes()).collect();
    let error = session.object().run_syscall("misuse", &mut context).expect_err("released twice");
    assert!(error.to_string().contains("was not acquired"), "{error}");
}

#[test]
fn a_callback_that_is_not_modelled_is_named() {
    let object = compile("WANTS_UNKNOWN_CALLBACK");
    let error = BpfScheduler::load(&object, &Setup::default(), 1).expect_err("it lacks that");
    assert!(error.to_string().contains("ops.no_such_callback"), "{error}");
}
