// SPDX-License-Identifier: GPL-2.0-only
//! Options of the schedulers themselves: each one counts, or is refused.

mod common;

use common::{MS, S, Scene};
use runtime::exit::{ExitKind, UsageError};
use sched_sim::cell_scheduler::{self, Outcome};
use sched_sim::schedulers;
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::program::{Program, Step};
use sim::sim::Sim;
use sim::task::TaskSpec;
use sim::workload::Workload;
use topology::Topology;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn options_for_a_kernel_are_refused() {
    let cases: [&[&str]; 10] = [
        &["--stats", "1"],
        &["--monitor", "1"],
        &["--help-stats"],
        &["--stats-socket", "a/socket"],
        &["--metrics", "9100"],
        &["--partial"],
        &["--verbose"],
        &["--dry-run"],
        &["--version"],
        &["--dry-run", "--topology", "2c"],
    ];
    for name in schedulers::names() {
        for case in cases {
            let made = schedulers::make(name, &words(case)).expect("a name of the table");
            let error = made.err().unwrap_or_else(|| panic!("{name} takes {case:?}"));
            let expected = format!("{} has no effect in the simulator: leave it out", case[0]);
            assert!(error.is::<UsageError>() && error.to_string() == expected, "{name} {case:?}: {error}");
        }
        // What counts is taken.
        let counts = words(&["--exit-dump-len", "4096", "--forced-stall", "1"]);
        assert!(schedulers::make(name, &counts).expect("a name of the table").is_ok(), "{name}");
    }
}

#[test]
fn a_forced_stall_ends_after_the_time_that_the_option_says() {
    // The watchdog waits 10 s and looks every 5 s.
    let run = Scene::new("1c", "hogs:2", 20 * S).options(&["--forced-stall", "1"]).run();
    let [end] = &run.outcome.exits[..] else { panic!("{:?}", run.outcome.exits) };
    assert_eq!(end.kind(), ExitKind::Stall);
    assert!(end.message.starts_with("hog[1] failed to run for 15.0"), "{end}");
}

/// A second of a machine with these cgroups, each with two hogs.
fn cells(paths: &[&str], options: &[&str]) -> Outcome {
    let topology = Topology::from_spec("2l4c").expect("a valid spec");
    let mut workload = Workload { groups: vec!["all".to_owned()], ..Workload::default() };
    for path in paths {
        workload.cgroups.push(((*path).to_owned(), 100));
        let cgroup = workload.cgroups.len();
        let hog = TaskSpec { cgroup, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
        workload.tasks.extend([(hog.clone(), 0), (hog, MS)]);
    }
    let mut sim: Sim<BpfScheduler> = Sim::new(&topology, Config::default());
    workload.install(&mut sim);
    let options = cell_scheduler::options(&words(options)).expect("good options");
    let session = Session::new(sim, S);
    cell_scheduler::run(&session, &topology, &options).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Names of the members and how many tasks each has.
fn members(outcome: &Outcome) -> Vec<(&str, u64)> {
    outcome.metrics.members.iter().map(|(name, member)| (name.as_str(), member.nr_tasks)).collect()
}

#[test]
fn excluded_children_are_no_cells() {
    let paths = ["/t", "/t/web", "/t/system-a", "/t/system-b", "/t/batch"];
    let outcome = cells(
        &paths,
        &["--cell-parent-cgroup", "/t", "--cell-exclude", "system-*", "--cell-exclude", "batch"],
    );
    // The rest is everything else: the parent itself and three children.
    assert_eq!(members(&outcome), [("/", 8), ("web", 2)]);
    let patterns = ["--cell-parent-cgroup", "/t", "--cell-exclude", "[a"];
    let made = schedulers::make("cell-scheduler", &words(&patterns)).expect("a name of the table");
    assert!(made.err().is_some_and(|error| error.is::<UsageError>()), "a pattern that is none");
}

#[test]
fn a_file_groups_cgroups_of_the_whole_tree() {
    let file = std::env::temp_dir().join(format!("sched-sim-cells-{}.toml", std::process::id()));
    let text = "[[cell]]\nname = \"shop\"\ncgroups = [\"t/web\", \"other\"]\nmin_cpus = 3\n";
    std::fs::write(&file, text).expect("a writable temporary folder");
    let path = file.to_str().expect("UTF-8");
    let outcome = cells(&["/t", "/t/web", "/t/web/below", "/other"], &["--config", path]);
    std::fs::write(&file, "[[cell]]\nnam = 1\n").expect("a writable temporary folder");
    let made = schedulers::make("cell-scheduler", &words(&["--config", path])).expect("a name of the table");
    std::fs::remove_file(&file).expect("it was there");
    // What lies below a cgroup belongs to it.
    assert_eq!(members(&outcome), [("/", 2), ("shop", 6)]);
    assert_eq!(outcome.metrics.members["shop"].cgroups, "other,t/web");
    let error = made.err().expect("a key that there is not");
    assert!(error.is::<UsageError>() && error.to_string().contains(path), "{error}");
}
