// SPDX-License-Identifier: GPL-2.0-only
//! How tasks wait for each other and for a time: channels, mutexes, condition variables, barriers, timers.

use crate::abi::SCX_WAKE_SYNC;
use crate::events::CpuId;
use crate::ops::Ops;
use crate::program::{Beat, Step};
use crate::sim::Sim;
use crate::sim::advance::After;
use crate::task::TaskIdx;

impl<O: Ops> Sim<O> {
    /// Steps by which tasks wait for each other.
    pub(super) fn meeting_step(&mut self, cpu: CpuId, task: TaskIdx, step: Step) -> After {
        match step {
            Step::Wait(channel) => self.wait(cpu, task, channel),
            Step::Signal(channel) => self.signal(channel, 0),
            Step::SignalSync(channel) => self.signal(channel, SCX_WAKE_SYNC),
            Step::Broadcast(channel) => self.broadcast(channel),
            Step::Block(channel) => self.sleep_at(cpu, task, channel),
            Step::Notify(channel) if self.kernel.channels[channel].waiters.is_empty() => After::Go,
            Step::Notify(channel) => self.signal(channel, 0),
            Step::Lock(channel) => match self.kernel.channels[channel].tokens.pop_front() {
                Some(_) => After::Go,
                None => self.sleep_at(cpu, task, channel),
            },
            Step::Unlock(channel) if !self.kernel.channels[channel].tokens.is_empty() => After::Go,
            Step::Unlock(channel) => self.signal(channel, 0),
            Step::Barrier(channel, users) => {
                if self.kernel.channels[channel].waiters.len() + 1 < users {
                    self.sleep_at(cpu, task, channel)
                } else {
                    self.broadcast(channel)
                }
            }
            other => self.attribute_step(cpu, task, other),
        }
    }

    pub(super) fn periodic(&mut self, cpu: CpuId, task: TaskIdx, period: u64) -> After {
        let now = self.kernel.now;
        let entry = &mut self.kernel.tasks[task];
        let (first, last) = entry.period_from.unwrap_or((now, now));
        let next = last + period;
        if next <= now {
            // Late: the beat goes on from the next one that is still ahead.
            let missed = (now - first) / period;
            entry.period_from = Some((first, first + missed * period));
            entry.unit_from = now;
            return After::Go;
        }
        entry.period_from = Some((first, next));
        entry.unit_from = next;
        self.sleep_until(task, next);
        self.block(cpu, task);
        After::Stop
    }

    /// The next beat of a timer: sleeps until it comes, or goes on when it is over.
    pub(super) fn beat(&mut self, cpu: CpuId, task: TaskIdx, beat: Beat) -> After {
        let (now, start) = (self.kernel.now, self.kernel.tasks[task].starts_at);
        let beats = if beat.shared { &mut self.world.beats } else { &mut self.kernel.tasks[task].beats };
        let at = beats.iter().position(|(timer, _)| *timer == beat.timer).unwrap_or_else(|| {
            beats.push((beat.timer, start));
            beats.len() - 1
        });
        let next = beats[at].1 + beat.period_ns;
        let missed = next <= now;
        let last = if missed && !beat.absolute { now } else { next };
        beats[at].1 = last;
        self.kernel.tasks[task].unit_from = last;
        if missed {
            return After::Go;
        }
        self.sleep_until(task, next);
        self.block(cpu, task);
        After::Stop
    }

    fn wait(&mut self, cpu: CpuId, task: TaskIdx, channel: usize) -> After {
        if let Some(given) = self.kernel.channels[channel].tokens.pop_front() {
            self.kernel.tasks[task].unit_from = given;
            return After::Go;
        }
        self.kernel.tasks[task].awaits_work = true;
        self.sleep_at(cpu, task, channel)
    }

    /// Sleeps until another task wakes it through the channel.
    fn sleep_at(&mut self, cpu: CpuId, task: TaskIdx, channel: usize) -> After {
        self.kernel.channels[channel].waiters.push_back(task);
        self.next_sleep += 1;
        self.kernel.tasks[task].sleep_generation = self.next_sleep;
        self.block(cpu, task);
        After::Stop
    }

    fn broadcast(&mut self, channel: usize) -> After {
        for _ in 0..self.kernel.channels[channel].waiters.len() {
            self.signal(channel, 0);
        }
        After::Go
    }

    pub(super) fn signal(&mut self, channel: usize, wake_flags: u64) -> After {
        let now = self.kernel.now;
        match self.kernel.channels[channel].waiters.pop_front() {
            Some(waiter) => {
                if std::mem::take(&mut self.kernel.tasks[waiter].awaits_work) {
                    self.kernel.tasks[waiter].unit_from = now;
                }
                self.wake(waiter, wake_flags);
            }
            None => self.kernel.channels[channel].tokens.push_back(now),
        }
        After::Go
    }
}
