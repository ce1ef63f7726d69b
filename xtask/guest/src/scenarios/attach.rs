// SPDX-License-Identifier: GPL-2.0-only
//! 1: attach, idle, detach. The kernel says *enabled* while it is on and *disabled* again in 30 s.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::scheduler::Scheduler;

pub fn run(context: &mut Context) -> Result<()> {
    let mut scheduler = Scheduler::start(context, &[])?;
    context.step("attached");
    for _ in 0..3 {
        context.sleep(Duration::from_secs(1));
        scheduler.require_on(context)?;
    }
    scheduler.stop(context)
}
