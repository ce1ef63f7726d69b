// SPDX-License-Identifier: GPL-2.0-only
//! Which kernel messages are trouble.
use super::*;

#[test]
fn takes_the_text_of_a_record() {
    assert_eq!(message("6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n"), Some("NET: Registered"));
    assert_eq!(message("4,1,2,c,caller=T1;a;b"), Some("a;b"));
    assert_eq!(message("no record"), None);
    assert_eq!(message("x,1;text"), None);
}

#[test]
fn knows_trouble() {
    for text in [
        "WARNING: CPU: 3 PID: 71 at kernel/sched/ext.c:1 foo+0x1/0x2",
        "Oops: 0000 [#1] PREEMPT SMP",
        "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [hog:71]",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "INFO: task hog:71 blocked for more than 120 seconds.",
        "sched_ext: BPF scheduler \"domain_balancer\" disabled (runtime error)",
        "sched_ext: BPF scheduler \"domain_balancer\" disabled (runnable task stall)",
    ] {
        assert!(is_trouble(text), "{text}");
    }
}

#[test]
fn ordinary_messages_pass() {
    for text in [
        "sched_ext: BPF scheduler \"domain_balancer\" enabled",
        "sched_ext: BPF scheduler \"domain_balancer\" disabled (unregistered from user space)",
        "smpboot: CPU 3 is now offline",
        "sched_ext: BPF scheduler \"domain_balancer_1.0\" disabled (unregistered from BPF)",
        "clocksource: Switched to clocksource tsc",
    ] {
        assert!(!is_trouble(text), "{text}");
    }
}
