// SPDX-License-Identifier: GPL-2.0-only
//! The view in both of its forms.

use super::*;

fn live(phase: &str, note: &str) -> Record {
    let row = |name: &str, tasks: &str, bar| LiveRow { cells: vec![name.into(), tasks.into()], bar };
    Record::Live {
        phase: phase.into(),
        at_seconds: 3.0,
        note: note.into(),
        brief: "[0-1] 16 tasks  [2-3] 8 tasks".into(),
        columns: vec!["CPUs".into(), "tasks".into()],
        rows: vec![row("0-1", "16", 1.0), row("2-3", "8", 0.5)],
    }
}

#[test]
fn plain_output_is_one_line_a_record() {
    let mut view = View::new(false);
    let text = view.update(&live("balancer", "7 moves"));
    assert_eq!(text, "  3.0 s  balancer  [0-1] 16 tasks  [2-3] 8 tasks  7 moves\n");
    let text = view.update(&live(KERNEL_PHASE, ""));
    assert_eq!(text, "  3.0 s  the kernel's scheduler  [0-1] 16 tasks  [2-3] 8 tasks\n");
}

#[test]
fn on_a_terminal_a_phase_is_redrawn_and_the_one_before_stays() {
    let mut view = View::new(true);
    let first = view.update(&live(KERNEL_PHASE, ""));
    let bars = ("#".repeat(24), "#".repeat(12));
    assert_eq!(
        first,
        format!(
            "the kernel's scheduler, 3 s\n  CPUs  tasks\n  0-1      16  {}\n  2-3       8  {}\n",
            bars.0, bars.1
        )
    );
    let again = view.update(&live(KERNEL_PHASE, ""));
    assert!(again.starts_with("\x1b[4A\x1b[J"), "{again:?}");
    let next = view.update(&live("balancer", "7 planned"));
    assert!(!next.contains('\x1b') && next.starts_with("balancer, 3 s  7 planned\n"), "{next}");
    // A line in between must not be erased by the next drawing.
    view.update(&Record::Step { scenario: "demo".into(), text: "x".into() });
    assert!(!view.update(&live("balancer", "")).contains('\x1b'));
}

#[test]
fn a_row_without_all_cells_is_drawn_all_the_same() {
    let rows = [LiveRow { cells: vec!["a".into()], bar: 7.0 }];
    assert_eq!(drawing(&["n".into(), "m".into()], &rows), format!("  n  m\n  a     {}\n", "#".repeat(24)));
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
