// SPDX-License-Identifier: GPL-2.0-only
//! What happens next: events ordered by time, and by the order of their making at the same time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::task::TaskIdx;

/// Index of a CPU, the kernel's number.
pub type CpuId = usize;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The timer tick of a busy CPU.
    Tick(CpuId),
    /// The running task has done its work, unless `generation` is old.
    WorkDone {
        /// Where it runs.
        cpu: CpuId,
        /// Which arming this was.
        generation: u64,
    },
    /// A sleeper's time is over, unless `generation` is old.
    Timer {
        /// Who sleeps.
        task: TaskIdx,
        /// Which sleep this was.
        generation: u64,
    },
    /// A CPU reschedules, if it still has to.
    Resched(CpuId),
    /// A kick arrives.
    Kick {
        /// Where.
        cpu: CpuId,
        /// `SCX_KICK_*`.
        flags: u64,
        /// The CPU that kicks.
        from: CpuId,
    },
    /// Remote inserts of a CPU are carried out.
    Deferred(CpuId),
    /// A real-time task wants a CPU for so long.
    RtStart {
        /// Where.
        cpu: CpuId,
        /// For how long, ns.
        length_ns: u64,
    },
    /// The real-time task is done.
    RtEnd(CpuId),
    /// Interrupts take a CPU for so long.
    Interrupt {
        /// Where.
        cpu: CpuId,
        /// For how long, ns.
        length_ns: u64,
    },
    /// Tasks have waited long for real-time tasks on a CPU: the server for them looks.
    ServerStart(CpuId),
    /// The server's share is used up.
    ServerEnd(CpuId),
    /// A timer of BPF code, unless `generation` is old.
    BpfTimer {
        /// Its address.
        timer: u64,
        /// Which start this was.
        generation: u64,
    },
    /// Tasks on a queue are enqueued again.
    Reenqueue {
        /// The CPU that asked.
        cpu: CpuId,
        /// The queue.
        dsq: u64,
    },
    /// The world outside does its `index`th thing (arrivals, scripted changes).
    World(usize),
    /// The watchdog looks.
    Watchdog,
    /// Nothing: time passes up to here.
    Nop,
}

/// Bits of a key for the place of an event.
const PLACE_BITS: u32 = 24;

/// Events to come.
///
/// The heap holds one number for each: its time, then how many were made before it, then its place in a table. So little
/// is moved and compared that the heap of a large machine stays in the fastest cache.
#[derive(Debug, Default)]
pub struct EventQueue {
    heap: BinaryHeap<Reverse<u128>>,
    places: Vec<Event>,
    free: Vec<u32>,
    made: u64,
}

impl EventQueue {
    /// Adds an event at `at_ns`.
    ///
    /// # Panics
    /// With sixteen million events to come at once, or after a trillion.
    pub fn push(&mut self, at_ns: u64, event: Event) {
        self.made += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = event;
                place
            }
            None => {
                self.places.push(event);
                self.places.len() as u32 - 1
            }
        };
        assert!(
            place >> PLACE_BITS == 0 && self.made >> (64 - PLACE_BITS) == 0,
            "more events than there are keys"
        );
        let order = self.made << PLACE_BITS | u64::from(place);
        self.heap.push(Reverse(u128::from(at_ns) << 64 | u128::from(order)));
    }

    /// Time of the next event.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(key)| (key >> 64) as u64)
    }

    /// Takes the next event with its time.
    pub fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse(key) = self.heap.pop()?;
        let place = key as u32 & ((1 << PLACE_BITS) - 1);
        self.free.push(place);
        Some(((key >> 64) as u64, self.places[place as usize]))
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is going to happen.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
