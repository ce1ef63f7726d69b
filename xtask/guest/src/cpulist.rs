// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's CPU lists (`0-3,8`).

use std::collections::BTreeSet;

/// A set of CPU numbers.
pub type Cpus = BTreeSet<usize>;

/// Reads a list such as `0-3,8`; None when it is not one. An empty text is the empty set.
pub fn parse(text: &str) -> Option<Cpus> {
    let mut cpus = Cpus::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Writes a set as the kernel does: ascending, runs joined.
pub fn format(cpus: &Cpus) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    runs.join(",")
}

#[cfg(test)]
mod tests;
