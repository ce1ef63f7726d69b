// SPDX-License-Identifier: GPL-2.0-only
//! rt-app files, as the program's documentation defines them: tasks with instances, a delay, loops, phases, affinity, nice
//! values and task groups, and the events of [`events`]. Times are µs. What is not modelled is an error that names it, so that
//! no file runs as something else: real-time and deadline policies, utilisation clamps, memory and I/O.
//!
//! Comments are allowed, and a key may come twice in an object, as the program and its preprocessor allow. A file's
//! `duration` is the longest that a run of it lasts. What the program logs, and how it calibrates, has no meaning here.

mod events;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use thiserror::Error;
use topology::CpuSet;

use crate::abi::{SCHED_BATCH, SCHED_IDLE, SCHED_NORMAL};
use crate::program::{Dist, Program, Step};
use crate::task::TaskSpec;
use crate::workload::Workload;
use crate::workload::ordered::{Node, without_comments};

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum RtAppError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A task or phase that does nothing.
    #[error("{0} has no events")]
    Empty(String),
    /// A key that is not known or not modelled.
    #[error("'{key}' in {place} is not modelled")]
    Key {
        /// The key.
        key: String,
        /// Where.
        place: String,
    },
    /// A value of the wrong kind.
    #[error("'{key}' in {place} must be {wanted}")]
    Value {
        /// The key.
        key: String,
        /// Where.
        place: String,
        /// What is expected.
        wanted: &'static str,
    },
}

/// Weights of nice -20 to 19 as cgroup-style weights (kernel `sched_prio_to_weight` × 100 / 1024, at least 1).
const NICE_WEIGHTS: [u32; 40] = [
    8668, 7008, 5505, 4522, 3612, 2839, 2250, 1822, 1460, 1157, 932, 732, 590, 473, 373, 304, 243, 190, 154,
    125, 100, 80, 64, 51, 41, 33, 27, 21, 17, 13, 11, 8, 7, 6, 4, 4, 3, 2, 2, 1,
];
/// Weight of `SCHED_IDLE`.
const IDLE_WEIGHT: u32 = 1;
/// More instances of a task than this are a mistake.
const MAX_INSTANCES: f64 = 1e6;

/// Keys of `global` that change nothing here: how the real program logs, calibrates, and takes memory and I/O.
const IGNORED_GLOBALS: [&str; 11] = [
    "calibration",
    "logdir",
    "log_basename",
    "log_size",
    "ftrace",
    "gnuplot",
    "lock_pages",
    // Boosts only waiters of real-time policies, which there are none of.
    "pi_enabled",
    "io_device",
    "mem_buffer_size",
    "cumulative_slack",
];

type Members = [(String, Node)];
/// Mutexes that a task holds at a place in its events.
type Held = BTreeSet<String>;

pub(super) fn parse(text: &str) -> Result<Workload, RtAppError> {
    let file = serde_json::from_str::<Node>(&without_comments(text))?;
    let members = object("rt-app", "file", &file)?;
    if let Some((key, _)) =
        members.iter().find(|(key, _)| !["tasks", "global", "resources"].contains(&key.as_str()))
    {
        return Err(not_modelled(key, "the file"));
    }
    let mut parser = Parser::default();
    // First of all, whatever the order: they are the defaults. Resources are made when they are first named.
    for (_, globals) in members.iter().filter(|(key, _)| key == "global") {
        parser.globals(object("global", "the file", globals)?)?;
    }
    let tasks = members.iter().filter(|(key, _)| key == "tasks");
    let objects = tasks.map(|(_, node)| object("tasks", "the file", node)).collect::<Result<Vec<_>, _>>()?;
    objects.iter().for_each(|tasks| tasks.iter().for_each(|(_, task)| parser.count_barriers(task)));
    for (name, task) in objects.iter().flat_map(|tasks| tasks.iter()) {
        parser.task(name, task)?;
    }
    parser.finish()
}

fn not_modelled(key: &str, place: &str) -> RtAppError {
    RtAppError::Key { key: key.to_owned(), place: place.to_owned() }
}

fn wrong(key: &str, place: &str, wanted: &'static str) -> RtAppError {
    RtAppError::Value { key: key.to_owned(), place: place.to_owned(), wanted }
}

fn object<'a>(key: &str, place: &str, value: &'a Node) -> Result<&'a Members, RtAppError> {
    match value {
        Node::Map(members) => Ok(members),
        _ => Err(wrong(key, place, "an object")),
    }
}

fn number(key: &str, place: &str, value: &Node) -> Result<f64, RtAppError> {
    match value {
        Node::Number(number) => Ok(*number),
        _ => Err(wrong(key, place, "a number")),
    }
}

fn text<'a>(key: &str, place: &str, value: &'a Node) -> Result<&'a str, RtAppError> {
    match value {
        Node::Text(text) => Ok(text),
        _ => Err(wrong(key, place, "a name")),
    }
}

fn us(key: &str, place: &str, value: &Node) -> Result<u64, RtAppError> {
    match number(key, place, value)? {
        us if (0.0..1e12).contains(&us) => Ok((us * 1000.0) as u64),
        _ => Err(wrong(key, place, "a time in µs, not negative")),
    }
}

/// `loop`: -1 is for ever.
fn repeat(key: &str, place: &str, value: &Node) -> Result<Option<u64>, RtAppError> {
    match number(key, place, value)? {
        -1.0 => Ok(None),
        count if count >= 0.0 && count.fract() == 0.0 => Ok(Some(count as u64)),
        _ => Err(wrong(key, place, "-1 or a count")),
    }
}

fn policy(key: &str, place: &str, value: &Node) -> Result<u32, RtAppError> {
    match text(key, place, value)? {
        "SCHED_OTHER" => Ok(SCHED_NORMAL),
        "SCHED_BATCH" => Ok(SCHED_BATCH),
        "SCHED_IDLE" => Ok(SCHED_IDLE),
        _ => {
            Err(wrong(key, place, "SCHED_OTHER, SCHED_BATCH or SCHED_IDLE; other policies are not modelled"))
        }
    }
}

fn cpus(key: &str, place: &str, value: &Node) -> Result<CpuSet, RtAppError> {
    let bad = || wrong(key, place, "a list of CPUs");
    let Node::List(items) = value else { return Err(bad()) };
    let cpu = |item: &Node| match item {
        Node::Number(cpu) if (0.0..4096.0).contains(cpu) && cpu.fract() == 0.0 => Ok(*cpu as usize),
        _ => Err(bad()),
    };
    let cpus: CpuSet = items.iter().map(cpu).collect::<Result<_, _>>()?;
    if cpus.is_empty() { Err(bad()) } else { Ok(cpus) }
}

/// What a task or one of its phases sets beside its events.
#[derive(Clone, Debug, Default)]
struct Settings {
    count: Option<Option<u64>>,
    cpus: Option<Rc<CpuSet>>,
    policy: Option<u32>,
    nice: Option<usize>,
    /// Number of the cgroup.
    taskgroup: Option<usize>,
}

/// Policy and weight of a task, which its phases may change.
#[derive(Clone, Copy, Debug)]
struct Scheduling {
    policy: u32,
    /// Index into the weights.
    nice: usize,
}

impl Scheduling {
    /// With what `settings` change; a policy without a nice value sets that to 0.
    fn with(self, settings: &Settings) -> Self {
        let nice = settings.nice.unwrap_or(if settings.policy.is_some() { 20 } else { self.nice });
        Self { policy: settings.policy.unwrap_or(self.policy), nice }
    }

    fn weight(self) -> u32 {
        if self.policy == SCHED_IDLE { IDLE_WEIGHT } else { NICE_WEIGHTS[self.nice] }
    }

    fn steps(self) -> [Step; 2] {
        [Step::SetPolicy(self.policy), Step::SetWeight(self.weight())]
    }
}

#[derive(Default)]
struct Parser {
    workload: Workload,
    default_policy: u32,
    /// Channels by kind and name.
    channels: BTreeMap<(&'static str, String), usize>,
    /// How often each barrier is named.
    barriers: BTreeMap<String, usize>,
    /// Numbers of timers by name; those of one task have its name before theirs.
    timers: BTreeMap<String, usize>,
    /// Templates of tasks that others fork, by name.
    forked: BTreeMap<String, usize>,
    /// All tasks, for those who fork them.
    tasks: BTreeMap<String, TaskSpec>,
    cgroups: BTreeMap<String, usize>,
}

impl Parser {
    fn globals(&mut self, members: &Members) -> Result<(), RtAppError> {
        for (key, value) in members {
            match key.as_str() {
                "duration" => match number(key, "global", value)? {
                    -1.0 => {}
                    s if (0.0..1e9).contains(&s) => self.workload.duration_ns = Some((s * 1e9) as u64),
                    _ => return Err(wrong(key, "global", "-1 or a time in seconds")),
                },
                "default_policy" => self.default_policy = policy(key, "global", value)?,
                ignored if IGNORED_GLOBALS.contains(&ignored) => {}
                _ => return Err(not_modelled(key, "global")),
            }
        }
        Ok(())
    }

    /// A task or phase is made of settings and events; false if the key is none of the former.
    fn setting(
        &mut self,
        settings: &mut Settings,
        key: &str,
        place: &str,
        value: &Node,
    ) -> Result<bool, RtAppError> {
        match key {
            "loop" => settings.count = Some(repeat(key, place, value)?),
            "cpus" => settings.cpus = Some(Rc::new(cpus(key, place, value)?)),
            "policy" => settings.policy = Some(policy(key, place, value)?),
            "priority" => match number(key, place, value)? {
                nice if (-20.0..=19.0).contains(&nice) && nice.fract() == 0.0 => {
                    settings.nice = Some((nice + 20.0) as usize);
                }
                _ => return Err(wrong(key, place, "a nice value, -20 to 19")),
            },
            "taskgroup" => settings.taskgroup = self.taskgroup(key, place, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The cgroup of a path, made with its parents when first named.
    fn taskgroup(&mut self, key: &str, place: &str, value: &Node) -> Result<Option<usize>, RtAppError> {
        let path = text(key, place, value)?;
        if path.is_empty() {
            return Ok(None);
        }
        let Some(path) = path.strip_prefix('/') else {
            return Err(wrong(key, place, "a path that begins with '/', or empty"));
        };
        let (mut at, mut index) = (String::new(), 0);
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at = format!("{at}/{part}");
            index = *self.cgroups.entry(at.clone()).or_insert_with(|| {
                self.workload.cgroups.push((at.clone(), crate::cgroup::DEFAULT_WEIGHT));
                self.workload.cgroups.len()
            });
        }
        Ok(Some(index))
    }

    fn task(&mut self, name: &str, task: &Node) -> Result<(), RtAppError> {
        let place = format!("task '{name}'");
        let (mut instances, mut start, mut settings) = (1, 0, Settings::default());
        let (mut events, mut phases) = (Vec::new(), None);
        for (key, value) in object(name, "tasks", task)? {
            match key.as_str() {
                "instance" => match number(key, &place, value)? {
                    count if (0.0..MAX_INSTANCES).contains(&count) && count.fract() == 0.0 => {
                        instances = count as usize;
                    }
                    _ => return Err(wrong(key, &place, "a count of tasks")),
                },
                "delay" => start = us(key, &place, value)?,
                "phases" => phases = Some(object(key, &place, value)?),
                _ if self.setting(&mut settings, key, &place, value)? => {}
                _ => events.push((key.as_str(), value)),
            }
        }
        let own = Scheduling { policy: self.default_policy, nice: 20 }.with(&settings);
        let body = match phases {
            Some(_) if !events.is_empty() => return Err(wrong(events[0].0, &place, "in one of its phases")),
            Some(phases) => self.phases(name, &place, phases, (&settings, own))?,
            None => self.phase(name, &place, &events)?,
        };
        let group = self.workload.group(name);
        // Without a `loop` a task runs for ever, with phases or without.
        let program = Program::new(&[Step::Loop(settings.count.unwrap_or(None), body.clone())]);
        let spec = TaskSpec {
            group,
            weight: own.weight(),
            policy: own.policy,
            cpus: settings.cpus,
            cgroup: settings.taskgroup.unwrap_or(0),
            ..TaskSpec::new(name, program)
        };
        self.workload.tasks.extend((0..instances).map(|_| (spec.clone(), start)));
        let forked = vec![
            Step::Sleep(Dist::Const(start)),
            Step::Begin,
            Step::Loop(settings.count.unwrap_or(None), body),
        ];
        let delayed = if start > 0 { Program::new(&forked) } else { Rc::clone(&spec.program) };
        self.tasks.insert(name.to_owned(), TaskSpec { program: delayed, ..spec });
        Ok(())
    }

    /// Phases one after the other. What a phase sets of affinity holds for it alone; policy and task group stay.
    fn phases(
        &mut self,
        name: &str,
        place: &str,
        phases: &Members,
        (task, own): (&Settings, Scheduling),
    ) -> Result<Vec<Step>, RtAppError> {
        let mut parsed = Vec::new();
        for (phase, members) in phases {
            let place = format!("phase '{phase}' of {place}");
            let (mut settings, mut events) = (Settings::default(), Vec::new());
            for (key, value) in object(phase, &place, members)? {
                if !self.setting(&mut settings, key, &place, value)? {
                    events.push((key.as_str(), value));
                }
            }
            let body = self.phase(name, &place, &events)?;
            parsed.push((settings, body));
        }
        let moves = parsed.iter().any(|(settings, _)| settings.cpus.is_some());
        // The largest machine has so many CPUs; those that this one does not have do not count.
        let everywhere = || Rc::new(CpuSet::from_words(&[u64::MAX; 64]));
        let (mut steps, mut scheduling) = (Vec::new(), own);
        for (settings, body) in parsed {
            if moves {
                let cpus = settings.cpus.clone().or_else(|| task.cpus.clone());
                steps.push(Step::SetAffinity(cpus.unwrap_or_else(everywhere)));
            }
            if settings.policy.is_some() || settings.nice.is_some() {
                scheduling = scheduling.with(&settings);
                steps.extend(scheduling.steps());
            }
            steps.extend(settings.taskgroup.map(Step::EnterCgroup));
            steps.push(Step::Loop(settings.count.unwrap_or(Some(1)), body));
        }
        Ok(steps)
    }

    /// Templates of forked tasks, now that all are known.
    fn finish(mut self) -> Result<Workload, RtAppError> {
        for (name, template) in &self.forked {
            let spec = self.tasks.get(name).ok_or_else(|| wrong(name, "'fork'", "the name of a task"))?;
            self.workload.templates[*template] = spec.clone();
        }
        Ok(self.workload)
    }
}
