// SPDX-License-Identifier: GPL-2.0-only
//! The world that a scheduler's loop runs in, real or simulated: [`crate::daemon::Live`] is the real one.
//!
//! What only one scheduler asks of its world is a trait of its own that builds on [`Host`]; [`With`] puts that beside a world
//! that is there already.

use std::time::Duration;

use crate::signals::Wake;

/// Time, and being asked.
pub trait World {
    /// CLOCK_MONOTONIC, ns.
    fn now_ns(&self) -> u64;

    /// Sleeps until the process is to end, a client asks for statistics, or the time is over.
    fn wait(&mut self, timeout: Duration) -> Wake;

    /// Share of all CPUs' time that was used since the last call, percent.
    fn cpu_busy_pct(&mut self) -> f64;

    /// Whether somebody waits for fresh figures.
    fn wants_metrics(&self) -> bool;
}

/// A world with an audience for the figures `M` of a scheduler.
pub trait Host<M>: World {
    /// Takes the figures.
    fn publish(&mut self, metrics: &M);
}

/// A world, and what a scheduler's own trait of it needs in addition.
pub struct With<'a, H, E> {
    /// The world.
    pub host: &'a mut H,
    /// The addition.
    pub more: E,
}

impl<H: World, E> World for With<'_, H, E> {
    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn wait(&mut self, timeout: Duration) -> Wake {
        self.host.wait(timeout)
    }

    fn cpu_busy_pct(&mut self) -> f64 {
        self.host.cpu_busy_pct()
    }

    fn wants_metrics(&self) -> bool {
        self.host.wants_metrics()
    }
}

impl<M, H: Host<M>, E> Host<M> for With<'_, H, E> {
    fn publish(&mut self, metrics: &M) {
        self.host.publish(metrics);
    }
}
