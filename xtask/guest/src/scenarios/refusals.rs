// SPDX-License-Identifier: GPL-2.0-only
//! 5: bad arguments, no root, a kernel without sched_ext. One clear line each, the documented status, and the kernel's
//! scheduler is never replaced.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::context::Context;
use crate::evidence;
use crate::scheduler::run_to_end;

const BAD_USAGE: i32 = 2;
const NO_SCHED_EXT: i32 = 69;
const NO_RIGHTS: i32 = 77;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

const DEADLINE: Duration = Duration::from_secs(60);

struct Refusal {
    arguments: Vec<String>,
    user: Option<u32>,
    status: i32,
    /// What the line must name.
    names: String,
}

impl Refusal {
    fn bad(arguments: &[&str], names: &str) -> Self {
        Self {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            user: None,
            status: BAD_USAGE,
            names: names.to_owned(),
        }
    }
}

pub fn run(context: &mut Context) -> Result<()> {
    ensure!(evidence::has_sched_ext(), "this kernel has no sched_ext: 5-no-ext is for it");
    let before = evidence::sched_ext()?;
    let mut refusals = bad_arguments(evidence::online()?.len());
    refusals.push(Refusal { user: Some(NOBODY), status: NO_RIGHTS, ..Refusal::bad(&[], "root") });
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
    let refusal = Refusal { status: NO_SCHED_EXT, ..Refusal::bad(&[], "sched_ext") };
    require_refused(context, &refusal)?;
    let dry = run_to_end(context, &["--dry-run"], Some(NOBODY), DEADLINE)?;
    context.require(dry.status.code() == Some(0), || {
        format!("--dry-run must work without sched_ext, it was {}: {}", dry.status, dry.stderr.trim())
    });
    Ok(())
}

/// Command lines that are wrong on a machine with `cpus` CPUs, each with what the message must name.
fn bad_arguments(cpus: usize) -> Vec<Refusal> {
    let last = cpus - 1;
    let mut refusals = vec![
        Refusal::bad(&["--no-such-option"], "--no-such-option"),
        Refusal::bad(&["--domains", "bogus"], "bogus"),
        Refusal::bad(&["--domains", &format!("0-{last};0")], "0"),
        Refusal::bad(&["--domains", &format!("0-{cpus}")], &cpus.to_string()),
        Refusal::bad(&["--interval", "0"], "interval"),
        Refusal::bad(&["--interval", "soon"], "soon"),
        Refusal::bad(&["--slice-us", "0"], "slice-us"),
        Refusal::bad(&["--load-half-life", "-1"], "-1"),
        Refusal::bad(&["--greedy-threshold", "many"], "many"),
        Refusal::bad(&["stray"], "stray"),
    ];
    if last > 0 {
        refusals.push(Refusal::bad(&["--domains", &format!("0-{}", last - 1)], &last.to_string()));
    }
    refusals
}

fn require_refused(context: &mut Context, refusal: &Refusal) -> Result<()> {
    let arguments: Vec<&str> = refusal.arguments.iter().map(String::as_str).collect();
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
    context.require(said.contains(&refusal.names), || {
        format!("{what}: the line must name {:?}, it said: {said}", refusal.names)
    });
    context.require(!said.contains("panicked") && !said.contains("backtrace"), || format!("{what}: {said}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_wrong_for_the_machine_they_are_made_for() {
        let texts =
            |cpus| -> Vec<String> { bad_arguments(cpus).iter().map(|bad| bad.arguments.join(" ")).collect() };
        let eight = texts(8);
        for wrong in ["--domains 0-7;0", "--domains 0-8", "--domains 0-6"] {
            assert!(eight.iter().any(|text| text == wrong), "{wrong} is missing");
        }
        assert!(!texts(1).iter().any(|text| text == "--domains 0-0"), "a mask of all CPUs is right");
    }
}
