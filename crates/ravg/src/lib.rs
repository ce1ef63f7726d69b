// SPDX-License-Identifier: GPL-2.0-only
//! Running averages of step functions with an exponential half-life.
//!
//! The BPF side keeps `struct ravg` (`ravg.h` in `bpf-common`) in 32.32 fixed point. This crate has its two
//! counterparts in `f64`: [`RavgData`] reads what BPF wrote, at any moment and without changing it, and [`Ravg`]
//! is a full twin for models and simulations. Both use the formula of the header,
//!
//! ```text
//! avg(t) = val + (avg(t0) - val) * 2^-((t - t0) / half_life)
//! ```
//!
//! and its rules at the edges: a moment before the last update reads the average of that update, a half-life of 0
//! makes the average the value, and half-lives above [`HALF_LIFE_MAX_NS`] count as that. For any sequence of
//! updates both sides agree within 1e-6 relative plus one unit of 2^-32 per update; a test holds them to it.
//!
//! All times are nanoseconds of one clock, the one that BPF used for the updates.

#[cfg(test)]
mod tests;

/// Half-lives above this, 2^42 ns or 73 minutes, count as this; as in the header.
pub const HALF_LIFE_MAX_NS: u64 = 1 << 42;

/// One in 32.32 fixed point.
const FIXED_ONE: f64 = 4_294_967_296.0;

/// A copy of the BPF side's `struct ravg`, as read from a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RavgData {
    /// Average as of `val_at`, 32.32 fixed point.
    pub avg: u64,
    /// Time of the last update, ns.
    pub val_at: u64,
    /// The value since `val_at`.
    pub val: u32,
}

impl RavgData {
    /// The average at `now_ns`, in units of the value.
    #[must_use]
    pub fn read(&self, now_ns: u64, half_life_ns: u64) -> f64 {
        Ravg::from(*self).read(now_ns, half_life_ns)
    }
}

/// The running average in `f64`: the twin of `struct ravg` for models.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ravg {
    avg: f64,
    val_at: u64,
    val: u32,
}

impl From<RavgData> for Ravg {
    fn from(data: RavgData) -> Self {
        Self { avg: data.avg as f64 / FIXED_ONE, val_at: data.val_at, val: data.val }
    }
}

impl Ravg {
    /// The present value.
    #[must_use]
    pub fn val(&self) -> u32 {
        self.val
    }

    /// Time of the last update, ns.
    #[must_use]
    pub fn val_at_ns(&self) -> u64 {
        self.val_at
    }

    /// The average at `now_ns`, in units of the value.
    #[must_use]
    pub fn read(&self, now_ns: u64, half_life_ns: u64) -> f64 {
        let val = f64::from(self.val);
        if half_life_ns == 0 {
            return val;
        }
        if now_ns <= self.val_at {
            return self.avg;
        }
        let half_lives = (now_ns - self.val_at) as f64 / half_life_ns.min(HALF_LIFE_MAX_NS) as f64;
        // Equal to val + (avg - val) * 2^-x, but a sum of two terms that are never negative: nothing cancels, so a
        // small average beside a large value (or the reverse) keeps all its digits.
        let new_share = -(-half_lives * std::f64::consts::LN_2).exp_m1();
        val * new_share + self.avg * (-half_lives).exp2()
    }

    /// Brings the average to `now_ns` with the value it had, then lets `new_val` hold from there on. A `now_ns`
    /// before the last update decays nothing and keeps that update's time.
    pub fn update(&mut self, new_val: u32, now_ns: u64, half_life_ns: u64) {
        self.avg = self.read(now_ns, half_life_ns);
        self.val_at = self.val_at.max(now_ns);
        self.val = new_val;
    }

    /// Adds the contribution of `part` (average and value); both are brought to the same moment, `now_ns` or the
    /// later of their updates. Saturates as the fixed-point side does.
    pub fn add(&mut self, part: &mut Self, now_ns: u64, half_life_ns: u64) {
        let moment = now_ns.max(self.val_at).max(part.val_at);
        self.settle(moment, half_life_ns);
        part.settle(moment, half_life_ns);
        self.plus(part);
    }

    /// Takes the contribution of `part` out, both brought to the same moment as in [`Self::add`]. Stops at 0.
    pub fn sub(&mut self, part: &mut Self, now_ns: u64, half_life_ns: u64) {
        let moment = now_ns.max(self.val_at).max(part.val_at);
        self.settle(moment, half_life_ns);
        part.settle(moment, half_life_ns);
        self.minus(part);
    }

    /// Moves the contribution of `part` from this aggregate to another; all three are brought to the same moment.
    /// `to` receives the whole part even if this aggregate held less.
    pub fn transfer(&mut self, to: &mut Self, part: &mut Self, now_ns: u64, half_life_ns: u64) {
        let moment = now_ns.max(self.val_at).max(to.val_at).max(part.val_at);
        self.settle(moment, half_life_ns);
        to.settle(moment, half_life_ns);
        part.settle(moment, half_life_ns);
        self.minus(part);
        to.plus(part);
    }

    fn settle(&mut self, now_ns: u64, half_life_ns: u64) {
        self.update(self.val, now_ns, half_life_ns);
    }

    fn plus(&mut self, part: &Self) {
        self.avg = (self.avg + part.avg).min(FIXED_ONE);
        self.val = self.val.saturating_add(part.val);
    }

    fn minus(&mut self, part: &Self) {
        self.avg = (self.avg - part.avg).max(0.0);
        self.val = self.val.saturating_sub(part.val);
    }
}
