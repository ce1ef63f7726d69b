// SPDX-License-Identifier: GPL-2.0-only
//! Percentages stay sane whatever the kernel reports.

use super::*;

#[test]
fn busy_share_of_the_interval() {
    assert_eq!(percent((100, 1000), (150, 1200)), 25.0);
}

#[test]
fn no_time_and_backward_time_are_idle_or_full_but_never_out_of_range() {
    assert_eq!(percent((100, 1000), (100, 1000)), 0.0);
    assert_eq!(percent((100, 1000), (90, 990)), 0.0);
    assert_eq!(percent((100, 1000), (150, 1020)), 100.0);
}

#[test]
fn reads_this_machine() {
    let mut cpu_time = CpuTime::default();
    assert_eq!(cpu_time.busy_pct(), 0.0, "nothing to compare with on the first call");
    assert!((0.0..=100.0).contains(&cpu_time.busy_pct()));
}
