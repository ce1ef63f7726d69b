// SPDX-License-Identifier: GPL-2.0-only
//! What the host and the guest say to each other.
//!
//! The host writes one [`Plan`] as `/plan.json`; the guest answers with [`Record`]s, one JSON object per line, on its
//! second serial port. The console is apart from it. The guest always ends with [`Record::Done`]; a stream that ends
//! without it is a failure, whatever came before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Phase of a demonstration in which the kernel's own scheduler is at work.
pub const KERNEL_PHASE: &str = "kernel";

/// Name that [`Mode::Run`] uses where a scenario's name stands.
pub const DEMO: &str = "demo";

/// What this boot is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Run the scenarios of the plan, one result each.
    #[default]
    Test,
    /// The demonstration: the same load under the kernel's scheduler and then under the plan's.
    Run,
}

/// The order that the guest finds at `/plan.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// Scenario names of [`crate::table::all`], run in this order. Ignored in [`Mode::Run`].
    #[serde(default)]
    pub scenarios: Vec<String>,
    /// Program under `/bin`, for example `domain-balancer`.
    pub scheduler: String,
    /// Added to the command line of every scheduler start, after the scenario's own arguments.
    #[serde(default)]
    pub scheduler_args: Vec<String>,
    /// [`Mode::Run`]: length of each of the two phases. [`Mode::Test`]: base time T of the scenarios; 0 takes the default.
    #[serde(default)]
    pub seconds: f64,
    /// Seed of every random choice in the guest.
    #[serde(default)]
    pub seed: u64,
    /// What this boot is for.
    #[serde(default)]
    pub mode: Mode,
}

/// Outcome of one scenario.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held.
    Pass,
    /// Something did not hold; `failures` has one line each.
    Fail,
    /// The machine was too slow to judge; `reason` has the figure.
    Inconclusive,
    /// Does not apply here; `reason` says why.
    Skip,
}

/// A measured value.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// A number; its unit ends the figure's name (`attach_seconds`).
    Number(f64),
    /// Anything else.
    Text(String),
}

/// One row of the demonstration's summary.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TableRow {
    /// What was measured, with its unit.
    pub metric: String,
    /// Under the kernel's own scheduler, ready to print.
    pub kernel: String,
    /// Under the plan's scheduler, ready to print.
    pub scheduler: String,
}

/// One line of the live view: a domain, a tenant, a core.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LiveRow {
    /// One text for each column, ready to print.
    pub cells: Vec<String>,
    /// Length of its bar, as a share of the widest (0 to 1).
    pub bar: f64,
}

/// One line from the guest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// The guest is up; boots that end before it may be retried.
    Ready {
        /// `uname -r`.
        kernel: String,
        /// Online CPUs.
        cpus: usize,
        /// Nodes and last-level caches as /sys tells them, one per line.
        topology: String,
    },
    /// Progress, for people.
    Step {
        /// Scenario name or [`DEMO`].
        scenario: String,
        /// One line.
        text: String,
    },
    /// How things are, about once a second in [`Mode::Run`]. What is in it was measured by the guest, save where a heading says
    /// otherwise.
    Live {
        /// [`KERNEL_PHASE`] or the scheduler's name.
        phase: String,
        /// Guest seconds since the phase began.
        at_seconds: f64,
        /// What else there is to say; may be empty.
        note: String,
        /// The same in one line, for an output that is no terminal.
        brief: String,
        /// Headings of the columns.
        columns: Vec<String>,
        /// The lines.
        rows: Vec<LiveRow>,
    },
    /// The outcome of one scenario, or of the demonstration.
    Result {
        /// Scenario name or [`DEMO`].
        scenario: String,
        /// Outcome.
        verdict: Verdict,
        /// Measured values.
        figures: BTreeMap<String, Figure>,
        /// One line per requirement that did not hold.
        failures: Vec<String>,
        /// Why inconclusive or skipped; empty otherwise.
        #[serde(default)]
        reason: String,
    },
    /// The demonstration's summary.
    Table {
        /// In printing order.
        rows: Vec<TableRow>,
    },
    /// An artefact worth keeping: scheduler log, trace, kernel messages.
    File {
        /// Plain file name, prefixed by the scenario (`D1-scheduler.log`).
        name: String,
        /// Content.
        text: String,
    },
    /// Nothing follows; the guest powers off.
    Done,
}

/// Writes `record` as one line without inner line breaks.
///
/// # Errors
/// Only when serde_json cannot represent the record (a map with a non-string key: not constructible here).
pub fn encode(record: &Record) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(record)?;
    line.push('\n');
    Ok(line)
}

/// Reads one line of the guest's stream. Surrounding white space (a serial port's carriage return) is ignored.
///
/// # Errors
/// The line is not a record.
pub fn decode(line: &str) -> serde_json::Result<Record> {
    serde_json::from_str(line.trim())
}

#[cfg(test)]
mod tests;
