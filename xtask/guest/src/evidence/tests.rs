// SPDX-License-Identifier: GPL-2.0-only
//! Parsing what /proc and /sys say.
use super::*;

#[test]
fn finds_the_processor_behind_any_name() {
    let mut fields = vec!["R".to_owned()];
    fields.extend((4..=38).map(|field| format!("{field}000")));
    fields.push("6".to_owned());
    fields.extend(["0", "0"].map(str::to_owned));
    let stat = format!("71 (a) b (c) {}", fields.join(" "));
    assert_eq!(parse_task_place(&stat), Some((6, 'R')));
    assert_eq!(parse_task_place("71 (hog) R 1 2"), None);
    assert_eq!(parse_task_place(""), None);
}

#[test]
fn reads_this_process() {
    let pid = Pid::this();
    let (_, state) = task_place(pid).unwrap();
    assert!(matches!(state, 'R' | 'S'), "{state}");
    assert!(cpu_time_ns(pid).is_ok());
}

#[test]
fn splits_busy_from_idle() {
    let stat =
        "cpu  10 0 0 0 0 0 0 0 0 0\ncpu0 100 50 30 400 100 10 10 0 7 7\ncpu3 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
    let times = parse_cpu_times(stat);
    assert_eq!(times[0], CpuTime { cpu: 0, busy: 2.0, idle: 5.0 });
    assert_eq!((times.len(), times[1].cpu), (2, 3));
    let later = [CpuTime { cpu: 0, busy: 3.0, idle: 5.5 }, CpuTime { cpu: 9, busy: 1.0, idle: 1.0 }];
    assert_eq!(cpu_times_between(&times, &later), [CpuTime { cpu: 0, busy: 1.0, idle: 0.5 }]);
}

#[test]
fn counts_tasks_per_domain() {
    let domains = [Cpus::from([0, 1]), Cpus::from([2, 3])];
    assert_eq!(count_per_domain(&domains, &[0, 1, 1, 3, 7]), [3.0, 1.0]);
    assert_eq!(domain_of_cpus(&domains), [Some(0), Some(0), Some(1), Some(1)]);
    assert!(domain_of_cpus(&[]).is_empty());
}

#[test]
fn reads_the_number_of_tasks() {
    assert_eq!(parse_kernel_tasks("0.42 0.20 0.10 3/187 4711\n"), Some(187));
    assert_eq!(parse_kernel_tasks("0.42 0.20"), None);
    assert!(kernel_tasks().unwrap() > 0);
}

#[test]
fn kernel_versions_compare_as_numbers() {
    assert_eq!(parse_version("7.3.4+deb13-cloud-amd64"), Some((7, 3)));
    assert!(parse_version("6.18.15").unwrap() < (7, 0) && parse_version("10.0-rc1").unwrap() > (7, 0));
    assert_eq!(parse_version("odd"), None);
}

#[test]
fn waits_and_runs_are_read_from_schedstat() {
    assert_eq!(parse_waited("12 345 6\n"), Some((345, 6)));
    assert_eq!(parse_waited("12 345"), None);
    let (_, runs) = waited(Pid::this()).expect("this process has one");
    assert!(runs > 0);
}

#[test]
fn policy_and_class_of_a_task_are_read() {
    let mut fields = vec!["R".to_owned()];
    fields.extend((4..=52).map(|field: u32| field.to_string()));
    let stat = format!("77 (a) b) {}", fields.join(" "));
    assert_eq!(parse_policy(&stat), Some(41));
    assert_eq!(parse_ext_enabled("prio : 120\next.enabled      :        1\n"), Some(true));
    assert_eq!(parse_ext_enabled("ext.enabled : 0\n"), Some(false));
    assert_eq!(parse_ext_enabled("prio : 120\n"), None);
}
