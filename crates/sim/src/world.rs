// SPDX-License-Identifier: GPL-2.0-only
//! The world around the tasks: templates of new tasks, arrivals from outside, and scripted changes.

use std::rc::Rc;

use topology::CpuSet;

use crate::events::CpuId;
use crate::program::{ChannelId, Dist, TemplateId};
use crate::rng::Rng;
use crate::task::TaskSpec;

/// Something outside that happens again and again, or once.
#[derive(Clone, Debug)]
pub enum Outside {
    /// Gives a channel a token after each `every`.
    Arrivals {
        /// Which channel.
        channel: ChannelId,
        /// Time between two.
        every: Dist,
    },
    /// Real-time work on a CPU.
    RealTime {
        /// Where; `None`: on a CPU drawn each time.
        cpu: Option<CpuId>,
        /// From one start to the next.
        every: Dist,
        /// How long it takes.
        length: Dist,
    },
    /// A real-time task: works, sleeps, works again, first in first out with the others of its CPU. It stays on its CPU unless
    /// another one holds that when it wakes up.
    RealTimeTask {
        /// Where it may run; `None`: anywhere.
        cpus: Option<Rc<CpuSet>>,
        /// Where it was last.
        last: Option<CpuId>,
        /// From one start to the next.
        every: Dist,
        /// How long it works.
        length: Dist,
    },
    /// Interrupts that take time from a CPU.
    Interrupts {
        /// Where; `None`: on a CPU drawn each time.
        cpu: Option<CpuId>,
        /// From one to the next.
        every: Dist,
        /// How long each takes.
        length: Dist,
    },
    /// Cgroups come, go and change, and tasks of a group move between them.
    CgroupStorm {
        /// Which group.
        group: usize,
        /// Time between two changes.
        every: Dist,
        /// No new cgroup beyond so many.
        max: usize,
    },
    /// Makes a cgroup, once.
    CreateCgroup {
        /// Its path.
        path: String,
        /// cpu.weight.
        weight: u32,
    },
    /// Removes a cgroup, once.
    RemoveCgroup {
        /// Its path.
        path: String,
    },
    /// Sets cpu.weight, once.
    SetCgroupWeight {
        /// Path of the cgroup.
        path: String,
        /// cpu.weight.
        weight: u32,
    },
    /// Sets or clears cpuset.cpus, once.
    SetCgroupCpuset {
        /// Path of the cgroup.
        path: String,
        /// To what; `None`: as its parent.
        cpus: Option<Rc<CpuSet>>,
    },
    /// Moves every task of a group to a cgroup, once.
    MoveGroup {
        /// Which group.
        group: usize,
        /// Path of the cgroup.
        path: String,
    },
    /// Starts a task after each `every`, at most so many.
    Births {
        /// Which.
        template: TemplateId,
        /// Time between two.
        every: Dist,
        /// How many are left.
        left: u64,
    },
    /// Changes the affinity of a task drawn from a group.
    AffinityStorm {
        /// Which group.
        group: usize,
        /// Time between two.
        every: Dist,
        /// CPUs in a row that are allowed.
        cpus: usize,
    },
    /// Sets the affinity of every task of a group, once.
    SetGroupAffinity {
        /// Which group.
        group: usize,
        /// To what; `None`: everything.
        cpus: Option<Rc<CpuSet>>,
    },
    /// Sets the weight of a task drawn from a group.
    WeightStorm {
        /// Which group.
        group: usize,
        /// Time between two.
        every: Dist,
        /// Least and greatest weight.
        range: (u32, u32),
    },
    /// A CPU goes or comes, once.
    Hotplug {
        /// Which.
        cpu: CpuId,
        /// Comes.
        online: bool,
    },
}

impl Outside {
    /// Time until it happens again; `None`: never.
    pub(crate) fn again(&self, rng: &mut Rng) -> Option<u64> {
        match self {
            Self::Arrivals { every, .. }
            | Self::RealTime { every, .. }
            | Self::RealTimeTask { every, .. }
            | Self::Interrupts { every, .. }
            | Self::CgroupStorm { every, .. }
            | Self::AffinityStorm { every, .. }
            | Self::WeightStorm { every, .. } => Some(every.draw(rng).max(1)),
            Self::Births { every, left, .. } => (*left > 0).then(|| every.draw(rng).max(1)),
            Self::SetGroupAffinity { .. }
            | Self::Hotplug { .. }
            | Self::CreateCgroup { .. }
            | Self::RemoveCgroup { .. }
            | Self::SetCgroupWeight { .. }
            | Self::SetCgroupCpuset { .. }
            | Self::MoveGroup { .. } => None,
        }
    }
}

/// One source of outside happenings with its own randomness.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it does.
    pub outside: Outside,
    /// Its randomness.
    pub rng: Rng,
}

/// The world.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Tasks that steps and births make.
    pub templates: Vec<TaskSpec>,
    /// What happens outside.
    pub sources: Vec<Source>,
    /// Timers that tasks share: number and next beat.
    pub beats: Vec<(usize, u64)>,
}
