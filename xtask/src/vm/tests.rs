// SPDX-License-Identifier: GPL-2.0-only
//! The machine: specs, command lines, accelerator choice, console signs and verdicts.

mod following;
mod judging;

use super::accel::{Accel, choose_from, parse_version};
use super::args::{self, Machine};
use super::console::{Finding, Scanner, Severity, judge};
use super::topology::{MAX_CPUS, Spec};
use crate::status;
use proptest::prelude::*;

fn spec(text: &str) -> Spec {
    Spec::parse(text).unwrap()
}

#[test]
fn specs_are_read_with_missing_parts_as_one() {
    let plain = |nodes, llcs, cores, threads| Spec { nodes, llcs, cores, threads, memory_nodes: 0 };
    assert_eq!(spec("2n2l2c1t"), plain(2, 2, 2, 1));
    assert_eq!(spec("3c"), plain(1, 1, 3, 1));
    assert_eq!(spec("2n4t"), plain(2, 1, 1, 4));
    assert_eq!(spec("2n2l2c1t+1m"), Spec { memory_nodes: 1, ..plain(2, 2, 2, 1) });
    assert_eq!((spec("4c+3m").all_nodes(), spec("4c+3m").cpus()), (4, 4));
    assert_eq!(spec("2n2l2c2t").cpus(), 16);
}

#[test]
fn a_wrong_spec_is_refused_with_the_place_that_is_wrong() {
    for (text, word) in [
        ("", "position 1"),
        ("2x", "'x' at position 2"),
        ("n2", "no number before 'n' at position 1"),
        ("2c2n", "'n' at position 4 is out of order"),
        ("2n2n", "'n' at position 4 is out of order or given twice"),
        ("2n2", "must follow at position 4"),
        ("0n", "0n at position 2 is not within 1..=64"),
        ("65c", "65c at position 3 is not within"),
        ("99999999999999999999c", "is not within"),
        ("8n8l2c", "128 CPUs are more than 64"),
        ("2n+", "a number and a letter of m must follow at position 4"),
        ("2n+1", "a letter of m must follow at position 5"),
        ("2n+m", "no number before 'm' at position 4"),
        ("2n+1c", "unexpected 'c' at position 5"),
        ("2n+0m", "0m at position 5 is not within 1..=4"),
        ("2n+1m+1m", "unexpected '+' at position 6"),
        ("2n1m", "unexpected 'm' at position 4"),
        ("+1m", "must follow at position 1"),
    ] {
        let error = Spec::parse(text).unwrap_err();
        assert_eq!(status::of(&error), status::USAGE);
        let line = status::one_line(&error);
        assert!(line.contains(word), "{text}: {line}");
        assert!(line.contains("2n2l2c1t"), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_spec_survives_printing_and_reading(nodes in 1u32..=4, llcs in 1u32..=4, cores in 1u32..=2, threads in 1u32..=2, memory_nodes in 0u32..=4) {
        let one = Spec { nodes, llcs, cores, threads, memory_nodes };
        prop_assert_eq!(Spec::parse(&one.to_string()).unwrap(), one);
        prop_assert!(one.cpus() <= MAX_CPUS);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9nlctmx+ ]{0,12}") {
        let _ = Spec::parse(&text);
    }
}

fn machine(topology: &str, accel: Accel, deterministic: Option<u64>) -> Vec<String> {
    let machine = Machine {
        kernel: "/k".into(),
        initramfs: "/i".into(),
        console: "/logs/a,b".into(),
        topology: spec(topology),
        accel,
        cmpxchg16b: args::needs_cmpxchg16b("7.3.4+deb13-cloud-amd64"),
        deterministic,
    };
    machine.args()
}

/// The values that follow a flag.
fn values<'a>(args: &'a [String], flag: &str) -> Vec<&'a str> {
    args.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].as_str()).collect()
}

#[test]
fn nodes_get_cpus_memory_and_distances() {
    let args = machine("3n2l2c1t", Accel::TcgMulti, None);
    assert_eq!(values(&args, "-smp"), ["12,sockets=3,dies=2,cores=2,threads=1"]);
    assert_eq!(
        values(&args, "-numa"),
        [
            "node,nodeid=0,cpus=0-3,memdev=memory0",
            "node,nodeid=1,cpus=4-7,memdev=memory1",
            "node,nodeid=2,cpus=8-11,memdev=memory2",
            "dist,src=0,dst=1,val=20",
            "dist,src=0,dst=2,val=20",
            "dist,src=1,dst=2,val=20",
        ]
    );
    // QEMU refuses nodes that do not add up to the whole memory.
    assert_eq!(values(&args, "-m"), ["1536M"]);
    assert_eq!(values(&args, "-object").len(), 3);
    assert!(values(&args, "-object").iter().all(|object| object.ends_with("size=512M")));
    assert!(values(&machine("4c", Accel::Kvm, None), "-numa").is_empty());
}

#[test]
fn a_node_without_cpus_has_memory_and_distances() {
    let args = machine("1n2c+1m", Accel::TcgMulti, None);
    assert_eq!(values(&args, "-smp"), ["2,sockets=1,dies=1,cores=2,threads=1"]);
    assert_eq!(
        values(&args, "-numa"),
        ["node,nodeid=0,cpus=0-1,memdev=memory0", "node,nodeid=1,memdev=memory1", "dist,src=0,dst=1,val=20"]
    );
    assert_eq!(values(&args, "-object").len(), 2);
}

#[test]
fn the_memory_always_divides_among_the_nodes() {
    for nodes in 1..=8 {
        let spec = if nodes > 4 { format!("2n+{}m", nodes - 4) } else { format!("{nodes}n") };
        let args = machine(&spec, Accel::Kvm, None);
        let number = |text: &str| text.trim_end_matches('M').parse::<u32>().unwrap();
        let total = number(values(&args, "-m")[0]);
        let parts: u32 =
            values(&args, "-object").iter().map(|o| number(o.rsplit("size=").next().unwrap())).sum();
        assert!(nodes == 1 || parts == total, "{nodes} nodes: {parts} of {total}");
    }
}

#[test]
fn every_machine_ends_on_panic_and_keeps_its_console_apart() {
    for args in [machine("2c", Accel::Kvm, None), machine("2c", Accel::TcgSingle, Some(3))] {
        assert!(args.contains(&"-no-reboot".to_owned()));
        let kernel = values(&args, "-append")[0];
        assert!(
            kernel.contains("panic=-1") && kernel.contains("console=ttyS0") && kernel.contains("nokaslr")
        );
        assert_eq!(values(&args, "-serial"), ["chardev:console", "chardev:records"]);
        assert!(values(&args, "-chardev")[0].ends_with("path=/logs/a,,b"));
    }
}

#[test]
fn deterministic_mode_counts_instructions_whatever_the_host_has() {
    let args = machine("2c", Accel::Kvm, Some(7));
    assert_eq!(values(&args, "-accel"), ["tcg,thread=single"]);
    assert_eq!(values(&args, "-icount"), ["shift=2,sleep=off"]);
    assert_eq!(values(&args, "-seed"), ["7"]);
    assert!(values(&args, "-rtc")[0].ends_with("clock=vm"));
    assert_eq!(values(&args, "-cpu"), ["max,vendor=GenuineIntel"]);
    assert!(values(&machine("2c", Accel::TcgMulti, None), "-icount").is_empty());
    assert_eq!(values(&machine("2c", Accel::Kvm, None), "-cpu"), ["max"]);
}

#[test]
fn only_kernels_before_sched_ext_go_without_cmpxchg16b() {
    assert!(!args::needs_cmpxchg16b("6.12.107+deb13-cloud-amd64"));
    for release in
        ["6.16.3+deb13-cloud-amd64", "6.18.15+deb13-cloud-amd64", "7.3.4+deb13-cloud-amd64", "my-kernel"]
    {
        assert!(args::needs_cmpxchg16b(release), "{release}");
    }
}

#[test]
fn kvm_needs_the_device_and_the_cpu() {
    let with = "processor: 0\nflags\t\t: fpu vme vmx sse\n";
    let without = "processor: 0\nflags\t\t: fpu vme vmxoff sse\n";
    assert_eq!(choose_from(true, with, 7), Accel::Kvm);
    assert_eq!(choose_from(true, &with.replace("vmx", "svm"), 10), Accel::Kvm);
    assert_eq!(choose_from(true, without, 7), Accel::TcgSingle);
    assert_eq!(choose_from(false, with, 8), Accel::TcgMulti);
    assert_eq!(choose_from(false, "", 10), Accel::TcgMulti);
}

#[test]
fn qemu_versions_are_read() {
    assert_eq!(parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), Some(7));
    assert_eq!(parse_version("QEMU emulator version 10.0.3"), Some(10));
    assert_eq!(parse_version("nothing of the kind"), None);
}

#[test]
fn the_console_is_searched_for_signs_of_trouble() {
    let panic = judge("[    1.234567] Kernel panic - not syncing: Attempted to kill init!").unwrap();
    assert_eq!(panic.severity, Severity::Fatal);
    assert_eq!(panic.line, "Kernel panic - not syncing: Attempted to kill init!");
    for line in [
        "[  12.0] WARNING: CPU: 3 PID: 44 at kernel/sched/ext.c:1234 dispatch_enqueue+0x1",
        "[  12.0] BUG: kernel NULL pointer dereference, address: 0000000000000010",
        "[  12.0] Oops: Oops: 0000 [#1] SMP NOPTI",
        "[  12.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [x:1]",
        "[  12.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
        "[  12.0] INFO: task x:1 blocked for more than 120 seconds.",
    ] {
        assert_eq!(judge(line).map(|found| found.severity), Some(Severity::Serious), "{line}");
    }
    for line in [
        "[    3.2] RAS: Correctable Errors collector initialized.",
        "[    3.2] sched_ext: BPF scheduler \"x\" enabled",
        "[    0.0] Warning: unrelated spelling",
        "",
    ] {
        assert_eq!(judge(line), None, "{line}");
    }
}

#[test]
fn a_line_that_comes_in_pieces_is_judged_once_and_whole() {
    let mut scanner = Scanner::default();
    assert!(scanner.feed("[ 1.0] fine\n[ 2.0] Kernel pan").is_empty());
    let found = scanner.feed("ic - not syncing\nrest");
    assert_eq!(found, [Finding { severity: Severity::Fatal, line: "Kernel panic - not syncing".into() }]);
    assert!(scanner.feed(" of it\n").is_empty());
}
