// SPDX-License-Identifier: GPL-2.0-only
//! What the seam does over a real object.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytemuck::{Pod, Zeroable};
use runtime::libbpf::LibbpfObject;
use runtime::privileges;
use runtime::seam::{self, BpfObject, SeamError};

use crate::load;

/// Name and body of a test.
pub type Case = (&'static str, fn());

/// All tests of this file.
pub const ALL: &[Case] = &[
    ("globals_of_every_section", globals_of_every_section),
    ("hash_map", hash_map),
    (
        "a_walk_over_a_changing_map_finds_what_stays_and_repeats_nothing",
        a_walk_over_a_changing_map_finds_what_stays_and_repeats_nothing,
    ),
    ("array_map", array_map),
    ("per_cpu_map", per_cpu_map),
    ("syscall_program_changes_its_context", syscall_program_changes_its_context),
    ("wrong_programs_and_contexts_are_refused", wrong_programs_and_contexts_are_refused),
    ("wrong_names_and_sizes_are_refused", wrong_names_and_sizes_are_refused),
    ("exit_record", exit_record),
    (
        "loads_and_runs_again_without_the_dropped_privileges",
        loads_and_runs_again_without_the_dropped_privileges,
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
struct Pair {
    first: u64,
    second: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Sum {
    left: u64,
    right: u64,
    result: u64,
}

fn globals_of_every_section() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    assert_eq!(seam::read_global::<u32>(&seam, "chosen").unwrap(), 7);
    assert_eq!(seam::read_global::<u32>(&seam, "started").unwrap(), 42);
    assert_eq!(seam::read_global::<u32>(&seam, "neighbour").unwrap(), 43);
    assert_eq!(seam::read_global::<u64>(&seam, "zeroed").unwrap(), 0);
    seam::run(&mut seam, "add", &mut Sum::zeroed()).unwrap();
    assert_eq!(seam::read_global::<u64>(&seam, "zeroed").unwrap(), 1);
}

fn hash_map() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    let pair = |n: u64| Pair { first: n, second: !n };
    assert_eq!(seam::lookup::<u32, Pair>(&seam, "pairs", &1).unwrap(), None);
    assert!(seam.map_entries("pairs").unwrap().is_empty());
    for key in 0..64u32 {
        seam::update(&mut seam, "pairs", &key, &pair(key.into())).unwrap();
    }
    assert_eq!(seam::lookup::<u32, Pair>(&seam, "pairs", &63).unwrap(), Some(pair(63)));
    let mut entries = seam::entries::<u32, Pair>(&seam, "pairs").unwrap();
    entries.sort_unstable();
    assert_eq!(entries, (0..64).map(|key| (key, pair(key.into()))).collect::<Vec<_>>());

    let full = seam::update(&mut seam, "pairs", &64u32, &pair(0)).unwrap_err();
    assert!(matches!(full, SeamError::Refused { errno: Some(7), .. }), "{full:?}");
    assert!(seam.map_delete("pairs", &5u32.to_ne_bytes()).unwrap());
    assert!(!seam.map_delete("pairs", &5u32.to_ne_bytes()).unwrap());
    assert_eq!(seam.map_entries("pairs").unwrap().len(), 63);
}

fn a_walk_over_a_changing_map_finds_what_stays_and_repeats_nothing() {
    const STAYING: u32 = 32;
    let object = load();
    let stop = AtomicBool::new(false);
    let value = Pair { first: 1, second: 2 };
    let mut walker = LibbpfObject::new(&object).unwrap();
    for key in 0..STAYING {
        seam::update(&mut walker, "pairs", &key, &value).unwrap();
    }
    let mut results = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = LibbpfObject::new(&object).unwrap();
            while !stop.load(Ordering::Relaxed) {
                for key in STAYING..64 {
                    seam::update(&mut writer, "pairs", &key, &value).unwrap();
                    writer.map_delete("pairs", &key.to_ne_bytes()).unwrap();
                }
            }
        });
        for _ in 0..2000 {
            results.push(seam::entries::<u32, Pair>(&walker, "pairs"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    for result in results {
        let mut keys: Vec<u32> = result.unwrap().iter().map(|(key, _)| *key).collect();
        let found = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), found, "repeated keys");
        assert_eq!(keys.iter().filter(|key| **key < STAYING).count(), STAYING as usize, "{keys:?}");
    }
}

fn array_map() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    seam::update(&mut seam, "slots", &3u32, &9u64).unwrap();
    assert_eq!(seam::lookup::<u32, u64>(&seam, "slots", &3).unwrap(), Some(9));
    assert_eq!(seam::lookup::<u32, u64>(&seam, "slots", &4).unwrap(), None);
    assert_eq!(seam::entries::<u32, u64>(&seam, "slots").unwrap(), vec![(0, 0), (1, 0), (2, 0), (3, 9)]);
    // Elements of an array cannot go away.
    assert!(matches!(seam.map_delete("slots", &0u32.to_ne_bytes()), Err(SeamError::Refused { .. })));
}

fn per_cpu_map() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    seam::run(&mut seam, "add", &mut Sum::zeroed()).unwrap();
    let values = seam::lookup_percpu::<u32, u64>(&seam, "per_cpu", &0).unwrap().unwrap();
    assert_eq!(values.len(), libbpf_rs::num_possible_cpus().unwrap());
    // The run happened on one CPU, which added 100 and its own id.
    let written: Vec<_> = values.iter().enumerate().filter(|(_, value)| **value != 0).collect();
    assert_eq!(written.len(), 1, "{values:?}");
    assert_eq!(*written[0].1, 100 + written[0].0 as u64);
    assert_eq!(seam::lookup_percpu::<u32, u64>(&seam, "per_cpu", &1).unwrap(), None);
    // Each kind of look-up refuses the other kind of map.
    assert!(matches!(seam.map_lookup("per_cpu", &[0; 4]), Err(SeamError::Refused { .. })));
    assert!(matches!(seam.map_lookup_percpu("slots", &[0; 4]), Err(SeamError::Refused { .. })));
}

fn syscall_program_changes_its_context() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    let mut sum = Sum { left: 40, right: 2, result: 0 };
    assert_eq!(seam::run(&mut seam, "add", &mut sum).unwrap(), -5);
    assert_eq!(sum, Sum { left: 40, right: 2, result: 42 });
    assert_eq!(seam.run_syscall("finish", &mut []).unwrap(), 0);
}

fn wrong_programs_and_contexts_are_refused() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    assert!(matches!(seam.run_syscall("nothing", &mut []), Err(SeamError::Missing { kind: "program", .. })));
    let other = seam.run_syscall("not_a_syscall", &mut []).unwrap_err();
    assert!(other.to_string().contains("not Syscall"), "{other}");
    // The program reads further than the context goes.
    let short = seam.run_syscall("add", &mut [0; 8]).unwrap_err();
    assert!(matches!(short, SeamError::Refused { errno: Some(22), .. }), "{short:?}");
    assert!(matches!(seam.run_syscall("add", &mut [0; 65_536]), Err(SeamError::Size { .. })));
}

fn wrong_names_and_sizes_are_refused() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    assert!(matches!(seam.map_lookup("nothing", &[]), Err(SeamError::Missing { kind: "map", .. })));
    assert!(matches!(seam.read_global("nothing"), Err(SeamError::Missing { kind: "variable", .. })));
    let key = seam.map_lookup("pairs", &[0; 8]).unwrap_err();
    assert!(matches!(key, SeamError::Size { expected: 4, found: 8, .. }), "{key}");
    let value = seam.map_update("pairs", &[0; 4], &[0; 15]).unwrap_err();
    assert!(matches!(value, SeamError::Size { expected: 16, found: 15, .. }), "{value}");
    assert!(matches!(seam.map_delete("pairs", &[]), Err(SeamError::Size { .. })));
    assert!(seam::read_global::<u64>(&seam, "started").is_err());
}

fn exit_record() {
    let object = load();
    let mut seam = LibbpfObject::new(&object).unwrap();
    assert_eq!(seam.exit_record().unwrap(), None);
    seam.run_syscall("finish", &mut []).unwrap();
    let record = seam.exit_record().unwrap().expect("it ended");
    assert_eq!((record.kind, record.cpu, record.exit_code), (66, None, 1 << 48 | 1 << 32));
    assert_eq!((record.reason.as_str(), record.message.as_str()), ("R", "M"));
    assert_eq!(record.dump.as_deref(), Some("D\n"));
    assert!(record.should_restart());
}

fn loads_and_runs_again_without_the_dropped_privileges() {
    // Capabilities belong to threads: the other tests keep theirs.
    let dropped = thread::spawn(|| {
        privileges::drop_after_attach().unwrap();
        let object = load();
        let mut seam = LibbpfObject::new(&object).unwrap();
        let mut sum = Sum { left: 1, right: 2, result: 0 };
        seam::run(&mut seam, "add", &mut sum).unwrap();
        seam::update(&mut seam, "slots", &0u32, &sum.result).unwrap();
        seam::lookup::<u32, u64>(&seam, "slots", &0).unwrap()
    });
    assert_eq!(dropped.join().expect("no step needs more"), Some(3));
}
