// SPDX-License-Identifier: GPL-2.0-only
//! What happened: a fingerprint of everything, the last events for a report, and a timeline for pictures.

use std::collections::VecDeque;
use std::fmt;

use crate::events::CpuId;
use crate::report::Occupancy;
use crate::rng::mix;

/// A kind of happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// A task became runnable on a CPU.
    Wake = 1,
    /// A CPU switched to a task (pid 0: idle, -1: a real-time task).
    Switch,
    /// A task was put on a local queue.
    Local,
    /// A task was put on a global or user queue; the argument is the queue.
    Queue,
    /// A task went to sleep.
    Sleep,
    /// A new task.
    Fork,
    /// A task ended.
    Exit,
    /// A CPU was kicked; the argument is the flags.
    Kick,
    /// Affinity or weight changed.
    Attribute,
    /// A CPU came (1) or went (0).
    Hotplug,
    /// The scheduler was attached (1) or ended (0).
    Scheduler,
    /// A cgroup was made (1), removed (2), entered by a task (3), given a weight (4) or a cpuset (5); above that its id.
    Cgroup,
}

/// One happening.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Virtual time.
    pub at: u64,
    /// What.
    pub what: What,
    /// Where.
    pub cpu: CpuId,
    /// Who.
    pub pid: i32,
    /// What else, see [`What`].
    pub arg: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = format!("{:?}", self.what);
        write!(f, "{:>15} ns  {what:<9} cpu {:<4} pid {:<6} {:#x}", self.at, self.cpu, self.pid, self.arg)
    }
}

/// A stretch of time that a task had a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Which CPU.
    pub cpu: CpuId,
    /// Which task; -1: a real-time task.
    pub pid: i32,
    /// Group of the task in the report.
    pub group: usize,
    /// From, ns.
    pub from: u64,
    /// To, ns.
    pub to: u64,
}

/// Collects what happens.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    count: u64,
    recent: VecDeque<Record>,
    keep: usize,
    /// Stretches in the order they ended.
    pub timeline: Vec<Stretch>,
    timeline_max: usize,
    /// Stretches that found no room.
    pub timeline_dropped: u64,
    /// When the first of them began.
    pub dropped_from: Option<u64>,
    /// All stretches in buckets, if any are kept.
    pub occupancy: Occupancy,
}

impl Trace {
    /// Keeps so many last events and so many stretches.
    pub fn new(keep: usize, timeline_max: usize) -> Self {
        Self { keep, timeline_max, ..Self::default() }
    }

    /// Notes a happening.
    pub fn add(&mut self, record: Record) {
        self.count += 1;
        let word =
            (record.what as u64) << 56 ^ (record.cpu as u64) << 36 ^ u64::from(record.pid.cast_unsigned());
        self.hash = mix(self.hash
            ^ record.at.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ word
            ^ record.arg.rotate_left(17));
        if self.keep > 0 {
            if self.recent.len() == self.keep {
                self.recent.pop_front();
            }
            self.recent.push_back(record);
        }
    }

    /// Notes a stretch, if there is room.
    pub fn stretch(&mut self, stretch: Stretch) {
        if stretch.to <= stretch.from || self.timeline_max == 0 {
            return;
        }
        self.occupancy.add(&stretch);
        if self.timeline.len() < self.timeline_max {
            self.timeline.push(stretch);
        } else {
            self.timeline_dropped += 1;
            self.dropped_from = Some(self.dropped_from.unwrap_or(u64::MAX).min(stretch.from));
        }
    }

    /// Fingerprint of everything so far: equal runs have equal ones.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many happenings there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last ones.
    pub fn recent(&self) -> impl Iterator<Item = &Record> {
        self.recent.iter()
    }
}
