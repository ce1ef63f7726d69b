// SPDX-License-Identifier: GPL-2.0-only
//! The scheduler under test as a child process: start, watch, stop, and the common requirements on all of it.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::context::Context;
use crate::dump;
use crate::evidence::{self, SchedExt};
use crate::stats_client::{self, Stats};
use crate::sys;

/// Loading and verifying is slow under emulation, much slower beside load.
const ATTACH_DEADLINE: Duration = Duration::from_secs(180);

/// The bound of the scenarios: the kernel's scheduler must be back in this time.
pub const DETACH_DEADLINE: Duration = Duration::from_secs(30);

/// A daemon that has to wait for its turn answers with figures from before. Wide: it competes with the load.
const STATS_DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Standard output and error of a finished command.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The lines of both outputs that hold anything.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().chain(self.stderr.lines()).filter(|line| !line.trim().is_empty()).collect()
    }
}

/// Path of the plan's scheduler.
pub fn program(context: &Context) -> String {
    format!("/bin/{}", context.plan.scheduler)
}

/// Default statistics socket of the plan's scheduler.
pub fn socket(context: &Context) -> String {
    format!("/run/{}/stats.sock", context.plan.scheduler)
}

/// A sched_ext name is an identifier: the program's name with underscores.
fn ops_prefix(context: &Context) -> String {
    context.plan.scheduler.replace('-', "_")
}

/// Runs the scheduler's program to its end (a call that is expected to be refused); kills it after `deadline`.
pub fn run_to_end(
    context: &mut Context,
    arguments: &[&str],
    user: Option<u32>,
    deadline: Duration,
) -> Result<Finished> {
    use std::os::unix::process::CommandExt;
    let (out_path, err_path) = ("/tmp/refused.out", "/tmp/refused.err");
    let mut command = Command::new(program(context));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(File::create(out_path)?).stderr(File::create(err_path)?);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program(context)))?;
    let status = context.wait_for(deadline, PAUSE, |_| Ok(child.try_wait()?))?;
    let Some(status) = status else {
        child.kill()?;
        child.wait()?;
        bail!("`{}` did not end in {deadline:?}", arguments.join(" "));
    };
    Ok(Finished { status, stdout: fs::read_to_string(out_path)?, stderr: fs::read_to_string(err_path)? })
}

/// An attached scheduler. Dropping it kills the process.
pub struct Scheduler {
    child: Child,
    log: String,
    before: SchedExt,
    ended: bool,
}

impl Scheduler {
    /// Starts the plan's scheduler with `arguments` (then the plan's) and waits until the kernel says it is on.
    pub fn start(context: &mut Context, arguments: &[&str]) -> Result<Self> {
        ensure!(evidence::has_sched_ext(), "this kernel has no sched_ext: boot one that has (6.16 or later)");
        let before = evidence::sched_ext()?;
        ensure!(before.state == "disabled", "sched_ext is {} before the scheduler starts", before.state);
        // Process 1 sends every log in /tmp to the host when the scenario fails.
        let log = format!("/tmp/scheduler-{}.log", before.enable_seq);
        let file = File::create(&log)?;
        let begin = Instant::now();
        let child = Command::new(program(context))
            .args(arguments)
            .args(&context.plan.scheduler_args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program(context)))?;
        let mut scheduler = Self { child, log, before, ended: false };
        let attached = context.wait_for(ATTACH_DEADLINE, PAUSE, |context| {
            if let Some(status) = scheduler.child.try_wait()? {
                scheduler.ended = true;
                bail!("the scheduler ended before it was attached ({status}): {}", scheduler.last_line());
            }
            Ok(scheduler.is_on(context)?.then_some(()))
        })?;
        if attached.is_none() {
            bail!("not attached after {ATTACH_DEADLINE:?}: {}", scheduler.last_line());
        }
        context.figure("attach_seconds", begin.elapsed().as_secs_f64());
        Ok(scheduler)
    }

    /// Whether the kernel says that this scheduler is attached.
    pub fn is_on(&self, context: &Context) -> Result<bool> {
        let now = evidence::sched_ext()?;
        Ok(now.state == "enabled" && now.ops.starts_with(&ops_prefix(context)))
    }

    /// Process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The kernel's counters before the start.
    pub fn before(&self) -> &SchedExt {
        &self.before
    }

    /// Statistics from its socket that are not older than this call: asks until it has such.
    ///
    /// # Errors
    /// Nobody answers, or there are none in time.
    pub fn stats(&self, context: &mut Context) -> Result<Stats> {
        let asked_ns = sys::monotonic_ns().context("no monotonic clock")?;
        let fresh = context.wait_for(STATS_DEADLINE, PAUSE, |context| {
            Ok(stats_client::ask(&socket(context))?.filter(|stats| stats.is_since(asked_ns)))
        })?;
        fresh.with_context(|| {
            format!("for {STATS_DEADLINE:?} the scheduler answered with no statistics, or with older ones")
        })
    }

    /// Its statistics once the socket answers and `ready` holds for them.
    pub fn stats_when(
        &self,
        context: &mut Context,
        deadline: Duration,
        ready: impl Fn(&Stats) -> bool,
    ) -> Result<Stats> {
        let mut last = String::from("it has not answered yet");
        let found = context.wait_for(deadline, Duration::from_millis(200), |context| {
            match stats_client::ask(&socket(context)) {
                Ok(Some(stats)) if ready(&stats) => return Ok(Some(stats)),
                Ok(None) => last = "it has no figures yet".into(),
                Ok(Some(_)) => last = "the answers do not show what is expected".into(),
                Err(error) => last = format!("{error:#}"),
            }
            Ok(None)
        })?;
        found.with_context(|| format!("no such statistics in {deadline:?}: {last}"))
    }

    /// Fails unless the process lives and the kernel says it is attached.
    pub fn require_on(&mut self, context: &mut Context) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            self.ended = true;
            return Err(self.ended_by_itself(status));
        }
        if !self.is_on(context)? {
            let now = evidence::sched_ext()?;
            bail!("the scheduler is not on any more: sched_ext is {} ({})", now.state, now.ops);
        }
        Ok(())
    }

    /// Fails when the process has ended; it may be detached for a moment (a restart in place).
    pub fn require_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            self.ended = true;
            return Err(self.ended_by_itself(status));
        }
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal}"))
    }

    /// SIGINT, and the common requirements: status 0, the kernel's scheduler back in time, one attachment counted, no
    /// task refused.
    pub fn stop(self, context: &mut Context) -> Result<()> {
        self.stop_after(context, 1..=1)
    }

    /// As [`Self::stop`], with another time for the kernel's scheduler to be back.
    pub fn stop_within(self, context: &mut Context, deadline: Duration) -> Result<()> {
        self.detach(context, 1..=1, deadline)
    }

    /// As [`Self::stop`], for a scheduler that may have attached `attachments` times.
    pub fn stop_after(self, context: &mut Context, attachments: std::ops::RangeInclusive<u64>) -> Result<()> {
        self.detach(context, attachments, DETACH_DEADLINE)
    }

    fn detach(
        mut self,
        context: &mut Context,
        attachments: std::ops::RangeInclusive<u64>,
        deadline: Duration,
    ) -> Result<()> {
        self.require_on(context)?;
        let begin = Instant::now();
        self.signal(Signal::SIGINT)?;
        let status = self.wait_until_gone(context, begin, deadline)?;
        context.figure("detach_seconds", begin.elapsed().as_secs_f64());
        if status.code() != Some(0) {
            context.fail(format!(
                "SIGINT must end the scheduler with status 0, it was {status}: {}",
                self.last_line()
            ));
        }
        let now = evidence::sched_ext()?;
        let attached = now.enable_seq - self.before.enable_seq;
        context.require(attachments.contains(&attached), || {
            format!("enable_seq rose by {attached}, expected {attachments:?}")
        });
        self.require_none_rejected(context, &now);
        Ok(())
    }

    fn require_none_rejected(&self, context: &mut Context, now: &SchedExt) {
        let rejected = now.rejected - self.before.rejected;
        context.require(rejected == 0, || format!("nr_rejected rose by {rejected}"));
    }

    /// SIGKILL, and the requirement that the kernel's scheduler takes over in time.
    pub fn kill(mut self, context: &mut Context) -> Result<()> {
        let begin = Instant::now();
        self.signal(Signal::SIGKILL)?;
        let status = self.wait_until_gone(context, begin, DETACH_DEADLINE)?;
        context.figure("takeover_seconds", begin.elapsed().as_secs_f64());
        context.require(status.signal() == Some(Signal::SIGKILL as i32), || {
            format!("the scheduler was to end by SIGKILL, it ended by {status}")
        });
        self.require_none_rejected(context, &evidence::sched_ext()?);
        Ok(())
    }

    /// Waits for the scheduler to end by itself: how it ended, and its whole log. Like every other end this must leave the
    /// kernel's scheduler in charge and no task refused.
    pub fn wait_for_end(mut self, context: &mut Context, deadline: Duration) -> Result<(ExitStatus, String)> {
        let status = self.wait_until_gone(context, Instant::now(), deadline)?;
        self.require_none_rejected(context, &evidence::sched_ext()?);
        Ok((status, self.log()))
    }

    fn wait_until_gone(
        &mut self,
        context: &mut Context,
        begin: Instant,
        deadline: Duration,
    ) -> Result<ExitStatus> {
        let mut status = None;
        let gone = context.wait_for(deadline, PAUSE, |_| {
            if status.is_none() {
                status = self.child.try_wait()?;
            }
            let disabled = evidence::sched_ext()?.state == "disabled";
            Ok(if disabled { status } else { None })
        })?;
        self.ended = status.is_some();
        if let Some(gone) = gone {
            return Ok(gone);
        }
        let state = evidence::sched_ext()?.state;
        let process = if self.ended { "has ended" } else { "still runs" };
        bail!("after {:.0} s the scheduler {process} and sched_ext is {state}", begin.elapsed().as_secs_f64())
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ended_by_itself(&self, status: ExitStatus) -> anyhow::Error {
        let stalled = dump::about_stalled(&self.log()).map(|text| format!("; the dump: {text}"));
        anyhow!(
            "the scheduler ended by itself ({status}): {}{}",
            self.last_line(),
            stalled.unwrap_or_default()
        )
    }

    fn last_line(&self) -> String {
        self.log().lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.ended {
            // Both fail only when the process is gone, which is what this wants.
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
