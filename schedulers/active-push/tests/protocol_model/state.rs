// SPDX-License-Identifier: GPL-2.0-only
//! What there is in the model: CPUs, tasks, requests, and the steps that change them.

pub const CPUS: usize = 3;
pub const TASKS: usize = 3;
pub const EVERYWHERE: u8 = 0b111;

/// `enum push_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PushState {
    None,
    Recording,
    Requested,
    Taken,
}

/// A task and its generation: what a request names.
pub type Identity = (u8, u8);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu {
    pub online: bool,
    /// A higher class has it.
    pub taken_away: bool,
    /// The kernel's idle bit.
    pub idle_bit: bool,
    /// Looked for work in vain; goes idle next.
    pub looking: bool,
    pub kicked: bool,
    pub running: Option<u8>,
    /// Tasks, as bits: in its queue, on its local queue.
    pub queue: u8,
    pub local: u8,
    /// Between stopping and enqueue.
    pub leaving: Option<u8>,
    pub request: PushState,
    pub request_of: Option<Identity>,
    pub request_target: u8,
    /// The source whose task is to come here.
    pub incoming: Option<u8>,
    /// As an idle CPU that asks for a running task: how far it is.
    pub asking: Asking,
}

/// push_record, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asking {
    No,
    /// The source's state is RECORDING.
    Recording {
        source: u8,
    },
    /// The generation is read and the target is claimed; publish comes next.
    Claimed {
        source: u8,
        of: Identity,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    pub generation: u8,
    pub affinity: u8,
    pub asleep: bool,
    /// TAKEN: where it is to go.
    pub push_target: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    pub cpus: [Cpu; CPUS],
    pub tasks: [Task; TASKS],
    /// Disturbances that may still come.
    pub left: u8,
    /// Ghosts of the last step: it did what must never be done; an arrival happened; a withdrawal happened.
    pub broken: bool,
    pub arrived: bool,
    pub withdrawn: bool,
}

/// Where a step has a choice among CPUs it takes the first that fits, beginning with `near` and going round; among tasks likewise
/// with `first`. Every one of them is tried, so no number means more than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    // The scheduler's own steps.
    /// record: an idle CPU asks for what runs on the source.
    Record {
        by: u8,
        source: u8,
    },
    /// push_record by the source itself, in its tick: nothing of the source can change in between.
    Ask {
        source: u8,
        target: u8,
    },
    /// The claim of the target, then publish.
    Proceed {
        by: u8,
    },
    /// stopping: take.
    Stop {
        cpu: u8,
    },
    /// enqueue: arrive or refuse.
    Enqueue {
        cpu: u8,
        near: u8,
    },
    Dispatch {
        cpu: u8,
        near: u8,
        first: u8,
    },
    GoIdle {
        cpu: u8,
    },
    Start {
        cpu: u8,
    },
    Tick {
        cpu: u8,
        near: u8,
    },
    Watch {
        cpu: u8,
        near: u8,
    },
    Expire {
        source: u8,
    },
    GiveBack {
        cpu: u8,
    },
    Wake {
        task: u8,
        near: u8,
    },
    // Disturbances.
    TakeAway {
        cpu: u8,
        near: u8,
    },
    Sleep {
        cpu: u8,
    },
    Repin {
        task: u8,
        affinity: u8,
        near: u8,
    },
    Offline {
        cpu: u8,
        near: u8,
    },
    Die {
        task: u8,
    },
}

pub fn bit(index: u8) -> u8 {
    1 << index
}

/// All CPUs, beginning with this one and going round.
pub fn cpus_from(near: u8) -> impl Iterator<Item = u8> + Clone {
    (0..CPUS as u8).map(move |step| (near + step) % CPUS as u8)
}

/// All tasks, likewise.
pub fn tasks_from(first: u8) -> impl Iterator<Item = u8> + Clone {
    (0..TASKS as u8).map(move |step| (first + step) % TASKS as u8)
}
