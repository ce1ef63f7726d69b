// SPDX-License-Identifier: GPL-2.0-only
//! A set of domains.
//!
//! The first 64 domains live inline; larger sets share one allocation between clones. A snapshot of a million tasks
//! that mostly share a few masks therefore costs 24 bytes a mask.

use crate::DomainId;
use std::fmt;
use std::sync::Arc;

const WORD_BITS: usize = u64::BITS as usize;

/// A set of [`DomainId`]s. Equal sets compare and hash equal, however they came about.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainMask {
    low: u64,
    /// Words from domain 64 on, without trailing zero words; `None` when all are zero.
    high: Option<Arc<[u64]>>,
}

impl DomainMask {
    /// The empty set.
    pub const fn empty() -> Self {
        Self { low: 0, high: None }
    }

    /// The domains `0..domains`.
    pub fn all(domains: usize) -> Self {
        let full = |bits: usize| if bits >= WORD_BITS { u64::MAX } else { (1u64 << bits) - 1 };
        let rest = domains.saturating_sub(WORD_BITS);
        let high = (0..rest.div_ceil(WORD_BITS)).map(|i| full(rest - i * WORD_BITS)).collect();
        Self::from_parts(full(domains), high)
    }

    /// One domain only.
    pub fn single(domain: DomainId) -> Self {
        [domain].into_iter().collect()
    }

    /// The set whose bit `i` of word `j` is domain `64 × j + i`.
    pub fn from_words(words: &[u64]) -> Self {
        match words.split_first() {
            Some((low, high)) => Self::from_parts(*low, high.to_vec()),
            None => Self::empty(),
        }
    }

    fn from_parts(low: u64, mut high: Vec<u64>) -> Self {
        while high.last() == Some(&0) {
            high.pop();
        }
        Self { low, high: (!high.is_empty()).then(|| high.into()) }
    }

    fn high(&self) -> &[u64] {
        self.high.as_deref().unwrap_or_default()
    }

    fn word(&self, index: usize) -> u64 {
        if index == 0 { self.low } else { self.high().get(index - 1).copied().unwrap_or(0) }
    }

    /// Whether `domain` is in the set.
    pub fn contains(&self, domain: DomainId) -> bool {
        self.word(domain / WORD_BITS) >> (domain % WORD_BITS) & 1 == 1
    }

    /// Adds `domain`. Filling a large set is cheaper by `collect()`.
    pub fn insert(&mut self, domain: DomainId) {
        self.assign(domain, true);
    }

    /// Takes `domain` out.
    pub fn remove(&mut self, domain: DomainId) {
        self.assign(domain, false);
    }

    fn assign(&mut self, domain: DomainId, present: bool) {
        if self.contains(domain) == present {
            return;
        }
        let bit = 1u64 << (domain % WORD_BITS);
        let Some(index) = (domain / WORD_BITS).checked_sub(1) else {
            self.low ^= bit;
            return;
        };
        let mut high = self.high().to_vec();
        high.resize(high.len().max(index + 1), 0);
        high[index] ^= bit;
        *self = Self::from_parts(self.low, high);
    }

    /// Number of domains in the set.
    pub fn len(&self) -> usize {
        (self.low.count_ones() + self.high().iter().map(|w| w.count_ones()).sum::<u32>()) as usize
    }

    /// Whether the set has no domain.
    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.high.is_none()
    }

    /// Whether it holds any domain besides `domain`.
    pub fn has_other(&self, domain: DomainId) -> bool {
        let rest = |index: usize, word: u64| match domain / WORD_BITS == index {
            true => word & !(1 << (domain % WORD_BITS)),
            false => word,
        };
        rest(0, self.low) != 0 || self.high().iter().enumerate().any(|(i, &word)| rest(i + 1, word) != 0)
    }

    /// The largest domain in the set.
    pub fn last(&self) -> Option<DomainId> {
        let top = |word: u64| word.checked_ilog2().map(|bit| bit as usize);
        match self.high() {
            [] => top(self.low),
            high => top(high[high.len() - 1]).map(|bit| high.len() * WORD_BITS + bit),
        }
    }

    /// The domains in rising order.
    pub fn iter(&self) -> impl Iterator<Item = DomainId> + '_ {
        (0..=self.high().len()).flat_map(move |index| {
            let word = self.word(index);
            (0..WORD_BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * WORD_BITS + bit)
        })
    }
}

impl FromIterator<DomainId> for DomainMask {
    fn from_iter<I: IntoIterator<Item = DomainId>>(domains: I) -> Self {
        let mut words = vec![0u64];
        for domain in domains {
            let index = domain / WORD_BITS;
            if index >= words.len() {
                words.resize(index + 1, 0);
            }
            words[index] |= 1 << (domain % WORD_BITS);
        }
        Self::from_words(&words)
    }
}

impl fmt::Debug for DomainMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
