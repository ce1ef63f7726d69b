// SPDX-License-Identifier: GPL-2.0-only
//! Workloads: what runs on the machine. Built-in generators by name, and rt-app files.

mod builtin;
mod ordered;
mod rtapp;

pub use builtin::NAMES;
pub use rtapp::RtAppError;

use std::path::Path;
use std::rc::Rc;

use thiserror::Error;
use topology::{CpuSet, Topology};

use crate::metrics::GroupMetrics;
use crate::ops::Ops;
use crate::sim::Sim;
use crate::task::TaskSpec;
use crate::world::Outside;

#[cfg(test)]
mod tests;

/// Tasks that counts of generators may add up to: more take memory and time that nobody means to spend.
const MAX_TASKS: usize = 1_000_000;

/// Tasks, channels and happenings to put on a machine. Numbers in it (channels, templates, cgroups, groups) count from 0
/// within the workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Groups of the report.
    pub groups: Vec<String>,
    /// Tokens each channel begins with.
    pub channels: Vec<usize>,
    /// Tasks that others make.
    pub templates: Vec<TaskSpec>,
    /// Tasks and when they start, ns.
    pub tasks: Vec<(TaskSpec, u64)>,
    /// Happenings and when they start, ns.
    pub sources: Vec<(Outside, u64)>,
    /// Cgroups beside the root, which is 0: path and weight, parents first.
    pub cgroups: Vec<(String, u32)>,
    /// It lasts so long at most, ns.
    pub duration_ns: Option<u64>,
}

/// Why a workload cannot be had.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// No such generator.
    #[error("unknown workload '{name}'; there are {}, joined by '+', each with ':COUNT' if wanted, and rt-app .json files", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A bad count.
    #[error("'{text}' is no count of tasks in workload '{name}'; write for example '{name}:8'")]
    Count {
        /// The workload.
        name: String,
        /// What stood for the count.
        text: String,
    },
    /// Counts beyond all use.
    #[error("'{name}:{count}' makes it more than {} tasks; give smaller counts", MAX_TASKS)]
    TooMany {
        /// The generator with which it becomes too many.
        name: String,
        /// Its count.
        count: usize,
    },
    /// A task that fits nowhere.
    #[error("task '{name}' may use CPUs {cpus} only; the machine has {online}")]
    NoCpu {
        /// The task.
        name: String,
        /// Its CPUs.
        cpus: String,
        /// Those that there are.
        online: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not understood.
    #[error("{path}: {source}")]
    RtApp {
        /// Which.
        path: String,
        /// Why.
        source: RtAppError,
    },
}

impl Workload {
    /// A workload for a machine: the path of an rt-app file, or generators such as `hogs:16+sleepers`.
    ///
    /// # Errors
    /// Names what is not understood, or which task may use no CPU of the machine.
    pub fn source(text: &str, machine: &Topology) -> Result<Self, WorkloadError> {
        let online = machine.online();
        let path = Path::new(text);
        if text.ends_with(".json") || text.contains('/') {
            let file = || text.to_owned();
            let bytes = std::fs::read_to_string(path)
                .map_err(|source| WorkloadError::File { path: file(), source })?;
            let workload =
                rtapp::parse(&bytes).map_err(|source| WorkloadError::RtApp { path: file(), source })?;
            return workload.fitting(&online);
        }
        let mut workload = Self::default();
        for part in text.split('+') {
            let (name, count) = match part.split_once(':') {
                Some((name, count)) => (name, Some(count)),
                None => (part, None),
            };
            let bad =
                || WorkloadError::Count { name: name.to_owned(), text: count.unwrap_or_default().to_owned() };
            let count = count.map(|count| count.parse::<usize>().map_err(|_| bad())).transpose()?;
            if let Some(count) = count {
                let more = builtin::tasks(name, count, online.len());
                if workload.tasks.len().saturating_add(more) > MAX_TASKS {
                    return Err(WorkloadError::TooMany { name: name.to_owned(), count });
                }
            }
            builtin::add(&mut workload, name, &online, count)
                .ok_or_else(|| WorkloadError::Unknown { name: name.to_owned() })?;
        }
        Ok(workload)
    }

    /// What tasks may use is cut to the CPUs that there are.
    fn fitting(mut self, online: &CpuSet) -> Result<Self, WorkloadError> {
        let tasks = self.tasks.iter_mut().map(|(spec, _)| spec);
        for spec in tasks.chain(&mut self.templates) {
            let Some(cpus) = &spec.cpus else { continue };
            let left = cpus.intersection(online);
            if left.is_empty() {
                let (name, cpus) = (spec.name.clone(), cpus.to_string());
                return Err(WorkloadError::NoCpu { name, cpus, online: online.to_string() });
            }
            spec.cpus = Some(Rc::new(left));
        }
        Ok(self)
    }

    /// Puts it on a machine.
    pub fn install<O: Ops>(&self, sim: &mut Sim<O>) {
        let (channels, templates) = (sim.kernel.channels.len(), sim.world.templates.len());
        assert!(channels == 0 && templates == 0, "one workload a machine: its numbers count from 0");
        sim.kernel.metrics.groups = self
            .groups
            .iter()
            .map(|name| GroupMetrics { name: name.clone(), ..GroupMetrics::default() })
            .collect();
        for (index, (path, weight)) in self.cgroups.iter().enumerate() {
            let made = sim.create_cgroup(path, *weight);
            assert_eq!(made, Ok(index + 1), "cgroups of a workload: parents first, on a tree of its own");
        }
        self.channels.iter().for_each(|&tokens| _ = sim.add_channel(tokens));
        sim.world.templates.clone_from(&self.templates);
        self.tasks.iter().for_each(|(spec, at)| _ = sim.add_task(spec, *at));
        self.sources.iter().for_each(|(outside, at)| sim.add_source(outside.clone(), *at));
    }

    /// Adds a group of the report; returns its number.
    pub fn group(&mut self, name: &str) -> usize {
        self.groups.push(name.to_owned());
        self.groups.len() - 1
    }

    /// Adds a channel with so many tokens; returns its number.
    pub fn channel(&mut self, tokens: usize) -> usize {
        self.channels.push(tokens);
        self.channels.len() - 1
    }

    /// Adds a template; returns its number.
    pub fn template(&mut self, spec: TaskSpec) -> usize {
        self.templates.push(spec);
        self.templates.len() - 1
    }
}
