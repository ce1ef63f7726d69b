// SPDX-License-Identifier: GPL-2.0-only
//! active-push on the simulator: where running and waiting tasks end up, how soon, and that they stay there.

mod converge;
mod counters;
mod real_time;
mod scene;
mod steady;
