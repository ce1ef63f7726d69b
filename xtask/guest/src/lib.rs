// SPDX-License-Identifier: GPL-2.0-only
//! The test machine's side of the harness.
//!
//! [`protocol`] and [`scenarios`]' table are what the host needs: the types that cross the serial line and the list of
//! scenarios. Everything else is the init program, built with the `init` feature (on by default).

pub mod protocol;
pub mod scenarios;

#[cfg(feature = "init")]
mod calls;
#[cfg(feature = "init")]
pub mod cgroups;
#[cfg(feature = "init")]
pub mod context;
#[cfg(feature = "init")]
mod cpulist;
#[cfg(feature = "init")]
mod demo;
#[cfg(feature = "init")]
mod dump;
#[cfg(feature = "init")]
mod evidence;
#[cfg(feature = "init")]
mod figures;
#[cfg(feature = "init")]
pub mod init;
#[cfg(feature = "init")]
mod kmsg;
#[cfg(feature = "init")]
mod metrics_client;
#[cfg(feature = "init")]
mod mounts;
#[cfg(feature = "init")]
mod profile;
#[cfg(feature = "init")]
mod runner;
#[cfg(feature = "init")]
mod scheduler;
#[cfg(feature = "init")]
mod stats_client;
#[cfg(feature = "init")]
mod sys;
#[cfg(feature = "init")]
mod trace;
#[cfg(feature = "init")]
mod workers;
