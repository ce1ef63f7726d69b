// SPDX-License-Identifier: GPL-2.0-only
//! The world acts: arrivals, births, storms of changes, cgroups, CPUs that come and go.

use std::rc::Rc;

use topology::CpuSet;

use crate::cgroup::{Bandwidth, CgroupIdx, ROOT};
use crate::events::{CpuId, Event};
use crate::ops::Ops;
use crate::rng::Rng;
use crate::sim::Sim;
use crate::task::TaskIdx;
use crate::world::Outside;

impl<O: Ops> Sim<O> {
    pub(crate) fn world_event(&mut self, index: usize) {
        let mut rng = self.world.sources[index].rng.clone();
        let outside = self.world.sources[index].outside.clone();
        self.outside(index, &outside, &mut rng);
        if let Some(after) = self.world.sources[index].outside.again(&mut rng) {
            self.kernel.events.push(self.kernel.now + after, Event::World(index));
        }
        self.world.sources[index].rng = rng;
    }

    fn outside(&mut self, index: usize, outside: &Outside, rng: &mut Rng) {
        self.kernel.this_cpu = draw_cpu(&self.kernel.online, rng);
        match outside {
            Outside::Arrivals { channel, .. } => _ = self.signal(*channel, 0),
            Outside::RealTime { cpu, length, .. } => {
                let cpu = cpu.unwrap_or(self.kernel.this_cpu);
                let length_ns = length.draw(rng);
                self.kernel.events.push(self.kernel.now, Event::RtStart { cpu, length_ns });
            }
            Outside::Births { template, .. } => {
                let spec = self.world.templates[*template].clone();
                if let Outside::Births { left, .. } = &mut self.world.sources[index].outside {
                    *left = left.saturating_sub(1);
                }
                self.fork(&spec, self.kernel.this_cpu, None);
            }
            Outside::AffinityStorm { group, cpus, .. } => {
                let Some(task) = self.member(*group, rng) else { return };
                let mask = random_mask(&self.kernel.machine.all, *cpus, rng);
                self.set_affinity(task, &Rc::new(mask));
            }
            Outside::SetGroupAffinity { group, cpus } => {
                let mask = cpus.clone().unwrap_or_else(|| Rc::clone(&self.kernel.machine.all));
                let members = self.members(*group);
                members.into_iter().for_each(|task| self.set_affinity(task, &mask));
            }
            Outside::WeightStorm { group, range, .. } => {
                let Some(task) = self.member(*group, rng) else { return };
                let weight = rng.between(u64::from(range.0), u64::from(range.1)) as u32;
                self.set_weight(task, weight);
            }
            other => self.outside_more(index, other, rng),
        }
    }

    fn outside_more(&mut self, index: usize, outside: &Outside, rng: &mut Rng) {
        match outside {
            Outside::RealTimeTask { cpus, last, length, .. } => {
                let length_ns = length.draw(rng);
                let cpu = self.real_time_cpu(cpus.as_deref(), *last);
                if let Outside::RealTimeTask { last, .. } = &mut self.world.sources[index].outside {
                    *last = Some(cpu);
                }
                self.kernel.events.push(self.kernel.now, Event::RtStart { cpu, length_ns });
            }
            Outside::Interrupts { cpu, length, .. } => {
                let (cpu, length_ns) = (cpu.unwrap_or(self.kernel.this_cpu), length.draw(rng));
                self.kernel.events.push(self.kernel.now, Event::Interrupt { cpu, length_ns });
            }
            Outside::CgroupStorm { group, max, .. } => self.cgroup_storm(*group, *max, rng),
            // What a script of changes asks for may have become impossible meanwhile: then nothing happens, as in a shell.
            Outside::CreateCgroup { path, weight } => _ = self.create_cgroup(path, *weight).is_ok(),
            Outside::RemoveCgroup { path } => {
                self.at_path(path, |sim, cgroup| sim.remove_cgroup(cgroup).is_ok());
            }
            Outside::SetCgroupWeight { path, weight } => {
                self.at_path(path, |sim, cgroup| sim.set_cgroup_weight(cgroup, *weight).is_ok());
            }
            Outside::SetCgroupCpuset { path, cpus } => {
                let cpus = cpus.as_deref().cloned();
                self.at_path(path, |sim, cgroup| sim.set_cgroup_cpuset(cgroup, cpus).is_ok());
            }
            Outside::MoveGroup { group, path } => {
                let members = self.members(*group);
                self.at_path(path, |sim, cgroup| sim.move_tasks(&members, cgroup).is_ok());
            }
            Outside::Hotplug { cpu, online } => self.hotplug(*cpu, *online),
            _ => {}
        }
    }

    fn at_path(&mut self, path: &str, change: impl FnOnce(&mut Self, CgroupIdx) -> bool) {
        if let Some(cgroup) = self.kernel.cgroups.find(path) {
            change(self, cgroup);
        }
    }

    fn members(&self, group: usize) -> Vec<TaskIdx> {
        let live = self.kernel.tasks.live().filter(|(_, task)| task.group == group);
        live.map(|(index, _)| index).collect()
    }

    fn member(&self, group: usize, rng: &mut Rng) -> Option<TaskIdx> {
        let members = self.members(group);
        members.get(rng.below(members.len() as u64) as usize).copied()
    }

    /// Where a real-time task wakes up: where it was, unless another one holds that CPU; then the nearest one that none
    /// holds.
    fn real_time_cpu(&self, cpus: Option<&CpuSet>, last: Option<CpuId>) -> CpuId {
        let kernel = &self.kernel;
        let usable = cpus.map_or_else(|| kernel.online.clone(), |cpus| cpus.intersection(&kernel.online));
        let home = last.filter(|&cpu| usable.contains(cpu)).or_else(|| usable.first());
        let Some(home) = home else { return kernel.online.first().unwrap_or(0) };
        let free = usable.iter().filter(|&cpu| kernel.cpus[cpu].rt_wanted_ns == 0);
        free.min_by_key(|&cpu| (kernel.machine.distance(home, cpu), cpu)).unwrap_or(home)
    }

    /// One of: a new cgroup below a random one, the end of an empty one, another weight, another cpuset, the cpu controller
    /// on or off, another limit, cpu.idle, a task of the group elsewhere. Refusals are part of it.
    fn cgroup_storm(&mut self, group: usize, max: usize, rng: &mut Rng) {
        let live = self.kernel.cgroups.live();
        let some = live[rng.below(live.len() as u64) as usize];
        let done = match rng.below(10) {
            0 | 1 if live.len() <= max => {
                let path = format!("{}/storm-{}", self.kernel.cgroups[some].path, self.kernel.cgroups.len());
                self.create_cgroup(&path, rng.between(1, 10_000) as u32).is_ok()
            }
            2 => self.remove_cgroup(some).is_ok(),
            3 => self.set_cgroup_weight(some, rng.between(1, 10_000) as u32).is_ok(),
            4 if some != ROOT => {
                let width = rng.between(1, self.kernel.machine.all.len() as u64) as usize;
                let mask = random_mask(&self.kernel.machine.all, width, rng);
                let cpus = rng.chance(0.7).then_some(mask);
                self.set_cgroup_cpuset(some, cpus).is_ok()
            }
            5 => {
                let on = rng.chance(0.7);
                self.set_cpu_controller(some, on).is_ok()
            }
            6 => {
                let quota_us = if rng.chance(0.5) { u64::MAX } else { rng.between(1_000, 200_000) };
                self.set_cgroup_bandwidth(some, Bandwidth { quota_us, ..Bandwidth::default() }).is_ok()
            }
            7 => {
                let idle = rng.chance(0.5);
                self.set_cgroup_idle(some, idle).is_ok()
            }
            _ => self.member(group, rng).is_some_and(|task| self.move_task(task, some).is_ok()),
        };
        self.kernel.metrics.cgroup_changes += u64::from(done);
    }
}

fn draw_cpu(online: &CpuSet, rng: &mut Rng) -> CpuId {
    let nth = rng.below(online.len() as u64) as usize;
    online.iter().nth(nth).unwrap_or(0)
}

/// `width` CPUs in a row (going round) from a random one on.
pub(super) fn random_mask(all: &CpuSet, width: usize, rng: &mut Rng) -> CpuSet {
    let start = rng.below(all.len() as u64) as usize;
    all.iter().cycle().skip(start).take(width.clamp(1, all.len())).collect()
}
