// SPDX-License-Identifier: GPL-2.0-only
//! The live view of `run`, drawn from the guest's records: a table redrawn in place on a terminal, one line a second
//! elsewhere.

#[cfg(test)]
mod tests;

use guest::protocol::{KERNEL_PHASE, LiveRow, Record, TableRow};
use std::fmt::Write;

/// Width of the widest bar, in characters.
const BAR: usize = 24;

/// What is on the screen.
pub struct View {
    in_place: bool,
    /// Lines of the last drawing, which the next one replaces.
    drawn: usize,
    phase: String,
}

impl View {
    /// A view; `in_place` on a terminal.
    pub fn new(in_place: bool) -> Self {
        Self { in_place, drawn: 0, phase: String::new() }
    }

    /// What to print for this record.
    pub fn update(&mut self, record: &Record) -> String {
        match record {
            Record::Step { text, .. } => {
                self.drawn = 0;
                format!("{text}\n")
            }
            Record::Live { phase, at_seconds, note, columns, rows, .. } if self.in_place => {
                let erase =
                    if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
                let heading = format!("{}, {at_seconds:.0} s{}", title(phase), apart(note));
                let drawing = format!("{heading}\n{}", drawing(columns, rows));
                // The last drawing of a phase stays, so that the two phases can be compared.
                let kept = std::mem::replace(&mut self.phase, phase.clone()) != *phase;
                self.drawn = drawing.lines().count();
                if kept { drawing } else { erase + &drawing }
            }
            Record::Live { phase, at_seconds, note, brief, .. } => {
                format!("{at_seconds:>5.1} s  {}{}{}\n", title(phase), apart(brief), apart(note))
            }
            _ => String::new(),
        }
    }
}

fn title(phase: &str) -> &str {
    if phase == KERNEL_PHASE { "the kernel's scheduler" } else { phase }
}

/// The text after a gap, nothing for no text.
fn apart(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("  {text}") }
}

/// Rows under their headings, the first column to the left, and a bar behind each.
fn drawing(columns: &[String], rows: &[LiveRow]) -> String {
    let headings = LiveRow { cells: columns.to_vec(), bar: 0.0 };
    let all: Vec<&LiveRow> = std::iter::once(&headings).chain(rows).collect();
    let cell = |row: &LiveRow, at: usize| row.cells.get(at).cloned().unwrap_or_default();
    let width = |at: usize| all.iter().map(|row| cell(row, at).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::from("  ");
        for (at, &width) in widths.iter().enumerate() {
            let cell = cell(row, at);
            // Writing into a string cannot fail.
            let _ = if at == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        let bar = "#".repeat((row.bar.clamp(0.0, 1.0) * BAR as f64).round() as usize);
        let line = format!("{line}  {bar}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The summary: one column for the kernel's scheduler, one for the other.
pub fn table(scheduler: &str, rows: &[TableRow]) -> String {
    let header =
        TableRow { metric: String::new(), kernel: "kernel".to_owned(), scheduler: scheduler.to_owned() };
    let all: Vec<&TableRow> = std::iter::once(&header).chain(rows).collect();
    let width = |column: fn(&TableRow) -> &String| {
        all.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (first, second, third) = (width(|r| &r.metric), width(|r| &r.kernel), width(|r| &r.scheduler));
    let mut text = String::new();
    for row in all {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{:<first$}  {:>second$}  {:>third$}", row.metric, row.kernel, row.scheduler);
    }
    text
}
