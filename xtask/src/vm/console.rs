// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel says on its console when something is wrong with it.

/// How bad a console line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The kernel is gone or about to be: nothing more is to be waited for.
    Fatal,
    /// The kernel runs on, but what was being tested has failed.
    Serious,
}

/// A line of the console that says something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The line, without its time stamp.
    pub line: String,
}

/// What to look for, in lines that come from the kernel.
const SIGNS: [(&str, Severity); 16] = [
    ("Kernel panic", Severity::Fatal),
    ("Attempted to kill init", Severity::Fatal),
    ("Oops: ", Severity::Serious),
    ("BUG: ", Severity::Serious),
    ("kernel BUG at", Severity::Serious),
    ("WARNING: ", Severity::Serious),
    ("general protection fault", Severity::Serious),
    ("soft lockup", Severity::Serious),
    ("hard LOCKUP", Severity::Serious),
    ("self-detected stall", Severity::Serious),
    ("detected stalls on", Severity::Serious),
    ("blocked for more than", Severity::Serious),
    ("list_add corruption", Severity::Serious),
    ("list_del corruption", Severity::Serious),
    ("refcount_t: ", Severity::Serious),
    ("possible recursive locking", Severity::Serious),
];

/// Judges one line of the console.
pub fn judge(line: &str) -> Option<Finding> {
    let (_, severity) = SIGNS.iter().find(|(sign, _)| line.contains(sign))?;
    Some(Finding { severity: *severity, line: without_stamp(line).to_owned() })
}

/// The line without `[   12.345678] `.
fn without_stamp(line: &str) -> &str {
    let line = line.trim();
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((stamp, rest)) if stamp.trim().starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => line,
    }
}

/// Reads a console log as it grows.
#[derive(Default)]
pub struct Scanner {
    partial: String,
}

impl Scanner {
    /// Takes the next piece of the log and gives the findings in the lines it completes.
    pub fn feed(&mut self, piece: &str) -> Vec<Finding> {
        self.partial.push_str(piece);
        let Some(end) = self.partial.rfind('\n') else { return Vec::new() };
        let rest = self.partial.split_off(end + 1);
        let complete = std::mem::replace(&mut self.partial, rest);
        complete.lines().filter_map(judge).collect()
    }
}
