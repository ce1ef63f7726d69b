// SPDX-License-Identifier: GPL-2.0-only
//! Whole sessions, with a shell script in QEMU's place: what it prints is the record stream.

use crate::kernels::Kernel;
use crate::vm::accel::Accel;
use crate::vm::args::Machine;
use crate::vm::session::{self, End, Limits, Session};
use crate::vm::topology::Spec;
use crate::vm::{Boot, Host};
use guest::protocol::{Mode, Plan, Verdict};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const READY: &str = r#"echo '{"type":"ready","kernel":"k","cpus":2,"topology":""}'"#;
const RESULT: &str = r#"echo '{"type":"result","scenario":"1","verdict":"pass","figures":{"x":1.5},"failures":[],"reason":""}'"#;
const DONE: &str = r#"echo '{"type":"done"}'"#;

fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("qemu.sh");
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{body}\n", dir.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn plan() -> Plan {
    Plan {
        scenarios: vec!["1".into()],
        scheduler: "s".into(),
        scheduler_args: Vec::new(),
        seconds: 0.0,
        seed: 1,
        mode: Mode::Test,
    }
}

fn run(dir: &Path, body: &str, limit: Duration) -> Session {
    let (plan, kernel) = (plan(), Kernel { name: "k".into(), image: "/k".into() });
    let topology = Spec::parse("2c").unwrap();
    let limits = Limits { ready: limit, scenarios: vec![limit] };
    let boot = Boot { kernel: &kernel, topology, deterministic: None, plan: &plan, limits, dir };
    let machine = Machine {
        kernel: "/k".into(),
        initramfs: "/i".into(),
        console: dir.join("console-1.log"),
        topology,
        accel: Accel::TcgSingle,
        cmpxchg16b: true,
        deterministic: None,
    };
    session::run(&script(dir, body), &machine, &boot, &mut |_| {}).unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn an_orderly_session_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = r#"echo '{"type":"file","name":"../../1-x.log","text":"hello"}'"#;
    let body = [READY, "echo garbage", file, RESULT, DONE].join("\n");
    let session = run(dir.path(), &body, LONG);
    assert_eq!(session.end, End::Done);
    assert_eq!(session.ready.as_deref(), Some("k"));
    assert_eq!(session.results.len(), 1);
    assert_eq!(session.results[0].verdict, Verdict::Pass);
    assert_eq!(session.garbled, 1);
    // An artefact stays in the folder, whatever its name says.
    assert_eq!(fs::read_to_string(dir.path().join("1-x.log")).unwrap(), "hello");
}

#[test]
fn a_machine_that_ends_early_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let session = run(dir.path(), &[READY, RESULT, "exit 0"].join("\n"), LONG);
    assert!(matches!(session.end, End::Exited(_)), "{:?}", session.end);
}

#[test]
fn a_silent_machine_is_killed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    // The process id shows afterwards that nothing is left.
    let session =
        run(dir.path(), &[READY, "echo $$ > pid", "exec sleep 300"].join("\n"), Duration::from_secs(1));
    assert_eq!(session.end, End::Late(Duration::from_secs(1)));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_panic_ends_the_session_and_a_warning_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let warn = "echo '[ 1.0] WARNING: at kernel/x.c' >> console-1.log; sleep 1";
    let panic = "echo '[ 2.0] Kernel panic - not syncing: x' >> console-1.log; sleep 1";
    let session = run(dir.path(), &[READY, warn, RESULT, DONE].join("\n"), LONG);
    assert_eq!((session.end, session.findings.len()), (End::Done, 1));
    assert_eq!(session.findings[0].0, 0);
    let session = run(dir.path(), &[READY, panic, RESULT, DONE].join("\n"), LONG);
    assert_eq!(session.end, End::Panic("Kernel panic - not syncing: x".into()));
}

#[test]
fn only_a_boot_that_was_never_ready_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, kernel) = (plan(), Kernel { name: "k".into(), image: "/k".into() });
    let limits = Limits { ready: LONG, scenarios: vec![LONG] };
    let topology = Spec::parse("2c").unwrap();
    let boot = Boot { kernel: &kernel, topology, deterministic: None, plan: &plan, limits, dir: dir.path() };
    let host =
        |body: &str| Host { qemu: script(dir.path(), body), accel: Accel::TcgSingle, initramfs: Vec::new() };
    let starts = || fs::read_to_string(dir.path().join("starts")).unwrap_or_default().lines().count();
    let begins = "echo x >> starts";

    let second = format!("{begins}\n[ $(wc -l < starts) -ge 2 ] || exit 1\n{READY}\n{RESULT}\n{DONE}");
    assert_eq!(host(&second).boot(&boot, &mut |_| {}).unwrap().end, End::Done);
    assert_eq!(starts(), 2);

    fs::remove_file(dir.path().join("starts")).unwrap();
    let error = host(&format!("{begins}\nexit 1")).boot(&boot, &mut |_| {}).unwrap_err();
    assert_eq!(crate::status::of(&error), crate::status::UNAVAILABLE);
    assert_eq!(starts(), 3);

    fs::remove_file(dir.path().join("starts")).unwrap();
    let lost = host(&format!("{begins}\n{READY}\nexit 1")).boot(&boot, &mut |_| {}).unwrap();
    assert!(matches!(lost.end, End::Exited(_)));
    assert_eq!(starts(), 1);
}
