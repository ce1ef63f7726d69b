// SPDX-License-Identifier: GPL-2.0-only
//! A set of CPU ids as a bitmap, with the two text forms that the kernel uses: lists (`0-3,8`) and hex masks.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::shorten;

const WORD_BITS: usize = u64::BITS as usize;

/// A set of CPU ids.
///
/// Grows on demand; trailing zero words are never kept, so equal sets compare and hash equal however they came about.
/// Prints as a CPU list; serialises as one too.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuSet {
    words: Vec<u64>,
}

impl CpuSet {
    /// One more than the largest CPU id that a set can hold. Far above any kernel's limit (8192); it keeps a typing
    /// mistake such as `0-99999999999` from filling the memory.
    pub const LIMIT: usize = 1 << 16;

    /// The empty set.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The set whose bit `i` of word `w` stands for CPU `64 * w + i`. Words beyond [`CpuSet::LIMIT`] are ignored.
    pub fn from_words(words: &[u64]) -> Self {
        let mut set = Self { words: words[..words.len().min(Self::LIMIT / WORD_BITS)].to_vec() };
        set.trim();
        set
    }

    /// The bitmap: bit `i` of word `w` stands for CPU `64 * w + i`. Trailing zero words are left out, so the empty set
    /// has no words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds a CPU; true if it was not there.
    ///
    /// # Panics
    ///
    /// If `cpu` is not below [`CpuSet::LIMIT`], as an index out of bounds would.
    pub fn insert(&mut self, cpu: usize) -> bool {
        assert!(cpu < Self::LIMIT, "CPU {cpu} is beyond the limit of a CpuSet ({})", Self::LIMIT);
        let word = cpu / WORD_BITS;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1u64 << (cpu % WORD_BITS);
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// Removes a CPU; true if it was there.
    pub fn remove(&mut self, cpu: usize) -> bool {
        let had = self.contains(cpu);
        if had {
            self.words[cpu / WORD_BITS] &= !(1u64 << (cpu % WORD_BITS));
            self.trim();
        }
        had
    }

    /// Whether the CPU is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        self.words.get(cpu / WORD_BITS).is_some_and(|w| w >> (cpu % WORD_BITS) & 1 == 1)
    }

    /// How many CPUs are in the set.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether the set holds no CPU.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The lowest CPU.
    pub fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// The highest CPU.
    pub fn last(&self) -> Option<usize> {
        let word = *self.words.last()?;
        Some((self.words.len() - 1) * WORD_BITS + (WORD_BITS - 1 - word.leading_zeros() as usize))
    }

    /// The CPUs in rising order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { words: &self.words, next_word: 0, current: 0 }
    }

    /// Whether the sets share a CPU.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Whether every CPU of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.iter().enumerate().all(|(i, w)| w & !other.words.get(i).copied().unwrap_or(0) == 0)
    }

    /// The CPUs in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self { words: self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect() };
        out.trim();
        out
    }

    /// The CPUs in either set.
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        out.extend_from(other);
        out
    }

    /// The CPUs of this set that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (a, b) in out.words.iter_mut().zip(&other.words) {
            *a &= !b;
        }
        out.trim();
        out
    }

    /// Adds every CPU of the other set to this one.
    pub fn extend_from(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// Reads a CPU list such as `0-3,8`. Spaces around the text and around numbers are allowed; the empty text is the
    /// empty set (as in sysfs).
    ///
    /// # Errors
    ///
    /// Names the first character at fault, counted from 1.
    pub fn parse_list(text: &str) -> Result<Self, MaskError> {
        let mut set = Self::new();
        if text.trim().is_empty() {
            return Ok(set);
        }
        let mut scan = Scanner::new(text, MaskKind::List);
        loop {
            let (start, _) = scan.number()?;
            let mut end = start;
            if scan.eat('-') {
                let end_at;
                (end, end_at) = scan.number()?;
                if end < start {
                    return Err(scan.error(end_at, MaskProblem::Backwards { start, end }));
                }
            }
            for cpu in start..=end {
                set.insert(cpu);
            }
            match scan.peek() {
                None => return Ok(set),
                Some(',') => scan.advance(),
                Some(found) => return Err(scan.error_here(MaskProblem::Unexpected { found })),
            }
        }
    }

    /// Reads a hex mask: `ff`, `0xff`, or groups of 32 bits as the kernel prints them, `ff,00000000` (most significant
    /// first; groups may be shorter than 8 digits, they still stand for 32 bits). The empty text is the empty set.
    ///
    /// # Errors
    ///
    /// Names the first character at fault, counted from 1.
    pub fn parse_hex(text: &str) -> Result<Self, MaskError> {
        const GROUP_BITS: usize = 32;
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        let mut scan = Scanner::new(text, MaskKind::Hex);
        scan.hex_prefix();
        let grouped = scan.rest_contains(',');
        // Digits per group, with where each group starts, to name the character that leads beyond the limit.
        let mut groups: Vec<Vec<(u32, usize)>> = vec![Vec::new()];
        while let Some((found, at)) = scan.next() {
            let digits = groups.last_mut().expect("starts with one group and only grows");
            match found.to_digit(16) {
                Some(_) if grouped && digits.len() == GROUP_BITS / 4 => {
                    return Err(scan.error(at, MaskProblem::LongGroup));
                }
                Some(digit) => digits.push((digit, at)),
                None if found == ',' && !digits.is_empty() => groups.push(Vec::new()),
                None => return Err(scan.error(at, MaskProblem::Unexpected { found })),
            }
        }
        if groups.last().is_none_or(Vec::is_empty) {
            return Err(scan.error_here(MaskProblem::Ends));
        }
        let mut set = Self::new();
        for (group, digits) in groups.iter().rev().enumerate() {
            for (place, &(digit, at)) in digits.iter().rev().enumerate() {
                for bit in (0..4).filter(|bit| digit >> bit & 1 == 1) {
                    let cpu = group * GROUP_BITS + place * 4 + bit;
                    if cpu >= Self::LIMIT {
                        return Err(scan.error(at, MaskProblem::TooLarge));
                    }
                    set.insert(cpu);
                }
            }
        }
        Ok(set)
    }

    /// Reads either form: a hex mask if the text begins with `0x`, otherwise a list.
    ///
    /// # Errors
    ///
    /// Names the first character at fault, counted from 1.
    pub fn parse(text: &str) -> Result<Self, MaskError> {
        let start = text.trim_start();
        if start.starts_with("0x") || start.starts_with("0X") {
            Self::parse_hex(text)
        } else {
            Self::parse_list(text)
        }
    }

    /// The set as a hex mask in the kernel's form: groups of 32 bits, most significant first (`f`, `1,00000003`).
    pub fn to_hex(&self) -> String {
        let halves: Vec<u32> = self.words.iter().flat_map(|w| [*w as u32, (w >> 32) as u32]).collect();
        let top = halves.iter().rposition(|h| *h != 0).unwrap_or(0);
        let mut out = format!("{:x}", halves.first().map_or(0, |_| halves[top]));
        for half in halves.iter().take(top).rev() {
            out.push_str(&format!(",{half:08x}"));
        }
        out
    }

    fn trim(&mut self) {
        let keep = self.words.iter().rposition(|w| *w != 0).map_or(0, |i| i + 1);
        self.words.truncate(keep);
    }
}

impl FromIterator<usize> for CpuSet {
    /// # Panics
    ///
    /// As [`CpuSet::insert`].
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        let mut set = Self::new();
        set.extend(cpus);
        set
    }
}

impl Extend<usize> for CpuSet {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, cpus: I) {
        for cpu in cpus {
            self.insert(cpu);
        }
    }
}

impl<'a> IntoIterator for &'a CpuSet {
    type Item = usize;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(start) = cpus.next() {
            let mut end = start;
            while let Some(next) = cpus.next_if_eq(&(end + 1)) {
                end = next;
            }
            write!(f, "{separator}{start}")?;
            if end > start {
                write!(f, "-{end}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

impl std::str::FromStr for CpuSet {
    type Err = MaskError;

    fn from_str(text: &str) -> Result<Self, MaskError> {
        Self::parse(text)
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The CPUs of a [`CpuSet`] in rising order.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    words: &'a [u64],
    next_word: usize,
    current: u64,
}

impl Iterator for Iter<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.current == 0 {
            self.current = *self.words.get(self.next_word)?;
            self.next_word += 1;
        }
        let bit = self.current.trailing_zeros() as usize;
        self.current &= self.current - 1;
        Some((self.next_word - 1) * WORD_BITS + bit)
    }
}

/// Which text form a mask was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaskKind {
    List,
    Hex,
}

/// What is wrong with a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaskProblem {
    Unexpected { found: char },
    Ends,
    Backwards { start: usize, end: usize },
    TooLarge,
    LongGroup,
}

/// A CPU list or hex mask that cannot be read, with the character at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskError {
    text: String,
    kind: MaskKind,
    position: usize,
    problem: MaskProblem,
}

impl MaskError {
    /// The character at fault, counted from 1; one past the end if the text ends too early.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The same error seen from a longer text in which the mask begins after `chars` characters.
    pub(crate) fn within(mut self, whole: &str, chars: usize) -> Self {
        self.text = shorten(whole);
        self.position += chars;
        self
    }
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, example) = match self.kind {
            MaskKind::List => ("CPU list", "0-3,8"),
            MaskKind::Hex => ("CPU mask", "0xff or 0x1,00000000"),
        };
        write!(f, "{what} {:?}: character {} ", self.text, self.position)?;
        match self.problem {
            MaskProblem::Unexpected { found } => write!(f, "({found:?}) does not belong there"),
            MaskProblem::Ends => write!(f, "is missing, the text ends too early"),
            MaskProblem::Backwards { start, end } => {
                write!(f, "begins a range end {end} below its start {start}")
            }
            MaskProblem::TooLarge => write!(f, "leads to a CPU beyond {}", CpuSet::LIMIT - 1),
            MaskProblem::LongGroup => write!(f, "makes a group longer than 8 hex digits"),
        }?;
        write!(f, "; write it like {example}")
    }
}

impl std::error::Error for MaskError {}

/// Walks over the characters of a mask and knows where it is.
struct Scanner<'a> {
    text: &'a str,
    kind: MaskKind,
    chars: Vec<char>,
    /// Index of the next character.
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, kind: MaskKind) -> Self {
        let chars: Vec<char> = text.trim_end().chars().collect();
        let mut scan = Self { text, kind, chars, at: 0 };
        scan.skip_spaces();
        scan
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// The next character and its position.
    fn next(&mut self) -> Option<(char, usize)> {
        let found = self.peek()?;
        self.at += 1;
        Some((found, self.at))
    }

    fn advance(&mut self) {
        self.at += 1;
        self.skip_spaces();
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.advance();
        }
        there
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn hex_prefix(&mut self) {
        if self.chars.get(self.at) == Some(&'0') && matches!(self.chars.get(self.at + 1), Some('x' | 'X')) {
            self.at += 2;
        }
    }

    fn rest_contains(&self, wanted: char) -> bool {
        self.chars[self.at..].contains(&wanted)
    }

    /// A decimal CPU id and the position of its first digit.
    fn number(&mut self) -> Result<(usize, usize), MaskError> {
        let start_at = self.at + 1;
        let mut value: Option<usize> = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let next = value.unwrap_or(0) * 10 + digit as usize;
            if next >= CpuSet::LIMIT {
                return Err(self.error_here(MaskProblem::TooLarge));
            }
            value = Some(next);
            self.at += 1;
        }
        let Some(value) = value else {
            let problem = self.peek().map_or(MaskProblem::Ends, |found| MaskProblem::Unexpected { found });
            return Err(self.error_here(problem));
        };
        self.skip_spaces();
        Ok((value, start_at))
    }

    fn error_here(&self, problem: MaskProblem) -> MaskError {
        self.error(self.at + 1, problem)
    }

    fn error(&self, position: usize, problem: MaskProblem) -> MaskError {
        MaskError { text: shorten(self.text), kind: self.kind, position, problem }
    }
}
