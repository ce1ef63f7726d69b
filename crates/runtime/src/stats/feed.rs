// SPDX-License-Identifier: GPL-2.0-only
//! From the scheduler's loop to the server's clients, without either waiting for the other for long.
//!
//! A request wakes the loop and waits a moment for fresh figures; if the loop is busy, the client gets the last ones.
//! The loop never waits: it sees [`Feed::requested`] when it next comes round, and publishes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::signals::Waker;

/// How long a client waits for figures fresher than the last.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a client waits for the very first figures.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
/// Figures this young are served at once, so that clients in a tight loop do not drive the scheduler's.
const FRESH: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct State {
    latest: Option<(Arc<Value>, Instant)>,
    publications: u64,
    requested: bool,
    closed: bool,
}

/// The last published statistics, shared by the loop and the server. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct Feed {
    state: Arc<(Mutex<State>, Condvar)>,
    waker: Waker,
}

impl Feed {
    /// A feed with nothing published; `waker` ends the loop's wait when a client asks.
    pub fn new(waker: Waker) -> Self {
        Self { state: Arc::default(), waker }
    }

    /// Whether a client waits for fresh figures. [`Feed::publish`] clears it.
    pub fn requested(&self) -> bool {
        self.lock().requested
    }

    /// Publishes the figures of this moment.
    ///
    /// # Errors
    /// When they cannot be written as JSON (for example a map with keys that are not strings).
    pub fn publish<T: Serialize>(&self, statistics: &T) -> Result<(), serde_json::Error> {
        let value = Arc::new(serde_json::to_value(statistics)?);
        let mut state = self.lock();
        state.latest = Some((value, Instant::now()));
        state.publications += 1;
        state.requested = false;
        drop(state);
        self.state.1.notify_all();
        Ok(())
    }

    /// The figures for a client: fresh ones if the loop delivers them in time, else the last; `None` when nothing was
    /// ever published.
    pub(crate) fn ask(&self) -> Option<Arc<Value>> {
        let mut state = self.lock();
        let patience = match &state.latest {
            Some((value, at)) if at.elapsed() < FRESH => return Some(Arc::clone(value)),
            Some(_) => PATIENCE,
            None => FIRST_PATIENCE,
        };
        state.requested = true;
        let before = state.publications;
        self.waker.wake();
        let stale = |state: &mut State| state.publications == before && !state.closed;
        let waited = self.state.1.wait_timeout_while(state, patience, stale);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.latest.as_ref().map(|(value, _)| Arc::clone(value))
    }

    /// Ends the waits of all clients.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.state.1.notify_all();
    }

    /// No code panics while it holds the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
