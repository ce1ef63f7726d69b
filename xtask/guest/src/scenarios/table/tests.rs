// SPDX-License-Identifier: GPL-2.0-only
//! The table is complete and its names are unique.
use super::*;
use std::collections::BTreeSet;

#[test]
fn names_are_unique_whatever_their_case() {
    let names: BTreeSet<String> = all().iter().map(|info| info.name.to_ascii_lowercase()).collect();
    assert_eq!(names.len(), all().len());
}

#[test]
fn every_promised_scenario_is_there() {
    let numbered = (1..=27).map(|number| number.to_string());
    let lettered = [("D", 3), ("C", 8), ("P", 4), ("F", 4)];
    let lettered =
        lettered.iter().flat_map(|&(letter, last)| (1..=last).map(move |number| format!("{letter}{number}")));
    for name in numbered.chain(lettered) {
        assert!(find(&name).is_some(), "scenario {name} is missing");
    }
    assert_eq!(find("d1").map(|info| info.name), Some("D1"));
    assert!(find("999").is_none());
}

#[test]
fn every_scenario_can_be_booted_and_ends() {
    for info in all() {
        assert!(!info.topologies.is_empty(), "{}: no topology", info.name);
        assert!(!info.title.is_empty() && !info.bound.is_empty(), "{}: no text", info.name);
        assert!(info.timeout_seconds > info.usual_seconds, "{}: deadline before its usual time", info.name);
    }
    let without: Vec<_> = all().iter().filter(|info| info.kernel == KernelNeed::WithoutSchedExt).collect();
    assert_eq!(without.len(), 1);
}

#[test]
fn nineteen_boots_each_shape() {
    let shapes = find("19").map(|info| info.topologies).unwrap_or_default();
    assert_eq!(shapes, ["1n1l1c1t", "1n1l3c1t", "1n1l2c2t", "1n2l2c1t", "2n2l2c1t"]);
}

#[test]
fn every_scenario_concerns_known_schedulers_and_the_special_ones_only_theirs() {
    for info in all() {
        assert!(!info.schedulers.is_empty(), "{}: concerns no scheduler", info.name);
        assert!(info.schedulers.iter().all(|name| ALL_SCHEDULERS.contains(name)), "{}", info.name);
        let only = match info.name.chars().next() {
            Some('D') => Some(DOMAIN_BALANCER),
            Some('C') => Some(CELL_SCHEDULER),
            Some('P') => Some(ACTIVE_PUSH),
            _ => None,
        };
        assert!(only.is_none_or(|only| info.schedulers == only), "{}: {:?}", info.name, info.schedulers);
    }
    let common = find("7").unwrap();
    assert!(ALL_SCHEDULERS.iter().all(|name| common.concerns(name)));
    assert!(!find("D1").unwrap().concerns("cell-scheduler") && !common.concerns("nobody"));
}

#[test]
fn simulated_scenarios_concern_whom_their_file_names() {
    let file = include_str!("../../../../../crates/sched-sim/fidelity/scenarios.json");
    let suite: serde_json::Value = serde_json::from_str(file).expect("a file of JSON");
    for scenario in suite["scenarios"].as_array().expect("scenarios") {
        let name = scenario["name"].as_str().expect("a name");
        let named: Vec<_> = scenario["schedulers"].as_array().into_iter().flatten().collect();
        assert_eq!(named, find(name).expect("a row in the table").schedulers, "{name}");
    }
}
