// SPDX-License-Identifier: GPL-2.0-only
//! The balancing levels as data: what each level's parameters are, and how the command line changes them.
//!
//! The parameters mean what they mean in the kernel's `struct sched_domain`, and their defaults follow the kernel's: the
//! shortest interval is one millisecond per CPU of the level's largest span, the longest twice that.

use std::fmt;
use std::str::FromStr;

use topology::{SchedLevel, SchedLevelKind};

/// How one level is balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelParams {
    /// Shortest time between two rounds of an idle CPU, ms.
    pub min_interval_ms: u64,
    /// Longest time, ms; reached by doubling while there is nothing to do.
    pub max_interval_ms: u64,
    /// Most that a newly idle round is taken to cost, µs: a CPU whose idle periods are shorter looks no further.
    pub newidle_cost_max_us: u64,
    /// The estimate of that cost falls by one percent in this time, ms.
    pub newidle_decay_ms: u64,
    /// The intervals of a busy CPU are this many times as long.
    pub busy_factor: u32,
    /// Percent of load per capacity at which a group counts as heavier than another (117: 17 % more).
    pub imbalance_pct: u32,
    /// Failed rounds after which cache-hot tasks are moved, too.
    pub cache_nice_tries: u32,
    /// Failed rounds after which a running task is pushed.
    pub push_failures: u32,
}

/// The largest interval an option accepts, ms.
const MAX_INTERVAL_MS: u64 = 60_000;

/// The kernel's limit: what a migration costs, and 200 µs.
const NEWIDLE_COST_MAX_US: u64 = 700;

/// The kernel pushes after two more failures than it takes to move cache-hot tasks.
const PUSH_AFTER_TRIES: u32 = 2;

/// Name of a level as options and statistics spell it.
pub fn name_of(kind: SchedLevelKind) -> &'static str {
    match kind {
        SchedLevelKind::Smt => "smt",
        SchedLevelKind::Llc => "llc",
        SchedLevelKind::Node => "node",
        SchedLevelKind::Machine => "machine",
    }
}

impl LevelParams {
    /// The defaults for a level.
    pub fn defaults(level: &SchedLevel) -> Self {
        let cpus = level.spans.iter().map(|span| span.cpus.len()).max().unwrap_or(1) as u64;
        let (imbalance_pct, cache_nice_tries) = match level.kind {
            SchedLevelKind::Smt => (110, 0),
            SchedLevelKind::Llc | SchedLevelKind::Node => (117, 1),
            SchedLevelKind::Machine => (117, 2),
        };
        Self {
            min_interval_ms: cpus.max(1),
            max_interval_ms: (2 * cpus).max(2),
            newidle_cost_max_us: NEWIDLE_COST_MAX_US,
            newidle_decay_ms: 1_000,
            busy_factor: 16,
            imbalance_pct,
            cache_nice_tries,
            push_failures: cache_nice_tries + PUSH_AFTER_TRIES,
        }
    }

    fn set(&mut self, setting: &Setting) {
        let value = setting.value;
        let small = u32::try_from(value).unwrap_or(u32::MAX);
        match setting.key {
            Key::MinInterval => self.min_interval_ms = value,
            Key::MaxInterval => self.max_interval_ms = value,
            Key::NewidleCostMax => self.newidle_cost_max_us = value,
            Key::NewidleDecay => self.newidle_decay_ms = value,
            Key::BusyFactor => self.busy_factor = small,
            Key::ImbalancePct => self.imbalance_pct = small,
            Key::CacheNiceTries => self.cache_nice_tries = small,
            Key::PushFailures => self.push_failures = small,
        }
    }
}

impl fmt::Display for LevelParams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, key, _)) in KEYS.iter().enumerate() {
            let value = match key {
                Key::MinInterval => self.min_interval_ms,
                Key::MaxInterval => self.max_interval_ms,
                Key::NewidleCostMax => self.newidle_cost_max_us,
                Key::NewidleDecay => self.newidle_decay_ms,
                Key::BusyFactor => self.busy_factor.into(),
                Key::ImbalancePct => self.imbalance_pct.into(),
                Key::CacheNiceTries => self.cache_nice_tries.into(),
                Key::PushFailures => self.push_failures.into(),
            };
            write!(formatter, "{}{name}={value}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    MinInterval,
    MaxInterval,
    NewidleCostMax,
    NewidleDecay,
    BusyFactor,
    ImbalancePct,
    CacheNiceTries,
    PushFailures,
}

/// Spelling and accepted range of each parameter.
const KEYS: [(&str, Key, std::ops::RangeInclusive<u64>); 8] = [
    ("min-interval-ms", Key::MinInterval, 1..=MAX_INTERVAL_MS),
    ("max-interval-ms", Key::MaxInterval, 1..=MAX_INTERVAL_MS),
    ("newidle-cost-max-us", Key::NewidleCostMax, 0..=1_000_000),
    ("newidle-decay-ms", Key::NewidleDecay, 1..=MAX_INTERVAL_MS),
    ("busy-factor", Key::BusyFactor, 1..=1024),
    ("imbalance-pct", Key::ImbalancePct, 100..=1000),
    ("cache-nice-tries", Key::CacheNiceTries, 0..=1000),
    ("push-failures", Key::PushFailures, 0..=1000),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    key: Key,
    value: u64,
}

/// One `--level`: a level's name (or `all`) and what to change, such as `llc:imbalance-pct=125,push-failures=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelOption {
    /// None: all levels.
    kind: Option<SchedLevelKind>,
    settings: Vec<Setting>,
}

impl LevelOption {
    /// Applies what concerns the level.
    pub fn apply(&self, kind: SchedLevelKind, params: &mut LevelParams) {
        if self.kind.is_none_or(|named| named == kind) {
            self.settings.iter().for_each(|setting| params.set(setting));
        }
    }
}

impl FromStr for LevelOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text
            .split_once(':')
            .ok_or_else(|| format!("'{text}' names no parameter; write for example llc:busy-factor=8"))?;
        let kinds = [SchedLevelKind::Smt, SchedLevelKind::Llc, SchedLevelKind::Node, SchedLevelKind::Machine];
        let kind = kinds.into_iter().find(|&kind| name_of(kind) == name);
        if kind.is_none() && name != "all" {
            return Err(format!("there is no level '{name}'; choose smt, llc, node, machine or all"));
        }
        let settings = rest.split(',').map(setting).collect::<Result<_, _>>()?;
        Ok(Self { kind, settings })
    }
}

fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' has no value; write for example busy-factor=8"))?;
    let Some((_, key, range)) = KEYS.iter().find(|(known, _, _)| *known == name) else {
        let known: Vec<&str> = KEYS.iter().map(|(name, _, _)| *name).collect();
        return Err(format!("there is no parameter '{name}'; choose {}", known.join(", ")));
    };
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(Setting { key: *key, value: number }),
        _ => Err(format!("{name}={value} is out of range; give {} to {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests;
