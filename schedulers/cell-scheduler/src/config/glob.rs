// SPDX-License-Identifier: GPL-2.0-only
//! Patterns over cgroup paths, and whether two patterns can match the same path.
//!
//! `*` stands for any characters but `/`, `?` for one such, `[a-z]` or `[!a-z]` for one of a set, `**` for any characters
//! at all, `\` takes the meaning from the next character.

use std::collections::{HashMap, VecDeque};
use std::fmt;

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

/// Places in two patterns that are walked at once.
type Place = (usize, usize);
/// From which place each place was reached first, and by which character; none for the beginning.
type Origins = HashMap<Place, Option<(Place, Option<char>)>>;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {text:?}: character {position} {problem}")]
pub struct GlobError {
    text: String,
    position: usize,
    problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    One(Class),
    /// Any number of characters of the class.
    Many(Class),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn exactly(c: char) -> Self {
        Self { negated: false, ranges: vec![(c, c)] }
    }

    fn any() -> Self {
        Self { negated: true, ranges: Vec::new() }
    }

    fn no_slash() -> Self {
        Self { negated: true, ranges: vec![('/', '/')] }
    }

    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != self.negated
    }

    /// A character that both hold, preferably one that is easy to read. Whether a class holds a character changes only
    /// at the ends of its ranges, so those and their neighbours are all that need trying.
    fn common(&self, other: &Self) -> Option<char> {
        let ends = self.ranges.iter().chain(&other.ranges).flat_map(|&(from, to)| {
            let after = char::from_u32(to as u32 + 1);
            let before = (from as u32).checked_sub(1).and_then(char::from_u32);
            [Some(from), Some(to), after, before].into_iter().flatten()
        });
        ('a'..='z').chain('0'..='9').chain(ends).find(|c| self.holds(*c) && other.holds(*c))
    }
}

impl Glob {
    /// Reads a pattern. Slashes at its ends are ignored.
    ///
    /// # Errors
    /// An empty pattern, an unclosed bracket, a range that runs backwards, a lone backslash at the end; names the
    /// character, counted from 1.
    pub fn new(text: &str) -> Result<Self, GlobError> {
        let trimmed = text.trim_matches('/');
        let shift = text.chars().take_while(|c| *c == '/').count();
        let error =
            |at: usize, problem| GlobError { text: text.to_owned(), position: at + shift + 1, problem };
        let chars: Vec<char> = trimmed.chars().collect();
        if chars.is_empty() {
            return Err(error(0, "is missing: write the path of a cgroup such as web or batch-*"));
        }
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let start = at;
            at += 1;
            tokens.push(match chars[start] {
                '*' if chars.get(at) == Some(&'*') => {
                    at += 1;
                    Token::Many(Class::any())
                }
                '*' => Token::Many(Class::no_slash()),
                '?' => Token::One(Class::no_slash()),
                '\\' => {
                    let taken =
                        *chars.get(at).ok_or_else(|| error(start, "has nothing after it to stand for"))?;
                    at += 1;
                    Token::One(Class::exactly(taken))
                }
                '[' => {
                    let (class, next) =
                        class(&chars, at).map_err(|(place, problem)| error(place, problem))?;
                    at = next;
                    Token::One(class)
                }
                other => Token::One(Class::exactly(other)),
            });
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut states = self.closed(vec![0]);
        for c in path.trim_matches('/').chars() {
            let mut next = Vec::new();
            for state in states {
                match self.tokens.get(state) {
                    Some(Token::One(class)) if class.holds(c) => next.push(state + 1),
                    Some(Token::Many(class)) if class.holds(c) => next.push(state),
                    _ => {}
                }
            }
            states = self.closed(next);
        }
        states.contains(&self.tokens.len())
    }

    /// The states and those that follow without a character.
    fn closed(&self, mut states: Vec<usize>) -> Vec<usize> {
        let mut at = 0;
        while at < states.len() {
            if matches!(self.tokens.get(states[at]), Some(Token::Many(_))) {
                states.push(states[at] + 1);
            }
            at += 1;
        }
        states.sort_unstable();
        states.dedup();
        states
    }

    /// A path that both patterns match, if there is one: the shortest, as an example for messages.
    pub fn overlap(&self, other: &Self) -> Option<String> {
        // Both patterns are walked at once; a step consumes one character in both, or skips a star in one.
        let mut from = Origins::new();
        let mut queue = VecDeque::from([(0, 0)]);
        from.insert((0, 0), None);
        while let Some((a, b)) = queue.pop_front() {
            if (a, b) == (self.tokens.len(), other.tokens.len()) {
                return Some(spelled(&from, (a, b)));
            }
            let (left, right) = (self.tokens.get(a), other.tokens.get(b));
            let mut steps: Vec<(Place, Option<char>)> = Vec::new();
            if let Some(Token::Many(_)) = left {
                steps.push(((a + 1, b), None));
            }
            if let Some(Token::Many(_)) = right {
                steps.push(((a, b + 1), None));
            }
            if let (Some(left), Some(right)) = (left, right) {
                let ((left, next_a), (right, next_b)) = (left.step(a), right.step(b));
                steps.extend(left.common(right).map(|c| ((next_a, next_b), Some(c))));
            }
            for (next, c) in steps {
                if let std::collections::hash_map::Entry::Vacant(slot) = from.entry(next) {
                    slot.insert(Some(((a, b), c)));
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

impl Token {
    /// The class, and the state after one character of it.
    fn step(&self, at: usize) -> (&Class, usize) {
        match self {
            Self::One(class) => (class, at + 1),
            Self::Many(class) => (class, at),
        }
    }
}

/// The characters on the way to a state.
fn spelled(from: &Origins, mut state: Place) -> String {
    let mut spelled = Vec::new();
    while let Some(Some((before, c))) = from.get(&state) {
        spelled.extend(*c);
        state = *before;
    }
    spelled.into_iter().rev().collect()
}

/// The class that begins after a bracket, and where the pattern goes on.
fn class(chars: &[char], start: usize) -> Result<(Class, usize), (usize, &'static str)> {
    let negated = matches!(chars.get(start), Some('!' | '^'));
    let mut at = start + usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        match chars.get(at) {
            None => return Err((start - 1, "opens a bracket that is never closed")),
            // The first one stands for itself.
            Some(']') if !ranges.is_empty() => break,
            Some(&from) => match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('-'), Some(&to)) if to != ']' => {
                    if to < from {
                        return Err((at, "begins a range that runs backwards"));
                    }
                    ranges.push((from, to));
                    at += 3;
                }
                _ => {
                    ranges.push((from, from));
                    at += 1;
                }
            },
        }
    }
    if negated {
        ranges.push(('/', '/'));
    }
    Ok((Class { negated, ranges }, at + 1))
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
