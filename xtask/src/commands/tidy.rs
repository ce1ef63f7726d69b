// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask tidy`: the house rules. What they are stands in [`crate::tidy::rules`].

use crate::status;
use crate::tidy::rules::{RULES, sizes};
use crate::tidy::tree::Tree;
use crate::vm::verdict::Tally;
use anyhow::Result;

/// Runs the command.
///
/// # Errors
/// When the workspace cannot be read.
pub fn main() -> Result<u8> {
    let tally = run()?;
    println!("tidy: {}", tally.line());
    Ok(if tally.failed > 0 { status::FAILED } else { 0 })
}

/// Checks every rule, prints what breaks it, and counts rules.
///
/// # Errors
/// When the workspace cannot be read.
pub fn run() -> Result<Tally> {
    let tree = Tree::read()?;
    let mut tally = Tally::default();
    for rule in RULES {
        let violations = (rule.check)(&tree);
        if violations.is_empty() {
            tally.passed += 1;
            println!("pass {}", rule.name);
            continue;
        }
        tally.failed += 1;
        println!("FAIL {}: {}", rule.name, rule.why);
        for violation in violations {
            println!("    {violation}");
        }
    }
    for note in sizes(&tree) {
        println!("note {note}");
    }
    Ok(tally)
}
