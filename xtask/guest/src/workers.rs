// SPDX-License-Identifier: GPL-2.0-only
//! The load: forked processes that count their progress in shared memory.

use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::context::Context;
use crate::cpulist::Cpus;
use crate::evidence;
use crate::sys::{self, SharedCounters};

/// Name of every worker: what the traces filter by.
pub const HOG: &str = "hog";

/// The longest that a runnable worker may wait for its turn. No scheduler here lets one wait for more than some seconds;
/// a machine that emulates every CPU on one busy host core multiplies that.
pub const TURN: Duration = Duration::from_secs(60);

/// The longest that it may take until every worker of a pool has its policy, CPUs and nice value. For that
/// each needs some turns as an ordinary task beside whatever runs, and a pool may have hundreds.
const PREPARED: Duration = Duration::from_secs(180);

/// Workers that a failure names.
const SHOWN: usize = 3;

/// What a worker does all day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Computes without a pause; one count per about 10 µs of work.
    Spinner,
    /// Computes for so much CPU time and sleeps, again and again; one count per wake-up.
    Periodic {
        /// CPU time of one run.
        run: Duration,
        /// Length of one sleep.
        sleep: Duration,
    },
    /// Wakes its partner and sleeps until that has woken it in turn; one count per turn. Such jobs come in pairs: an even place
    /// among the jobs and the one after it.
    PingPong,
    /// Computes for a moment (50 µs natively, a few milliseconds emulated) and sleeps for `period`; one count per
    /// wake-up.
    Sleeper {
        /// Length of one sleep.
        period: Duration,
    },
}

/// How the kernel schedules a worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// `SCHED_OTHER`, by its nice value: a task of the scheduler under test.
    Other,
    /// `SCHED_IDLE`: the least weight there is, and a task of the scheduler under test, too.
    Idle,
    /// `SCHED_EXT`: a task of the scheduler under test, even of one that takes no others.
    Ext,
    /// `SCHED_FIFO` of the lowest priority: runs before every task of the scheduler under test.
    Fifo,
}

/// A worker to start.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it does.
    pub kind: Kind,
    /// Its nice value.
    pub nice: i32,
    /// Where it may run; None inherits.
    pub cpus: Option<Cpus>,
    /// Its policy.
    pub policy: Policy,
}

impl Job {
    /// A spinner of nice 0 that may run everywhere.
    pub fn spinner() -> Self {
        Self { kind: Kind::Spinner, nice: 0, cpus: None, policy: Policy::Other }
    }

    /// A sleeper of nice 0 that may run everywhere.
    pub fn sleeper(period: Duration) -> Self {
        Self { kind: Kind::Sleeper { period }, ..Self::spinner() }
    }

    /// A task that runs for `run` and sleeps for `sleep`, of nice 0, that may run everywhere.
    pub fn periodic(run: Duration, sleep: Duration) -> Self {
        Self { kind: Kind::Periodic { run, sleep }, ..Self::spinner() }
    }

    /// One of a pair that wake each other, of nice 0, that may run everywhere.
    pub fn ping_pong() -> Self {
        Self { kind: Kind::PingPong, ..Self::spinner() }
    }

    /// The same, bound to `cpus`.
    pub fn on(self, cpus: &Cpus) -> Self {
        Self { cpus: Some(cpus.clone()), ..self }
    }

    /// The same, with another policy.
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same, with another nice value.
    pub fn nice(self, nice: i32) -> Self {
        Self { nice, ..self }
    }
}

/// Workers that run until this is dropped.
pub struct Pool {
    pids: Vec<Pid>,
    progress: SharedCounters,
}

impl Pool {
    /// Forks one process per job. All begin at once, when the last is forked and prepared, and only then this
    /// returns: whoever measures turns from here on does not measure forks.
    ///
    /// # Errors
    /// A worker cannot be forked or prepared, or not in time.
    pub fn start(jobs: &[Job]) -> Result<Self> {
        let progress = SharedCounters::new(jobs.len()).context("no shared memory for the workers")?;
        let (gate, release) = Gate::new(jobs.len())?;
        let mut pool = Self { pids: Vec::new(), progress };
        for (index, job) in jobs.iter().enumerate() {
            let progress = &pool.progress;
            let release_fd = release.as_raw_fd();
            let pid = sys::fork(|| work(job, &gate, release_fd, progress, index))
                .context("cannot fork a worker")?;
            pool.pids.push(pid);
        }
        drop(release);
        gate.require_open(jobs, PREPARED)?;
        Ok(pool)
    }

    /// Processes, in the order of the jobs.
    pub fn pids(&self) -> &[Pid] {
        &self.pids
    }

    /// Counts of all workers so far.
    pub fn progress(&self) -> Vec<u64> {
        (0..self.pids.len()).map(|index| self.progress.get(index).load(Ordering::Relaxed)).collect()
    }

    /// Waits until every worker has advanced from now on, at most [`TURN`]; how many have not.
    pub fn wait_for_progress(&self, context: &mut Context) -> Result<usize> {
        let before = self.progress();
        let mut stuck = before.len();
        context.wait_for(TURN, Duration::from_millis(200), |_| {
            stuck = before.iter().zip(self.progress()).filter(|(before, after)| after <= before).count();
            Ok((stuck == 0).then_some(()))
        })?;
        Ok(stuck)
    }

    /// CPU time of all workers so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<Vec<f64>> {
        self.pids.iter().map(|&pid| Ok(evidence::cpu_time_ns(pid)? as f64 / 1e9)).collect()
    }

    /// Current CPU of all workers.
    pub fn cpus(&self) -> Result<Vec<usize>> {
        self.pids.iter().map(|&pid| Ok(evidence::task_place(pid)?.0)).collect()
    }

    /// Lets every worker run on `cpus` only.
    pub fn set_affinity(&self, cpus: &Cpus) -> Result<()> {
        self.pids.iter().try_for_each(|&pid| set_affinity(pid, cpus))
    }

    /// Stops every worker where it is.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets every stopped worker go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.pids
            .iter()
            .try_for_each(|&pid| kill(pid, signal).with_context(|| format!("cannot send {signal}")))
    }

    /// Kills and reaps the workers, and requires that every one of them had made progress.
    pub fn stop(self, context: &mut Context) {
        let counts = self.progress();
        let idle = counts.iter().filter(|&&count| count == 0).count();
        context
            .require_measured(idle == 0, || format!("{idle} of {} workers did nothing at all", counts.len()));
        drop(self);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for &pid in &self.pids {
            // A worker that is gone already cannot be killed: its reaping below still has to happen.
            let _gone = kill(pid, Signal::SIGKILL);
        }
        for &pid in &self.pids {
            while waitpid(pid, None) == Err(Errno::EINTR) {}
        }
    }
}

/// Lets `pid` (0: the caller) run on `cpus` only.
pub fn set_affinity(pid: Pid, cpus: &Cpus) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).with_context(|| format!("CPU {cpu} is beyond what an affinity holds"))?;
    }
    sched_setaffinity(pid, &set).with_context(|| format!("cannot bind {pid} to CPUs {cpus:?}"))
}

/// How long a wake-up may take to choose a CPU, beside load and emulated.
const WAKING: Duration = Duration::from_secs(10);

/// The CPU on which a task is runnable although `allowed` does not have it, if there is one.
///
/// A task that is being woken is shown as `R` before a CPU is chosen for it (`TASK_WAKING` in the kernel's `try_to_wake_up`), on the
/// CPU where it fell asleep; a change of its mask does not move a sleeper from there. So being runnable there is not enough: it gets
/// CPU time there, or it stays there.
pub fn misplaced(context: &mut Context, pid: Pid, allowed: impl Fn(usize) -> bool) -> Result<Option<usize>> {
    misplaced_by(context, WAKING, || Ok((evidence::cpu_time_ns(pid)?, evidence::task_place(pid)?)), allowed)
}

/// The same of a task at which `look` looks (its CPU time, then its CPU and state), and which is given `waking` to leave.
fn misplaced_by(
    context: &mut Context,
    waking: Duration,
    mut look: impl FnMut() -> Result<(u64, (usize, char))>,
    allowed: impl Fn(usize) -> bool,
) -> Result<Option<usize>> {
    let (before, (cpu, state)) = look()?;
    if state != 'R' || allowed(cpu) {
        return Ok(None);
    }
    let has_left = context.wait_for(waking, Duration::from_millis(2), |_| {
        let (time, (now, _)) = look()?;
        Ok((now != cpu || time > before).then_some(now != cpu))
    })?;
    Ok((has_left != Some(true)).then_some(cpu))
}

/// What holds the workers back until all are prepared: a pipe that is at its end when the last copy of its
/// write end is closed.
struct Gate {
    entry: PipeReader,
    prepared: SharedCounters,
}

impl Gate {
    /// A closed gate for so many workers, and the end that keeps it closed: every worker inherits a copy.
    fn new(workers: usize) -> Result<(Self, PipeWriter)> {
        let (entry, release) = std::io::pipe().context("no pipe for the workers")?;
        let prepared = SharedCounters::new(workers).context("no shared memory for the workers")?;
        Ok((Self { entry, prepared }, release))
    }

    /// The worker `index` is prepared, gives up its copy of the write end and waits for the others.
    fn pass(&self, index: usize, release_fd: i32) {
        self.prepared.get(index).store(1, Ordering::Release);
        let _closed = nix::unistd::close(release_fd);
        let _opened = (&self.entry).read(&mut [0u8; 1]);
    }

    /// Waits for the gate to open, at most `deadline`. A worker that ends closes its copy, too: who was
    /// prepared is counted apart.
    fn require_open(&self, jobs: &[Job], deadline: Duration) -> Result<()> {
        // The end of a pipe counts as readable.
        let is_open = sys::wait_readable(&[self.entry.as_fd()], deadline);
        let is_missing = |&(index, _): &(usize, &Job)| self.prepared.get(index).load(Ordering::Acquire) == 0;
        let missing: Vec<(usize, &Job)> = jobs.iter().enumerate().filter(is_missing).collect();
        let first = &missing[..missing.len().min(SHOWN)];
        let shown = || format!("{} of {} workers, first {first:?}", missing.len(), jobs.len());
        ensure!(is_open, "the workers did not all get so far as to begin in {deadline:?}: {}", shown());
        ensure!(
            missing.is_empty(),
            "workers ended before they had their policy, CPUs and nice value: {}",
            shown()
        );
        Ok(())
    }
}

fn work(job: &Job, gate: &Gate, release_fd: i32, progress: &SharedCounters, index: usize) {
    sys::name_and_follow_parent(HOG);
    if let Err(error) = prepare(job) {
        eprintln!("worker {index}: {error:#}");
        sys::exit_now(1);
    }
    gate.pass(index, release_fd);
    let counter = progress.get(index);
    match job.kind {
        Kind::Spinner => loop {
            compute(2_000);
            counter.fetch_add(1, Ordering::Relaxed);
        },
        Kind::Periodic { run, sleep } => loop {
            let begin = sys::thread_cpu_time();
            while sys::thread_cpu_time().saturating_sub(begin) < run {
                compute(200);
            }
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(sleep);
        },
        Kind::PingPong => play(counter, progress.get(index ^ 1), index.is_multiple_of(2)),
        Kind::Sleeper { period } => loop {
            compute(10_000);
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(period);
        },
    }
}

/// Counts a turn, wakes the partner and waits for its turn; the one of an even place begins, and the counts say whose turn it is.
fn play(own: &AtomicU64, partner: &AtomicU64, begins: bool) -> ! {
    let mut turns = 0;
    while !begins && partner.load(Ordering::SeqCst) == 0 {
        sys::wait_while(partner, 0);
    }
    loop {
        turns += 1;
        own.store(turns, Ordering::SeqCst);
        sys::wake_waiters(own);
        // Whoever began is ahead by one until the answer; the other one is answered by a further count.
        let answered = if begins { turns } else { turns + 1 };
        loop {
            let seen = partner.load(Ordering::SeqCst);
            if seen >= answered {
                break;
            }
            sys::wait_while(partner, seen);
        }
    }
}

/// A real-time task has its policy before its CPUs: so it arrives there by migration and finds them at whatever they do; the other way
/// round it would wait there as an ordinary task first. One of SCHED_EXT has it after them: an ordinary task that takes the CPU which it
/// is just about to get keeps it from running for as long as that likes, before 7.0.
fn prepare(job: &Job) -> Result<()> {
    let policy_first = job.policy != Policy::Ext;
    if policy_first {
        become_policy(job.policy)?;
    }
    if let Some(cpus) = &job.cpus {
        set_affinity(Pid::from_raw(0), cpus)?;
    }
    if !policy_first {
        become_policy(job.policy)?;
    }
    sys::set_nice(job.nice).with_context(|| format!("cannot set nice {}", job.nice))
}

fn become_policy(policy: Policy) -> Result<()> {
    match policy {
        Policy::Other => Ok(()),
        Policy::Idle => sys::set_policy(libc::SCHED_IDLE, 0).context("cannot become SCHED_IDLE"),
        Policy::Ext => sys::set_policy(sys::SCHED_EXT, 0).context("cannot become SCHED_EXT"),
        Policy::Fifo => sys::set_policy(libc::SCHED_FIFO, 1).context("cannot become SCHED_FIFO"),
    }
}

fn compute(rounds: u64) {
    let mut value = 1u64;
    for round in 0..rounds {
        value = black_box(value.wrapping_mul(3).wrapping_add(round));
    }
    black_box(value);
}

#[cfg(test)]
mod tests;
