// SPDX-License-Identifier: GPL-2.0-only
//! The seam over an object in the kernel of this machine.
//!
//! Where the object cannot be compiled or the kernel refuses BPF, the tests count as ignored and the reason is printed.

mod tests;

use std::path::Path;
use std::process::{Command, ExitCode};

use libbpf_rs::{ErrorKind, Object, ObjectBuilder};
use libtest_mimic::{Arguments, Trial};
use tests::Case;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let obstacle = obstacle();
    if let Some(reason) = &obstacle {
        eprintln!("the tests over the kernel are ignored: {reason}");
    }
    let trial = |(name, run): &Case| {
        let run = *run;
        let body = move || {
            run();
            Ok(())
        };
        Trial::test(*name, body).with_ignored_flag(obstacle.is_some())
    };
    libtest_mimic::run(&arguments, tests::ALL.iter().map(trial).collect()).exit_code()
}

/// Why the object cannot be loaded here, if it cannot. Only a missing compiler and missing rights are obstacles; every
/// other failure is for the tests to fail on.
fn obstacle() -> Option<String> {
    let bytes = match compile() {
        Ok(bytes) => bytes,
        Err(reason) => return Some(reason),
    };
    libbpf_rs::set_print(None);
    let opened = ObjectBuilder::default().open_memory(&bytes).ok()?;
    match opened.load() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Some(format!("this process may not load BPF programs ({error}); run as root"))
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Some(format!("this kernel has no BPF system call ({error})"))
        }
        _ => None,
    }
}

/// Compiles the object with the first clang there is.
fn compile() -> Result<Vec<u8>, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let object = directory.path().join("seam.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_object/seam.bpf.c");
    let wished = std::env::var("BPF_CLANG").ok();
    for clang in wished.iter().map(String::as_str).chain(["clang", "clang-19"]) {
        let mut command = Command::new(clang);
        command.args(["-target", "bpf", "-g", "-O2", "-Wall", "-c", "-o"]).arg(&object).arg(&source);
        let Ok(output) = command.output() else { continue };
        // The source is ours: that it does not compile is a failure, not an obstacle.
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return std::fs::read(&object).map_err(|error| error.to_string());
    }
    Err("there is no clang to compile it with".to_owned())
}

/// The object, loaded.
fn load() -> Object {
    let bytes = compile().expect("compiled before");
    ObjectBuilder::default().open_memory(&bytes).expect("opens").load().expect("loads")
}
