// SPDX-License-Identifier: GPL-2.0-only
//! A small scheduler, compiled here, on the model.

use std::process::Command;

use runtime::seam::{BpfObject, SeamError};
use runtime::setup::Setup;
use sim::bpf::{BpfScheduler, Session};
use sim::program::{Dist, Program, Step};
use sim::sim::{AttachError, Sim};
use sim::task::TaskSpec;
use sim::{Config, Costs, Ops};
use topology::Topology;

const MS: u64 = 1_000_000;

/// Compiles the scheduler with a macro set.
fn compile(define: &str) -> Vec<u8> {
    let clang = std::env::var("BPF_CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny/tiny.bpf.c");
    let object = std::env::temp_dir().join(format!("sim-tiny-{}-{define}.o", std::process::id()));
    let output = Command::new(&clang)
        .args([
            "-target",
            "bpf",
            "-mcpu=v3",
            "-g",
            "-O2",
            "-Wall",
            "-std=gnu11",
            "-c",
            source,
            "-D",
            define,
            "-o",
        ])
        .arg(&object)
        .output()
        .expect("clang runs: the build needed it too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&object).expect("clang wrote it");
    std::fs::remove_file(&object).expect("it was there");
    bytes
}

fn machine(spec: &str, tasks: usize) -> Sim<BpfScheduler> {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    let mut sim = Sim::new(&Topology::from_spec(spec).expect("good"), config);
    let body = vec![Step::Run(Dist::Const(3 * MS)), Step::Sleep(Dist::Const(MS))];
    let program = Program::new(&[Step::Loop(None, body)]);
    (0..tasks).for_each(|_| _ = sim.add_task(&TaskSpec::new("task", program.clone()), 0));
    sim
}

#[test]
fn what_it_writes_reaches_the_model() {
    let mut sim = machine("2c", 6);
    let scheduler = BpfScheduler::load(&compile("PLAIN"), &Setup::default(), 2).expect("it loads");
    assert_eq!(scheduler.name(), "tiny");
    sim.attach(scheduler).unwrap_or_else(|error| panic!("{error}"));
    let session = Session::new(sim, 200 * MS);
    while session.wait(std::time::Duration::from_millis(10)) != runtime::signals::Wake::Shutdown {}
    assert!(session.violation().is_none(), "{:?}", session.violation());
    let mut object = session.object();
    let number = |name: &str| {
        let bytes = object.read_global(name).expect("a variable of the object");
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    };
    assert_eq!(number("weights"), 2);
    assert!(number("inserted") > 50 && number("walked") > 50);
    session.with(|sim| {
        // Slices of 1 ms end at the next tick, although the queue was given the default slice.
        assert!(sim.kernel.metrics.slice_ends > 50, "{}", sim.kernel.metrics.slice_ends);
        assert!(sim.kernel.tasks.live().all(|(_, task)| task.vtime > 0 && task.vtime % 5 == 0));
    });
    let mut context = 0u64.to_le_bytes();
    let queued = object.run_syscall("count_tasks", &mut context).expect("it runs");
    assert_eq!(u64::from_le_bytes(context), 12, "six tasks that may use two CPUs");
    assert!((0..6).contains(&queued));
    let missing = object.run_syscall("nothing", &mut context).expect_err("there is no such program");
    assert!(matches!(missing, SeamError::Missing { kind: "program", .. }), "{missing}");
    assert_eq!(object.exit_record().expect("readable"), None, "it keeps no record");
}

#[test]
fn what_the_model_lacks_is_named_at_load() {
    for (define, word) in
        [("WANTS_UNKNOWN_FIELD", "no_such_field"), ("WANTS_UNKNOWN_FUNCTION", "no_such_function")]
    {
        let error = BpfScheduler::load(&compile(define), &Setup::default(), 2).expect_err("it lacks that");
        assert!(error.to_string().contains(word), "{error}");
    }
    // Flags of the object itself, by name if the modelled kernel has one for it.
    for (define, word) in [("FLAGS=64", "SCX_OPS_BUILTIN_IDLE_PER_NODE"), ("FLAGS=1026", "'0x400'")] {
        let error = BpfScheduler::load(&compile(define), &Setup::default(), 2).expect_err("it lacks that");
        assert!(error.to_string().contains(word), "{error}");
    }
    let partial = Setup { ops_flags: vec!["SCX_OPS_SWITCH_PARTIAL"], ..Setup::default() };
    let error = BpfScheduler::load(&compile("PARTIAL"), &partial, 2).expect_err("it lacks that");
    assert_eq!(error.to_string(), "flag 'SCX_OPS_SWITCH_PARTIAL' is not modelled");
    let wrong = Setup { read_only: vec![("unwanted", vec![1])], ..Setup::default() };
    let error = BpfScheduler::load(&compile("PLAIN"), &wrong, 2).expect_err("no such variable");
    assert!(error.to_string().contains("unwanted"), "{error}");
}

#[test]
fn a_refused_task_refuses_the_scheduler() {
    let mut sim = machine("2c", 13);
    let scheduler = BpfScheduler::load(&compile("REFUSE"), &Setup::default(), 2).expect("it loads");
    let error = sim.attach(scheduler).expect_err("the thirteenth task");
    assert!(matches!(&error, AttachError::Refused { callback: "ops.init_task", errno: -1, .. }), "{error}");
    assert!(error.to_string().contains("task 13 is not welcome"), "{error}");
    // The machine goes on without it.
    sim.run_until(50 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(sim.kernel.metrics.busy_ns > 90 * MS);
}

#[test]
fn the_watchdog_waits_as_long_as_the_setup_says() {
    let object = compile("WATCHDOG");
    for (timeout_ms, timeout_ns) in [(0, 5_000 * MS), (7_000, 7_000 * MS)] {
        let setup = Setup { timeout_ms, ..Setup::default() };
        let scheduler = BpfScheduler::load(&object, &setup, 2).expect("it loads");
        assert_eq!(scheduler.traits().timeout_ns, timeout_ns);
    }
}

#[test]
fn what_is_not_given_back_is_told_by_the_detachment() {
    for (define, leaks) in [("TIDY", false), ("LEAKS", true)] {
        let mut sim = machine("2c", 4);
        let scheduler = BpfScheduler::load(&compile(define), &Setup::default(), 2).expect("it loads");
        sim.attach(scheduler).expect("it attaches");
        sim.run_until(20 * MS).unwrap_or_else(|violation| panic!("{violation}"));
        let told = sim.detach().err().map(|violation| violation.what);
        let expected = "1 CPU masks of BPF code are alive and 0 are held by maps: some are lost";
        assert_eq!(told.as_deref(), leaks.then_some(expected));
        // Told once.
        sim.run_until(40 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn read_only_data_configures() {
    let mut sim = machine("2c", 4);
    let setup = Setup { read_only: vec![("wanted", 99u32.to_le_bytes().to_vec())], ..Setup::default() };
    sim.attach(BpfScheduler::load(&compile("CONFIG"), &setup, 2).expect("it loads")).expect("it attaches");
    sim.run_until(20 * MS).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(sim.kernel.dsqs.find(99).is_some() && sim.kernel.dsqs.find(7).is_none());
}
