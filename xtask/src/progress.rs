// SPDX-License-Identifier: GPL-2.0-only
//! Progress of the long steps: a bar on a terminal, one plain line per step elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// All bars that are shown at the moment: steps may run side by side.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Lets `print` write to the terminal while no bar is drawn.
pub fn pause(print: impl FnOnce()) {
    BARS.suspend(print);
}

/// A step with a known length, shown while it runs.
pub struct Step {
    bar: Option<ProgressBar>,
    what: String,
    started: Instant,
}

/// Whether standard error is a terminal: only then is anything redrawn in place.
pub fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

impl Step {
    /// Begins a step of `length` units; 0 when the length is not known.
    pub fn new(what: impl Into<String>, length: u64) -> Self {
        let what = what.into();
        let bar = on_terminal().then(|| bar(&what, length));
        if bar.is_none() {
            eprintln!("{what} …");
        }
        Self { bar, what, started: Instant::now() }
    }

    /// Sets how far the step is, and what it does at the moment.
    pub fn at(&self, position: u64, doing: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(doing.to_owned());
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(_) => pause(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Ends the step with a line that says how long it took.
    pub fn done(self, outcome: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.clear();
        let outcome = if outcome.is_empty() { String::new() } else { format!(": {outcome}") };
        eprintln!("{}{outcome} ({seconds:.1} s)", self.what);
    }

    /// Takes the bar away without a word.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, length: u64) -> ProgressBar {
    let (bar, template) = if length == 0 {
        (ProgressBar::new_spinner(), "{spinner} {prefix} {elapsed} {wide_msg}")
    } else {
        (ProgressBar::new(length), "{prefix} [{bar:30}] {percent:>3}% {elapsed} {wide_msg}")
    };
    // The template is a constant of this file; should it be wrong, the default style serves.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    let bar = BARS.add(bar);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
