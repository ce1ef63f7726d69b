// SPDX-License-Identifier: GPL-2.0-only
//! 10: `cpu.weight` of cgroups at full load. Weights 300 : 100 give CPU time in that ratio; nested groups multiply; and the
//! number of tasks in a group does not matter. Times are the kernel's own, from each group's `cpu.stat`.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cgroups::{self, Group};
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool};

/// Theory 3.
const WEIGHTS: RangeInclusive<f64> = 2.2..=4.0;

/// Theory 9/16 of the machine: three quarters of three quarters.
const NESTED: RangeInclusive<f64> = 0.46..=0.68;

/// Theory 1; by the number of tasks it would be 0.33.
const COUNTS: RangeInclusive<f64> = 0.65..=1.5;

/// Five rounds of a scheduler that looks at cgroups every two seconds: weights first, then the balance that they ask for, in
/// which no task moves in two rounds in a row.
const SETTLE: Duration = Duration::from_secs(10);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &[])?;
    weights(context, cpus)?;
    scheduler.require_on(context)?;
    nested(context, cpus)?;
    scheduler.require_on(context)?;
    counts(context, cpus)?;
    scheduler.stop(context)?;
    cgroups::remove_all();
    Ok(())
}

fn weights(context: &mut Context, cpus: usize) -> Result<()> {
    let heavy = weighted(Group::new("heavy", &["cpu"])?, 300)?;
    let light = weighted(Group::new("light", &["cpu"])?, 100)?;
    let had = measure(context, &[(&heavy, cpus), (&light, cpus)], &[&heavy, &light])?;
    judge(context, "weights_300_100", had[0] / had[1], &WEIGHTS);
    Ok(())
}

fn nested(context: &mut Context, cpus: usize) -> Result<()> {
    let outer = weighted(Group::new("outer", &["cpu"])?, 300)?;
    let other = weighted(Group::new("other", &["cpu"])?, 100)?;
    let heavy = weighted(outer.child("heavy", &["cpu"])?, 300)?;
    let light = weighted(outer.child("light", &["cpu"])?, 100)?;
    let load = [(&heavy, cpus), (&light, cpus), (&other, cpus)];
    let had = measure(context, &load, &[&outer, &other, &heavy, &light])?;
    judge(context, "outer_300_100", had[0] / had[1], &WEIGHTS);
    judge(context, "inner_300_100", had[2] / had[3], &WEIGHTS);
    judge(context, "inner_heavy_of_all", had[2] / (had[0] + had[1]), &NESTED);
    Ok(())
}

fn counts(context: &mut Context, cpus: usize) -> Result<()> {
    let few = weighted(Group::new("few", &["cpu"])?, 100)?;
    let many = weighted(Group::new("many", &["cpu"])?, 100)?;
    let had = measure(context, &[(&few, cpus * 3 / 4), (&many, cpus * 9 / 4)], &[&few, &many])?;
    judge(context, "few_to_many", had[0] / had[1], &COUNTS);
    Ok(())
}

fn weighted(group: Group, weight: u32) -> Result<Group> {
    group.set("cpu.weight", &weight.to_string())?;
    Ok(group)
}

/// Puts so many spinners into each group of `load`; the CPU seconds that `groups` then use in the base time.
fn measure(context: &mut Context, load: &[(&Group, usize)], groups: &[&Group]) -> Result<Vec<f64>> {
    let total = load.iter().map(|(_, count)| count).sum();
    let pool = Pool::start(&vec![Job::spinner(); total])?;
    let mut pids = pool.pids();
    for (group, count) in load {
        let (own, rest) = pids.split_at(*count);
        group.add(own)?;
        pids = rest;
    }
    context.sleep(SETTLE);
    let before = usage_seconds(groups)?;
    let counted = pool.progress();
    context.sleep(context.base_time);
    let after = usage_seconds(groups)?;
    let starved = pool.progress().iter().zip(&counted).filter(|(now, then)| now == then).count();
    context.require_measured(starved == 0, || format!("{starved} of {total} workers never ran"));
    pool.stop(context);
    Ok(after.iter().zip(&before).map(|(after, before)| after - before).collect())
}

fn usage_seconds(groups: &[&Group]) -> Result<Vec<f64>> {
    let usage = |group: &&Group| {
        let path = group.path().join("cpu.stat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        let micros: f64 = micros
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("odd {}", path.display()))?;
        Ok(micros / 1e6)
    };
    groups.iter().map(usage).collect()
}

fn judge(context: &mut Context, what: &str, value: f64, bound: &RangeInclusive<f64>) {
    context.figure(what, value);
    context.require_measured(bound.contains(&value), || {
        format!("{what}: CPU time by cpu.stat gives {value:.2}, bound {bound:?}")
    });
}
