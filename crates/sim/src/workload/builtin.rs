// SPDX-License-Identifier: GPL-2.0-only
//! The built-in generators.

use std::rc::Rc;

use topology::CpuSet;

use crate::program::{Dist, Program, Step};
use crate::task::TaskSpec;
use crate::workload::Workload;
use crate::world::Outside;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Names of the generators.
pub const NAMES: [&str; 13] = [
    "hogs",
    "weighted-hogs",
    "sleepers",
    "ping-pong",
    "fork-exec",
    "requests",
    "make",
    "tenants",
    "rt",
    "affinity-storm",
    "cgroup-storm",
    "one-domain",
    "mixed",
];

/// Adds a generator's tasks to a workload for a machine with these CPUs; `None` for an unknown name.
pub(super) fn add(workload: &mut Workload, name: &str, online: &CpuSet, count: Option<usize>) -> Option<()> {
    let cpus = online.len();
    match name {
        "hogs" => hogs(workload, "hogs", count.unwrap_or(2 * cpus), &[100]),
        "weighted-hogs" => hogs(workload, "weighted-hogs", count.unwrap_or(4 * cpus), &[50, 100, 200, 400]),
        "sleepers" => sleepers(workload, count.unwrap_or(4 * cpus)),
        "ping-pong" => ping_pong(workload, count.unwrap_or(cpus)),
        "fork-exec" => fork_exec(workload, count.unwrap_or(cpus)),
        "requests" => requests(workload, count.unwrap_or(4 * cpus), cpus),
        "make" => make(workload, count.unwrap_or(cpus + cpus / 4)),
        "tenants" => tenants(workload, count.unwrap_or(4), cpus),
        "rt" => real_time(workload, count.unwrap_or(cpus), online),
        "affinity-storm" => affinity_storm(workload, count.unwrap_or(2 * cpus), cpus),
        "cgroup-storm" => cgroup_storm(workload, count.unwrap_or(2 * cpus)),
        "one-domain" => one_domain(workload, count.unwrap_or(2 * cpus), online),
        "mixed" => mixed(workload, count.unwrap_or(8 * cpus)),
        _ => return None,
    }
    Some(())
}

/// Tasks that a generator makes of a count, about.
pub(super) fn tasks(name: &str, count: usize, cpus: usize) -> usize {
    if name == "tenants" { count.saturating_mul(cpus) } else { count }
}

fn spec(name: &str, group: usize, steps: &[Step]) -> TaskSpec {
    TaskSpec { group, ..TaskSpec::new(name, Program::new(steps)) }
}

fn forever(body: Vec<Step>) -> Vec<Step> {
    vec![Step::Loop(None, body)]
}

fn hogs(workload: &mut Workload, name: &str, count: usize, weights: &[u32]) {
    let group = workload.group(name);
    let hog = spec("hog", group, &[Step::RunForever]);
    for index in 0..count {
        let weight = weights[index % weights.len()];
        workload.tasks.push((TaskSpec { weight, ..hog.clone() }, index as u64 * 10 * US));
    }
}

/// Mostly asleep, short work.
fn sleepers(workload: &mut Workload, count: usize) {
    let group = workload.group("sleepers");
    let body = vec![Step::Sleep(Dist::Exp(2 * MS)), Step::Run(Dist::Exp(200 * US)), Step::Done];
    let sleeper = spec("sleeper", group, &forever(body));
    workload.tasks.extend((0..count).map(|index| (sleeper.clone(), index as u64 * 7 * US)));
}

/// Pairs that wake each other in turn.
fn ping_pong(workload: &mut Workload, count: usize) {
    let group = workload.group("ping-pong");
    for index in 0..count.div_ceil(2) {
        let (there, back) = (workload.channel(0), workload.channel(0));
        let work = || Step::Run(Dist::Const(20 * US));
        let ping = forever(vec![work(), Step::SignalSync(there), Step::Wait(back), Step::Done]);
        let pong = forever(vec![Step::Wait(there), work(), Step::SignalSync(back)]);
        workload.tasks.push((spec("ping", group, &ping), index as u64 * US));
        workload.tasks.push((spec("pong", group, &pong), index as u64 * US));
    }
}

/// Shells that start one short process after the other.
fn fork_exec(workload: &mut Workload, count: usize) {
    let group = workload.group("fork-exec");
    let body =
        [Step::Run(Dist::Exp(300 * US)), Step::Sleep(Dist::Const(50 * US)), Step::Run(Dist::Exp(200 * US))];
    let child = workload.template(spec("child", group, &body));
    let shell =
        forever(vec![Step::Run(Dist::Const(30 * US)), Step::Fork(child), Step::WaitChildren, Step::Done]);
    let shell = spec("shell", group, &shell);
    workload.tasks.extend((0..count).map(|index| (shell.clone(), index as u64 * 20 * US)));
}

/// Workers that serve requests which arrive whether they are ready or not: 60 % of the machine, 1 of 50 long.
fn requests(workload: &mut Workload, workers: usize, cpus: usize) {
    let group = workload.group("requests");
    let queue = workload.channel(0);
    let (usual, long, share) = (200 * US, 5 * MS, 0.02);
    let mean = usual as f64 * (1.0 - share) + long as f64 * share;
    let body = vec![Step::Wait(queue), Step::Run(Dist::Either(usual, long, share)), Step::Done];
    let worker = spec("worker", group, &forever(body));
    workload.tasks.extend((0..workers).map(|index| (worker.clone(), index as u64 * US)));
    let every = Dist::Exp((mean / (0.6 * cpus as f64)) as u64);
    workload.sources.push((Outside::Arrivals { channel: queue, every }, MS));
}

/// A job server with so many tokens; compilations of some 30 ms with a little I/O.
fn make(workload: &mut Workload, jobs: usize) {
    let group = workload.group("make");
    let tokens = workload.channel(jobs);
    let compile = [
        Step::Run(Dist::Exp(5 * MS)),
        Step::Sleep(Dist::Exp(MS)),
        Step::Run(Dist::Uniform(5 * MS, 50 * MS)),
        Step::Sleep(Dist::Exp(500 * US)),
        Step::Done,
        Step::Signal(tokens),
    ];
    let compiler = workload.template(spec("cc", group, &compile));
    let body = vec![Step::Wait(tokens), Step::Run(Dist::Const(100 * US)), Step::Fork(compiler)];
    workload.tasks.push((spec("make", group, &forever(body)), 0));
}

/// Cgroups of weights 100, 200, 400, 800, …; each could use the whole machine.
fn tenants(workload: &mut Workload, count: usize, cpus: usize) {
    // Those of another part of the workload have their names already.
    let first = workload.cgroups.len();
    for tenant in 0..count {
        let weight = 100u32 << tenant.min(6);
        let name = format!("tenant-{}", first + tenant);
        let group = workload.group(&name);
        workload.cgroups.push((name, weight));
        let cgroup = workload.cgroups.len();
        // Without a hierarchy in the scheduler, tasks carry their tenant's weight themselves.
        let hog = TaskSpec { cgroup, weight, ..spec("tenant", group, &[Step::RunForever]) };
        workload.tasks.extend((0..cpus).map(|index| (hog.clone(), index as u64 * 10 * US)));
    }
}

/// Hogs and per-CPU kernel threads; real-time work at random places and of one task that stays where it is, and interrupts,
/// take the CPUs away.
fn real_time(workload: &mut Workload, count: usize, online: &CpuSet) {
    let cpus = online.len();
    hogs(workload, "rt-victims", count, &[100]);
    let every = Dist::Exp(20 * MS / cpus.max(1) as u64);
    workload.sources.push((Outside::RealTime { cpu: None, every, length: Dist::Uniform(MS, 5 * MS) }, MS));
    let (every, length) = (Dist::Const(10 * MS), Dist::Uniform(MS, 3 * MS));
    workload.sources.push((Outside::RealTimeTask { cpus: None, last: None, every, length }, 2 * MS));
    let every = Dist::Exp(MS / cpus.max(1) as u64);
    workload.sources.push((Outside::Interrupts { cpu: None, every, length: Dist::Exp(10 * US) }, MS));
    let group = workload.group("kworkers");
    let body = vec![Step::Sleep(Dist::Exp(10 * MS)), Step::Run(Dist::Exp(50 * US)), Step::Done];
    let kworker = TaskSpec { kthread: true, ..spec("kworker", group, &forever(body)) };
    for (index, cpu) in online.iter().enumerate() {
        let own = Rc::new([cpu].into_iter().collect());
        workload.tasks.push((TaskSpec { cpus: Some(own), ..kworker.clone() }, index as u64 * US));
    }
}

/// Tasks whose affinity changes all the time, from inside and from outside.
fn affinity_storm(workload: &mut Workload, count: usize, cpus: usize) {
    let group = workload.group("affinity-storm");
    let width = (cpus / 4).max(1);
    let body = vec![
        Step::RandomAffinity(width),
        Step::Run(Dist::Exp(2 * MS)),
        Step::Sleep(Dist::Exp(MS)),
        Step::MigrateDisable(true),
        Step::Run(Dist::Exp(500 * US)),
        Step::MigrateDisable(false),
        Step::Done,
    ];
    let task = spec("storm", group, &forever(body));
    workload.tasks.extend((0..count).map(|index| (task.clone(), index as u64 * 10 * US)));
    workload.sources.push((Outside::AffinityStorm { group, every: Dist::Exp(5 * MS), cpus: width }, MS));
}

/// Short work in cgroups that come, go, change and are entered and left all the time.
fn cgroup_storm(workload: &mut Workload, count: usize) {
    let group = workload.group("cgroup-storm");
    let body = vec![Step::Run(Dist::Exp(3 * MS)), Step::Sleep(Dist::Exp(MS)), Step::Done];
    let task = spec("storm", group, &forever(body));
    workload.tasks.extend((0..count).map(|index| (task.clone(), index as u64 * 10 * US)));
    workload.sources.push((Outside::CgroupStorm { group, every: Dist::Exp(MS), max: 24 }, MS));
}

/// Hogs that start on the first quarter of the machine and are set free after 100 ms.
fn one_domain(workload: &mut Workload, count: usize, online: &CpuSet) {
    let first = workload.tasks.len();
    let group = workload.groups.len();
    hogs(workload, "one-domain", count, &[100]);
    let quarter = Rc::new(online.iter().take((online.len() / 4).max(1)).collect());
    for (task, _) in &mut workload.tasks[first..] {
        task.cpus = Some(Rc::clone(&quarter));
    }
    workload.sources.push((Outside::SetGroupAffinity { group, cpus: None }, 100 * MS));
}

/// A tenth hogs, half sleepers, the rest pairs, with a few weights.
fn mixed(workload: &mut Workload, count: usize) {
    hogs(workload, "hogs", count / 10, &[100, 50, 300]);
    sleepers(workload, count / 2);
    ping_pong(workload, count - count / 10 - count / 2);
}
