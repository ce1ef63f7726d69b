// SPDX-License-Identifier: GPL-2.0-only
//! What is quoted of a dump.
use super::*;

const LOG: &str = "\
a-scheduler attached: 7 CPUs, 4 caches
2026-11-27T17:39:05.6Z ERROR the kernel ended the scheduler: runnable task stall (cpuhp/2[27] failed to run for 42.744s)
2026-11-27T17:39:05.6Z ERROR CPU 1   : nr_run=1 flags=0x1
2026-11-27T17:39:05.6Z ERROR           curr=hog[27] class=ext_sched_class
2026-11-27T17:39:05.6Z ERROR  *R hog[270] -3ms
2026-11-27T17:39:05.6Z ERROR       scx_state/flags=3/0x5
2026-11-27T17:39:05.6Z ERROR CPU 2   : nr_run=1 flags=0x0
2026-11-27T17:39:05.6Z ERROR           curr=swapper/2[0] class=idle_sched_class
2026-11-27T17:39:05.6Z ERROR 
2026-11-27T17:39:05.6Z ERROR     queued 1
2026-11-27T17:39:05.6Z ERROR 
2026-11-27T17:39:05.6Z ERROR   R cpuhp/2[27] -42748ms
2026-11-27T17:39:05.6Z ERROR       scx_state/flags=3/0x9
2026-11-27T17:39:05.6Z ERROR       sticky/holding_cpu=-1/-1 dsq_id=0x8000000000000002
";

#[test]
fn the_stalled_task_is_quoted_with_its_cpu() {
    let quoted = about_stalled(LOG).expect("the dump shows it");
    assert_eq!(
        quoted,
        "CPU 2   : nr_run=1 flags=0x0 | curr=swapper/2[0] class=idle_sched_class | R cpuhp/2[27] -42748ms | \
         scx_state/flags=3/0x9 | sticky/holding_cpu=-1/-1 dsq_id=0x8000000000000002"
    );
}

#[test]
fn a_log_without_a_stall_or_without_the_task_gives_nothing() {
    assert_eq!(about_stalled("attached\nthe kernel ended the scheduler: invalid DSQ"), None);
    let cut = &LOG[..LOG.find("ERROR CPU 2").expect("in the sample")];
    assert_eq!(about_stalled(cut), None);
}
