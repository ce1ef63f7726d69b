// SPDX-License-Identifier: GPL-2.0-only
//! Counting, and what counts as a failure where.

use super::*;

#[test]
fn test_results_are_added_up() {
    let mut tally = Tally::default();
    for line in [
        "running 3 tests",
        "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.1s",
        "a line that says 5 passed; 5 failed",
    ] {
        count(line, &mut tally);
    }
    assert_eq!(tally, Tally { passed: 15, failed: 2, inconclusive: 0, skipped: 1 });
}

#[test]
fn a_missing_vm_is_skipped_only_outside_ci() {
    let missing = status::unavailable("no kernel");
    assert_eq!(without_verdict(&missing, Layer::Vm, false), Tally { skipped: 1, ..Tally::default() });
    let failed = Tally { failed: 1, ..Tally::default() };
    assert_eq!(without_verdict(&missing, Layer::Vm, true), failed);
    assert_eq!(without_verdict(&missing, Layer::Unit, false), failed);
    assert_eq!(without_verdict(&anyhow::anyhow!("does not build"), Layer::Vm, false), failed);
}
