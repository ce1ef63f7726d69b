// SPDX-License-Identifier: GPL-2.0-only
//! Cgroups: the order of callbacks, cpusets, the cpu controller, usage.

use topology::{CpuSet, Topology};

use crate::cgroup::{Bandwidth, CgroupError, CgroupIdx, ROOT};
use crate::kernel::{Kernel, Traits};
use crate::ops::Ops;
use crate::program::{Dist, Program, Step};
use crate::sim::Sim;
use crate::task::{TaskIdx, TaskSpec};
use crate::{Config, Costs};

const MS: u64 = 1_000_000;

/// Writes down what concerns cgroups.
#[derive(Default)]
struct Recorder {
    log: Vec<String>,
    /// Name of a task whose move is refused.
    refuse: Option<&'static str>,
}

impl Recorder {
    fn say(&mut self, kernel: &Kernel, what: &str, task: TaskIdx) {
        self.log.push(format!("{what} {}", kernel.tasks[task].name));
    }

    fn moves(&mut self, kernel: &Kernel, what: &str, task: TaskIdx, from: CgroupIdx, to: CgroupIdx) {
        let (from, to) = (&kernel.cgroups[from].path, &kernel.cgroups[to].path);
        self.log.push(format!("{what} {} {from} {to}", kernel.tasks[task].name));
    }
}

impl Ops for Recorder {
    fn traits(&self) -> Traits {
        Traits { enqueue: true, dispatch: true, ..Traits::default() }
    }
    fn init(&mut self, kernel: &mut Kernel) -> i32 {
        kernel.create_dsq(7)
    }
    fn enqueue(&mut self, kernel: &mut Kernel, task: TaskIdx, flags: u64) {
        self.say(kernel, "enqueue", task);
        kernel.dsq_insert(task, 7, 20 * MS, flags);
    }
    fn dispatch(&mut self, kernel: &mut Kernel, _cpu: usize, _prev: Option<TaskIdx>) {
        kernel.dsq_move_to_local(7);
    }
    fn runnable(&mut self, kernel: &mut Kernel, task: TaskIdx, _flags: u64) {
        self.say(kernel, "runnable", task);
    }
    fn running(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.say(kernel, "running", task);
    }
    fn stopping(&mut self, kernel: &mut Kernel, task: TaskIdx, _runnable: bool) {
        self.say(kernel, "stopping", task);
    }
    fn quiescent(&mut self, kernel: &mut Kernel, task: TaskIdx, _flags: u64) {
        self.say(kernel, "quiescent", task);
    }
    fn set_cpumask(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        let mask = kernel.tasks[task].mask.to_string();
        self.log.push(format!("cpumask {} {mask}", kernel.tasks[task].name));
    }
    fn init_task(&mut self, kernel: &mut Kernel, task: TaskIdx, _fork: bool) -> i32 {
        let path = kernel.cgroups[kernel.tasks[task].sched_cgroup].path.clone();
        self.log.push(format!("init_task {} {path}", kernel.tasks[task].name));
        0
    }
    fn exit_task(&mut self, kernel: &mut Kernel, task: TaskIdx) {
        self.say(kernel, "exit_task", task);
    }
    fn cgroup_init(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) -> i32 {
        self.log
            .push(format!("cgroup_init {} {}", kernel.cgroups[cgroup].path, kernel.cgroups[cgroup].weight));
        if kernel.cgroups[cgroup].name == "refused" { -12 } else { 0 }
    }
    fn cgroup_exit(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx) {
        self.log.push(format!("cgroup_exit {}", kernel.cgroups[cgroup].path));
    }
    fn cgroup_prep_move(
        &mut self,
        kernel: &mut Kernel,
        task: TaskIdx,
        from: CgroupIdx,
        to: CgroupIdx,
    ) -> i32 {
        self.moves(kernel, "prep_move", task, from, to);
        if self.refuse == Some(kernel.tasks[task].name.as_str()) { -1 } else { 0 }
    }
    fn cgroup_move(&mut self, kernel: &mut Kernel, task: TaskIdx, from: CgroupIdx, to: CgroupIdx) {
        self.moves(kernel, "move", task, from, to);
    }
    fn cgroup_cancel_move(&mut self, kernel: &mut Kernel, task: TaskIdx, from: CgroupIdx, to: CgroupIdx) {
        self.moves(kernel, "cancel_move", task, from, to);
    }
    fn cgroup_set_weight(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, weight: u32) {
        self.log.push(format!("set_weight {} {weight}", kernel.cgroups[cgroup].path));
    }
    fn cgroup_set_bandwidth(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, bandwidth: Bandwidth) {
        let Bandwidth { period_us, quota_us, burst_us } = bandwidth;
        let path = &kernel.cgroups[cgroup].path;
        self.log.push(format!("set_bandwidth {path} {quota_us} of {period_us}, burst {burst_us}"));
    }
    fn cgroup_set_idle(&mut self, kernel: &mut Kernel, cgroup: CgroupIdx, idle: bool) {
        self.log.push(format!("set_idle {} {idle}", kernel.cgroups[cgroup].path));
    }
}

fn sim(spec: &str) -> Sim<Recorder> {
    let config = Config { costs: Costs::none(), check_every: 1, ..Config::default() };
    Sim::new(&Topology::from_spec(spec).expect("a good spec"), config)
}

fn hog(name: &str) -> TaskSpec {
    TaskSpec::new(name, Program::new(&[Step::RunForever]))
}

fn log(sim: &mut Sim<Recorder>) -> Vec<String> {
    std::mem::take(&mut sim.ops.as_mut().expect("attached").log)
}

fn run(sim: &mut Sim<Recorder>, until: u64) {
    sim.run_until(until).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(sim.kernel.exit, None);
}

#[test]
fn attaching_and_detaching_visit_the_tree() {
    let mut sim = sim("1c");
    let a = sim.create_cgroup("/a", 300).expect("made");
    sim.create_cgroup("/a/b", 100).expect("made");
    sim.create_cgroup("/c", 50).expect("made");
    sim.add_task(&TaskSpec { cgroup: a, ..hog("t") }, 0);
    sim.attach(Recorder::default()).expect("init succeeds");
    let inits = ["cgroup_init / 100", "cgroup_init /a 300", "cgroup_init /a/b 100", "cgroup_init /c 50"];
    assert_eq!(log(&mut sim), [&inits[..], &["init_task t /a"]].concat());
    sim.detach().unwrap_or_else(|violation| panic!("{violation}"));
    let exits = ["cgroup_exit /a/b", "cgroup_exit /a", "cgroup_exit /c", "cgroup_exit /", "exit_task t"];
    assert_eq!(log(&mut sim), exits);
}

#[test]
fn moves_of_running_queued_and_sleeping_tasks() {
    let mut sim = sim("1c");
    sim.attach(Recorder::default()).expect("init succeeds");
    let a = sim.create_cgroup("/a", 100).expect("made");
    let running = sim.add_task(&hog("running"), 0);
    let queued = sim.add_task(&hog("queued"), MS);
    let sleeping = sim.add_task(&hog("sleeping"), 1_000 * MS);
    run(&mut sim, 5 * MS);
    log(&mut sim);
    sim.move_task(running, a).expect("moved");
    let expected = [
        "prep_move running / /a",
        "stopping running",
        "quiescent running",
        "move running / /a",
        "runnable running",
        "running running",
    ];
    assert_eq!(log(&mut sim), expected);
    sim.move_task(queued, a).expect("moved");
    let expected = [
        "prep_move queued / /a",
        "quiescent queued",
        "move queued / /a",
        "runnable queued",
        "enqueue queued",
    ];
    assert_eq!(log(&mut sim), expected);
    sim.move_task(sleeping, a).expect("moved");
    assert_eq!(log(&mut sim), ["prep_move sleeping / /a", "move sleeping / /a"]);
    // To where it is: nothing.
    sim.move_task(sleeping, a).expect("moved");
    assert_eq!(log(&mut sim), [""; 0]);
    run(&mut sim, 100 * MS);
    assert_eq!(sim.kernel.cgroups[a].tasks, 3);
}

#[test]
fn a_refused_move_is_cancelled_for_the_others() {
    let mut sim = sim("1c");
    sim.attach(Recorder { refuse: Some("b"), ..Recorder::default() }).expect("init succeeds");
    let to = sim.create_cgroup("/x", 100).expect("made");
    let tasks: Vec<TaskIdx> =
        ["a", "b", "c"].into_iter().map(|name| sim.add_task(&hog(name), 1_000 * MS)).collect();
    log(&mut sim);
    let refused = sim.move_tasks(&tasks, to);
    assert_eq!(refused, Err(CgroupError::Refused { callback: "ops.cgroup_prep_move", errno: -1 }));
    assert_eq!(log(&mut sim), ["prep_move a / /x", "prep_move b / /x", "cancel_move a / /x"]);
    assert!(sim.kernel.tasks.live().all(|(_, task)| task.cgroup == ROOT));
    // The same for a cgroup: it is not there afterwards.
    let refused = sim.create_cgroup("/refused", 100);
    assert_eq!(refused, Err(CgroupError::Refused { callback: "ops.cgroup_init", errno: -12 }));
    assert_eq!(sim.kernel.cgroups.find("/refused"), None);
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let mut sim = sim("1c");
    let a = sim.create_cgroup("/a", 100).expect("made");
    let b = sim.create_cgroup("/a/b", 100).expect("made");
    assert_eq!(sim.create_cgroup("/a", 1), Err(CgroupError::Exists("/a".to_owned())));
    assert_eq!(sim.create_cgroup("/x/y", 1), Err(CgroupError::Missing("/x".to_owned())));
    assert_eq!(sim.remove_cgroup(a), Err(CgroupError::Busy("/a".to_owned())));
    assert!(matches!(sim.remove_cgroup(ROOT), Err(CgroupError::Invalid(..))));
    sim.remove_cgroup(b).expect("it is empty");
    assert_eq!(sim.remove_cgroup(b), Err(CgroupError::Missing("/a/b".to_owned())));
    let task = sim.add_task(&hog("t"), 0);
    assert_eq!(sim.move_task(task, b), Err(CgroupError::Missing("/a/b".to_owned())));
    // The same path again is another cgroup with another id.
    let again = sim.create_cgroup("/a/b", 100).expect("made");
    assert_ne!(sim.kernel.cgroups[again].id, sim.kernel.cgroups[b].id);
}

#[test]
fn weights_and_removal_are_told() {
    let mut sim = sim("1c");
    sim.attach(Recorder::default()).expect("init succeeds");
    let a = sim.create_cgroup("/a", 100).expect("made");
    log(&mut sim);
    sim.set_cgroup_weight(a, 100).expect("alive");
    sim.set_cgroup_weight(a, 20_000).expect("alive");
    sim.remove_cgroup(a).expect("empty");
    assert_eq!(log(&mut sim), ["set_weight /a 10000", "cgroup_exit /a"]);
}

#[test]
fn children_begin_where_their_parent_is() {
    let mut sim = sim("2c");
    sim.attach(Recorder::default()).expect("init succeeds");
    let (a, b) = (sim.create_cgroup("/a", 100).expect("made"), sim.create_cgroup("/b", 100).expect("made"));
    let child = Program::new(&[Step::Run(Dist::Const(MS))]);
    sim.world.templates.push(TaskSpec::new("child", child.clone()));
    sim.world.templates.push(TaskSpec { cgroup: b, ..TaskSpec::new("into-b", child) });
    let parent = Program::new(&[Step::Fork(0), Step::Fork(1), Step::Run(Dist::Const(MS))]);
    sim.add_task(&TaskSpec { cgroup: a, ..TaskSpec::new("parent", parent) }, 0);
    run(&mut sim, MS / 2);
    let said = log(&mut sim);
    assert!(said.contains(&"init_task child /a".to_owned()), "{said:?}");
    assert!(said.contains(&"init_task into-b /b".to_owned()), "{said:?}");
    run(&mut sim, 10 * MS);
    assert_eq!((sim.kernel.cgroups[a].tasks, sim.kernel.cgroups[b].tasks), (0, 0));
}

#[test]
fn cpusets_narrow_what_tasks_asked_for() {
    let mut sim = sim("4c");
    sim.attach(Recorder::default()).expect("init succeeds");
    let a = sim.create_cgroup("/a", 100).expect("made");
    let b = sim.create_cgroup("/a/b", 100).expect("made");
    let free = sim.add_task(&TaskSpec { cgroup: b, ..hog("free") }, 1_000 * MS);
    let some = sim.add_task(&TaskSpec { cgroup: b, ..hog("some") }, 1_000 * MS);
    let set = |cpus: &[usize]| -> CpuSet { cpus.iter().copied().collect() };
    sim.set_affinity(some, &std::rc::Rc::new(set(&[0, 1])));
    log(&mut sim);
    sim.set_cgroup_cpuset(a, Some(set(&[1, 2]))).expect("alive");
    assert_eq!(log(&mut sim), ["cpumask free 1-2", "cpumask some 1"]);
    // Outside the cpuset: refused. Widened again: what was asked for comes back.
    sim.set_affinity(free, &std::rc::Rc::new(set(&[3])));
    assert_eq!(log(&mut sim), [""; 0]);
    sim.set_cgroup_cpuset(b, Some(set(&[2]))).expect("alive");
    // Nothing is left of what `some` asked for: it may use what the cpuset has.
    assert_eq!(log(&mut sim), ["cpumask free 2", "cpumask some 2"]);
    sim.set_cgroup_cpuset(b, None).expect("alive");
    sim.set_cgroup_cpuset(a, None).expect("alive");
    let masks = [free, some].map(|task| sim.kernel.tasks[task].mask.to_string());
    assert_eq!(masks, ["0-3", "0-1"]);
    // Moving into a cpuset: the mask changes between the announcement and the move.
    sim.set_cgroup_cpuset(a, Some(set(&[3]))).expect("alive");
    let other = sim.add_task(&hog("other"), 1_000 * MS);
    log(&mut sim);
    sim.move_task(other, a).expect("moved");
    assert_eq!(log(&mut sim), ["prep_move other / /a", "cpumask other 3", "move other / /a"]);
    let views = sim.kernel.cgroup_views();
    let view = views.iter().find(|view| view.path == "/a/b").expect("listed");
    assert_eq!((view.cpuset.as_str(), view.restricted, view.level, view.tasks), ("3", true, 2, 2));
}

#[test]
fn without_the_controller_the_scheduler_sees_the_ancestor() {
    let mut sim = sim("1c");
    let a = sim.create_cgroup("/a", 100).expect("made");
    sim.set_cpu_controller(a, false).expect("it may be taken away");
    let b = sim.create_cgroup("/a/b", 100).expect("made");
    let task = sim.add_task(&TaskSpec { cgroup: b, ..hog("t") }, 1_000 * MS);
    sim.attach(Recorder::default()).expect("init succeeds");
    assert_eq!(log(&mut sim), ["cgroup_init / 100", "init_task t /"]);
    // Moves that the controller does not see are none.
    sim.move_task(task, a).expect("moved");
    assert_eq!(log(&mut sim), [""; 0]);
    assert!(sim.set_cpu_controller(b, true).is_err(), "its parent has none");
    sim.set_cpu_controller(a, true).expect("given");
    assert_eq!(log(&mut sim), ["cgroup_init /a 100", "prep_move t / /a", "move t / /a"]);
    sim.set_cpu_controller(a, false).expect("taken");
    assert_eq!(log(&mut sim), ["prep_move t /a /", "move t /a /", "cgroup_exit /a"]);
    run(&mut sim, MS);
}

#[test]
fn a_limit_is_told_when_it_changes_and_throttles_nobody() {
    let mut sim = sim("1c");
    sim.attach(Recorder::default()).expect("init succeeds");
    let a = sim.create_cgroup("/a", 100).expect("made");
    sim.add_task(&TaskSpec { cgroup: a, ..hog("t") }, 0);
    log(&mut sim);
    let tenth = Bandwidth { quota_us: 10_000, ..Bandwidth::default() };
    for bandwidth in [Bandwidth::default(), tenth, tenth] {
        sim.set_cgroup_bandwidth(a, bandwidth).expect("it is there");
    }
    assert_eq!(log(&mut sim), ["set_bandwidth /a 10000 of 100000, burst 0"]);
    for idle in [false, true, true] {
        sim.set_cgroup_idle(a, idle).expect("it is there");
    }
    assert_eq!(log(&mut sim), ["set_idle /a false", "set_idle /a true", "set_idle /a true"]);
    run(&mut sim, 1_000 * MS);
    let usage = sim.kernel.cgroup_views()[1].usage_ns;
    assert_eq!(usage, 1_000 * MS, "all of the CPU, not a tenth");
}

#[test]
fn usage_follows_the_tree_and_outlives_children() {
    let mut sim = sim("2c");
    let a = sim.create_cgroup("/a", 100).expect("made");
    let b = sim.create_cgroup("/a/b", 100).expect("made");
    sim.add_task(&TaskSpec { cgroup: a, ..hog("a") }, 0);
    let short = Program::new(&[Step::Run(Dist::Const(30 * MS))]);
    sim.add_task(&TaskSpec { cgroup: b, ..TaskSpec::new("b", short) }, 0);
    sim.attach(Recorder::default()).expect("init succeeds");
    run(&mut sim, 100 * MS);
    let usage = |sim: &Sim<Recorder>, path: &str| {
        let views = sim.kernel.cgroup_views();
        views.into_iter().find(|view| view.path == path).map(|view| view.usage_ns)
    };
    assert_eq!(usage(&sim, "/"), Some(130 * MS));
    assert_eq!(usage(&sim, "/a"), Some(130 * MS));
    assert_eq!(usage(&sim, "/a/b"), Some(30 * MS));
    sim.remove_cgroup(b).expect("its task is gone");
    assert_eq!((usage(&sim, "/a"), usage(&sim, "/a/b")), (Some(130 * MS), None));
}

#[test]
fn the_tree_can_be_walked() {
    let mut sim = sim("1c");
    for path in ["/a", "/a/b", "/c", "/a/d", "/a/b/e"] {
        sim.create_cgroup(path, 100).expect("made");
    }
    let names = |list: Vec<CgroupIdx>| -> Vec<String> {
        list.into_iter().map(|index| sim.kernel.cgroups[index].path.clone()).collect()
    };
    let tree = &sim.kernel.cgroups;
    assert_eq!(names(tree.live()), ["/", "/a", "/a/b", "/a/b/e", "/a/d", "/c"]);
    assert_eq!(names(tree.descendants_post(ROOT)), ["/a/b/e", "/a/b", "/a/d", "/a", "/c", "/"]);
    let e = tree.find("/a/b/e").expect("there");
    assert_eq!(tree.ancestor(e, 1), tree.find("a"));
    assert_eq!(tree.ancestor(e, 4), None);
    assert_eq!(tree.by_id(tree[e].id), Some(e));
}
