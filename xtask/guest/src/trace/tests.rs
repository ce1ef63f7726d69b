// SPDX-License-Identifier: GPL-2.0-only
//! Trace lines and migrations between domains.
use super::*;

const TRACE: &str = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2   #P:8\n#\n\
             hog-71      [001] d..2.    12.345678: sched_migrate_task: comm=hog pid=71 prio=120 orig_cpu=1 dest_cpu=3\n\
          <idle>-0       [004] dN.3.    12.345999: sched_migrate_task: comm=my hog pid=72 prio=120 orig_cpu=0 dest_cpu=1\n\
             hog-71      [001] d..2.    12.346000: sched_switch: prev_comm=hog prev_pid=71\n";

#[test]
fn reads_migrations_and_nothing_else() {
    let migrations: Vec<Migration> = TRACE.lines().filter_map(parse_line).collect();
    let expected =
        [Migration { pid: 71, from_cpu: 1, to_cpu: 3 }, Migration { pid: 72, from_cpu: 0, to_cpu: 1 }];
    assert_eq!(migrations, expected);
    let domain_of = [Some(0), Some(0), Some(1), Some(1)];
    assert_eq!(cross_domain(&migrations, &domain_of), 1);
}

#[test]
fn a_cut_line_is_no_migration() {
    assert_eq!(parse_line("x sched_migrate_task: comm=hog pid=71 prio=120 orig_cpu=1"), None);
    assert_eq!(parse_line("x sched_migrate_task: comm=hog pid=71 orig_cpu=-1 dest_cpu=2"), None);
}

#[test]
fn notices_overwritten_events() {
    assert!(!lost_events(TRACE));
    assert!(lost_events("# entries-in-buffer/entries-written: 2/17   #P:8\n"));
    assert!(!lost_events(""));
}

#[test]
fn wakeups_and_tasks_that_had_to_leave_are_counted() {
    let text = " a-1 [000] d..2. 1.0: sched_wakeup: comm=hog pid=7 prio=120 target_cpu=000\n \
                a-1 [000] d..2. 1.1: sched_wakeup_new: comm=hog pid=8 prio=120 target_cpu=000\n \
                a-1 [000] d..2. 1.2: sched_waking: comm=hog pid=7 prio=120 target_cpu=000\n \
                a-1 [000] d..2. 1.3: sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state=R+ ==> \
                next_comm=b next_pid=2 next_prio=120\n \
                a-1 [000] d..2. 1.3: sched_switch: prev_comm=a prev_pid=1 prev_prio=120 prev_state=S ==> \
                next_comm=b next_pid=2 next_prio=120\n";
    assert_eq!(placeable(text), Placeable { wakeups: 2, left_runnable: 1 });
}
