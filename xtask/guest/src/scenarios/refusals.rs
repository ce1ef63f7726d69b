// SPDX-License-Identifier: GPL-2.0-only
//! 5: bad arguments, no root, a kernel without sched_ext. One clear line each, the documented status, and the kernel's
//! scheduler is never replaced.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::context::Context;
use crate::evidence;
use crate::profile::{self, BadArguments};
use crate::scheduler::run_to_end;

const BAD_USAGE: i32 = 2;
const NO_SCHED_EXT: i32 = 69;
const NO_RIGHTS: i32 = 77;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

const DEADLINE: Duration = Duration::from_secs(120);

struct Refusal {
    call: BadArguments,
    user: Option<u32>,
    status: i32,
}

pub fn run(context: &mut Context) -> Result<()> {
    ensure!(evidence::has_sched_ext(), "this kernel has no sched_ext: 5-no-ext is for it");
    let before = evidence::sched_ext()?;
    let mut calls = vec![
        BadArguments::new(&["--no-such-option"], "--no-such-option"),
        BadArguments::new(&["stray"], "stray"),
        BadArguments::new(&["--metrics", "nowhere:9101"], "nowhere"),
    ];
    calls.extend((profile::of(context)?.bad_arguments)(evidence::online()?.len()));
    let bad = |call| Refusal { call, user: None, status: BAD_USAGE };
    let mut refusals: Vec<Refusal> = calls.into_iter().map(bad).collect();
    refusals.push(Refusal { call: BadArguments::new(&[], "root"), user: Some(NOBODY), status: NO_RIGHTS });
    for refusal in &refusals {
        require_refused(context, refusal)?;
    }
    let after = evidence::sched_ext()?;
    context.require(before == after, || format!("the kernel's state changed: {before:?}, then {after:?}"));
    context.figure("refusals", refusals.len() as f64);
    let dry = run_to_end(context, &["--dry-run"], Some(NOBODY), DEADLINE)?;
    context.require(dry.status.code() == Some(0) && !dry.stdout.trim().is_empty(), || {
        format!(
            "--dry-run as an ordinary user must print its plan and end with 0, it was {}: {}",
            dry.status,
            dry.stderr.trim()
        )
    });
    Ok(())
}

pub fn run_without_sched_ext(context: &mut Context) -> Result<()> {
    ensure!(!evidence::has_sched_ext(), "this kernel has sched_ext: boot one without it");
    let refusal = Refusal { call: BadArguments::new(&[], "sched_ext"), user: None, status: NO_SCHED_EXT };
    require_refused(context, &refusal)?;
    let dry = run_to_end(context, &["--dry-run"], Some(NOBODY), DEADLINE)?;
    context.require(dry.status.code() == Some(0), || {
        format!("--dry-run must work without sched_ext, it was {}: {}", dry.status, dry.stderr.trim())
    });
    Ok(())
}

fn require_refused(context: &mut Context, refusal: &Refusal) -> Result<()> {
    let arguments: Vec<&str> = refusal.call.arguments.iter().map(String::as_str).collect();
    let finished = run_to_end(context, &arguments, refusal.user, DEADLINE)?;
    let what = match refusal.user {
        Some(_) => "started without root".to_owned(),
        None if arguments.is_empty() => "started on this kernel".to_owned(),
        None => format!("`{}`", arguments.join(" ")),
    };
    let lines = finished.lines();
    let said = lines.join(" | ");
    context.require(finished.status.code() == Some(refusal.status), || {
        format!("{what}: expected status {}, it was {} and said: {said}", refusal.status, finished.status)
    });
    context
        .require(lines.len() == 1, || format!("{what}: expected one line, it said {}: {said}", lines.len()));
    context.require(said.contains(&refusal.call.names), || {
        format!("{what}: the line must name {:?}, it said: {said}", refusal.call.names)
    });
    context.require(!said.contains("panicked") && !said.contains("backtrace"), || format!("{what}: {said}"));
    Ok(())
}
