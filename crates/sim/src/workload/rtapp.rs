// SPDX-License-Identifier: GPL-2.0-only
//! rt-app files: tasks, phases, and the events `run`, `runtime`, `sleep`, `timer`, `lock`, `unlock`, `suspend`, `resume`
//! and `yield`. Times are µs. What is not modelled is an error that names it, so that no file runs as something else.
//!
//! `run` is work on the fastest kind of CPU; `runtime` is taken as the same. Real-time and deadline policies are not
//! modelled; `priority` of a SCHED_OTHER task is its nice value.

use std::collections::BTreeMap;
use std::rc::Rc;

use thiserror::Error;

use crate::program::{Dist, Program, Step};
use crate::task::TaskSpec;
use crate::workload::Workload;
use crate::workload::ordered::Node;

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum RtAppError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
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

/// Keys of `global` that change nothing here: how the real program logs and calibrates.
const IGNORED_GLOBALS: [&str; 12] = [
    "duration",
    "calibration",
    "logdir",
    "log_basename",
    "log_size",
    "ftrace",
    "gnuplot",
    "lock_pages",
    "pi_enabled",
    "frag",
    "cumulative_slack",
    "default_policy",
];

pub(super) fn parse(text: &str) -> Result<Workload, RtAppError> {
    let Node::Map(members) = serde_json::from_str::<Node>(text)? else {
        return Err(wrong("file", "rt-app", "an object"));
    };
    let mut parser = Parser::default();
    for (key, value) in &members {
        match (key.as_str(), value) {
            ("tasks", Node::Map(tasks)) => {
                tasks.iter().try_for_each(|(name, task)| parser.task(name, task))?;
            }
            ("global", Node::Map(globals)) => {
                let unknown = globals.iter().find(|(name, _)| !IGNORED_GLOBALS.contains(&name.as_str()));
                if let Some((name, _)) = unknown {
                    return Err(not_modelled(name, "global"));
                }
            }
            // Resources are made when they are first named.
            ("resources", _) => {}
            ("tasks" | "global", _) => return Err(wrong(key, "the file", "an object")),
            _ => return Err(not_modelled(key, "the file")),
        }
    }
    Ok(parser.workload)
}

fn not_modelled(key: &str, place: &str) -> RtAppError {
    RtAppError::Key { key: key.to_owned(), place: place.to_owned() }
}

fn wrong(key: &str, place: &str, wanted: &'static str) -> RtAppError {
    RtAppError::Value { key: key.to_owned(), place: place.to_owned(), wanted }
}

fn number(key: &str, place: &str, value: &Node) -> Result<f64, RtAppError> {
    match value {
        Node::Number(number) => Ok(*number),
        _ => Err(wrong(key, place, "a number")),
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

#[derive(Default)]
struct Parser {
    workload: Workload,
    /// Channels by the name of the lock or of the suspended task.
    channels: BTreeMap<String, usize>,
}

impl Parser {
    fn channel(&mut self, kind: &str, name: &str, tokens: usize) -> usize {
        let key = format!("{kind} {name}");
        if let Some(&channel) = self.channels.get(&key) {
            return channel;
        }
        let channel = self.workload.channel(tokens);
        self.channels.insert(key, channel);
        channel
    }

    fn task(&mut self, name: &str, task: &Node) -> Result<(), RtAppError> {
        let place = format!("task '{name}'");
        let Node::Map(members) = task else { return Err(wrong(name, "tasks", "an object")) };
        let group = self.workload.group(name);
        let mut spec = TaskSpec { group, ..TaskSpec::new(name, Rc::default()) };
        let (mut instances, mut start, mut count) = (1, 0, None);
        let (mut steps, mut phases) = (Vec::new(), None);
        for (key, value) in members {
            match key.as_str() {
                "instance" => instances = number(key, &place, value)? as usize,
                "delay" => start = us(key, &place, value)?,
                "loop" => count = repeat(key, &place, value)?,
                "priority" => {
                    let nice = number(key, &place, value)?.clamp(-20.0, 19.0) as i64;
                    spec.weight = NICE_WEIGHTS[(nice + 20) as usize];
                }
                "policy" if *value == Node::Text("SCHED_OTHER".to_owned()) => {}
                "policy" => return Err(wrong(key, &place, "SCHED_OTHER; other policies are not modelled")),
                "cpus" => spec.cpus = Some(Rc::new(cpus(key, &place, value)?)),
                "phases" => phases = Some(self.phases(name, &place, value)?),
                _ => steps.push(self.event(name, &place, key, value)?),
            }
        }
        // Without a `loop` a task runs for ever, with phases or without.
        let body = phases.unwrap_or(steps);
        spec.program = Program::new(&[Step::Loop(count, body)]);
        self.workload.tasks.extend((0..instances).map(|_| (spec.clone(), start)));
        Ok(())
    }

    fn phases(&mut self, name: &str, place: &str, value: &Node) -> Result<Vec<Step>, RtAppError> {
        let Node::Map(phases) = value else { return Err(wrong("phases", place, "an object")) };
        let mut steps = Vec::new();
        for (phase, members) in phases {
            let place = format!("phase '{phase}' of {place}");
            let Node::Map(members) = members else { return Err(wrong(phase, &place, "an object")) };
            let (mut count, mut body) = (Some(1), Vec::new());
            for (key, value) in members {
                match key.as_str() {
                    "loop" => count = repeat(key, &place, value)?,
                    "cpus" => body.push(Step::SetAffinity(Rc::new(cpus(key, &place, value)?))),
                    _ => body.push(self.event(name, &place, key, value)?),
                }
            }
            steps.push(Step::Loop(count, body));
        }
        Ok(steps)
    }

    /// An event; keys may carry a suffix that makes them unique, such as `run1`.
    fn event(&mut self, task: &str, place: &str, key: &str, value: &Node) -> Result<Step, RtAppError> {
        let event = key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
        let text = |value: &Node| match value {
            Node::Text(text) => Ok(text.clone()),
            _ => Err(wrong(key, place, "a name")),
        };
        Ok(match event {
            "run" | "runtime" => Step::Run(Dist::Const(us(key, place, value)?)),
            "sleep" => Step::Sleep(Dist::Const(us(key, place, value)?)),
            "timer" => Step::Loop(Some(1), vec![Step::Done, timer(key, place, value)?]),
            "yield" => Step::Yield,
            "lock" => Step::Wait(self.channel("lock", &text(value)?, 1)),
            "unlock" => Step::Signal(self.channel("lock", &text(value)?, 1)),
            "suspend" => Step::Wait(self.channel("task", task, 0)),
            "resume" => Step::Signal(self.channel("task", &text(value)?, 0)),
            _ => return Err(not_modelled(key, place)),
        })
    }
}

fn timer(key: &str, place: &str, value: &Node) -> Result<Step, RtAppError> {
    let Node::Map(members) = value else { return Err(wrong(key, place, "an object")) };
    let mut period = None;
    for (name, value) in members {
        match name.as_str() {
            "period" => period = Some(us(name, place, value)?),
            // A timer keeps its own beat either way; late ones drop the periods they missed.
            "ref" | "mode" => {}
            _ => return Err(not_modelled(name, &format!("'{key}' of {place}"))),
        }
    }
    period.map(Step::Periodic).ok_or_else(|| wrong(key, place, "an object with a period"))
}

fn cpus(key: &str, place: &str, value: &Node) -> Result<topology::CpuSet, RtAppError> {
    let Node::List(items) = value else { return Err(wrong(key, place, "a list of CPUs")) };
    let cpu = |item: &Node| match item {
        Node::Number(cpu) if (0.0..4096.0).contains(cpu) && cpu.fract() == 0.0 => Ok(*cpu as usize),
        _ => Err(wrong(key, place, "a list of CPUs")),
    };
    items.iter().map(cpu).collect()
}
