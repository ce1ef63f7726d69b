// SPDX-License-Identifier: GPL-2.0-only
//! 11: two control groups full of spinners get a cpuset each, swap them, and lose them again. A second after each change
//! nobody is seen outside its set, and everybody goes on.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cgroups::Group;
use crate::context::{Context, Skipped};
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, TURN};

/// What a change may take until it holds.
const GRACE: Duration = Duration::from_secs(1);

/// Length of the look at each state.
const LOOK: Duration = Duration::from_secs(2);

const SAMPLE: Duration = Duration::from_millis(50);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus: Vec<usize> = evidence::online()?.into_iter().collect();
    if cpus.len() < 2 {
        return Err(Skipped("this machine has one CPU".into()).into());
    }
    let halves = [&cpus[..cpus.len() / 2], &cpus[cpus.len() / 2..]];
    let [low, high] = halves.map(|half| half.iter().copied().collect::<Cpus>());
    let all: Cpus = cpus.iter().copied().collect();
    let mut scheduler = Scheduler::start(context, &[])?;
    let mut tenants = Vec::new();
    for name in ["cpuset-a", "cpuset-b"] {
        let group = Group::new(name, &["cpuset"])?;
        let pool = Pool::start(&vec![Job::spinner(); cpus.len()])?;
        group.add(pool.pids())?;
        tenants.push((group, pool));
    }
    let states = [("set", [&low, &high]), ("swapped", [&high, &low]), ("cleared", [&all, &all])];
    for (what, sets) in states {
        for ((group, _), set) in tenants.iter().zip(sets) {
            // Before 7.x a group that holds tasks cannot give its list up; naming every CPU means the same.
            let cleared = *set == all && group.set("cpuset.cpus", "").is_ok();
            if !cleared {
                group.set("cpuset.cpus", &cpulist::format(set))?;
            }
        }
        context.step(what);
        context.sleep(GRACE);
        let (samples, outside) = samples_outside(context, &tenants, sets)?;
        context.figure(&format!("samples_{what}"), samples as f64);
        context.require_measured(outside == 0, || {
            format!("cpusets {what}: {outside} of {samples} samples show a spinner outside its set after {GRACE:?}")
        });
        require_progress(context, &tenants, what)?;
        scheduler.require_on(context)?;
    }
    tenants.into_iter().for_each(|(_, pool)| pool.stop(context));
    scheduler.stop(context)
}

/// How often spinners were looked at, and how often one was runnable outside its set.
fn samples_outside(
    context: &mut Context,
    tenants: &[(Group, Pool)],
    sets: [&Cpus; 2],
) -> Result<(usize, usize)> {
    let begin = Instant::now();
    let (mut samples, mut outside) = (0, 0);
    while begin.elapsed() < LOOK {
        context.sleep(SAMPLE);
        for ((_, pool), set) in tenants.iter().zip(sets) {
            let places = pool.cpus()?;
            samples += places.len();
            outside += places.iter().filter(|cpu| !set.contains(cpu)).count();
        }
    }
    Ok((samples, outside))
}

fn require_progress(context: &mut Context, tenants: &[(Group, Pool)], what: &str) -> Result<()> {
    for (_, pool) in tenants {
        let stuck = pool.wait_for_progress(context)?;
        context.require(stuck == 0, || format!("cpusets {what}: {stuck} spinners stood still for {TURN:?}"));
    }
    Ok(())
}
