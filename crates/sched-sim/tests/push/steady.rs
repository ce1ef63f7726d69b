// SPDX-License-Identifier: GPL-2.0-only
//! Under loads that do not change their nature: no ping-pong, no idle CPU beside waiting work, no rounds for nothing.

use std::rc::Rc;

use sim::program::{Dist, Program, Step};
use sim::rng::Rng;
use sim::task::TaskSpec;
use sim::world::Outside;

use crate::scene::{MS, S, Scene, US, per_group};

/// A hog may be moved so often a second on average, whatever its neighbours do.
const HOG_MOVES_PER_SECOND: f64 = 2.0;

/// And any single one so often.
const MOST_MOVES_PER_SECOND: f64 = 6.0;

/// Random numbers of hogs of random weights beside sleepers: hogs stay where they are most of the time.
#[test]
fn hogs_do_not_wander() {
    let mut rng = Rng::stream(9, 9);
    let mut worst = (0f64, 0f64);
    for seed in 1..=12 {
        let machine = ["1n1l4c2t", "1n2l4c1t", "2n2l2c2t", "2n2l4c2t"][seed as usize % 4];
        let mut scene = Scene::new(machine, 2 * S).seed(seed);
        let cpus = scene.topology.online().len() as u64;
        let group = scene.workload.group("hogs");
        let hogs = 1 + rng.below(2 * cpus);
        for _ in 0..hogs {
            let weight = [50, 100, 100, 100, 300][rng.below(5) as usize];
            let hog = TaskSpec { group, weight, ..TaskSpec::new("hog", Program::new(&[Step::RunForever])) };
            scene.workload.tasks.push((hog, rng.below(20 * MS)));
        }
        let sleepers = scene.workload.group("sleepers");
        let body = vec![Step::Sleep(Dist::Exp(3 * MS)), Step::Run(Dist::Exp(300 * US))];
        let sleeper = Program::new(&[Step::Loop(None, body)]);
        for _ in 0..rng.below(cpus) {
            let sleeper = TaskSpec { group: sleepers, ..TaskSpec::new("sleeper", Rc::clone(&sleeper)) };
            scene.workload.tasks.push((sleeper, 0));
        }
        let run = scene.run();
        let mut last = std::collections::BTreeMap::new();
        let mut moves = std::collections::BTreeMap::<i32, u64>::new();
        let mut stretches: Vec<_> =
            run.timeline.iter().filter(|stretch| stretch.group == group && stretch.from > 200 * MS).collect();
        stretches.sort_by_key(|stretch| stretch.from);
        for stretch in stretches {
            let before = last.insert(stretch.pid, stretch.cpu);
            *moves.entry(stretch.pid).or_default() += u64::from(before.is_some_and(|cpu| cpu != stretch.cpu));
        }
        let rate = |moves: u64| moves as f64 / 1.8;
        let mean = rate(moves.values().sum()) / hogs as f64;
        let most = rate(moves.values().copied().max().unwrap_or(0));
        println!(
            "seed {seed} on {machine}: {hogs} hogs, {mean:.2} moves a hog and second, at most {most:.2}"
        );
        worst = (worst.0.max(mean), worst.1.max(most));
    }
    assert!(worst.0 <= HOG_MOVES_PER_SECOND, "hogs moved {:.1} times a second", worst.0);
    assert!(worst.1 <= MOST_MOVES_PER_SECOND, "a hog moved {:.1} times a second", worst.1);
}

/// 256 CPUs with one and a half times the work they can do: hogs alone, and hogs among sleepers.
#[test]
fn no_cpu_idles_beside_waiting_work() {
    for load in ["hogs:384", "hogs:192+sleepers:2112"] {
        let mut scene = Scene::new("2n8l8c2t", S).load(load);
        scene.config.timeline = 0;
        let run = scene.run();
        let idle = run.report.idle_beside_waiting_pct;
        println!("{load}: idle beside waiting {idle:.3} %, busy {:.1} %", run.report.busy_pct);
        assert!(idle < 1.0, "{load}: some CPU was idle beside waiting work for {idle:.2} % of the time");
    }
}

/// Tasks that sleep long before their slices end, on CPUs that are never without work: their rounds come all the same.
#[test]
fn cpus_without_slice_ends_make_their_rounds() {
    let mut scene = Scene::new("1n1l4c1t", 2 * S).options(&["--wakeup-granularity-us", "1000000"]);
    let group = scene.workload.group("short");
    let body = vec![Step::Run(Dist::Exp(MS)), Step::Sleep(Dist::Exp(MS))];
    let program = Program::new(&[Step::Loop(None, body)]);
    for _ in 0..48 {
        let task = TaskSpec { group, ..TaskSpec::new("short", Rc::clone(&program)) };
        scene.workload.tasks.push((task, 0));
    }
    let run = scene.run();
    let busy = run.outcome.metrics.levels.iter().filter(|(name, _)| name.ends_with(" busy"));
    let rounds: u64 = busy.map(|(_, level)| level.lb_count).sum();
    println!("{rounds} rounds of busy CPUs in 2 s");
    assert!(rounds >= 40, "{rounds} rounds of busy CPUs in 2 s");
}

/// Two hogs bound to each of two CPUs, the others idle: nothing can be moved, so the rounds become rare.
#[test]
fn rounds_that_meet_only_pinned_tasks_back_off() {
    let run = Scene::new("1n1l4c1t", 6 * S).hogs_on(&[0, 0, 1, 1], true).run();
    assert_eq!(run.moves(), 0);
    let rounds_between = |from: u64, to: u64| {
        let at = |time: u64| {
            let (_, metrics) =
                run.outcome.history.iter().find(|(at, _)| *at >= time).expect("the run is longer");
            let idle = metrics.levels.iter().filter(|(name, _)| name.ends_with(" idle"));
            idle.map(|(_, level)| level.lb_count).sum::<u64>()
        };
        at(to) - at(from)
    };
    let pinned: u64 = run.outcome.metrics.levels.values().map(|level| level.lb_all_pinned).sum();
    assert!(pinned > 0, "{:?}", run.outcome.metrics.levels);
    // Four groups (CPUs) with one round in 512 ms each, and one more.
    let late = rounds_between(3 * S, 5 * S);
    assert!(late <= 4 * 5, "{late} idle rounds in two seconds");
    println!("all pinned: {late} idle rounds in two seconds, {pinned} met only pinned tasks");
}

/// The same on CPUs that are all busy, for so long that their rounds are as rare as they get: once nothing is pinned any more, one of them
/// comes soon enough to matter.
#[test]
fn busy_cpus_find_out_soon_that_nothing_is_pinned_any_more() {
    let freed = 20 * S + MS;
    let run = Scene::new("1n1l4c1t", 30 * S)
        .hogs_on(&[0, 0, 0, 1, 2, 2, 2, 3], true)
        .with(Outside::SetGroupAffinity { group: 0, cpus: None }, freed)
        .run();
    let after = run.settled_since_ms(freed, |cpus| per_group(cpus, 1).values().all(|&hogs| hogs == 2));
    println!("two hogs on each CPU {after} ms after they were set free, {} moves", run.moves());
    assert!(after < 1_500.0, "two hogs on each CPU only after {after} ms");
    assert_eq!(run.moves(), 2);
}

/// Hogs begin where `begin` says, and may use the CPUs of `may` from 101 ms on: how many are on each of them after 4 s.
fn confined(scene: Scene, begin: &[usize], may: &[usize]) -> Vec<usize> {
    let mask = Some(Rc::new(may.iter().copied().collect()));
    let group = scene.workload.groups.len();
    let free = Outside::SetGroupAffinity { group, cpus: mask };
    let run = scene.hogs_on(begin, true).with(free, 101 * MS).run();
    let counts = per_group(&run.places_of(group, 4 * S - MS), 1);
    println!("{may:?}: {counts:?}, {} moves", run.moves());
    may.iter().map(|cpu| counts.get(cpu).copied().unwrap_or(0)).collect()
}

/// Tasks that may use some CPUs only are evened out on those: whatever others that cannot move weigh, whoever idles that they may not
/// use, and whoever has more of a kind that may not come.
#[test]
fn confined_tasks_even_out() {
    let end = 4 * S;
    let even = |counts: Vec<usize>, of: &[usize]| {
        let mut sorted = counts.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, of, "{counts:?}");
    };
    // Tasks bound to CPU 0 raise the average.
    let beside_bound = Scene::new("1n1l4c1t", end).hogs_on(&[0; 8], true);
    even(confined(beside_bound, &[1, 1, 1, 2, 3], &[1, 2, 3]), &[1, 2, 2]);
    // CPUs 2 and 3 idle, and lower it.
    even(confined(Scene::new("1n1l4c1t", end), &[0, 0, 0, 1], &[0, 1]), &[2, 2]);
    // CPU 4 has idle neighbours that are lighter.
    even(confined(Scene::new("1n2l4c1t", end), &[0, 0, 0, 0, 4], &[0, 4]), &[2, 3]);
    // CPUs 0 and 1 are busier, with tasks that nobody else may have.
    let both = Some(Rc::new([0, 1].into_iter().collect()));
    let beside_confined = Scene::new("1n1l8c1t", end)
        .hogs_on(&[0, 0, 0, 0, 1, 1, 1, 1], true)
        .with(Outside::SetGroupAffinity { group: 0, cpus: both }, 101 * MS);
    even(confined(beside_confined, &[2, 2, 2, 3, 4, 5, 6, 7], &[2, 3, 4, 5, 6, 7]), &[1, 1, 1, 1, 2, 2]);
}
