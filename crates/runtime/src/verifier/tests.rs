// SPDX-License-Identifier: GPL-2.0-only
//! The form of the lines.

use super::report;

#[test]
fn the_sum_comes_first_and_then_the_dearest_program() {
    let lines = report(vec![(7, "running"), (900, "enqueue"), (50, "dispatch")]);
    assert_eq!(
        lines,
        [
            "verified instructions: 957 in 3 programs",
            "verified instructions: 900 enqueue",
            "verified instructions: 50 dispatch",
            "verified instructions: 7 running",
        ]
    );
    assert_eq!(report(Vec::new()), ["verified instructions: 0 in 0 programs"]);
}
