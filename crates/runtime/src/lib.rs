// SPDX-License-Identifier: GPL-2.0-only
//! What every scheduler binary shares.
//!
//! - [`seam`]: the one way a scheduler's userspace half reads and changes its BPF half; [`libbpf`] implements it over
//!   a loaded kernel object.
//! - [`setup`]: what is set in an object before it is loaded; [`mod@skeleton`]: from there to the attached scheduler;
//!   [`verifier`]: what loading cost.
//! - [`preflight`], [`privileges`]: what must hold before attach, and what is given up after it.
//! - [`exit`], [`report`]: documented exit statuses, the kernel's exit record, and how it is told to the operator.
//! - [`signals`], [`clock`]: stopping, waiting, and time.
//! - [`stats`]: the statistics server and the monitor that reads it; [`openmetrics`]: the same figures over HTTP.
//! - [`args`], [`logging`]: the command line and the log that all schedulers have in common.
//! - [`program`], [`daemon`]: the shell around a scheduler's own work, so that a scheduler writes only its loop; [`host`]: the
//!   world of that loop, which a simulator puts its own into.
//!
//! Order in a scheduler's `main`: [`program::options`], [`logging::init`], [`daemon::Daemon::install`] (signals),
//! [`daemon::Daemon::prepare`] (preflight, statistics socket and metrics address), load and attach,
//! [`daemon::Daemon::attached`] (rights given up, then the servers: the first threads, because capabilities belong to threads),
//! then the loop around
//! [`host::World::wait`].

pub mod args;
pub mod clock;
pub mod cpu_time;
pub mod daemon;
pub mod exit;
pub mod host;
pub mod libbpf;
pub mod logging;
pub mod openmetrics;
pub mod preflight;
pub mod priority;
pub mod privileges;
pub mod program;
pub mod report;
pub mod seam;
pub mod setup;
pub mod signals;
pub mod skeleton;
pub mod stats;
pub mod verifier;
