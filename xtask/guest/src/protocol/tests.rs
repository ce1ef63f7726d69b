// SPDX-License-Identifier: GPL-2.0-only
//! Records survive the way to the host.
use super::*;
use proptest::prelude::*;

fn figure() -> impl Strategy<Value = Figure> {
    prop_oneof![
        any::<i32>().prop_map(|eighths| Figure::Number(f64::from(eighths) / 8.0)),
        ".*".prop_map(Figure::Text)
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Pass), Just(Verdict::Fail), Just(Verdict::Inconclusive), Just(Verdict::Skip)]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (".*", 1..4096usize, ".*").prop_map(|(kernel, cpus, topology)| Record::Ready {
            kernel,
            cpus,
            topology
        }),
        (".*", ".*").prop_map(|(scenario, text)| Record::Step { scenario, text }),
        (".*", ".*").prop_map(|(name, text)| Record::File { name, text }),
        (
            ".*",
            verdict(),
            prop::collection::btree_map(".*", figure(), 0..5),
            prop::collection::vec(".*", 0..4),
            ".*"
        )
            .prop_map(|(scenario, verdict, figures, failures, reason)| Record::Result {
                scenario,
                verdict,
                figures,
                failures,
                reason
            }),
        (".*", 0..1_000_000u32, ".*", ".*", prop::collection::vec(".*", 0..4), 0..9u32).prop_map(
            |(phase, at, note, brief, cells, bar)| {
                // Eighths: values that a decimal text holds exactly.
                let (at_seconds, bar) = (f64::from(at) / 8.0, f64::from(bar) / 8.0);
                let columns = cells.clone();
                Record::Live { phase, at_seconds, note, brief, columns, rows: vec![LiveRow { cells, bar }] }
            }
        ),
        prop::collection::vec((".*", ".*", ".*"), 0..4).prop_map(|rows| Record::Table {
            rows: rows
                .into_iter()
                .map(|(metric, kernel, scheduler)| TableRow { metric, kernel, scheduler })
                .collect()
        }),
        Just(Record::Done),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_record_survives_the_line(record in record()) {
        let line = encode(&record).unwrap();
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert!(line.ends_with('\n'));
        prop_assert_eq!(decode(&format!("{}\r\n", line.trim_end())).unwrap(), record);
    }
}

#[test]
fn the_tag_is_the_snake_case_name() {
    assert_eq!(encode(&Record::Done).unwrap(), "{\"type\":\"done\"}\n");
    let step = encode(&Record::Step { scenario: "1".into(), text: "attached".into() }).unwrap();
    assert_eq!(step, "{\"type\":\"step\",\"scenario\":\"1\",\"text\":\"attached\"}\n");
}

#[test]
fn a_short_plan_is_enough() {
    let plan: Plan = serde_json::from_str(r#"{"scheduler":"domain-balancer"}"#).unwrap();
    assert_eq!(plan.mode, Mode::Test);
    assert!(plan.scenarios.is_empty() && plan.scheduler_args.is_empty());
    assert_eq!((plan.seconds, plan.seed), (0.0, 0));
    let run: Plan = serde_json::from_str(r#"{"scheduler":"x","mode":"run","seconds":20}"#).unwrap();
    assert_eq!((run.mode, run.seconds), (Mode::Run, 20.0));
}

#[test]
fn garbage_is_an_error() {
    assert!(decode("").is_err());
    assert!(decode("{\"type\":\"done\"").is_err());
    assert!(decode("{\"type\":\"unheard_of\"}").is_err());
}
