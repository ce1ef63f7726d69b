// SPDX-License-Identifier: GPL-2.0-only
//! The commands, each in its own file.

pub mod bench;
pub mod build;
pub mod repro;
pub mod run;
pub mod setup;
pub mod sim;
pub mod test;
pub mod tidy;
pub mod vmtest;
