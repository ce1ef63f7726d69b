// SPDX-License-Identifier: GPL-2.0-only
//! 19: on machines of several shapes the domains in the scheduler's statistics are the last-level caches, or with
//! `--domains node` the nodes, that /sys shows; and every CPU works.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::cpulist::{self, Cpus};
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{Job, Pool, TURN};

const DEADLINE: Duration = Duration::from_secs(120);

/// CPUs and node of a domain.
type Domain = (Cpus, u64);

pub fn run(context: &mut Context) -> Result<()> {
    let llcs: Vec<Domain> =
        evidence::llcs()?.into_iter().map(|llc| (llc.cpus, u64::from(llc.node))).collect();
    let nodes: Vec<Domain> = evidence::nodes()?.into_iter().map(|(id, cpus)| (cpus, u64::from(id))).collect();
    require_domains(context, "llc", &llcs)?;
    require_domains(context, "node", &nodes)
}

fn require_domains(context: &mut Context, level: &str, expected: &[Domain]) -> Result<()> {
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &["--domains", level, "--interval", "1"])?;
    let pool = Pool::start(&vec![Job::spinner(); 2 * cpus])?;
    let stats = scheduler.stats_when(context, DEADLINE, |_| true)?;
    let mut reported: Vec<Domain> =
        stats.domains()?.into_iter().map(|domain| (domain.cpus, domain.node)).collect();
    reported.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    context.text_figure(&format!("{level}_domains"), describe(&reported));
    context.require(reported == expected, || {
        format!("--domains {level}: reported {}, /sys has {}", describe(&reported), describe(&expected))
    });
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("--domains {level}: {stuck} workers stood still for {TURN:?}"));
    scheduler.require_on(context)?;
    pool.stop(context);
    scheduler.stop(context)
}

fn describe(domains: &[Domain]) -> String {
    let texts: Vec<String> =
        domains.iter().map(|(cpus, node)| format!("{} (node {node})", cpulist::format(cpus))).collect();
    texts.join("; ")
}
