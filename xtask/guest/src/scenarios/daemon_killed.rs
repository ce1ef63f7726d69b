// SPDX-License-Identifier: GPL-2.0-only
//! 3: the daemon is stopped for 30 s (the longest the kernel's watchdog waits) and then killed, all under load. The BPF
//! side must schedule on without it, and the kernel must take over when it dies.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::context::Context;
use crate::evidence;
use crate::scheduler::{DETACH_DEADLINE, Scheduler};
use crate::workers::{Job, Pool, TURN};

const STOPPED: Duration = Duration::from_secs(30);

/// Every worker must advance in each of these windows.
const WINDOW: Duration = Duration::from_secs(10);

pub fn run(context: &mut Context) -> Result<()> {
    let cpus = evidence::online()?.len();
    let mut scheduler = Scheduler::start(context, &[])?;
    let mut jobs = vec![Job::spinner(); 2 * cpus];
    jobs.extend(vec![Job::sleeper(Duration::from_millis(20)); cpus]);
    let pool = Pool::start(&jobs)?;
    context.sleep(Duration::from_secs(1));
    scheduler.signal(Signal::SIGSTOP)?;
    context.step("daemon stopped");
    for window in 1..=STOPPED.as_secs() / WINDOW.as_secs() {
        require_progress(
            context,
            &pool,
            &format!("in window {window} of {WINDOW:?} with the daemon stopped"),
        );
        scheduler.require_on(context)?;
    }
    scheduler.kill(context)?;
    context.step("daemon killed");
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || {
        format!("{stuck} workers stood still for {TURN:?} after the daemon was killed")
    });
    context.figure("detach_bound_seconds", DETACH_DEADLINE.as_secs_f64());
    Ok(())
}

fn require_progress(context: &mut Context, pool: &Pool, when: &str) {
    let before = pool.progress();
    context.sleep(WINDOW);
    let stuck = before.iter().zip(pool.progress()).filter(|(before, after)| after <= before).count();
    context
        .require_measured(stuck == 0, || format!("{stuck} of {} workers stood still {when}", before.len()));
}
