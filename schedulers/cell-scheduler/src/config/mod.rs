// SPDX-License-Identifier: GPL-2.0-only
//! The configuration file: named cells, the cgroups in them, and their policies.
//!
//! ```toml
//! [[cell]]
//! name = "web"
//! cgroups = ["web-*", "shop/front"]   # paths below the parent; everything below a match belongs to it too
//! min_cpus = 2                        # default 0
//! max_cpus = 8                        # default: no limit
//! weight = 300                        # 1 to 10000; default: the sum of the members' cpu.weight
//! lend = true                         # others may use its idle CPUs; default true
//! borrow = false                      # it may use idle CPUs of others; default true
//! llc = "pack"                        # or "spread"; default "pack"
//! ```
//!
//! A cgroup below two matches belongs to the nearest one, so a cell may be cut out of another. Two cells that may match
//! the very same path are an error.

mod glob;
mod read;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub use glob::{Glob, GlobError};

use crate::cells::LlcPolicy;

/// A configuration that cannot be used: one line with file, line and key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {source}; name a readable configuration file")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}: {key}: {problem}")]
    Wrong {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// A cell as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellConfig {
    /// Its name.
    pub name: String,
    /// The cgroups in it.
    pub cgroups: Vec<Glob>,
    /// At least this many CPUs.
    pub min_cpus: u32,
    /// At most this many CPUs.
    pub max_cpus: Option<u32>,
    /// Its weight; `None` takes the sum of its members'.
    pub weight: Option<u32>,
    /// Whether others may use its idle CPUs.
    pub lend: bool,
    /// Whether it may use idle CPUs of others.
    pub borrow: bool,
    /// How its CPUs spread over caches.
    pub llc: LlcPolicy,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The cells in the order of the file.
    pub cells: Vec<CellConfig>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, has unknown keys or impossible values, or cells that overlap.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(source) => Err(ConfigError::Unreadable { file, source }),
        }
    }

    /// Reads a text; `file` is its name in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        read::parse(file, text)
    }

    /// The cell of a cgroup, by index: that of the nearest match among the cgroup and those above it.
    pub fn cell_of(&self, path: &str) -> Option<usize> {
        let mut path = path.trim_matches('/');
        loop {
            let matched = |cell: &CellConfig| cell.cgroups.iter().any(|glob| glob.matches(path));
            if let Some(cell) = self.cells.iter().position(matched) {
                return Some(cell);
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    /// Takes the file's new content. After an error everything is as before.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&mut self, path: &Path) -> Result<bool, ConfigError> {
        let new = Self::load(path)?;
        let changed = new != *self;
        *self = new;
        Ok(changed)
    }
}
