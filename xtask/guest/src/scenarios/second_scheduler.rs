// SPDX-License-Identifier: GPL-2.0-only
//! 4: a second scheduler started beside the first is refused in one line with status 75, and the first one, with its
//! statistics socket, does not notice.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::evidence;
use crate::profile;
use crate::scheduler::{Scheduler, run_to_end};

/// Documented status: another scheduler is attached.
const ANOTHER_ATTACHED: i32 = 75;

const DEADLINE: Duration = Duration::from_secs(120);

pub fn run(context: &mut Context) -> Result<()> {
    let mut first = Scheduler::start(context, profile::of(context)?.brisk)?;
    let before = first.stats_when(context, DEADLINE, |_| true)?;
    let kernel_before = evidence::sched_ext()?;
    for arguments in [&[][..], &["--stats-socket", "/run/second.sock"]] {
        let finished = run_to_end(context, arguments, None, DEADLINE)?;
        let what = format!("a second scheduler with [{}]", arguments.join(" "));
        let code = finished.status.code();
        context.require(code == Some(ANOTHER_ATTACHED), || {
            format!("{what} must end with status {ANOTHER_ATTACHED}, it was {}", finished.status)
        });
        let lines = finished.lines();
        context.require(lines.len() == 1, || {
            format!("{what} must say one line, it said: {}", lines.join(" | "))
        });
        first.require_on(context)?;
    }
    let kernel_after = evidence::sched_ext()?;
    context.require(kernel_before == kernel_after, || {
        format!("the second scheduler changed the kernel's state: {kernel_before:?}, then {kernel_after:?}")
    });
    // Whatever else they are, statistics of a running scheduler do not stand still.
    let after = first.stats_when(context, DEADLINE, |stats| stats.0 != before.0);
    if let Err(error) = after {
        context.fail(format!(
            "the first scheduler's statistics stand still after the second was refused: {error:#}"
        ));
    }
    first.stop(context)
}
