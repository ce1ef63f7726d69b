// SPDX-License-Identifier: GPL-2.0-only
//! C5: a tenant that mostly sleeps lends its CPUs to a tenant of hogs and has them back when it wakes. Slices are long on
//! purpose, so that only taking back, and not the end of a slice, can serve it in time.

use std::time::Duration;

use anyhow::Result;

use super::tenants;
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::Job;

/// Slice of everybody, lent CPUs included.
const SLICE: Duration = Duration::from_secs(1);

/// Mean wait for each time a lender ran: far below a slice, and wide for a machine whose CPUs take turns on one host core.
const WAIT: Duration = Duration::from_millis(400);

const LOOK: Duration = Duration::from_millis(50);

pub fn run(context: &mut Context) -> Result<()> {
    let parent = tenants::parent(&[])?;
    let (lender, borrower) = (parent.child("lender", &[])?, parent.child("borrower", &[])?);
    let slice_us = SLICE.as_micros().to_string();
    let mut arguments = tenants::BRISK.to_vec();
    arguments.extend(["--slice-us", &slice_us, "--borrow-slice-us", &slice_us]);
    let mut scheduler = Scheduler::start(context, &arguments)?;
    let cpus = evidence::online()?.len();
    let hogs = tenants::load(&borrower, &vec![Job::spinner(); 2 * cpus])?;
    let sleepers = tenants::load(&lender, &vec![Job::sleeper(Duration::from_millis(100)); 2])?;
    let settled = tenants::settle(
        context,
        &mut scheduler,
        "both tenants have a cell of their own",
        |stats| {
            let (lender, borrower) = (tenants::find(stats, "lender")?, tenants::find(stats, "borrower")?);
            Ok(
                matches!((lender, borrower), (Some(a), Some(b)) if a.cell != b.cell && a.nr_tasks > 0 && b.nr_tasks > 0),
            )
        },
    )?;
    let Some(stats) = settled else { return scheduler.stop(context) };
    let mut own = tenants::find(&stats, "lender")?.map(|tenant| tenant.cpus).unwrap_or_default();
    let before: Vec<(u64, u64)> =
        sleepers.pids().iter().map(|&pid| evidence::waited(pid)).collect::<Result<_>>()?;
    let (mut borrowed, mut looks) = (0u64, 0u64);
    for _ in 0..context.base_time.as_millis() / LOOK.as_millis() {
        context.sleep(LOOK);
        if looks.is_multiple_of(10) {
            let now = tenants::find(&scheduler.stats(context)?, "lender")?;
            own = now.map(|tenant| tenant.cpus).unwrap_or_default();
        }
        borrowed += u64::from(hogs.cpus()?.iter().any(|cpu| own.contains(cpu)));
        looks += 1;
    }
    let (mut wait_ns, mut runs) = (0, 0);
    for (&pid, (wait_before, runs_before)) in sleepers.pids().iter().zip(before) {
        let (wait, ran) = evidence::waited(pid)?;
        wait_ns += wait - wait_before;
        runs += ran - runs_before;
    }
    scheduler.require_on(context)?;
    let mean = Duration::from_nanos(wait_ns / runs.max(1));
    context.figure("mean_wait_ms", mean.as_secs_f64() * 1e3);
    context.figure("wakes", runs as f64);
    context.figure("looks_with_a_borrower", borrowed as f64 / looks.max(1) as f64);
    context.require(borrowed > 0, || {
        "the hogs never ran on a CPU of the sleeping tenant: nothing was lent".into()
    });
    context.require_measured(runs > 0 && mean <= WAIT, || {
        format!("the lender waited {mean:?} for each of {runs} runs, bound {WAIT:?} (slices of {SLICE:?})")
    });
    scheduler.stop(context)
}
