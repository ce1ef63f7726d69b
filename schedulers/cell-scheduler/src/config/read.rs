// SPDX-License-Identifier: GPL-2.0-only
//! From TOML to a checked configuration, with the place of whatever is wrong.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{CellConfig, Config, ConfigError, Glob};
use crate::cells::LlcPolicy;

/// The range of the kernel's `cpu.weight`.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    cell: Vec<RawCell>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCell {
    name: Spanned<String>,
    cgroups: Spanned<Vec<Spanned<String>>>,
    min_cpus: Option<u32>,
    max_cpus: Option<Spanned<u32>>,
    weight: Option<Spanned<u32>>,
    #[serde(default = "yes")]
    lend: bool,
    #[serde(default = "yes")]
    borrow: bool,
    #[serde(default)]
    llc: LlcPolicy,
}

fn yes() -> bool {
    true
}

pub(super) fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
    let page = Page { file, text };
    let raw: RawConfig = toml::from_str(text).map_err(|error| page.syntax(&error))?;
    let mut cells = Vec::with_capacity(raw.cell.len());
    let mut seen: Vec<(Glob, Range<usize>, usize)> = Vec::new();
    for (index, cell) in raw.cell.into_iter().enumerate() {
        let cell_name = cell.name.get_ref().clone();
        if cells.iter().any(|other: &CellConfig| other.name == cell_name) {
            let problem = format!("two cells are called {cell_name:?}; rename one");
            return Err(page.wrong(cell.name.span(), "name", problem));
        }
        let cell = checked(&page, cell, index, &mut seen, &cells)?;
        cells.push(cell);
    }
    Ok(Config { cells })
}

/// One cell. `seen` holds the patterns so far, with their place and cell.
fn checked(
    page: &Page<'_>,
    cell: RawCell,
    index: usize,
    seen: &mut Vec<(Glob, Range<usize>, usize)>,
    before: &[CellConfig],
) -> Result<CellConfig, ConfigError> {
    let name = cell.name.get_ref().clone();
    if name.trim().is_empty() {
        return Err(page.wrong(cell.name.span(), "name", "is empty; give the cell a name".to_owned()));
    }
    if cell.cgroups.get_ref().is_empty() {
        let problem = format!("cell {name:?} has none; name at least one cgroup");
        return Err(page.wrong(cell.cgroups.span(), "cgroups", problem));
    }
    let mut cgroups = Vec::new();
    for pattern in cell.cgroups.into_inner() {
        let span = pattern.span();
        let glob = Glob::new(pattern.get_ref())
            .map_err(|error| page.wrong(span.clone(), "cgroups", error.to_string()))?;
        let clash = seen.iter().filter(|(.., owner)| *owner != index);
        let clash = clash.filter_map(|(other, _, owner)| Some((other, *owner, glob.overlap(other)?))).next();
        if let Some((other, owner, example)) = clash {
            let problem = format!(
                "pattern {:?} of cell {name:?} and {:?} of cell {:?} both match {example:?}; make them differ",
                glob.to_string(),
                other.to_string(),
                before[owner].name,
            );
            return Err(page.wrong(span, "cgroups", problem));
        }
        seen.push((glob.clone(), span, index));
        cgroups.push(glob);
    }
    let min_cpus = cell.min_cpus.unwrap_or(0);
    if let Some(max) = cell.max_cpus.as_ref().filter(|max| *max.get_ref() < min_cpus.max(1)) {
        let problem = format!(
            "{} is below {}; raise it",
            max.get_ref(),
            match min_cpus {
                0 => "1".to_owned(),
                least => format!("min_cpus, {least}"),
            }
        );
        return Err(page.wrong(max.span(), "max_cpus", problem));
    }
    if let Some(weight) = cell.weight.as_ref().filter(|weight| !WEIGHTS.contains(weight.get_ref())) {
        let problem =
            format!("{} is not between {} and {}", weight.get_ref(), WEIGHTS.start(), WEIGHTS.end());
        return Err(page.wrong(weight.span(), "weight", problem));
    }
    Ok(CellConfig {
        name,
        cgroups,
        min_cpus,
        max_cpus: cell.max_cpus.map(Spanned::into_inner),
        weight: cell.weight.map(Spanned::into_inner),
        lend: cell.lend,
        borrow: cell.borrow,
        llc: cell.llc,
    })
}

struct Page<'a> {
    file: &'a str,
    text: &'a str,
}

impl Page<'_> {
    fn wrong(&self, span: Range<usize>, key: &str, problem: String) -> ConfigError {
        let line = self.line(span.start);
        ConfigError::Wrong { file: self.file.to_owned(), line, key: key.to_owned(), problem }
    }

    /// The line that a byte is on, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// An error of the TOML reader, in one line. The key is what stands left of the equals sign there.
    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().map_or(0, |span| span.start);
        let line = self.text.lines().nth(self.line(at) - 1).unwrap_or_default();
        let key = line.split(['=', '#']).next().unwrap_or_default().trim();
        let key = if key.is_empty() { "file" } else { key };
        let problem = error.message().lines().collect::<Vec<_>>().join("; ");
        self.wrong(at..at, key, problem)
    }
}
