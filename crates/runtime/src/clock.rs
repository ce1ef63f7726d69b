// SPDX-License-Identifier: GPL-2.0-only
//! Time as an argument, and the pacing of periodic work.
//!
//! [`MonotonicClock`] is CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns()`. `scx_bpf_now()` is another clock (the
//! scheduler's per-CPU clock): averages kept with it must be read at a "now" that the BPF side hands over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

#[cfg(test)]
mod tests;

/// A source of nanoseconds that never goes back.
pub trait Clock {
    /// Nanoseconds since an arbitrary start.
    fn now_ns(&self) -> u64;
}

/// CLOCK_MONOTONIC: nanoseconds since boot without suspend.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has CLOCK_MONOTONIC");
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
    }
}

/// A clock that a test moves. Clones share one time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `now_ns`.
    pub fn new(now_ns: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now_ns)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanoseconds(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Work due every so often. Ticks missed while the caller was busy are dropped, not made up for; later ones stay on the
/// original beat.
#[derive(Clone, Debug)]
pub struct Periodic {
    interval_ns: u64,
    next_ns: u64,
}

impl Periodic {
    /// First due one `interval` (at least 1 ns) after `now_ns`.
    pub fn new(interval: Duration, now_ns: u64) -> Self {
        let interval_ns = nanoseconds(interval).max(1);
        Self { interval_ns, next_ns: now_ns.saturating_add(interval_ns) }
    }

    /// Whether the work is due at `now_ns`; if so, the next time is set.
    pub fn due(&mut self, now_ns: u64) -> bool {
        let Some(late_ns) = now_ns.checked_sub(self.next_ns) else { return false };
        let beats = late_ns / self.interval_ns + 1;
        self.next_ns = self.next_ns.saturating_add(beats.saturating_mul(self.interval_ns));
        true
    }

    /// Time from `now_ns` until the work is due; zero when it already is.
    pub fn remaining(&self, now_ns: u64) -> Duration {
        Duration::from_nanos(self.next_ns.saturating_sub(now_ns))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
