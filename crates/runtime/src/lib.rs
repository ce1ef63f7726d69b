// SPDX-License-Identifier: GPL-2.0-only
//! What every scheduler binary shares.
//!
//! - [`seam`]: the one way a scheduler's userspace half reads and changes its BPF half; [`libbpf`] implements it over
//!   a loaded kernel object.
//! - [`setup`]: what is set in an object before it is loaded.
//! - [`preflight`], [`privileges`]: what must hold before attach, and what is given up after it.
//! - [`exit`], [`report`]: documented exit statuses, the kernel's exit record, and how it is told to the operator.
//! - [`signals`], [`clock`]: stopping, waiting, and time.
//! - [`stats`]: the statistics server and the monitor that reads it.
//! - [`args`], [`logging`]: the command line and the log that all schedulers have in common.
//!
//! Order in a scheduler's `main`: parse [`args`], [`logging::init`], [`signals::Shutdown::install`],
//! [`preflight::check`], [`stats::StatsSocket::bind`], load and attach, [`privileges::drop_after_attach`],
//! [`stats::StatsSocket::serve`] (the first thread; capabilities belong to threads, so it comes after they are dropped),
//! then the loop around [`signals::Shutdown::wait`].

pub mod args;
pub mod clock;
pub mod exit;
pub mod libbpf;
pub mod logging;
pub mod preflight;
pub mod priority;
pub mod privileges;
pub mod report;
pub mod seam;
pub mod setup;
pub mod signals;
pub mod stats;
