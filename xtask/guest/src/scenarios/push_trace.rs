// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel says about context switches while a push scenario runs: who took a CPU from whom, and how often the
//! stopper threads (`migration/N`) ran.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use crate::trace::Instance;

/// Name of the kernel's stopper threads, up to the number of the CPU.
const STOPPER: &str = "migration/";

/// Switches the kernel's detector of lockups on and off.
const SOFT_WATCHDOG: &str = "/proc/sys/kernel/soft_watchdog";

/// Keeps the kernel's detector of lockups from waking stopper threads, which it does on every CPU every few seconds, until
/// this is dropped.
pub struct QuietWatchdog;

impl QuietWatchdog {
    /// From now on.
    ///
    /// # Errors
    /// The detector is there and cannot be switched off.
    pub fn start() -> Result<Self> {
        if fs::exists(SOFT_WATCHDOG).unwrap_or(false) {
            fs::write(SOFT_WATCHDOG, "0").context("cannot switch off the detector of lockups")?;
        }
        Ok(Self)
    }
}

impl Drop for QuietWatchdog {
    fn drop(&mut self) {
        // Without it the machine only has one safety net less.
        let _on = fs::write(SOFT_WATCHDOG, "1");
    }
}

/// One context switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// CPU it happened on.
    pub cpu: usize,
    /// Seconds on the trace's clock.
    pub at: f64,
    /// The task that left.
    pub prev_pid: i32,
    /// Its state, `R` (with or without `+`) for one that wanted to go on.
    pub prev_state: String,
    /// Name and pid of the task that came.
    pub next_comm: String,
    /// Pid of the task that came.
    pub next_pid: i32,
}

/// A recording of the switches of some tasks and of all stopper threads.
pub struct SwitchTrace {
    instance: Instance,
}

impl SwitchTrace {
    /// Starts to record.
    pub fn start(pids: &[Pid]) -> Result<Self> {
        let instance = Instance::prepare("push", 4096)?;
        instance.set("trace_clock", "mono")?;
        let mut filter = format!("next_comm ~ \"{STOPPER}*\"");
        for pid in pids {
            filter.push_str(&format!(" || prev_pid == {pid} || next_pid == {pid}"));
        }
        instance.enable("sched_switch", &filter)?;
        instance.enable("sched_waking", &format!("comm ~ \"{STOPPER}*\""))?;
        instance.start()?;
        Ok(Self { instance })
    }

    /// Stops and returns the switches in order of time, with the text they came from.
    ///
    /// # Errors
    /// The trace cannot be read, or its buffer overflowed (then counts would be wrong).
    pub fn finish(self) -> Result<(Vec<Switch>, String)> {
        self.instance.stop()?;
        let text = self.instance.finish()?;
        Ok((text.lines().filter_map(parse_switch).collect(), text))
    }
}

/// One line of a trace: `hog-71 [003] d..2. 12.3: sched_switch: prev_comm=hog prev_pid=71 prev_prio=120 prev_state=R+ ==>
/// next_comm=migration/3 next_pid=30 next_prio=0`.
pub fn parse_switch(line: &str) -> Option<Switch> {
    let (head, fields) = line.split_once(": sched_switch: ")?;
    let (prev, next) = fields.split_once(" ==> ")?;
    let cpu = head.split_once('[')?.1.split_once(']')?.0.parse().ok()?;
    let at = head.rsplit(' ').next()?.parse().ok()?;
    // A name may hold spaces and equals signs; what follows it may not.
    let after = |text: &str, name: &str| -> Option<String> {
        let begin = text.rfind(name)? + name.len();
        Some(text[begin..].split(' ').next()?.to_owned())
    };
    let comm_end = next.rfind(" next_pid=")?;
    Some(Switch {
        cpu,
        at,
        prev_pid: after(prev, "prev_pid=")?.parse().ok()?,
        prev_state: after(prev, "prev_state=")?,
        next_comm: next.strip_prefix("next_comm=")?[..comm_end - "next_comm=".len()].to_owned(),
        next_pid: after(next, "next_pid=")?.parse().ok()?,
    })
}

/// Name of the kernel's rescuers of work queues, up to the queue's.
const RESCUER: &str = "kworker/R-";

/// Who woke a stopper thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Waker {
    /// Its name; `<idle>` for an idle CPU.
    pub comm: String,
    /// Its pid; 0 for an idle CPU.
    pub pid: i32,
    /// Whether the stopper thread is that of the CPU it ran on itself.
    pub own_cpu: bool,
}

impl Waker {
    /// Whether it did so to change an affinity: `caller` is the process that changes those of the tasks looked at, and a
    /// rescuer binds itself to the CPU whose work nobody does (kernel `worker_attach_to_pool`), which happens where all is slow:
    /// it runs then, so its own CPU's stopper takes it away. Balancing takes from another CPU.
    pub fn changes_affinity(&self, caller: i32) -> bool {
        self.pid == caller || (self.own_cpu && self.comm.starts_with(RESCUER))
    }
}

/// Who woke a stopper thread, once for each time.
pub fn stopper_wakers(trace: &str) -> Vec<Waker> {
    let waker = |line: &str| {
        let (head, stopper) = line.split_once(": sched_waking: comm=migration/")?;
        // `name-PID [CPU] flags time`; a name may hold minus signs.
        let (who, rest) = head.split_once('[')?;
        let (comm, pid) = who.trim().rsplit_once('-')?;
        let cpu: usize = rest.split_once(']')?.0.parse().ok()?;
        let own_cpu = stopper.split(' ').next()?.parse() == Ok(cpu);
        Some(Waker { comm: comm.to_owned(), pid: pid.parse().ok()?, own_cpu })
    };
    trace.lines().filter_map(waker).collect()
}

/// How often a stopper thread got a CPU.
pub fn stopper_switches(switches: &[Switch]) -> usize {
    switches.iter().filter(|switch| switch.next_comm.starts_with(STOPPER)).count()
}

/// The longest time that a task wanted to run and did not, after it had run once. A wait that the trace does not end counts
/// up to `end` (seconds on the trace's clock) if that is given.
pub fn longest_wait(switches: &[Switch], pid: Pid, end: Option<f64>) -> Duration {
    let (mut longest, mut since) = (0f64, None);
    for switch in switches {
        if switch.next_pid == pid.as_raw() {
            if let Some(since) = since.take() {
                longest = longest.max(switch.at - since);
            }
        } else if switch.prev_pid == pid.as_raw() && switch.prev_state.starts_with('R') {
            since = Some(switch.at);
        }
    }
    if let (Some(since), Some(end)) = (since, end) {
        longest = longest.max(end - since);
    }
    Duration::from_secs_f64(longest.max(0.0))
}

/// Seconds on the clock of the traces.
pub fn trace_now() -> Result<f64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).context("no monotonic clock")?;
    Ok(now.tv_sec() as f64 + now.tv_nsec() as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: &str = "             hog-71      [003] d..2.    12.500000: sched_switch: prev_comm=a b prev_pid=71 \
                       prev_prio=120 prev_state=R+ ==> next_comm=migration/3 next_pid=30 next_prio=0";
    const BACK: &str = "          <idle>-0       [005] d..2.    12.750000: sched_switch: prev_comm=swapper/5 prev_pid=0 \
                        prev_prio=120 prev_state=R ==> next_comm=a b next_pid=71 next_prio=120";

    #[test]
    fn lines_of_the_kernel_are_read() {
        let out = parse_switch(OUT).expect("a switch");
        assert_eq!((out.cpu, out.prev_pid, out.prev_state.as_str()), (3, 71, "R+"));
        assert_eq!((out.next_comm.as_str(), out.next_pid, out.at), ("migration/3", 30, 12.5));
        assert_eq!(parse_switch(BACK).expect("a switch").next_comm, "a b");
        assert_eq!(parse_switch("# entries-in-buffer/entries-written: 2/2   #P:8"), None);
    }

    #[test]
    fn wakers_of_stoppers_are_told_apart() {
        let text = "  my-hog-71      [003] d..4.    12.5: sched_waking: comm=migration/3 pid=30 prio=0 target_cpu=003\n \
                    <idle>-0       [005] d.s4.    12.6: sched_waking: comm=migration/1 pid=20 prio=0 target_cpu=001\n \
             kworker/R-mm_pe-13    [003] d..4.    12.7: sched_waking: comm=migration/3 pid=48 prio=0 target_cpu=003\n \
             kworker/R-mm_pe-13    [003] d..4.    12.8: sched_waking: comm=migration/2 pid=24 prio=0 target_cpu=002\n";
        let wakers = stopper_wakers(text);
        let pids: Vec<i32> = wakers.iter().map(|waker| waker.pid).collect();
        assert_eq!(pids, [71, 0, 13, 13]);
        assert_eq!(wakers[0].comm, "my-hog");
        let change = |caller| wakers.iter().map(|waker| waker.changes_affinity(caller)).collect::<Vec<_>>();
        assert_eq!(change(71), [true, false, true, false]);
        assert_eq!(change(1), [false, false, true, false]);
        assert_eq!(stopper_wakers(OUT), []);
    }

    #[test]
    fn waits_and_stoppers_are_found() {
        let switches: Vec<Switch> = [OUT, BACK].into_iter().filter_map(parse_switch).collect();
        assert_eq!(stopper_switches(&switches), 1);
        assert_eq!(longest_wait(&switches, Pid::from_raw(71), None), Duration::from_millis(250));
        assert_eq!(longest_wait(&switches[..1], Pid::from_raw(71), Some(13.5)), Duration::from_secs(1));
        assert_eq!(longest_wait(&switches[..1], Pid::from_raw(71), None), Duration::ZERO);
    }
}
