// SPDX-License-Identifier: GPL-2.0-only
//! The options that say what a move costs and how decisions are told.

use std::fmt;
use std::str::FromStr;

use balancer::CostModel;

/// How `--explain` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExplainForm {
    /// One line a decision
    Text,
    /// One JSON object a round
    Json,
}

/// A cost model written as a list: `default` or `none` first (`default` if neither), then terms: `NAME` adds one,
/// `-NAME` drops it, `NAME=FACTOR` adds it if need be and scales it.
#[derive(Clone, Debug)]
pub struct CostOption {
    text: String,
    model: CostModel,
}

impl CostOption {
    /// The model.
    pub fn model(&self) -> &CostModel {
        &self.model
    }
}

impl fmt::Display for CostOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.model.names().collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for CostOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut items = text.split(',').map(str::trim).peekable();
        let mut model = match items.peek() {
            Some(&"none") => CostModel::free(),
            _ => CostModel::default(),
        };
        if matches!(items.peek(), Some(&("none" | "default"))) {
            items.next();
        }
        for item in items {
            model = with_item(model, item)?;
        }
        Ok(Self { text: text.to_owned(), model })
    }
}

fn with_item(model: CostModel, item: &str) -> Result<CostModel, String> {
    let unknown =
        |name: &str| format!("unknown cost term '{name}'; the terms are {}", CostModel::NAMES.join(", "));
    if let Some(name) = item.strip_prefix('-') {
        return if CostModel::NAMES.contains(&name) { Ok(model.without(name)) } else { Err(unknown(name)) };
    }
    let (name, factor) = match item.split_once('=') {
        Some((name, factor)) => (name, Some(factor)),
        None => (item, None),
    };
    let model = model.with_named(name).ok_or_else(|| unknown(name))?;
    let Some(factor) = factor else { return Ok(model) };
    match factor.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(model.scaled(name, value)),
        _ => Err(format!("'{factor}' is no factor for {name}; give a number of at least 0")),
    }
}
