// SPDX-License-Identifier: GPL-2.0-only
//! The house rules, and what they are checked on.

pub mod rules;
#[cfg(test)]
mod tests;
pub mod tree;
