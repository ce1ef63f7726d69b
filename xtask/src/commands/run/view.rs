// SPDX-License-Identifier: GPL-2.0-only
//! The live view of `run`, drawn from the guest's records: a table redrawn in place on a terminal, one line a second
//! elsewhere.

#[cfg(test)]
mod tests;

use guest::protocol::{DomainSample, Record, TableRow};
use serde_json::Value;
use std::fmt::Write;

/// Phase name of the kernel's own scheduler.
const KERNEL_PHASE: &str = "kernel";
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
            Record::Stats { phase, at_seconds, json, measured } if self.in_place => {
                let erase =
                    if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
                let drawing = drawing(phase, *at_seconds, json, measured);
                // The last drawing of a phase stays, so that the two phases can be compared.
                let kept = std::mem::replace(&mut self.phase, phase.clone()) != *phase;
                self.drawn = drawing.lines().count();
                if kept { drawing } else { erase + &drawing }
            }
            Record::Stats { phase, at_seconds, json, measured } => line(phase, *at_seconds, json, measured),
            _ => String::new(),
        }
    }
}

/// One domain as shown: what the guest measured, and what the scheduler says where it says anything.
struct Row {
    cpus: String,
    node: String,
    tasks: f64,
    busy: f64,
    load: Option<f64>,
    imbalance: Option<f64>,
    moved_in: Option<u64>,
    moved_out: Option<u64>,
}

fn rows(json: &Value, measured: &[DomainSample]) -> Vec<Row> {
    let domains = json.get("domains").and_then(Value::as_object);
    let said = |cpus: &str, field: &str| {
        let domain =
            domains?.values().find(|domain| domain.get("cpus").and_then(Value::as_str) == Some(cpus))?;
        domain.get(field).cloned()
    };
    let row = |sample: &DomainSample| Row {
        cpus: sample.cpus.clone(),
        node: sample.node.to_string(),
        tasks: sample.hogs,
        busy: sample.busy_cpus,
        load: said(&sample.cpus, "load").and_then(|value| value.as_f64()),
        imbalance: said(&sample.cpus, "imbalance").and_then(|value| value.as_f64()),
        moved_in: said(&sample.cpus, "moved_in").and_then(|value| value.as_u64()),
        moved_out: said(&sample.cpus, "moved_out").and_then(|value| value.as_u64()),
    };
    measured.iter().map(row).collect()
}

fn title(phase: &str) -> &str {
    if phase == KERNEL_PHASE { "the kernel's scheduler" } else { phase }
}

fn drawing(phase: &str, at: f64, json: &Value, measured: &[DomainSample]) -> String {
    let rows = rows(json, measured);
    let most = rows.iter().map(|row| row.tasks).fold(1.0, f64::max);
    let mut text = format!("{}, {at:.0} s{}\n", title(phase), counters(json));
    text.push_str("  CPUs      node   tasks   busy    load  imbalance   in  out\n");
    for row in &rows {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let count = |value: Option<u64>| value.map_or("-".to_owned(), |v| v.to_string());
        let bar = "#".repeat((row.tasks / most * BAR as f64).round() as usize);
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "  {:<9} {:>4} {:>7.1} {:>6.1} {:>7} {:>10} {:>4} {:>4}  {bar}",
            row.cpus,
            row.node,
            row.tasks,
            row.busy,
            number(row.load, 2),
            number(row.imbalance, 2),
            count(row.moved_in),
            count(row.moved_out),
        );
    }
    text
}

fn line(phase: &str, at: f64, json: &Value, measured: &[DomainSample]) -> String {
    let domains: Vec<String> = rows(json, measured)
        .iter()
        .map(|row| {
            let load = row.load.map_or(String::new(), |load| format!(" load {load:.1}"));
            format!("[{}] {:.1} tasks{load}", row.cpus, row.tasks)
        })
        .collect();
    format!("{:>5.1} s  {}  {}{}\n", at, title(phase), domains.join("  "), counters(json))
}

/// Moves planned and applied so far, where the scheduler counts them.
fn counters(json: &Value) -> String {
    let count = |name: &str| json.get(name).and_then(Value::as_u64);
    match (count("planned"), count("applied")) {
        (Some(planned), Some(applied)) => format!("  moves: {planned} planned, {applied} applied"),
        _ => String::new(),
    }
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
