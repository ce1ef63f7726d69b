// SPDX-License-Identifier: GPL-2.0-only
//! What the operator was told: trouble that lasts is one line, and trouble that comes back is one again.

use std::collections::{BTreeMap, BTreeSet};

/// What lines are about. Whoever looks into a topic has all of its lines at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Finding cgroups and reading what they ask for.
    Cgroups,
    /// Telling the BPF side which cgroups are whose.
    Members,
    /// Making `cpu.weight` count.
    Weights,
    /// What the assignment could not do as asked.
    Wishes,
}

/// One line of trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What makes it the same trouble: its text without the figures that change from look to look.
    subject: String,
    text: String,
}

impl Line {
    /// A line; another text about the same subject is not news.
    pub fn new(subject: impl Into<String>, text: String) -> Self {
        Self { subject: subject.into(), text }
    }
}

impl From<String> for Line {
    /// A line that is its own subject.
    fn from(text: String) -> Self {
        Self { subject: text.clone(), text }
    }
}

/// The trouble there was at the last look into each topic.
#[derive(Clone, Debug, Default)]
pub struct Told {
    subjects: BTreeMap<Topic, BTreeSet<String>>,
}

impl Told {
    /// Takes all trouble that a topic has now, in the place of what it had before, and gives the texts of what is new.
    pub fn news(&mut self, topic: Topic, lines: Vec<Line>) -> Vec<String> {
        let before = self.subjects.remove(&topic).unwrap_or_default();
        let mut now = BTreeSet::new();
        let mut news = Vec::new();
        for Line { subject, text } in lines {
            let known = before.contains(&subject);
            if now.insert(subject) && !known {
                news.push(text);
            }
        }
        self.subjects.insert(topic, now);
        news
    }
}

#[cfg(test)]
mod tests;
