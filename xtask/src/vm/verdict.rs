// SPDX-License-Identifier: GPL-2.0-only
//! What a boot proves. Only what the guest said, whole and in order, counts as a pass: a missing result, a missing end,
//! a complaint of the kernel or a dead machine is a failure.

use super::session::{End, ScenarioResult, Session};
use guest::protocol::Verdict;
use std::collections::BTreeMap;

/// The judgement on one planned scenario.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What is known about it.
    pub result: ScenarioResult,
    /// It never began, because the machine was lost in a scenario before it: run it in another boot.
    pub not_run: bool,
}

/// Judges every planned scenario of a boot that became ready.
pub fn judge(plan: &[String], session: &Session) -> Vec<Judged> {
    let mut judged: Vec<Judged> = plan.iter().enumerate().map(|(at, name)| one(at, name, session)).collect();
    let Some(last) = judged.last_mut() else { return judged };
    if session.end != End::Done && session.results.len() >= plan.len() {
        fail(&mut last.result, format!("the guest never said that it was done: {}", session.end));
    }
    if session.results.len() > plan.len() {
        fail(&mut last.result, "the guest gave more results than scenarios were planned".to_owned());
    }
    judged
}

fn one(at: usize, name: &str, session: &Session) -> Judged {
    let Some(found) = session.results.get(at) else {
        let mut result = empty(name);
        let running = at == session.results.len();
        let why = if running { "no result" } else { "not run" };
        fail(&mut result, format!("{why}: {}", session.end));
        complaints(at, session, &mut result);
        // A guest that is done has left the scenario out; to run it again would only hide that.
        return Judged { result, not_run: !running && session.end != End::Done };
    };
    let mut result = found.clone();
    if !found.scenario.eq_ignore_ascii_case(name) {
        fail(&mut result, format!("the guest gave a result for {} where {name} was planned", found.scenario));
        result.scenario = name.to_owned();
    }
    if found.verdict != Verdict::Fail && !found.failures.is_empty() {
        result.verdict = Verdict::Fail;
    }
    if found.verdict == Verdict::Fail && found.failures.is_empty() {
        fail(&mut result, "the guest gave no reason".to_owned());
    }
    complaints(at, session, &mut result);
    Judged { result, not_run: false }
}

/// Adds what the kernel complained about while this scenario ran.
fn complaints(at: usize, session: &Session, result: &mut ScenarioResult) {
    for (_, finding) in session.findings.iter().filter(|(when, _)| *when == at) {
        fail(result, format!("kernel: {}", finding.line));
    }
}

fn fail(result: &mut ScenarioResult, failure: String) {
    result.verdict = Verdict::Fail;
    result.failures.push(failure);
}

fn empty(name: &str) -> ScenarioResult {
    ScenarioResult {
        scenario: name.to_owned(),
        verdict: Verdict::Fail,
        figures: BTreeMap::new(),
        failures: Vec::new(),
        reason: String::new(),
    }
}

/// How many scenarios ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything held.
    pub passed: usize,
    /// Something did not hold.
    pub failed: usize,
    /// The machine was too slow to judge.
    pub inconclusive: usize,
    /// Does not apply.
    pub skipped: usize,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail => self.failed += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Skip => self.skipped += 1,
        }
    }

    /// `N passed, M failed`, and the rest where there is any.
    pub fn line(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed);
        for (count, what) in [(self.inconclusive, "inconclusive"), (self.skipped, "skipped")] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        line
    }
}
