// SPDX-License-Identifier: GPL-2.0-only
//! Events of rt-app tasks, in the order they are written. A key begins with the event's name; what follows makes it unique.
//!
//! `run` is work on the fastest kind of CPU, `runtime` lasts a time whatever the CPU. A unit of work, for the response times
//! of the report, is one pass through a phase up to its last work, or from one beat of a timer to the next.

use crate::program::{Beat, Dist, Step};
use crate::task::TaskSpec;
use crate::workload::ordered::Node;
use crate::workload::rtapp::{Held, Parser, RtAppError, not_modelled, object, text, us, wrong};

/// Names of events, longer ones before those they begin with.
const EVENTS: [&str; 17] = [
    "runtime", "run", "sleep", "timer", "lock", "unlock", "wait", "signal", "broad", "sync", "barrier",
    "suspend", "resume", "sem_post", "sem_wait", "yield", "fork",
];

/// The event that a key names.
fn event_of(key: &str) -> Option<&'static str> {
    EVENTS.into_iter().find(|event| key.starts_with(event))
}

impl Parser {
    /// A barrier waits for as many tasks as the file names it.
    pub(super) fn count_barriers(&mut self, node: &Node) {
        let Node::Map(members) = node else { return };
        for (key, value) in members {
            match value {
                Node::Text(name) if event_of(key) == Some("barrier") => {
                    *self.barriers.entry(name.clone()).or_default() += 1;
                }
                inner => self.count_barriers(inner),
            }
        }
    }

    fn channel(&mut self, kind: &'static str, name: &str, tokens: usize) -> usize {
        let workload = &mut self.workload;
        *self.channels.entry((kind, name.to_owned())).or_insert_with(|| workload.channel(tokens))
    }

    /// The events of a phase.
    pub(super) fn phase(
        &mut self,
        task: &str,
        place: &str,
        events: &[(&str, &Node)],
    ) -> Result<Vec<Step>, RtAppError> {
        if events.is_empty() {
            return Err(RtAppError::Empty(place.to_owned()));
        }
        let timed = events.iter().any(|(key, _)| event_of(key) == Some("timer"));
        let works = |(key, _): &(&str, &Node)| matches!(event_of(key), Some("run" | "runtime"));
        let last_work = if timed { None } else { events.iter().rposition(works) };
        let mut steps = if last_work.is_some() { vec![Step::Begin] } else { Vec::new() };
        let mut held = Held::new();
        for (index, (key, value)) in events.iter().enumerate() {
            self.event(&mut steps, &mut held, (task, place), key, value)?;
            if Some(index) == last_work {
                steps.push(Step::Done);
            }
        }
        Ok(steps)
    }

    fn event(
        &mut self,
        steps: &mut Vec<Step>,
        held: &mut Held,
        (task, place): (&str, &str),
        key: &str,
        value: &Node,
    ) -> Result<(), RtAppError> {
        let event = event_of(key).ok_or_else(|| not_modelled(key, place))?;
        match event {
            "run" => steps.push(Step::Run(Dist::Const(us(key, place, value)?))),
            "runtime" => steps.push(Step::RunFor(Dist::Const(us(key, place, value)?))),
            "sleep" => steps.push(Step::Sleep(Dist::Const(us(key, place, value)?))),
            "timer" => steps.extend([Step::Done, Step::Beat(self.timer(task, place, key, value)?)]),
            "yield" => steps.push(Step::Yield),
            "wait" | "sync" => self.condition(steps, held, place, (event, key), value)?,
            // The name that a suspended task gives is its own, whatever it writes.
            "suspend" => steps.push(Step::Block(self.channel("task", task, 0))),
            _ => {
                let name = text(key, place, value)?;
                steps.push(self.named_event(held, event, name));
            }
        }
        Ok(())
    }

    fn named_event(&mut self, held: &mut Held, event: &str, name: &str) -> Step {
        match event {
            "lock" => {
                held.insert(name.to_owned());
                Step::Lock(self.channel("mutex", name, 1))
            }
            "unlock" => {
                held.remove(name);
                Step::Unlock(self.channel("mutex", name, 1))
            }
            "signal" => Step::Notify(self.channel("condition", name, 0)),
            "broad" => Step::Broadcast(self.channel("condition", name, 0)),
            "barrier" => {
                let users = self.barriers.get(name).copied().unwrap_or(1);
                Step::Barrier(self.channel("barrier", name, 0), users)
            }
            "resume" => Step::Broadcast(self.channel("task", name, 0)),
            "sem_post" => Step::Signal(self.channel("semaphore", name, 0)),
            "sem_wait" => Step::Wait(self.channel("semaphore", name, 0)),
            _ => Step::Fork(self.template(name)),
        }
    }

    fn template(&mut self, name: &str) -> usize {
        let workload = &mut self.workload;
        *self.forked.entry(name.to_owned()).or_insert_with(|| {
            // Filled in when all tasks are known.
            workload.template(TaskSpec::new(name, std::rc::Rc::default()))
        })
    }

    /// `wait` and `sync`: give the mutex back, sleep until the condition is signalled, take the mutex again. `sync` signals
    /// it before, and takes the mutex around all that if the task does not hold it.
    fn condition(
        &mut self,
        steps: &mut Vec<Step>,
        held: &Held,
        place: &str,
        (event, key): (&str, &str),
        value: &Node,
    ) -> Result<(), RtAppError> {
        let (mut condition, mut mutex) = (None, None);
        for (name, value) in object(key, place, value)? {
            match name.as_str() {
                "ref" => condition = Some(text(name, place, value)?),
                "mutex" => mutex = Some(text(name, place, value)?),
                _ => return Err(not_modelled(name, &format!("'{key}' of {place}"))),
            }
        }
        let (Some(condition), Some(name)) = (condition, mutex) else {
            return Err(wrong(key, place, "an object with 'ref' and 'mutex'"));
        };
        let (condition, mutex) = (self.channel("condition", condition, 0), self.channel("mutex", name, 1));
        let holds = held.contains(name);
        match (event, holds) {
            ("sync", true) => steps.push(Step::Notify(condition)),
            ("sync", false) => steps.extend([Step::Lock(mutex), Step::Notify(condition)]),
            (_, true) => {}
            (_, false) => return Err(wrong(key, place, "between 'lock' and 'unlock' of its mutex")),
        }
        steps.extend([Step::Unlock(mutex), Step::Block(condition), Step::Lock(mutex)]);
        if !holds {
            steps.push(Step::Unlock(mutex));
        }
        Ok(())
    }

    fn timer(&mut self, task: &str, place: &str, key: &str, value: &Node) -> Result<Beat, RtAppError> {
        let (mut name, mut period, mut absolute) = ("unknown", None, false);
        for (member, value) in object(key, place, value)? {
            match member.as_str() {
                "ref" => name = text(member, place, value)?,
                "period" => period = Some(us(member, place, value)?),
                "mode" => {
                    absolute = match text(member, place, value)? {
                        "absolute" => true,
                        "relative" => false,
                        _ => return Err(wrong(member, place, "'relative' or 'absolute'")),
                    }
                }
                _ => return Err(not_modelled(member, &format!("'{key}' of {place}"))),
            }
        }
        let Some(period_ns) = period.filter(|period| *period > 0) else {
            return Err(wrong(key, place, "an object with a period"));
        };
        let shared = !name.starts_with("unique");
        let own = if shared { format!("/{name}") } else { format!("{task}/{name}") };
        let number = self.timers.len();
        let timer = *self.timers.entry(own).or_insert(number);
        Ok(Beat { timer, period_ns, shared, absolute })
    }
}
