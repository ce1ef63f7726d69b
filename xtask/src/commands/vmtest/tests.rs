// SPDX-License-Identifier: GPL-2.0-only
//! Selection and grouping.

use super::*;
use crate::vm::session::ScenarioResult;
use guest::protocol::{Figure, Verdict};

fn names(scenarios: &[&'static ScenarioInfo]) -> Vec<&'static str> {
    scenarios.iter().map(|info| info.name).collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
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
    let two = owned(&["active-push", "domain-balancer"]);
    let groups = plan_groups(&matrix, &select(&[]).unwrap(), &two, &[], None).unwrap();
    for kernel in matrix.supported() {
        let on = |scheduler: &str, spec: &str| {
            let spec = Spec::parse(spec).unwrap();
            let fits = |g: &&Group| g.kernel == kernel && g.topology == spec && g.scheduler == scheduler;
            let found: Vec<&Group> = groups.iter().filter(fits).collect();
            assert!(found.len() <= 1, "{kernel} {spec}");
            found.first().map_or(Vec::new(), |group| names(&group.scenarios))
        };
        assert_eq!(on("domain-balancer", "1n1l3c1t"), ["19"]);
        let main = on("domain-balancer", "2n2l2c1t");
        assert!(["1", "19", "D1"].iter().all(|name| main.contains(name)) && !main.contains(&"5-no-ext"));
        let other = on("active-push", "2n2l2c1t");
        assert!(["1", "7", "17"].iter().all(|name| other.contains(name)));
        assert!(["D1", "19", "5-no-ext"].iter().all(|name| !other.contains(name)));
        assert!(on("active-push", "1n1l3c1t").is_empty() && on("cell-scheduler", "2n2l2c1t").is_empty());
    }
    let without = matrix.with_role(Role::WithoutSchedExt);
    let last: Vec<&Group> = groups.iter().filter(|group| group.kernel == without).collect();
    assert_eq!(last.iter().map(|group| &group.scheduler).collect::<Vec<_>>(), two.iter().collect::<Vec<_>>());
    assert!(last.iter().all(|group| names(&group.scenarios) == ["5-no-ext"]));
}

#[test]
fn options_override_kernels_and_machines() {
    let matrix = Matrix::read().unwrap();
    let spec = Spec::parse("4c").unwrap();
    let scenarios = select(&["19".into()]).unwrap();
    let one = owned(&["domain-balancer"]);
    let groups = plan_groups(&matrix, &scenarios, &one, &["debian:6.18".into()], Some(spec)).unwrap();
    let scheduler = "domain-balancer".to_owned();
    assert_eq!(groups, [Group { kernel: "debian:6.18".into(), topology: spec, scheduler, scenarios }]);
    let wrong = plan_groups(&matrix, &select(&[]).unwrap(), &one, &["nonsense".into()], None);
    assert_eq!(status::of(&wrong.unwrap_err()), status::USAGE);
}

#[test]
fn scenarios_that_concern_none_of_the_schedulers_are_refused() {
    let matrix = Matrix::read().unwrap();
    let scenarios = select(&["d1".into()]).unwrap();
    let error = plan_groups(&matrix, &scenarios, &owned(&["active-push"]), &[], None).unwrap_err();
    assert_eq!(status::of(&error), status::USAGE);
    let line = status::one_line(&error);
    assert!(line.contains("D1") && line.contains("active-push"), "{line}");
}

#[test]
fn schedulers_are_chosen_once_and_by_name() {
    let known = build::schedulers().unwrap();
    assert_eq!(schedulers(&[]).unwrap(), known);
    assert_eq!(schedulers(&owned(&["domain-balancer", "domain-balancer"])).unwrap(), ["domain-balancer"]);
    let error = schedulers(&owned(&["domain-balancer", "nobody"])).unwrap_err();
    assert_eq!(status::of(&error), status::USAGE);
    assert!(status::one_line(&error).contains("'nobody'"));
}

#[test]
fn every_scheduler_of_the_workspace_is_tested() {
    for name in build::schedulers().unwrap() {
        assert!(table::ALL_SCHEDULERS.contains(&name.as_str()), "{name} is in no scenario's list");
    }
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
    let outcome = Outcome {
        scheduler: "active-push".into(),
        kernel: "debian:7.3".into(),
        topology: "2n2l2c1t".into(),
        result,
        logs: PathBuf::new(),
    };
    assert_eq!(
        outcome.line(),
        "pass         7         active-push debian:7.3 2n2l2c1t  count=12 ratio=1.080 who=x"
    );
    assert!(!outcome.bad());
}

#[test]
fn work_side_by_side_is_done_once_each_and_answered_in_order() {
    let begun = std::sync::Mutex::new(Vec::new());
    let items: Vec<usize> = (0..50).collect();
    for jobs in [1, 2, 7] {
        begun.lock().expect("no panic").clear();
        let results = side_by_side(jobs, &items, |&item| {
            begun.lock().expect("no panic").push(item);
            std::thread::sleep(Duration::from_micros((item as u64 * 37) % 500));
            item * 2
        });
        assert_eq!(results, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let mut seen = begun.lock().expect("no panic").clone();
        seen.sort_unstable();
        assert_eq!(seen, items, "{jobs} jobs");
    }
}

#[test]
fn long_groups_are_begun_first() {
    let group = |name: &str| Group {
        kernel: "debian:7.3".into(),
        topology: Spec::parse("1c").expect("a spec"),
        scheduler: name.into(),
        scenarios: table::all().iter().filter(|info| info.name == name).collect(),
    };
    let groups = [group("1"), group("15"), group("7")];
    let order: Vec<&str> = longest_first(&groups).iter().map(|group| group.scheduler.as_str()).collect();
    assert_eq!(order, ["15", "7", "1"]);
}
