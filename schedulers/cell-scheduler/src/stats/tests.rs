// SPDX-License-Identifier: GPL-2.0-only
//! The statistics describe themselves, survive the wire, and their text names what matters.

use super::*;

fn sample() -> Metrics {
    let cell =
        CellMetrics { cpus: "0-3".to_owned(), nr_cpus: 4, members: "/,a".to_owned(), ..Default::default() };
    let member = MemberMetrics { merged: 1, demand: 1.5, wait_p99_us: 2048, ..Default::default() };
    Metrics {
        round: 7,
        sequence: 3,
        nr_tasks: 42,
        unmet: 2,
        cells: BTreeMap::from([(0, cell)]),
        members: BTreeMap::from([("a".to_owned(), member)]),
        ..Default::default()
    }
}

#[test]
fn every_statistic_is_described() {
    let text = runtime::stats::describe(&Metrics::descriptions()).expect("descriptions fit together");
    for name in
        ["nr_tasks", "sequence", "lent_ns", "wait_p99_us", "violations", "drained", "unmet", "weight_errors"]
    {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
}

#[test]
fn they_survive_the_wire() {
    let text = toml::to_string(&sample()).expect("statistics are plain data");
    assert_eq!(toml::from_str::<Metrics>(&text).expect("the same form"), sample());
}

#[test]
fn the_report_names_cells_and_members() {
    let mut out = Vec::new();
    sample().write(&mut out).expect("memory does not fail");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("round 7") && text.contains("tasks 42") && text.contains("sequence 3"), "{text}");
    assert!(text.contains("unmet wishes 2"), "{text}");
    assert!(text.contains("(0-3)") && text.contains("/,a"), "{text}");
    assert!(
        text.lines().any(|line| line.contains(" a ") && line.contains('*') && line.contains("p99 2048")),
        "{text}"
    );
}

#[test]
fn they_are_metrics() {
    let text = runtime::openmetrics::text(crate::NAME, &Metrics::descriptions(), &sample()).expect("metrics");
    for line in [
        "# TYPE cell_scheduler_nr_tasks gauge",
        "cell_scheduler_round_total 7",
        "# TYPE cell_scheduler_unmet gauge",
        "cell_scheduler_unmet 2",
        "cell_scheduler_cell_info{cpus=\"0-3\",members=\"/,a\",cell=\"0\"} 1",
        "cell_scheduler_member_wait_p99_seconds{member=\"a\"} 0.002048",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
    }
}
