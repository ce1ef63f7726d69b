// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler, as the common scenarios see it.

use super::{BadArguments, Profile};

pub const PROFILE: Profile = Profile { name: "cell-scheduler", brisk: &[], cpus_in: None, bad_arguments };

fn bad_arguments(_cpus: usize) -> Vec<BadArguments> {
    vec![BadArguments::new(&["--stats", "soon"], "soon")]
}
