// SPDX-License-Identifier: GPL-2.0-only
//! What one scenario works with: its plan, its clock, its findings.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::figures::{Random, rounded};
use crate::protocol::{Figure, Plan, Record, Verdict, encode};

/// Base time T of the scenarios when the plan names none.
const DEFAULT_SECONDS: f64 = 10.0;

/// A sleeping real-time process that is this late was kept from the machine, not by any scheduler: what the same
/// scenario measured meanwhile is no ground for a verdict.
const TOO_LATE: Duration = Duration::from_millis(1500);

/// Longest text of one artefact; the end is kept.
const FILE_BYTES: usize = 128 * 1024;

/// Why a scenario ends early although nothing is wrong.
#[derive(Debug)]
pub struct Skipped(pub String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// One scenario's run.
pub struct Context {
    /// The host's order.
    pub plan: Plan,
    /// Base time T.
    pub base_time: Duration,
    /// Random choices that the plan's seed repeats.
    pub random: Random,
    scenario: String,
    figures: BTreeMap<String, Figure>,
    failures: Vec<String>,
    measured_failures: Vec<String>,
    latest_wake: Duration,
    begin: Instant,
}

impl Context {
    /// Of a scenario that no test cares about.
    #[cfg(test)]
    pub fn for_test() -> Self {
        Self::new("x", serde_json::from_str(r#"{"scheduler":"s"}"#).expect("a plan"))
    }

    /// A fresh run of `scenario`.
    pub fn new(scenario: &str, plan: Plan) -> Self {
        let seconds = if plan.seconds > 0.0 { plan.seconds } else { DEFAULT_SECONDS };
        Self {
            base_time: Duration::from_secs_f64(seconds),
            random: Random::new(plan.seed),
            plan,
            scenario: scenario.to_owned(),
            figures: BTreeMap::new(),
            failures: Vec::new(),
            measured_failures: Vec::new(),
            latest_wake: Duration::ZERO,
            begin: Instant::now(),
        }
    }

    /// Tells the host how far this is.
    pub fn step(&self, text: impl Into<String>) {
        self.send(&Record::Step { scenario: self.scenario.clone(), text: text.into() });
    }

    /// Sends a record to process 1, which passes it to the host.
    pub fn send(&self, record: &Record) {
        match encode(record) {
            Ok(line) => {
                let mut out = std::io::stdout().lock();
                // Without process 1 there is nobody left to tell.
                let _sent = out.write_all(line.as_bytes()).and_then(|()| out.flush());
            }
            Err(error) => eprintln!("cannot encode a record: {error}"),
        }
    }

    /// Sends an artefact, its end when it is long.
    pub fn keep_file(&self, name: &str, text: &str) {
        let mut start = text.len().saturating_sub(FILE_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        self.send(&Record::File {
            name: format!("{}-{name}", self.scenario),
            text: text[start..].to_owned(),
        });
    }

    /// Notes a measured number.
    pub fn figure(&mut self, name: &str, value: f64) {
        let value = rounded(value);
        let figure = if value.is_finite() { Figure::Number(value) } else { Figure::Text(value.to_string()) };
        self.figures.insert(name.to_owned(), figure);
    }

    /// Notes a measured text.
    pub fn text_figure(&mut self, name: &str, value: impl Into<String>) {
        self.figures.insert(name.to_owned(), Figure::Text(value.into()));
    }

    /// Notes that a requirement did not hold, whatever the speed of the machine.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// Fails with `text` unless `holds`.
    pub fn require(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(text());
        }
    }

    /// Like [`Self::require`] for a bound on a measurement, which a starved machine can break too.
    pub fn require_measured(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.measured_failures.push(text());
        }
    }

    /// Whether something did not hold so far.
    pub fn has_failures(&self) -> bool {
        !(self.failures.is_empty() && self.measured_failures.is_empty())
    }

    /// Sleeps, and notes how late the machine was to wake this real-time process.
    pub fn sleep(&mut self, duration: Duration) {
        let begin = Instant::now();
        std::thread::sleep(duration);
        self.latest_wake = self.latest_wake.max(begin.elapsed().saturating_sub(duration));
    }

    /// Calls `look` every `pause` until it returns something or `deadline` has passed.
    pub fn wait_for<T>(
        &mut self,
        deadline: Duration,
        pause: Duration,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let begin = Instant::now();
        loop {
            if let Some(found) = look(self)? {
                return Ok(Some(found));
            }
            if begin.elapsed() >= deadline {
                return Ok(None);
            }
            self.sleep(pause);
        }
    }

    /// The result record, from what was noted and how the scenario ended.
    pub fn finish(mut self, outcome: Result<()>) -> Record {
        let seconds = self.begin.elapsed().as_secs_f64();
        self.figure("seconds", seconds);
        let mut reason = String::new();
        let mut verdict = Verdict::Pass;
        if let Err(error) = outcome {
            match error.downcast_ref::<Skipped>() {
                Some(skipped) => (verdict, reason) = (Verdict::Skip, skipped.0.clone()),
                None => self.failures.push(format!("{error:#}")),
            }
        }
        if !self.measured_failures.is_empty() && self.failures.is_empty() && self.latest_wake > TOO_LATE {
            verdict = Verdict::Inconclusive;
            reason = format!(
                "the machine was too slow to judge: a real-time process woke {:.1} s late (bound {:.1} s)",
                self.latest_wake.as_secs_f64(),
                TOO_LATE.as_secs_f64()
            );
        } else if self.has_failures() {
            verdict = Verdict::Fail;
        }
        self.failures.append(&mut self.measured_failures);
        Record::Result {
            scenario: self.scenario,
            verdict,
            figures: self.figures,
            failures: self.failures,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
