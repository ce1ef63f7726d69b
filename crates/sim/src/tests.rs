// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the model with small schedulers in Rust.

mod chaos;
mod order;
mod times;
mod units;
