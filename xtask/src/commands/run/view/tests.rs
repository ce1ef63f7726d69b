// SPDX-License-Identifier: GPL-2.0-only
//! The view in both of its forms.

use super::*;
use serde_json::json;

fn stats(phase: &str, json: Value) -> Record {
    let sample = |cpus: &str, node, hogs| DomainSample { cpus: cpus.into(), node, hogs, busy_cpus: 2.0 };
    Record::Stats {
        phase: phase.into(),
        at_seconds: 3.0,
        json,
        measured: vec![sample("0-1", 0, 6.0), sample("2-3", 1, 3.0)],
    }
}

fn balancer() -> Value {
    json!({"planned": 7, "applied": 5, "domains": {
        "0": {"cpus": "0-1", "load": 4.25, "imbalance": 1.5, "moved_in": 1, "moved_out": 9},
        "1": {"cpus": "2-3", "load": 2.75, "imbalance": -1.5, "moved_in": 8, "moved_out": 2},
    }})
}

#[test]
fn plain_output_is_one_line_a_record() {
    let mut view = View::new(false);
    let text = view.update(&stats("balancer", balancer()));
    assert_eq!(
        text,
        "  3.0 s  balancer  [0-1] 6.0 tasks load 4.2  [2-3] 3.0 tasks load 2.8  moves: 7 planned, 5 applied\n"
    );
    let text = view.update(&stats(KERNEL_PHASE, Value::Null));
    assert_eq!(text, "  3.0 s  the kernel's scheduler  [0-1] 6.0 tasks  [2-3] 3.0 tasks\n");
    assert!(!text.contains('\x1b'));
}

#[test]
fn on_a_terminal_a_phase_is_redrawn_and_the_one_before_stays() {
    let mut view = View::new(true);
    let first = view.update(&stats(KERNEL_PHASE, Value::Null));
    assert!(!first.contains('\x1b'));
    let again = view.update(&stats(KERNEL_PHASE, Value::Null));
    assert!(again.starts_with("\x1b[4A\x1b[J"), "{again:?}");
    let next = view.update(&stats("balancer", balancer()));
    assert!(!next.contains('\x1b'));
    assert!(next.contains("4.25") && next.contains("-1.50") && next.contains("7 planned"), "{next}");
    // A line in between must not be erased by the next drawing.
    view.update(&Record::Step { scenario: "demo".into(), text: "x".into() });
    assert!(!view.update(&stats("balancer", balancer())).contains('\x1b'));
}

#[test]
fn the_table_lines_up() {
    let row = |metric: &str, kernel: &str, scheduler: &str| TableRow {
        metric: metric.into(),
        kernel: kernel.into(),
        scheduler: scheduler.into(),
    };
    let text = table("x", &[row("spread", "1.20", "0.05"), row("moves", "-", "12")]);
    assert_eq!(text, "        kernel     x\nspread    1.20  0.05\nmoves        -    12\n");
}
