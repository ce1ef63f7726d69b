// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the model with small schedulers in Rust.

mod broken;
mod cgroups;
mod chaos;
mod kicks;
mod order;
mod taken;
mod times;
mod units;
