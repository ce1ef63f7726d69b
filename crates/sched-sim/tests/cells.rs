// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler's shipped object and its own loop over the model's cgroups, in virtual time: isolation, lending, merging,
//! churn.

use std::collections::BTreeSet;
use std::rc::Rc;

use ::cell_scheduler::stats::Metrics;
use sched_sim::cell_scheduler::{self, Outcome};
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::native::SharedQueue;
use sim::ops::Ops;
use sim::program::{Dist, Program, Step};
use sim::report::{Made, Report};
use sim::sim::Sim;
use sim::task::TaskSpec;
use sim::workload::Workload;
use sim::world::Outside;
use topology::{CpuSet, Topology};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;

/// Tenants below `/t`.
struct Scene {
    topology: Topology,
    workload: Workload,
    end_ns: u64,
    words: Vec<&'static str>,
}

/// A run that is over.
struct Run {
    outcome: Outcome,
    report: Report,
}

impl Scene {
    fn new(machine: &str, end_ns: u64) -> Self {
        let mut workload = Workload::default();
        workload.cgroups.push(("/t".to_owned(), 100));
        let topology = Topology::from_spec(machine).expect("a valid spec");
        Self { topology, workload, end_ns, words: vec!["--cell-parent-cgroup", "/t"] }
    }

    fn options(mut self, words: &[&'static str]) -> Self {
        self.words.extend(words);
        self
    }

    /// A tenant of that name with so many tasks that repeat the steps.
    fn tenant(self, name: &str, tasks: usize, steps: &[Step]) -> Self {
        self.weighted(name, 100, tasks, steps)
    }

    /// The same with a `cpu.weight`; its name may have a slash in it: then it is a group inside of a tenant.
    fn weighted(mut self, name: &str, weight: u32, tasks: usize, steps: &[Step]) -> Self {
        self.workload.cgroups.push((format!("/t/{name}"), weight));
        let cgroup = self.workload.cgroups.len();
        self.workload.groups.push(name.to_owned());
        let group = self.workload.groups.len() - 1;
        let program = Program::new(&[Step::Loop(None, steps.to_vec())]);
        let spec = TaskSpec { cgroup, group, ..TaskSpec::new(name, program) };
        self.workload.tasks.extend((0..tasks).map(|index| (spec.clone(), index as u64 * 10 * US)));
        self
    }

    /// The tasks of the tenant added last start so much later, and have this weight.
    fn later(mut self, by_ns: u64, weight: u32) -> Self {
        let group = self.workload.groups.len() - 1;
        for (spec, at_ns) in self.workload.tasks.iter_mut().filter(|(spec, _)| spec.group == group) {
            *at_ns += by_ns;
            spec.weight = weight;
        }
        self
    }

    fn at(mut self, at_ns: u64, outside: Outside) -> Self {
        self.workload.sources.push((outside, at_ns));
        self
    }

    fn sim<O: Ops>(&self) -> Sim<O> {
        let mut sim = Sim::new(&self.topology, Config::default());
        self.workload.install(&mut sim);
        sim
    }

    fn run(&self) -> Run {
        let session: Session = Session::new(self.sim::<BpfScheduler>(), self.end_ns);
        let words: Vec<String> = self.words.iter().map(|&word| word.to_owned()).collect();
        let options = cell_scheduler::options(&words).expect("good options");
        let outcome = cell_scheduler::run(&session, &self.topology, &options)
            .unwrap_or_else(|error| panic!("{error:#}"));
        let report = session.with(|sim| Report::new(&mut sim.kernel, Made::default()));
        let run = Run { outcome, report };
        run.assert_sound(&self.topology);
        run
    }

    /// The same load on one queue that everybody shares.
    fn shared(&self) -> Report {
        let mut sim = self.sim::<SharedQueue>();
        sim.attach(SharedQueue::vtime()).expect("nothing to refuse");
        sim.run_until(self.end_ns).unwrap_or_else(|violation| panic!("{violation}"));
        Report::new(&mut sim.kernel, Made::default())
    }
}

impl Run {
    /// It went through to the end, and in every report each online CPU was in exactly one cell.
    fn assert_sound(&self, topology: &Topology) {
        assert!(self.outcome.exits.is_empty(), "{:?}", self.outcome.exits);
        assert_eq!((self.outcome.metrics.rounds_failed, self.outcome.metrics.no_context), (0, 0));
        let online: BTreeSet<usize> = topology.online().iter().collect();
        for (at, metrics) in self.outcome.history.iter().filter(|(_, metrics)| metrics.sequence > 0) {
            let lists = metrics.cells.values().map(|cell| CpuSet::parse_list(&cell.cpus).expect("a list"));
            let owned: Vec<usize> = lists.flat_map(|cpus| cpus.iter().collect::<Vec<_>>()).collect();
            assert_eq!(owned.len(), online.len(), "a CPU twice or not at all at {at}");
            assert_eq!(owned.into_iter().collect::<BTreeSet<_>>(), online, "at {at}");
        }
    }
}

fn group_of<'a>(report: &'a Report, name: &str) -> &'a sim::report::GroupReport {
    report.groups.iter().find(|group| group.name == name).expect("a group of the workload")
}

fn hog() -> Vec<Step> {
    vec![Step::RunForever]
}

fn sensitive() -> Vec<Step> {
    vec![Step::Sleep(Dist::Uniform(MS, 3 * MS)), Step::Run(Dist::Uniform(500 * US, 1500 * US))]
}

/// Has work so seldom that its CPUs are there for others.
fn idle() -> Vec<Step> {
    vec![Step::Sleep(Dist::Const(50 * MS)), Step::Run(Dist::Const(10 * US))]
}

/// The first report of a run from one moment on.
fn reported_at(run: &Run, since_ns: u64) -> &Metrics {
    let found = run.outcome.history.iter().find(|(at, _)| *at >= since_ns);
    &found.expect("it was reported then").1
}

#[test]
fn a_sensitive_tenant_does_not_wait_for_a_greedy_one() {
    let scene =
        Scene::new("2n8l8c2t", 3 * S).tenant("sensitive", 64, &sensitive()).tenant("greedy", 512, &hog());
    let (cells, shared) = (scene.run(), scene.shared());
    let (ours, theirs) = (
        group_of(&cells.report, "sensitive").wake_latency_ns.p99,
        group_of(&shared, "sensitive").wake_latency_ns.p99,
    );
    assert!(ours * 10 <= theirs * 3, "p99 {ours} ns against {theirs} ns");
    // Nor does that cost the greedy one more than the other has.
    let used = group_of(&cells.report, "greedy").cpu_s;
    assert!(used >= 0.7 * 3.0 * 256.0, "{used}");
    assert!(cells.report.busy_pct > 95.0, "{}", cells.report.busy_pct);
}

#[test]
fn when_one_cell_has_all_the_work_it_has_all_the_cpus() {
    let run = Scene::new("2l8c", 4 * S)
        .tenant("busy", 32, &hog())
        .tenant("a", 2, &idle())
        .tenant("b", 2, &idle())
        .run();
    assert!(run.report.throughput_vs_bound >= 0.97, "{}", run.report.throughput_vs_bound);
    assert!(run.outcome.metrics.borrowed_ns > 0);
}

#[test]
fn without_borrowing_idle_cpus_stay_idle() {
    let scene = Scene::new("2l8c", 4 * S).options(&["--no-borrowing"]);
    let run = scene.tenant("busy", 32, &hog()).tenant("a", 2, &idle()).run();
    assert_eq!((run.outcome.metrics.borrowed, run.outcome.metrics.borrowed_ns), (0, 0));
    assert!(run.report.busy_pct < 95.0, "{}", run.report.busy_pct);
}

/// What the scheduler says against what the model knows by itself.
#[test]
fn statistics_agree_with_the_model() {
    let bound: Rc<CpuSet> = Rc::new(std::iter::once(3).collect());
    let mut scene =
        Scene::new("2l8c", 4 * S).tenant("sleepers", 8, &sensitive()).tenant("hogs", 24, &hog()).tenant(
            "bound",
            2,
            &[Step::SetAffinity(bound), Step::Run(Dist::Const(2 * MS)), Step::Sleep(Dist::Const(2 * MS))],
        );
    scene = scene.at(2 * S, Outside::MoveGroup { group: 2, path: "/t/hogs".to_owned() });
    let run = scene.run();
    let metrics = &run.outcome.metrics;
    let near = |ours: f64, theirs: f64| (ours - theirs).abs() <= 0.02 * theirs.max(ours) + 0.01;
    // The last report comes a little before the end, and the model's use of the CPUs is steady.
    let part = metrics.at_ns as f64 / (4 * S) as f64;
    assert!(part > 0.97, "{part}");
    let total: f64 = metrics.members.values().map(|member| member.used_ns as f64 / 1e9).sum();
    let theirs: f64 = run.report.groups.iter().map(|group| group.cpu_s).sum::<f64>() * part;
    assert!(near(total, theirs), "{total} s used, the model gave {theirs}");
    let sleepers = &metrics.members["sleepers"];
    let model = group_of(&run.report, "sleepers");
    assert!(
        near(sleepers.used_ns as f64 / 1e9, model.cpu_s * part),
        "{sleepers:?} against {} s",
        model.cpu_s
    );
    // Those that were bound to a CPU moved to the hogs' cgroup.
    let tasks = |name: &str| metrics.members[name].nr_tasks;
    assert_eq!((tasks("sleepers"), tasks("hogs"), tasks("bound"), metrics.nr_tasks), (8, 26, 0, 34));
    assert!(metrics.moved >= 2 && metrics.placed_cpu_queue > 0, "{metrics:?}");
    // Each stretch that somebody borrowed, somebody lent.
    let lent: u64 = metrics.cells.values().map(|cell| cell.lent_ns).sum();
    assert!(
        lent > 0 && near(lent as f64 / 1e9, metrics.borrowed_ns as f64 / 1e9),
        "{lent} {}",
        metrics.borrowed_ns
    );
    // A percentile is the upper end of a bucket of powers of two, of the last round; the model's is of the whole run.
    let p99_us = model.wake_latency_ns.p99 / US;
    assert!(
        sleepers.wait_p99_us <= 4 * p99_us.max(1) && 4 * sleepers.wait_p99_us >= p99_us,
        "{sleepers:?} {p99_us} µs"
    );
    let shares =
        sleepers.local_pct + sleepers.cpu_queue_pct + sleepers.cell_queue_pct + sleepers.borrowed_pct;
    assert!((shares - 100.0).abs() < 1e-6, "{shares}");
    assert_eq!(sleepers.cgroups, "/t/sleepers");
}

/// With demand ignored, a tenant of great weight keeps CPUs that it never uses.
#[test]
fn several_borrowers_share_by_weight() {
    let run = Scene::new("2l8c", 4 * S)
        .options(&["--rebalance-threshold", "4096"])
        .weighted("lender", 1000, 1, &idle())
        .weighted("heavy", 300, 32, &hog())
        .weighted("light", 100, 32, &hog())
        .run();
    let metrics = &run.outcome.metrics;
    let (heavy, light) = (&metrics.members["heavy"], &metrics.members["light"]);
    let lent = metrics.cells[&(metrics.members["lender"].cell as u32)].lent_ns;
    assert!(lent > 30 * S, "the lender lent {lent} ns");
    let ratio = heavy.borrowed_ns as f64 / light.borrowed_ns as f64;
    assert!((2.6..3.4).contains(&ratio), "{} and {} ns borrowed", heavy.borrowed_ns, light.borrowed_ns);
    assert!(run.report.busy_pct > 97.0, "{}", run.report.busy_pct);
}

/// What a member has borrowed from one moment on.
fn borrowed_since(run: &Run, member: &str, since_ns: u64) -> f64 {
    let then = reported_at(run, since_ns);
    let [then, end] = [then, &run.outcome.metrics].map(|metrics| metrics.members[member].borrowed_ns);
    (end - then) as f64
}

/// Who borrowed for long what nobody else wanted owes next to nothing for it.
#[test]
fn a_late_borrower_does_not_have_everything() {
    let run = Scene::new("1l8c", 14 * S)
        .options(&["--rebalance-threshold", "4096"])
        .weighted("lender", 1000, 1, &idle())
        .weighted("early", 100, 6, &hog())
        .weighted("late", 100, 16, &hog())
        .later(10 * S, 100)
        .run();
    let [early, late] = ["early", "late"].map(|member| borrowed_since(&run, member, 10 * S));
    assert!(late > 2.0 * S as f64, "{late} ns borrowed");
    assert!(early / (early + late) > 0.35, "{early} and {late} ns borrowed");
}

/// A CPU that a borrower's cell comes to own is borrowed no longer.
#[test]
fn what_a_cell_owns_is_not_borrowed() {
    let run = Scene::new("1l16c", 12 * S).tenant("idle", 1, &idle()).tenant("grows", 16, &hog()).run();
    let metrics = &run.outcome.metrics;
    let own = &metrics.cells[&(metrics.members["grows"].cell as u32)];
    let foreign = 16 - CpuSet::parse_list(&own.cpus).expect("a list").len();
    let borrowed = borrowed_since(&run, "grows", 10 * S) / (2.0 * S as f64);
    assert!(
        foreign <= 4 && borrowed <= foreign as f64 + 0.5,
        "{borrowed} CPUs borrowed, {foreign} of others"
    );
}

/// A cell that comes to a cache goes on there with the time that its other queues have.
#[test]
fn a_queue_that_begins_to_serve_is_not_behind() {
    // The lightest tasks make the clock run fastest: a hundred seconds in one.
    let passing = [Step::RunFor(Dist::Const(20 * S)), Step::Sleep(Dist::Const(100 * S))];
    let run = Scene::new("2l4c", 24 * S)
        .tenant("passing", 12, &passing)
        .tenant("stays", 12, &hog())
        .later(0, 1)
        .run();
    let taken = run.outcome.metrics.steals - reported_at(&run, 20_500 * MS).steals;
    assert!(taken < 100, "{taken} waiting tasks taken from another cache in 3.5 s");
}

#[test]
fn weights_count_inside_of_a_tenant_and_among_merged_ones() {
    // One CPU: everybody is merged. Inside of the heavy one, weights count again, whatever the number of tasks.
    let run = Scene::new("1l1c", 20 * S)
        .weighted("heavy", 300, 0, &[])
        .weighted("heavy/most", 200, 1, &hog())
        .weighted("heavy/least", 100, 3, &hog())
        .weighted("light", 100, 2, &hog())
        .run();
    let used = |name| group_of(&run.report, name).cpu_s;
    let (most, least, light) = (used("heavy/most"), used("heavy/least"), used("light"));
    let near = |ratio: f64, theory: f64| (ratio / theory - 1.0).abs() < 0.2;
    assert!(run.outcome.metrics.members["heavy"].merged == 1);
    assert!(near((most + least) / light, 3.0), "{most} + {least} s against {light} s");
    assert!(near(most / least, 2.0), "{most} s against {least} s");
}

#[test]
fn lent_cpus_come_back_at_once() {
    let run =
        Scene::new("2l8c", 4 * S).tenant("lender", 6, &sensitive()).tenant("borrower", 64, &hog()).run();
    assert!(run.outcome.metrics.reclaimed > 100, "{:?}", run.outcome.metrics.reclaimed);
    let latency = group_of(&run.report, "lender").wake_latency_ns.p99;
    assert!(latency <= 4 * MS, "{latency} ns are more than a borrower's slice");
}

/// More tenants than CPUs crowd together before any has shown what it needs; from then on their demand is steady.
#[test]
fn a_sensitive_tenant_that_began_in_a_crowd_leaves_the_greedy_one() {
    let mut scene =
        Scene::new("1l8c", 10 * S).tenant("greedy", 16, &hog()).tenant("sensitive", 2, &sensitive());
    for index in 0..10 {
        scene = scene.tenant(&format!("t{index}"), 1, &idle());
    }
    let run = scene.run();
    let [greedy, sensitive] = ["greedy", "sensitive"].map(|name| &run.outcome.metrics.members[name]);
    assert_eq!((greedy.merges, sensitive.merges), (1, 1), "both began in a crowd");
    assert_eq!((greedy.merged, sensitive.merged), (0, 0), "{sensitive:?}");
    assert!(sensitive.wait_p99_us <= 2_048, "{sensitive:?}");
}

#[test]
fn three_hundred_tenants_on_sixty_four_cpus_merge_and_split() {
    let rarely = [Step::Sleep(Dist::Exp(200 * MS)), Step::Run(Dist::Exp(5 * MS))];
    // One of them awakes after a while: a cell of its own is its due, for all its tasks.
    let late = [Step::Sleep(Dist::Const(3 * S)), Step::RunForever];
    let scene = Scene::new("4l16c", 8 * S).options(&["--cool-down", "0.5"]);
    let mut scene = scene.tenant("late", 24, &late);
    for index in 0..300 {
        scene = scene.tenant(&format!("t{index}"), 1, &rarely);
    }
    let run = scene.run();
    let metrics = &run.outcome.metrics;
    assert!(
        metrics.nr_members == 302 && metrics.nr_cells <= 64,
        "{} {}",
        metrics.nr_members,
        metrics.nr_cells
    );
    assert!(metrics.merges > 0 && metrics.splits > 0, "{} {}", metrics.merges, metrics.splits);
    let late = &metrics.members["late"];
    assert!(late.merged == 0 && late.moved >= 24, "{late:?}");
    assert!(metrics.cells[&(late.cell as u32)].nr_cpus >= 8);
    for group in &run.report.groups {
        assert!(group.cpu_s > 0.0, "{} had no CPU time", group.name);
    }
}

#[test]
fn a_thousand_cgroups_a_second_come_and_go() {
    let mut scene = Scene::new("2l4c", 2 * S)
        .options(&["--rebalance-interval", "0.1"])
        .tenant("stays", 8, &hog())
        .tenant("wakes", 4, &sensitive());
    for index in 0..1500u64 {
        let path = format!("/t/x{index}");
        let at = 100 * MS + index * MS;
        scene = scene
            .at(at, Outside::CreateCgroup { path: path.clone(), weight: 100 })
            .at(at + 20 * MS, Outside::MoveGroup { group: 1, path: path.clone() })
            .at(at + 40 * MS, Outside::MoveGroup { group: 1, path: "/t/wakes".to_owned() })
            .at(at + 80 * MS, Outside::RemoveCgroup { path });
    }
    let run = scene.run();
    let metrics = &run.outcome.metrics;
    assert!(metrics.reconfigurations >= 10, "{}", metrics.reconfigurations);
    assert_eq!(metrics.members.keys().collect::<Vec<_>>(), ["/", "stays", "wakes"]);
    assert_eq!(metrics.nr_tasks, 12);
    assert!(group_of(&run.report, "stays").cpu_s > 8.0);
}

/// A tenant's cpuset excludes CPUs that its cell had, while its tasks wait there.
#[test]
fn tasks_leave_queues_whose_cpus_are_taken_away() {
    let half: Rc<CpuSet> = Rc::new((0..4).collect());
    let other: Rc<CpuSet> = Rc::new((4..8).collect());
    let path = || "/t/moved".to_owned();
    let run = Scene::new("2l4c", 6 * S)
        .options(&["--rebalance-interval", "0.1", "--cool-down", "0.2"])
        .tenant("moved", 12, &hog())
        .tenant("rival", 12, &hog())
        .at(2 * S, Outside::SetCgroupCpuset { path: path(), cpus: Some(half) })
        .at(4 * S, Outside::SetCgroupCpuset { path: path(), cpus: Some(other) })
        .run();
    let cpus = CpuSet::parse_list(&run.outcome.metrics.members["moved"].cpus).expect("a list");
    assert!(cpus.iter().all(|cpu| cpu >= 4), "{cpus}");
    assert!(run.report.busy_pct > 95.0, "{}", run.report.busy_pct);
    assert!(run.report.longest_wait.wait_ns < S, "{:?}", run.report.longest_wait);
}
