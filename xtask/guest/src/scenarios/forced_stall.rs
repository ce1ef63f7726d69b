// SPDX-License-Identifier: GPL-2.0-only
//! 21: a stall on purpose (`--forced-stall`): one task is never dispatched. The kernel's watchdog must end the scheduler for it,
//! the program must say so with the whole dump and end with its documented status, and the task must run again. The dump of
//! cell-scheduler ends with what last happened to cgroups, tasks and cells.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use crate::cgroups::{self, Group};
use crate::context::Context;
use crate::evidence;
use crate::scheduler::Scheduler;
use crate::workers::{HOG, Job, Pool};

/// Documented status: the kernel ended the scheduler with an error.
const KERNEL_ERROR: i32 = 70;

/// The watchdog waits 10 s and looks every half of that; this is for the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the kernel writes at the end of a dump for which there was no room.
const TRUNCATED: &str = "TRUNCATED";

/// Room for a dump of every runnable task.
const DUMP_BYTES: &str = "1048576";

pub fn run(context: &mut Context) -> Result<()> {
    // Alone until the scheduler is attached: loading beside more load takes longer than the watchdog waits.
    let pool = Pool::start(&[Job::spinner()])?;
    let victim = pool.pids()[0];
    let arguments = ["--forced-stall", &victim.to_string(), "--exit-dump-len", DUMP_BYTES];
    let scheduler = Scheduler::start(context, &arguments)?;
    let others = Pool::start(&vec![Job::spinner(); evidence::online()?.len()])?;
    let noted = Group::new("noted", &["cpu"])?;
    noted.add(others.pids())?;
    let (status, log) = scheduler.wait_for_end(context, DEADLINE)?;
    let named = format!("{HOG}[{victim}]");
    context.require(status.code() == Some(KERNEL_ERROR), || {
        format!("a stall must end the program with status {KERNEL_ERROR}, it was {status}")
    });
    let reason = log.lines().find(|line| line.contains("the kernel ended the scheduler")).unwrap_or_default();
    context.require(reason.contains("runnable task stall") && reason.contains(&named), || {
        format!("the program must say that {named} stalled; it said: {reason}")
    });
    let Some((_, dump)) = log.split_once("debug dump of the kernel") else {
        context.fail("the program printed no dump");
        return Ok(());
    };
    context.figure("dump_bytes", dump.len() as f64);
    context.require(!dump.contains(TRUNCATED), || "the dump is truncated".into());
    // The first mention is the kernel's reason; what counts is the task in the list of what is runnable.
    let listed = dump.lines().filter(|line| line.contains(&named)).count();
    context.figure("lines_naming_the_task", listed as f64);
    context.require(listed >= 2, || format!("the dump does not list {named}"));
    if context.plan.scheduler == "cell-scheduler" {
        require_events(context, dump, others.pids(), &noted)?;
    }
    let stuck = pool.wait_for_progress(context)? + others.wait_for_progress(context)?;
    context.require_measured(stuck == 0, || {
        format!("{stuck} tasks do not run under the kernel's scheduler again")
    });
    others.stop(context);
    cgroups::remove_all();
    Ok(())
}

/// The ring of events in the dump: the first table, a cgroup and tasks that came after it, and their move into that cgroup.
fn require_events(context: &mut Context, dump: &str, tasks: &[Pid], cgroup: &Group) -> Result<()> {
    let path = cgroup.path();
    let id = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.ino();
    let events: Vec<&str> = dump.lines().filter(|line| line.contains(" event ")).collect();
    context.figure("events", events.len() as f64);
    let mut expected = vec![": table 1".to_owned(), format!(": cgroup {id} init")];
    for task in tasks {
        expected.push(format!(": task {task} init"));
        expected.push(format!(": task {task} to cgroup {id}"));
    }
    let missing: Vec<&String> =
        expected.iter().filter(|text| !events.iter().any(|event| event.ends_with(text.as_str()))).collect();
    context.require(missing.is_empty(), || format!("the dump does not tell of {missing:?}"));
    Ok(())
}
