// SPDX-License-Identifier: GPL-2.0-only
//! Selection and grouping.

use super::*;
use crate::vm::session::ScenarioResult;
use guest::protocol::{Figure, Verdict};

fn names(scenarios: &[&'static ScenarioInfo]) -> Vec<&'static str> {
    scenarios.iter().map(|info| info.name).collect()
}

fn select_names(wanted: &[&str]) -> Vec<&'static str> {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    names(&select(&wanted).unwrap())
}

#[test]
fn names_select_scenarios_and_their_variants_in_the_tables_order() {
    assert_eq!(select_names(&[]).len(), table::all().len());
    assert_eq!(select_names(&["d1", "1"]), ["1", "D1"]);
    assert_eq!(select_names(&["5"]), ["5", "5-no-ext"]);
    assert_eq!(select_names(&["5-no-ext"]), ["5-no-ext"]);
    // 1 is not the beginning of 12, 15, 17 and 19.
    assert_eq!(select_names(&["1"]), ["1"]);
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let error = select(&["1".into(), "99".into()]).unwrap_err();
    assert_eq!(status::of(&error), status::USAGE);
    let line = status::one_line(&error);
    assert!(line.contains("'99'") && line.contains("D1"), "{line}");
}

#[test]
fn scenarios_share_a_boot_where_machine_and_kernel_are_the_same() {
    let matrix = Matrix::read().unwrap();
    let groups = plan_groups(&matrix, &select(&[]).unwrap(), &[], None).unwrap();
    for kernel in matrix.supported() {
        let on = |spec: &str| {
            let spec = Spec::parse(spec).unwrap();
            let found: Vec<&Group> =
                groups.iter().filter(|g| g.kernel == kernel && g.topology == spec).collect();
            assert_eq!(found.len(), 1, "{kernel} {spec}");
            names(&found[0].scenarios)
        };
        assert_eq!(on("1n1l3c1t"), ["19"]);
        let main = on("2n2l2c1t");
        assert!(
            main.contains(&"1")
                && main.contains(&"19")
                && main.contains(&"D1")
                && !main.contains(&"5-no-ext")
        );
    }
    let without = matrix.with_role(Role::WithoutSchedExt);
    let last: Vec<&Group> = groups.iter().filter(|group| group.kernel == without).collect();
    assert_eq!(last.len(), 1);
    assert_eq!(names(&last[0].scenarios), ["5-no-ext"]);
}

#[test]
fn options_override_kernels_and_machines() {
    let matrix = Matrix::read().unwrap();
    let spec = Spec::parse("4c").unwrap();
    let scenarios = select(&["19".into()]).unwrap();
    let groups = plan_groups(&matrix, &scenarios, &["debian:6.18".into()], Some(spec)).unwrap();
    assert_eq!(groups, [Group { kernel: "debian:6.18".into(), topology: spec, scenarios }]);
    let wrong = plan_groups(&matrix, &select(&[]).unwrap(), &["nonsense".into()], None);
    assert_eq!(status::of(&wrong.unwrap_err()), status::USAGE);
}

#[test]
fn every_machine_of_the_table_can_be_built() {
    for info in table::all() {
        for topology in info.topologies {
            assert!(Spec::parse(topology).is_ok(), "scenario {}: {topology}", info.name);
        }
    }
}

#[test]
fn the_limits_leave_the_guest_its_own_time_out() {
    let scenarios = select(&["1".into(), "12".into()]).unwrap();
    for accel in [Accel::Kvm, Accel::TcgMulti, Accel::TcgSingle] {
        let limits = limits(&scenarios, accel);
        assert_eq!(limits.scenarios.len(), 2);
        for (limit, info) in limits.scenarios.iter().zip(&scenarios) {
            assert!(*limit > Duration::from_secs(info.timeout_seconds), "{}", info.name);
        }
        assert_eq!(limits.after(1), limits.scenarios[1]);
        // What follows the last result is bounded, too.
        assert_eq!(limits.after(2), limits.scenarios[1]);
    }
}

#[test]
fn an_outcome_is_one_line_with_its_figures() {
    let figures = [
        ("ratio", Figure::Number(1.08_f64)),
        ("count", Figure::Number(12.0)),
        ("who", Figure::Text("x".into())),
    ];
    let result = ScenarioResult {
        scenario: "7".into(),
        verdict: Verdict::Pass,
        figures: figures.map(|(name, value)| (name.to_owned(), value)).into(),
        failures: Vec::new(),
        reason: String::new(),
    };
    let outcome = Outcome { kernel: "debian:7.3".into(), topology: "2n2l2c1t".into(), result };
    assert_eq!(outcome.line(), "pass         7         debian:7.3 2n2l2c1t  count=12 ratio=1.080 who=x");
    assert!(!outcome.bad());
}
