// SPDX-License-Identifier: GPL-2.0-only
//! active-push, as the common scenarios see it.

use super::{BadArguments, Profile};

pub const PROFILE: Profile = Profile {
    name: "active-push",
    brisk: &[],
    cpus_in: None,
    placements: &[
        "wake_prev",
        "wake_llc",
        "wake_far",
        "wake_misfit",
        "enqueued",
        "pinned",
        "kthread",
        "rescued",
        "requeued_idle",
    ],
    // Waiting is ordinary then, and idle CPUs pull; those that a higher class drives out look, but they are few.
    searches_on_leaving: 0,
    bad_arguments,
};

fn bad_arguments(_cpus: usize) -> Vec<BadArguments> {
    vec![BadArguments::new(&["--stats", "soon"], "soon")]
}
