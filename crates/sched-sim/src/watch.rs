// SPDX-License-Identifier: GPL-2.0-only
//! While a run goes on: how far it is, on a terminal, and whether it is to stop.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use sim::bpf::Look;

/// Status of an interrupted run: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Time between two lines about the progress; a short run shows none.
const EVERY: Duration = Duration::from_millis(500);

/// Shows the progress of a run up to `end_ns`, and stops it at the first SIGINT or SIGTERM. The second one ends the process
/// at once, whatever it does.
///
/// # Errors
/// When the signals cannot be handled.
pub fn look(end_ns: u64) -> Result<Look> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal only raises the flag, the second finds it up.
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    let (shown, terminal) = (Cell::new(Instant::now()), std::io::stderr().is_terminal());
    Ok(Rc::new(move |now_ns| {
        if terminal && shown.get().elapsed() >= EVERY {
            shown.set(Instant::now());
            let (now, end) = (now_ns as f64 / 1e9, end_ns as f64 / 1e9);
            _ = write!(std::io::stderr(), "\r\x1b[K{:.0} %: {now:.2} of {end} s", 100.0 * now / end);
        }
        stop.load(Ordering::Relaxed)
    }))
}

/// Takes the progress away.
pub fn clear() {
    if std::io::stderr().is_terminal() {
        _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
