// SPDX-License-Identifier: GPL-2.0-only
//! What is printed and kept about scenarios.

use crate::paths;
use crate::vm::session::ScenarioResult;
use anyhow::{Context, Result};
use guest::protocol::{Figure, Verdict};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Runs whose logs are kept.
const KEPT_RUNS: usize = 10;
/// The file with all results of a run: two deterministic runs of the same seed give the same bytes.
pub const RESULTS: &str = "results.json";

/// A scenario on a kernel and a machine.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scheduler.
    pub scheduler: String,
    /// The kernel, as `--kernel` names it.
    pub kernel: String,
    /// The machine.
    pub topology: String,
    /// What came of it.
    pub result: ScenarioResult,
    /// Where the logs of its boot are, if it needs a look.
    pub logs: PathBuf,
}

impl Outcome {
    /// Whether it needs a look.
    pub fn bad(&self) -> bool {
        matches!(self.result.verdict, Verdict::Fail | Verdict::Inconclusive)
    }

    /// One line: verdict, scenario, where, figures.
    pub fn line(&self) -> String {
        let Self { scheduler, kernel, topology, result, .. } = self;
        let figures: Vec<String> =
            result.figures.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        let mut line =
            format!("{:<12} {:<9} {scheduler} {kernel} {topology}", verdict(result.verdict), result.scenario);
        if !figures.is_empty() {
            line.push_str(&format!("  {}", figures.join(" ")));
        }
        if result.verdict == Verdict::Skip && !result.reason.is_empty() {
            line.push_str(&format!("  ({})", result.reason));
        }
        line
    }

    /// Why it failed or could not be judged.
    pub fn reasons(&self) -> Vec<String> {
        let reason = (!self.result.reason.is_empty()).then(|| self.result.reason.clone());
        self.result.failures.iter().cloned().chain(reason).collect()
    }
}

/// A verdict as it is printed.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Skip => "skip",
    }
}

fn shown(figure: &Figure) -> String {
    match figure {
        Figure::Number(number) if number.fract() == 0.0 => format!("{number:.0}"),
        Figure::Number(number) => format!("{number:.3}"),
        Figure::Text(text) => text.clone(),
    }
}

/// A fresh folder for the logs of one run; the oldest runs are removed.
///
/// # Errors
/// When it cannot be created.
pub fn new_run_dir() -> Result<PathBuf> {
    let base = paths::vmtest();
    paths::create_dir(&base)?;
    remove_old(&base);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let dir = base.join(format!("{}-{}", now.as_secs(), std::process::id()));
    paths::create_dir(&dir)?;
    Ok(dir)
}

fn remove_old(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    // Names begin with the time in seconds, all of the same length.
    runs.sort();
    let surplus = (runs.len() + 1).saturating_sub(KEPT_RUNS);
    for run in runs.into_iter().take(surplus) {
        // What cannot be removed now is tried again by the next run.
        let _ = fs::remove_dir_all(run);
    }
}

/// Writes all outcomes into the run's folder, and again where the newest results are always found.
///
/// # Errors
/// When a file cannot be written.
pub fn save(dir: &Path, outcomes: &[Outcome]) -> Result<()> {
    let all: Vec<serde_json::Value> = outcomes
        .iter()
        .map(|Outcome { scheduler, kernel, topology, result, .. }| {
            json!({
                "scheduler": scheduler, "kernel": kernel, "topology": topology, "scenario": result.scenario,
                "verdict": result.verdict, "figures": result.figures, "failures": result.failures,
                "reason": result.reason,
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&all)? + "\n";
    for path in [dir.join(RESULTS), paths::vmtest().join(RESULTS)] {
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
