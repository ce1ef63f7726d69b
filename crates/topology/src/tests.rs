// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the whole crate; one binary, one topic per file.

mod check;
mod cpusets;
mod domains;
mod fake_sysfs;
mod files;
mod machines;
mod properties;
mod scale;
mod specs;
mod sysfs_trees;
