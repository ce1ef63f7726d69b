// SPDX-License-Identifier: GPL-2.0-only
//! Kinds, codes, statuses and messages.

use std::io;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn record(kind: i32, exit_code: i64) -> ExitRecord {
    ExitRecord { kind, exit_code, ..ExitRecord::default() }
}

const HOTPLUG_RESTART: i64 = 1 << 48 | 1 << 32;

#[test]
fn statuses_are_the_documented_ones() {
    let all = [OK, FAILURE, USAGE, NO_SCHED_EXT, KERNEL_ERROR, STATS_SOCKET, OTHER_SCHEDULER, NO_RIGHTS];
    assert_eq!(all, [0, 1, 2, 69, 70, 73, 75, 77]);
}

#[test]
fn kinds_of_the_kernel() {
    assert_eq!(ExitKind::from(64), ExitKind::Unregistered);
    assert_eq!(ExitKind::from(65), ExitKind::UnregisteredByBpf);
    assert_eq!(ExitKind::from(66), ExitKind::UnregisteredByKernel);
    assert_eq!(ExitKind::from(67), ExitKind::SysRq);
    assert_eq!(ExitKind::from(1024), ExitKind::Error);
    assert_eq!(ExitKind::from(1025), ExitKind::ErrorFromBpf);
    assert_eq!(ExitKind::from(1026), ExitKind::Stall);
}

#[test]
fn errors_are_what_the_kernel_numbers_from_1024() {
    for kind in [0, 1, 64, 65, 66, 67, 68, 69, 100, 1023] {
        assert!(!ExitKind::from(kind).is_error(), "{kind}");
        assert_eq!(record(kind, 0).exit_status(), OK, "{kind}");
    }
    for kind in [1024, 1025, 1026, 1027, 1028, 1029, i32::MAX, -1] {
        assert!(ExitKind::from(kind).is_error(), "{kind}");
        assert_eq!(record(kind, 0).exit_status(), KERNEL_ERROR, "{kind}");
    }
}

#[test]
fn restart_only_when_asked_and_never_after_an_error() {
    assert!(record(65, HOTPLUG_RESTART).should_restart());
    assert!(record(66, HOTPLUG_RESTART).should_restart());
    assert!(!record(66, 1 << 32).should_restart());
    assert!(!record(64, HOTPLUG_RESTART).should_restart());
    assert!(!record(1024, HOTPLUG_RESTART).should_restart());
    assert!(!record(1026, HOTPLUG_RESTART).should_restart());
    assert_eq!(record(66, HOTPLUG_RESTART).exit_status(), OK);
}

#[test]
fn a_bpf_side_that_gives_up_is_an_error() {
    assert_eq!(record(65, 5).exit_status(), KERNEL_ERROR);
    assert_eq!(record(65, -12).exit_status(), KERNEL_ERROR);
    assert_eq!(record(65, 2 << 32).exit_status(), OK);
}

#[test]
fn hotplug_is_a_reason_of_its_own() {
    assert!(is_hotplug(HOTPLUG_RESTART));
    assert!(is_hotplug(HOTPLUG_RESTART | 7));
    assert!(!is_hotplug(1 << 48 | 2 << 32));
    assert!(!is_hotplug(1 << 48 | 3 << 32));
    assert!(!is_hotplug(0));
}

#[test]
fn display_is_one_line() {
    let mut record = record(1024, 0);
    assert_eq!(record.to_string(), "exit kind 1024");
    record.reason = "runtime error".into();
    record.message = "invalid CPU\n  9 from task".into();
    record.exit_code = 16;
    assert_eq!(record.to_string(), "runtime error (invalid CPU 9 from task), exit code 0x10");
}

#[derive(Debug, Error)]
#[error("attaching")]
struct Wrapped<E: StdError + 'static>(#[source] E);

#[test]
fn the_status_comes_from_anywhere_in_the_chain() {
    let namespace = || PreflightError::UserNamespace;
    assert_eq!(status_of(&namespace()), NO_RIGHTS);
    assert_eq!(status_of(&Wrapped(Wrapped(namespace()))), NO_RIGHTS);
    assert_eq!(status_of(&Wrapped(StatsError::InUse { path: PathBuf::from("/x") })), STATS_SOCKET);
    assert_eq!(status_of(&UsageError("no CPU 9".into())), USAGE);
    assert_eq!(status_of(&Wrapped(KernelExit(record(1026, 0)))), KERNEL_ERROR);
    assert_eq!(status_of(&MonitorError::Denied { path: PathBuf::from("/x") }), NO_RIGHTS);
    assert_eq!(status_of(&Wrapped(io::Error::other("?"))), FAILURE);
    let clap = |arguments: &[&str]| clap::Command::new("x").try_get_matches_from(arguments).unwrap_err();
    assert_eq!(status_of(&clap(&["x", "--bogus"])), USAGE);
    assert_eq!(status_of(&clap(&["x", "--help"])), OK);
    // What libbpf was denied counts as missing rights, what else it fails at does not.
    assert_eq!(status_of(&Wrapped(libbpf_rs::Error::from_raw_os_error(1))), NO_RIGHTS);
    assert_eq!(status_of(&Wrapped(libbpf_rs::Error::from_raw_os_error(22))), FAILURE);
}

#[test]
fn one_line_joins_causes_without_repeating_them() {
    let error = Wrapped(io::Error::other("first\nsecond"));
    assert_eq!(one_line(&error), "attaching: first second");
    let create = StatsError::Create { path: PathBuf::from("/x"), source: io::Error::other("full") };
    assert!(!one_line(&create).contains('\n'));

    #[derive(Debug, Error)]
    #[error("cannot print: {0}")]
    struct Spelled(#[source] io::Error);
    assert_eq!(one_line(&Spelled(io::Error::other("full"))), "cannot print: full");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoding_takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..1300)) {
        match ExitRecord::decode(&bytes) {
            Err(_) => prop_assert!(bytes.len() < 1168),
            Ok(None) => prop_assert_eq!(&bytes[..4], &[0; 4]),
            Ok(Some(record)) => prop_assert!(!record.to_string().contains('\n')),
        }
    }
}
