// SPDX-License-Identifier: GPL-2.0-only
//! Random machines, lives, cgroups, storms and options, by the million events, with every invariant on: whatever happens, no
//! task is lost or doubled, runs where it may not or waits for ever, and no scheduler ends for it.
//!
//! Each run begins with a fresh seed, which it prints. The run is cut into episodes; a violation prints the episode's own
//! seed, the number of the event, the last events, and the command that plays this episode alone.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `CHAOS_SCHEDULER` | only this scheduler |
//! | `CHAOS_SEED` | seed of the whole run instead of a fresh one |
//! | `CHAOS_EVENTS` | events for each scheduler instead of 10 million for domain-balancer and 2 million for the others |
//! | `CHAOS_EPISODE` | play only the episode with this seed, checked after each event; needs `CHAOS_SCHEDULER` |

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sched_sim::drive::{self, Scheduler};
use sched_sim::schedulers;
use sim::Config;
use sim::bpf::{BpfScheduler, Session};
use sim::program::{Dist, Program, Step};
use sim::rng::Rng;
use sim::sim::Sim;
use sim::task::TaskSpec;
use sim::workload::Workload;
use sim::world::Outside;
use topology::Topology;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Events of a run for the first scheduler, and for each of the others.
const EVENTS: (u64, u64) = (10_000_000, 2_000_000);
/// Shortest and longest virtual time of an episode.
const EPISODE_NS: (u64, u64) = (50 * MS, 1_500 * MS);
/// All tasks and queues are looked at after so many events; every operation checks what it touches anyway.
const CHECK_EVERY: u64 = 256;

/// Specs, and a file of `tests/machines`: CPUs of three speeds.
const MACHINES: [&str; 13] = [
    "1c",
    "2c",
    "3c",
    "2c2t",
    "2l2c",
    "2l3c",
    "4l1c",
    "2n2c",
    "2n2l2c2t",
    "2n3l2c1t",
    "4n1l2c1t",
    "2n2l8c2t",
    "uneven.toml",
];

fn machine(name: &str) -> Topology {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name);
    let topology =
        if name.ends_with(".toml") { Topology::from_file(&file) } else { Topology::from_spec(name) };
    topology.unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is '{text}'; it has to be a number")))
}

/// Past the test harness, which keeps what tests print: the seed belongs into every log.
fn say(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}

fn one_of<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.below(items.len() as u64) as usize]
}

/// A life of everything a task can do.
fn life(channel: usize, mutex: usize, template: usize) -> Vec<Step> {
    let changes = vec![
        vec![Step::RandomAffinity(1)],
        vec![Step::RandomAffinity(3)],
        vec![Step::RandomAffinity(1000)],
        vec![Step::SetWeight(1), Step::Run(Dist::Exp(MS)), Step::SetWeight(100)],
        vec![Step::SetWeight(10_000), Step::Run(Dist::Exp(MS)), Step::SetWeight(100)],
    ];
    vec![Step::Loop(
        None,
        vec![Step::OneOf(vec![
            vec![Step::Run(Dist::Exp(300 * US)), Step::Done],
            vec![Step::Run(Dist::Exp(100 * US)), Step::Sleep(Dist::Exp(200 * US))],
            vec![Step::Run(Dist::Uniform(0, 9 * MS))],
            vec![Step::Sleep(Dist::Exp(500 * US))],
            vec![Step::Periodic(3 * MS)],
            vec![Step::Signal(channel), Step::Wait(channel), Step::Run(Dist::Const(50 * US))],
            vec![Step::SignalSync(channel), Step::Wait(channel)],
            vec![Step::Wait(mutex), Step::Run(Dist::Exp(100 * US)), Step::Signal(mutex)],
            vec![Step::Broadcast(channel)],
            vec![Step::Yield],
            vec![Step::Fork(template), Step::WaitChildren],
            vec![Step::Fork(template)],
            vec![Step::OneOf(changes)],
            vec![
                Step::MigrateDisable(true),
                Step::Run(Dist::Exp(500 * US)),
                Step::Sleep(Dist::Const(US)),
                Step::MigrateDisable(false),
            ],
        ])],
    )]
}

/// Cgroups: a parent of tenants, or none. Returns how many there are beside the root.
fn cgroups(rng: &mut Rng, workload: &mut Workload) -> usize {
    if rng.chance(0.6) {
        workload.cgroups.push(("/t".to_owned(), 100));
        for tenant in 0..rng.below(6) {
            workload.cgroups.push((format!("/t/{tenant}"), rng.between(1, 10_000) as u32));
            if rng.chance(0.3) {
                workload.cgroups.push((format!("/t/{tenant}/below"), 100));
            }
        }
    }
    workload.cgroups.len()
}

/// Tasks of all kinds for a machine, all of one group and in any cgroup. Returns the template of short-lived ones.
fn tasks(rng: &mut Rng, workload: &mut Workload, cpus: usize, channel: usize) -> usize {
    let mutex = workload.channel(1);
    let group = workload.group("life");
    let child =
        [Step::Run(Dist::Exp(200 * US)), Step::Sleep(Dist::Exp(100 * US)), Step::Run(Dist::Const(US))];
    let spec = |name, steps: &[Step]| TaskSpec { group, ..TaskSpec::new(name, Program::new(steps)) };
    let template = workload.template(spec("child", &child));
    let places = cgroups(rng, workload) as u64 + 1;
    let living = spec("life", &life(channel, mutex, template));
    for index in 0..2 + rng.below(5 * cpus as u64) {
        let cgroup = rng.below(places) as usize;
        workload.tasks.push((TaskSpec { cgroup, ..living.clone() }, index * 50 * US));
    }
    let hog = spec("hog", &[Step::RunForever]);
    for index in 0..rng.below(3 * cpus as u64) {
        let cgroup = rng.below(places) as usize;
        workload.tasks.push((TaskSpec { cgroup, ..hog.clone() }, index * 30 * US));
    }
    // They wake every CPU all the time, which would hide every wake-up that a scheduler forgets.
    if rng.chance(0.5) {
        kernel_workers(workload, cpus, group);
    }
    template
}

/// A kernel thread of each CPU, which works now and then.
fn kernel_workers(workload: &mut Workload, cpus: usize, group: usize) {
    let steps = [Step::Loop(None, vec![Step::Sleep(Dist::Exp(2 * MS)), Step::Run(Dist::Exp(20 * US))])];
    let worker = TaskSpec { kthread: true, group, ..TaskSpec::new("kworker", Program::new(&steps)) };
    for cpu in 0..cpus {
        let own = Some(std::rc::Rc::new([cpu].into_iter().collect()));
        workload.tasks.push((TaskSpec { cpus: own, ..worker.clone() }, 0));
    }
}

/// Tasks and storms for a machine.
fn workload(rng: &mut Rng, cpus: usize) -> Workload {
    let mut workload = Workload::default();
    let channel = workload.channel(1);
    let template = tasks(rng, &mut workload, cpus, channel);
    let group = 0;
    let storms = [
        Outside::RealTime { cpu: None, every: Dist::Exp(2 * MS), length: Dist::Exp(MS) },
        Outside::RealTimeTask { cpus: None, last: None, every: Dist::Exp(5 * MS), length: Dist::Exp(2 * MS) },
        Outside::AffinityStorm { group, every: Dist::Exp(MS), cpus: 1 + cpus / 3 },
        Outside::WeightStorm { group, every: Dist::Exp(MS), range: (1, 10_000) },
        Outside::Births { template, every: Dist::Exp(3 * MS), left: 500 },
        Outside::Arrivals { channel, every: Dist::Exp(MS) },
        Outside::CgroupStorm { group, every: Dist::Exp(MS), max: 12 },
        Outside::Interrupts { cpu: None, every: Dist::Exp(MS), length: Dist::Exp(100 * US) },
    ];
    for storm in storms {
        if rng.chance(0.7) {
            workload.sources.push((storm, rng.below(20 * MS)));
        }
    }
    if rng.chance(0.6) {
        let mut at = 0;
        for _ in 0..1 + rng.below(12) {
            at += rng.between(5 * MS, 150 * MS);
            let (cpu, online) = (rng.below(cpus as u64) as usize, rng.chance(0.6));
            workload.sources.push((Outside::Hotplug { cpu, online }, at));
        }
    }
    workload
}

/// A command line for a scheduler.
fn options(rng: &mut Rng, scheduler: &str) -> Vec<String> {
    let sets: &[&[&str]] = match scheduler {
        "domain-balancer" => &[
            &["--interval", "0.05", "--load-half-life", "0.05"],
            &["--interval", "0.01", "--load-half-life", "0.02", "--greedy-threshold", "0"],
            &["--interval", "0.2", "--fifo"],
            &["--slice-us", "5000", "--slice-min-us", "200", "--interval", "0.1"],
            &["--domains", "core", "--interval", "0.05"],
            &["--domains", "machine"],
            &["--max-cpus-per-domain", "3", "--interval", "0.05"],
            &["--no-load-balance"],
        ],
        "active-push" => &[
            &[],
            &["--prompt"],
            &["--no-push"],
            &["--slice-us", "1000", "--migration-cost-us", "0", "--spread-after-us", "0"],
            &["--request-expiry-us", "200"],
            &["--level", "all:push-failures=0,cache-nice-tries=0,min-interval-ms=1,max-interval-ms=1"],
            &["--level", "all:busy-factor=1", "--max-moves", "4"],
        ],
        "cell-scheduler" => &[
            &["--cell-parent-cgroup", "/t", "--rebalance-interval", "0.05", "--cool-down", "0.1"],
            &["--cell-parent-cgroup", "/", "--rebalance-interval", "0.02", "--cool-down", "0.02"],
            &["--cell-parent-cgroup", "/t", "--no-borrowing", "--rebalance-interval", "0.1"],
            &["--cell-parent-cgroup", "/t", "--max-members", "3", "--no-cgroup-weights"],
            &["--cell-parent-cgroup", "/t", "--borrow-slice-us", "500", "--pinned-slice-us", "300"],
            &["--cell-parent-cgroup", "/", "--max-cpus-per-queue", "2", "--rebalance-threshold", "0"],
            &[],
        ],
        _ => &[&[]],
    };
    one_of(rng, sets).iter().map(|&word| word.to_owned()).collect()
}

/// What an episode was.
struct Episode {
    events: u64,
    restarts: usize,
    story: String,
}

fn episode(name: &str, seed: u64, check_every: u64) -> Result<Episode, String> {
    let mut rng = Rng::stream(seed, 77);
    let machine_name = *one_of(&mut rng, &MACHINES);
    let topology = machine(machine_name);
    let words = options(&mut rng, name);
    let story = format!("episode seed {seed}: {name} {} on {machine_name}", words.join(" "));
    // Half of the worlds are those of the oldest kernel, where CPUs take their time to come up.
    let oldest = rng.chance(0.5);
    let kernel = if oldest { Config::oldest_kernel() } else { Config::default() };
    let bring_up_ns = if oldest { rng.below(100 * MS) } else { 0 };
    let config = Config { seed, check_every, bring_up_ns, ..kernel };
    let mut sim: Sim<BpfScheduler> = Sim::new(&topology, config);
    let load = workload(&mut rng, topology.online().len());
    load.install(&mut sim);
    let session = Session::new(sim, rng.between(EPISODE_NS.0, EPISODE_NS.1));
    let mut scheduler: Box<dyn Scheduler> = schedulers::make(name, &words)
        .expect("a name of the table")
        .map_err(|error| format!("{story}: {error:#}"))?;
    let exits = drive::drive(&session, &topology, scheduler.as_mut())
        .map_err(|error| format!("{story}\n{error:#}"))?;
    if let Some(bad) = exits.iter().find(|exit| !exit.should_restart()) {
        return Err(format!("{story}: the kernel ended it: {bad}"));
    }
    session.with(|sim| {
        let complaint = sim.kernel.inconsistency().map(|what| format!("{story}: after the end, {what}"));
        let events = sim.kernel.metrics.events;
        complaint.map_or(Ok(Episode { events, restarts: exits.len(), story: story.clone() }), Err)
    })
}

fn replay(name: &str, seed: u64) -> String {
    format!(
        "replay: CHAOS_SCHEDULER={name} CHAOS_EPISODE={seed} cargo test -p sched-sim --test chaos -- --nocapture"
    )
}

/// What the threads share: how far they are.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    events: AtomicU64,
    restarts: AtomicUsize,
    broken: Mutex<Option<String>>,
}

/// Plays episodes, in the order of their numbers, until there were enough events or something broke.
fn play(name: &str, seed: u64, wanted: u64, progress: &Progress) {
    let broken = || progress.broken.lock().expect("nobody panics with it");
    while progress.events.load(Ordering::Relaxed) < wanted && broken().is_none() {
        let own = Rng::stream(seed, progress.next.fetch_add(1, Ordering::Relaxed)).next();
        match std::panic::catch_unwind(|| episode(name, own, CHECK_EVERY)) {
            Ok(Ok(episode)) => {
                progress.events.fetch_add(episode.events, Ordering::Relaxed);
                progress.restarts.fetch_add(episode.restarts, Ordering::Relaxed);
            }
            Ok(Err(what)) => _ = broken().get_or_insert(format!("{what}\n{}", replay(name, own))),
            Err(_) => _ = broken().get_or_insert(format!("it panicked, see above\n{}", replay(name, own))),
        }
    }
}

/// All episodes of one scheduler; what broke, if something did.
fn chaos(name: &str, seed: u64, wanted: u64) -> Option<String> {
    let (begin, progress) = (Instant::now(), Progress::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| _ = scope.spawn(|| play(name, seed, wanted, &progress)));
    });
    let broken = progress.broken.into_inner().expect("nobody panics with it");
    let (events, restarts) = (progress.events.into_inner(), progress.restarts.into_inner());
    say(&format!(
        "chaos: {name}: {events} events in {} episodes, {restarts} restarts in place, {:.0?}",
        progress.next.into_inner(),
        begin.elapsed()
    ));
    // CPUs come and go in most episodes, and every scheduler here is attached again when they do.
    let never = || (restarts == 0 && wanted >= EVENTS.1).then(|| "hotplug never happened".to_owned());
    broken.or_else(never).map(|what| format!("{name}: {what}"))
}

#[test]
fn whatever_happens_nothing_breaks() {
    let only = std::env::var("CHAOS_SCHEDULER").ok();
    let names: Vec<&str> =
        schedulers::names().filter(|name| only.as_deref().is_none_or(|only| only == *name)).collect();
    assert!(!names.is_empty(), "CHAOS_SCHEDULER is {only:?}; it has to be one of the simulator's");
    if let Some(seed) = variable("CHAOS_EPISODE") {
        let [name] = names[..] else { panic!("CHAOS_EPISODE needs CHAOS_SCHEDULER") };
        let episode = episode(name, seed, 1).unwrap_or_else(|what| panic!("{what}"));
        println!(
            "{}: {} events, {} restarts, nothing broke",
            episode.story, episode.events, episode.restarts
        );
        return;
    }
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let seed = variable("CHAOS_SEED").unwrap_or_else(fresh);
    say(&format!("chaos: CHAOS_SEED={seed}"));
    let events = |name: &str| if name == domain_balancer::NAME { EVENTS.0 } else { EVENTS.1 };
    let broken: Vec<String> = names
        .into_iter()
        .filter_map(|name| chaos(name, seed, variable("CHAOS_EVENTS").unwrap_or_else(|| events(name))))
        .collect();
    assert!(broken.is_empty(), "chaos with CHAOS_SEED={seed}: {}", broken.join("\n\n"));
}
