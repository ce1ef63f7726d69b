// SPDX-License-Identifier: GPL-2.0-only
//! Who is where they may not be, and who only looks so.

use super::*;

/// What a series of looks at a task that may not use CPU 5 ends with.
fn verdict(looks: &[(u64, (usize, char))]) -> Option<usize> {
    verdict_within(WAKING, looks)
}

fn verdict_within(waking: Duration, looks: &[(u64, (usize, char))]) -> Option<usize> {
    let mut context = Context::for_test();
    let mut looks = looks.iter();
    let found = misplaced_by(&mut context, waking, || Ok(*looks.next().unwrap()), |cpu| cpu != 5).unwrap();
    assert_eq!(looks.next(), None, "it looks on");
    found
}

#[test]
fn a_task_that_runs_where_it_may_not_is_misplaced() {
    assert_eq!(verdict(&[(7, (5, 'R')), (7, (5, 'R')), (8, (5, 'R'))]), Some(5));
    // It went to sleep between two looks: it got CPU time all the same.
    assert_eq!(verdict(&[(7, (5, 'R')), (8, (5, 'S'))]), Some(5));
}

#[test]
fn a_sleeper_that_is_being_woken_is_not_misplaced() {
    assert_eq!(verdict(&[(7, (5, 'R')), (7, (5, 'R')), (7, (3, 'R'))]), None);
    assert_eq!(verdict(&[(7, (5, 'R')), (9, (3, 'S'))]), None);
}

#[test]
fn a_task_that_stays_where_it_may_not_be_is_misplaced() {
    assert_eq!(verdict_within(Duration::ZERO, &[(7, (5, 'R')), (7, (5, 'R'))]), Some(5));
}

#[test]
fn a_task_is_looked_at_once_where_nothing_is_odd() {
    assert_eq!(verdict(&[(7, (3, 'R'))]), None);
    assert_eq!(verdict(&[(7, (5, 'S'))]), None);
}

/// What is said of a gate at which the workers `prepared` of three have been.
fn at_gate(prepared: &[usize], opened: bool, deadline: Duration) -> String {
    let (gate, release) = Gate::new(3).unwrap();
    let release = (!opened).then_some(release);
    for &index in prepared {
        gate.prepared.get(index).store(1, Ordering::Release);
    }
    let jobs = [Job::spinner(), Job::spinner().nice(7), Job::spinner()];
    let said = gate.require_open(&jobs, deadline).map_or_else(|error| error.to_string(), |()| String::new());
    drop(release);
    said
}

#[test]
fn a_gate_is_open_when_all_are_prepared() {
    assert_eq!(at_gate(&[0, 1, 2], true, PREPARED), "");
}

#[test]
fn a_worker_that_ends_unprepared_is_named() {
    let said = at_gate(&[0, 2], true, PREPARED);
    assert!(said.contains("ended") && said.contains("1 of 3") && said.contains("nice: 7"), "{said}");
}

#[test]
fn workers_that_take_too_long_are_counted() {
    let said = at_gate(&[0], false, Duration::from_millis(1));
    assert!(said.contains("1ms") && said.contains("2 of 3") && said.contains("nice: 7"), "{said}");
}

#[test]
fn a_process_of_the_machine_is_found_where_it_is() {
    let mut context = Context::for_test();
    let mut spinner = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let pid = Pid::from_raw(spinner.id().try_into().unwrap());
    // Right after its fork it may not be runnable yet.
    let found = (0..1000)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            misplaced(&mut context, pid, |_| false).unwrap()
        })
        .is_some();
    let innocent = misplaced(&mut context, pid, |_| true).unwrap();
    spinner.kill().unwrap();
    spinner.wait().unwrap();
    assert!(found);
    assert_eq!(innocent, None);
}
