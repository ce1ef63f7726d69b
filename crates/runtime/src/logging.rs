// SPDX-License-Identifier: GPL-2.0-only
//! The log: one line per event, on standard error, so that standard output stays for what was asked for.
//!
//! Without `-v` information and worse; `-v` adds debugging, `-vv` traces. `RUST_LOG` overrides. What libbpf and other
//! libraries say comes in at one level lower: their warnings accompany errors that we report in one line ourselves.

use std::io;

use libbpf_rs::PrintLevel;
use tracing::level_filters::LevelFilter;
use tracing::{debug, trace};
use tracing_subscriber::EnvFilter;

#[cfg(test)]
mod tests;

/// Sets the process-wide log up. A second call changes nothing.
pub fn init(verbose: u8) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(wish) if !wish.is_empty() => EnvFilter::builder().parse_lossy(wish),
        _ => EnvFilter::default().add_directive(level(verbose).into()),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(verbose > 0)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        // A closed standard error must not end the scheduler, and complaining about it there cannot work either.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // Only the first of several calls can win; the others (tests) keep what is there.
    let _ = subscriber.try_init();
    libbpf_rs::set_print(Some((PrintLevel::Debug, from_libbpf)));
}

/// The least severe level that is logged for so many `-v`.
fn level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn from_libbpf(level: PrintLevel, message: String) {
    let message = message.trim_end();
    match level {
        PrintLevel::Warn => debug!(target: "libbpf", "{message}"),
        PrintLevel::Info | PrintLevel::Debug => trace!(target: "libbpf", "{message}"),
    }
}
