// SPDX-License-Identifier: GPL-2.0-only
//! domain-balancer, as the common scenarios see it.

use super::{BadArguments, Profile};

pub const PROFILE: Profile = Profile {
    name: "domain-balancer",
    brisk: &["--interval", "1"],
    cpus_in: Some("domains"),
    placements: &["direct_prev", "direct_idle", "direct_greedy", "enqueued", "pinned", "kthread"],
    // At home, on the node, everywhere.
    searches_on_leaving: 3,
    bad_arguments,
};

fn bad_arguments(cpus: usize) -> Vec<BadArguments> {
    let last = cpus - 1;
    let mut refusals = vec![
        BadArguments::new(&["--domains", "bogus"], "bogus"),
        BadArguments::new(&["--domains", &format!("0-{last};0")], "0"),
        BadArguments::new(&["--domains", &format!("0-{cpus}")], &cpus.to_string()),
        BadArguments::new(&["--interval", "0"], "interval"),
        BadArguments::new(&["--interval", "soon"], "soon"),
        BadArguments::new(&["--slice-us", "0"], "slice-us"),
        BadArguments::new(&["--load-half-life", "-1"], "-1"),
        BadArguments::new(&["--greedy-threshold", "many"], "many"),
    ];
    if last > 0 {
        refusals.push(BadArguments::new(&["--domains", &format!("0-{}", last - 1)], &last.to_string()));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_wrong_for_the_machine_they_are_made_for() {
        let texts =
            |cpus| -> Vec<String> { bad_arguments(cpus).iter().map(|bad| bad.arguments.join(" ")).collect() };
        let eight = texts(8);
        for wrong in ["--domains 0-7;0", "--domains 0-8", "--domains 0-6"] {
            assert!(eight.iter().any(|text| text == wrong), "{wrong} is missing");
        }
        assert!(!texts(1).iter().any(|text| text == "--domains 0-0"), "a mask of all CPUs is right");
    }
}
