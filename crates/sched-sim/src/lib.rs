// SPDX-License-Identifier: GPL-2.0-only
//! The schedulers on the simulator: each brings its object, its setup for a machine, and its own loop, which runs in
//! virtual time.

pub mod active_push;
pub mod cell_scheduler;
pub mod domain_balancer;
pub mod drive;
pub mod schedulers;
