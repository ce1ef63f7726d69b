// SPDX-License-Identifier: GPL-2.0-only
//! Calls of a function of the kernel, counted by the value of one of its arguments: a kprobe in a trace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use anyhow::{Context, Result};

use crate::trace::Instance;

const PROBES: &str = "/sys/kernel/tracing/kprobe_events";

/// A count under way; the kernel has its probe until this is dropped.
pub struct CallCount {
    probe: String,
    instance: Instance,
}

impl CallCount {
    /// Makes everything ready to count calls of `function` by its argument of that name, which the kernel's type information
    /// knows; that takes a while.
    ///
    /// # Errors
    /// The kernel has no kprobes with type information, or no such function.
    pub fn prepare(function: &str, argument: &str) -> Result<Self> {
        let probe = format!("count_{function}");
        let count = Self { instance: Instance::prepare(&probe, 8192)?, probe };
        let define = format!("p:{} {function} by={argument}:u64", count.probe);
        change_probes(&define).with_context(|| format!("cannot probe {function}"))?;
        count.instance.set(&format!("events/kprobes/{}/enable", count.probe), "1")?;
        Ok(count)
    }

    /// Starts to count.
    pub fn start(&self) -> Result<()> {
        self.instance.start()
    }

    /// Stops.
    pub fn stop(&self) -> Result<()> {
        self.instance.stop()
    }

    /// The calls, by argument, after [`Self::stop`]; reading them takes a while.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then the numbers would be wrong).
    pub fn finish(self) -> Result<BTreeMap<u64, u64>> {
        Ok(counts(&self.instance.finish()?))
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        // Nobody is left who could do something about a failure, and the machine ends soon. A probe in use cannot be removed.
        let _disabled = self.instance.set("events/enable", "0");
        let _removed = change_probes(&format!("-:{}", self.probe));
    }
}

/// Adds a probe or removes one; all of them would be lost if the file were truncated.
fn change_probes(line: &str) -> Result<()> {
    let file = fs::OpenOptions::new().append(true).open(PROBES);
    let mut file = file.with_context(|| format!("cannot open {PROBES}"))?;
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
