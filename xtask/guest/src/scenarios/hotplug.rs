// SPDX-License-Identifier: GPL-2.0-only
//! 17: CPUs go off and on under load with a monitor attached. Nobody is seen on an offline CPU; the scheduler survives
//! or restarts in place, by itself, and the CPUs that it reports are those of the machine again.
//!
//! The load leaves some CPUs idle at times, and the bound is wide: a restart in place loads and verifies its BPF program
//! again, which is slow where one host core carries every emulated CPU, and slower beside load.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::context::{Context, Skipped};
use crate::cpulist::Cpus;
use crate::evidence;
use crate::profile::{self, Profile};
use crate::scheduler::{Scheduler, program};
use crate::workers::{self, Job, Pool, TURN};

const CYCLES: u64 = 2;

/// A restart in place passes through *disabled*; it must be over in this time. One that never comes back fails; one that
/// is slow, because verifying is, shows in the figure `longest_without_seconds`.
const BACK: Duration = Duration::from_secs(120);

const LOOK: Duration = Duration::from_millis(100);

const LOOKS: usize = 15;

const MONITOR_LOG: &str = "/tmp/monitor.log";

pub fn run(context: &mut Context) -> Result<()> {
    let online = evidence::online()?;
    let candidates: Vec<usize> =
        online.iter().copied().filter(|&cpu| fs::exists(switch(cpu)).unwrap_or(false)).collect();
    if candidates.is_empty() || online.len() < 2 {
        return Err(Skipped("no CPU of this machine can be switched off".into()).into());
    }
    let profile = profile::of(context)?;
    let mut scheduler = Scheduler::start(context, profile.brisk)?;
    scheduler.stats_when(context, BACK, |_| true)?;
    let mut monitor = Command::new(program(context))
        .args(["--monitor", "1"])
        .stdin(Stdio::null())
        .stdout(File::create(MONITOR_LOG)?)
        .stderr(File::create("/tmp/monitor-errors.log")?)
        .spawn()?;
    let mut jobs = vec![Job::spinner(); online.len().div_ceil(4)];
    jobs.extend(vec![Job::sleeper(Duration::from_millis(50)); online.len()]);
    let pool = Pool::start(&jobs)?;
    let mut longest = Duration::ZERO;
    let mut used = Cpus::new();
    for cycle in 1..=CYCLES {
        let cpu = candidates[context.random.below(candidates.len())];
        context.step(format!("cycle {cycle}: CPU {cpu} off"));
        used.insert(cpu);
        longest = longest.max(off_and_on(context, &mut scheduler, &pool, cpu)?);
    }
    require_used(context, &used)?;
    require_reported(context, &scheduler, profile, &online)?;
    let stuck = pool.wait_for_progress(context)?;
    context.require(stuck == 0, || format!("{stuck} workers stood still for {TURN:?} after the last switch"));
    let shown = fs::metadata(MONITOR_LOG)?.len();
    let more =
        context.wait_for(BACK, LOOK, |_| Ok((fs::metadata(MONITOR_LOG)?.len() > shown).then_some(())))?;
    let ended = monitor.try_wait()?;
    context.require(more.is_some() && ended.is_none(), || match ended {
        Some(status) => format!("the monitor ended by itself ({status})"),
        None => format!("the monitor shows nothing new in {BACK:?}"),
    });
    // Both fail only when the monitor is gone already, which was judged above.
    let _killed = monitor.kill();
    let _reaped = monitor.wait();
    context.figure("longest_without_seconds", longest.as_secs_f64());
    let attachments = evidence::sched_ext()?.enable_seq - scheduler.before().enable_seq;
    context.figure("restarts", attachments as f64 - 1.0);
    pool.stop(context);
    // Each of the two switches of a cycle may restart it once; a second try after a race doubles that.
    scheduler.stop_after(context, 1..=1 + 4 * CYCLES)
}

fn switch(cpu: usize) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/online")
}

/// Longest time that the scheduler was not attached.
fn off_and_on(context: &mut Context, scheduler: &mut Scheduler, pool: &Pool, cpu: usize) -> Result<Duration> {
    fs::write(switch(cpu), "0").with_context(|| format!("cannot switch CPU {cpu} off"))?;
    ensure!(!evidence::online()?.contains(&cpu), "CPU {cpu} was switched off and is online");
    let off = wait_until_on(context, scheduler, Some((pool, cpu)))?;
    for _ in 0..LOOKS {
        require_nobody_on(context, pool, cpu)?;
        context.sleep(LOOK);
    }
    scheduler.require_alive()?;
    fs::write(switch(cpu), "1").with_context(|| format!("cannot switch CPU {cpu} on"))?;
    let on = wait_until_on(context, scheduler, None)?;
    context.sleep(LOOK * LOOKS as u32);
    Ok(off.max(on))
}

/// Waits until the scheduler is attached, after a moment in which a restart can begin.
fn wait_until_on(
    context: &mut Context,
    scheduler: &mut Scheduler,
    watched: Option<(&Pool, usize)>,
) -> Result<Duration> {
    context.sleep(Duration::from_millis(500));
    let begin = Instant::now();
    let back = context.wait_for(BACK, LOOK, |context| {
        scheduler.require_alive()?;
        if let Some((pool, cpu)) = watched {
            require_nobody_on(context, pool, cpu)?;
        }
        Ok(scheduler.is_on(context)?.then_some(()))
    })?;
    if back.is_none() {
        bail!("the scheduler is not attached {BACK:?} after a CPU was switched");
    }
    Ok(begin.elapsed())
}

fn require_nobody_on(context: &mut Context, pool: &Pool, cpu: usize) -> Result<()> {
    for &pid in pool.pids() {
        if workers::misplaced(context, pid, |now| now != cpu)?.is_some() {
            context.fail(format!("worker {pid} runs on CPU {cpu}, which is offline"));
        }
    }
    Ok(())
}

/// A CPU that came back must run what is bound to it.
fn require_used(context: &mut Context, cpus: &Cpus) -> Result<()> {
    let jobs: Vec<Job> = cpus.iter().map(|&cpu| Job::spinner().on(&Cpus::from([cpu]))).collect();
    let pool = Pool::start(&jobs)?;
    let all =
        context.wait_for(BACK, LOOK, |_| Ok(pool.progress().iter().all(|&count| count > 0).then_some(())))?;
    context.require(all.is_some(), || {
        format!("of CPUs {cpus:?}, which came back, one runs nothing of what is bound to it in {BACK:?}")
    });
    Ok(())
}

/// All CPUs are on again: the statistics must say so, where they name CPUs at all.
fn require_reported(
    context: &mut Context,
    scheduler: &Scheduler,
    profile: &Profile,
    online: &Cpus,
) -> Result<()> {
    let Some(place) = profile.cpus_in else { return Ok(()) };
    let complete =
        scheduler.stats_when(context, BACK, |stats| stats.cpus_in(place).is_ok_and(|cpus| cpus == *online));
    if let Err(error) = complete {
        context.fail(format!("with all CPUs on again the reported {place} do not hold them: {error:#}"));
    }
    Ok(())
}
