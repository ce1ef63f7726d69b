// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler, as the common scenarios see it.

use super::{BadArguments, Profile};

pub const PROFILE: Profile = Profile {
    name: "cell-scheduler",
    brisk: &["--rebalance-interval", "0.5", "--reconfiguration-interval", "1", "--cool-down", "1"],
    cpus_in: Some("cells"),
    placements: &["placed_local", "placed_cpu_queue", "placed_cell_queue", "reclaimed"],
    // Among its own CPUs, and elsewhere.
    searches_on_leaving: 2,
    bad_arguments,
};

fn bad_arguments(_cpus: usize) -> Vec<BadArguments> {
    vec![
        BadArguments::new(&["--stats", "soon"], "soon"),
        BadArguments::new(&["--slice-us", "0"], "slice-us"),
        BadArguments::new(&["--slice-us", "5", "--slice-min-us", "10"], "slice-min-us"),
        BadArguments::new(&["--max-members", "1"], "max-members"),
        BadArguments::new(&["--rebalance-threshold", "many"], "many"),
        BadArguments::new(&["--cell-exclude", "x"], "cell-parent-cgroup"),
        BadArguments::new(&["--cell-parent-cgroup", "no/such/cgroup"], "no/such/cgroup"),
        BadArguments::new(&["--cell-parent-cgroup", "/proc"], "cgroup2"),
        BadArguments::new(&["--config", "/no/such/file"], "/no/such/file"),
    ]
}
