// SPDX-License-Identifier: GPL-2.0-only
//! Calls of a function of the kernel, counted by the value of one of its arguments: a kprobe in a trace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use anyhow::{Context, Result, ensure};

use crate::trace::lost_events;

const TRACING: &str = "/sys/kernel/tracing";

/// A count under way; it ends when this is dropped.
pub struct CallCount {
    probe: String,
}

impl CallCount {
    /// Makes everything ready to count calls of `function` by its argument of that name, which the kernel's type information
    /// knows; that takes a while.
    ///
    /// # Errors
    /// The kernel has no kprobes with type information, or no such function.
    pub fn prepare(function: &str, argument: &str) -> Result<Self> {
        let count = Self { probe: format!("count_{function}") };
        append(
            &format!("{TRACING}/kprobe_events"),
            &format!("p:{} {function} by={argument}:u64", count.probe),
        )
        .with_context(|| format!("cannot probe {function}"))?;
        let instance = count.instance();
        if !fs::exists(&instance)? {
            fs::create_dir(&instance)
                .with_context(|| format!("cannot create trace instance {}", count.probe))?;
        }
        count.set("tracing_on", "0")?;
        count.set("buffer_size_kb", "8192")?;
        count.set("trace", "")?;
        count.set(&count.enable(), "1")?;
        Ok(count)
    }

    fn instance(&self) -> String {
        format!("{TRACING}/instances/{}", self.probe)
    }

    fn enable(&self) -> String {
        format!("events/kprobes/{}/enable", self.probe)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = format!("{}/{file}", self.instance());
        fs::write(&path, value).with_context(|| format!("cannot set {path}"))
    }

    /// Starts to count.
    pub fn start(&self) -> Result<()> {
        self.set("tracing_on", "1")
    }

    /// Stops.
    pub fn stop(&self) -> Result<()> {
        self.set("tracing_on", "0")
    }

    /// The calls, by argument, after [`Self::stop`]; reading them takes a while.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then the numbers would be wrong).
    pub fn finish(self) -> Result<BTreeMap<u64, u64>> {
        let path = format!("{}/trace", self.instance());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        ensure!(!lost_events(&text), "the trace buffer overflowed: the calls cannot be counted");
        Ok(counts(&text))
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        // Nobody is left who could do something about a failure, and the machine ends soon.
        let _disabled = self.set(&self.enable(), "0");
        let _gone = fs::remove_dir(self.instance());
        let _removed = append(&format!("{TRACING}/kprobe_events"), &format!("-:{}", self.probe));
    }
}

/// To write a probe is to add one; all of them are lost when the file is truncated.
fn append(path: &str, line: &str) -> Result<()> {
    let mut file =
        fs::OpenOptions::new().append(true).open(path).with_context(|| format!("cannot open {path}"))?;
    file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("the kernel refuses '{line}'"))
}

/// Lines such as ` hog-71 [001] d..2. 12.345678: count_f: (f+0x0/0x40) by=8`.
fn counts(text: &str) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for value in text.lines().filter_map(|line| line.rsplit_once(" by=")?.1.trim().parse().ok()) {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_argument() {
        let text = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 3/3   #P:8\n#\n\
                    \x20hog-71 [001] d..2. 12.345678: count_f: (f+0x0/0x40) by=8\n\
                    \x20hog-71 [001] d..2. 12.345679: count_f: (f+0x0/0x40) by=0\n\
                    \x20hog-72 [002] d..2. 12.345680: count_f: (f+0x0/0x40) by=8\n\
                    \x20hog-72 [002] d..2. 12.345680: count_f: (f+0x0/0x40) by=\n";
        assert_eq!(counts(text), BTreeMap::from([(0, 1), (8, 2)]));
        assert!(counts("").is_empty());
    }
}
