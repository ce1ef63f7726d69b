// SPDX-License-Identifier: GPL-2.0-only
//! What a task does: a program of steps, run by the task in the model.

use std::rc::Rc;

use topology::CpuSet;

use crate::rng::Rng;

/// A length that may be drawn anew each time, in ns.
#[derive(Clone, Debug, PartialEq)]
pub enum Dist {
    /// Always the same.
    Const(u64),
    /// From the first to the second, all equally likely.
    Uniform(u64, u64),
    /// Exponential with this mean, cut at 20 times the mean.
    Exp(u64),
    /// Mostly the first; with the probability given last, the second.
    Either(u64, u64, f64),
}

impl Dist {
    /// Draws one.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        match *self {
            Self::Const(value) => value,
            Self::Uniform(low, high) => rng.between(low, high),
            Self::Exp(mean) => {
                let factor = -(1.0 - rng.unit()).ln();
                (mean as f64 * factor.min(20.0)) as u64
            }
            Self::Either(usual, rare, probability) => {
                if rng.chance(probability) {
                    rare
                } else {
                    usual
                }
            }
        }
    }
}

/// Names a channel of the world: a counting semaphore whose waiters are served in order.
pub type ChannelId = usize;
/// A timer that keeps a beat over several steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Its number: of the task's own timers, or of those that all tasks share.
    pub timer: usize,
    /// From one beat to the next, ns.
    pub period_ns: u64,
    /// Every task that names it pushes it on.
    pub shared: bool,
    /// A beat that is missed is made up for; otherwise the next one counts from the moment it was missed.
    pub absolute: bool,
}
/// Names a template of new tasks.
pub type TemplateId = usize;

/// One thing a task does. Lengths of work are ns on the fastest kind of CPU with no busy sibling.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Works.
    Run(Dist),
    /// Works for ever.
    RunForever,
    /// Works until that much time has passed, on whatever CPU and also while it waits for one.
    RunFor(Dist),
    /// Sleeps.
    Sleep(Dist),
    /// Sleeps until a multiple of the period since the task's first such step; not at all when late.
    Periodic(u64),
    /// Sleeps until the timer's next beat; the first one counts from the start of the task.
    Beat(Beat),
    /// Takes a token of the channel; sleeps until there is one.
    Wait(ChannelId),
    /// Gives the channel one token, which wakes its first waiter.
    Signal(ChannelId),
    /// The same, and tells the scheduler that the waker is about to sleep.
    SignalSync(ChannelId),
    /// Gives the channel one token for each waiter.
    Broadcast(ChannelId),
    /// Sleeps until it is notified; what was signalled before does not count (a condition variable).
    Block(ChannelId),
    /// Wakes the first waiter, if there is one.
    Notify(ChannelId),
    /// Takes the channel's only token, as [`Step::Wait`] does, but as a mutex: response times do not count from it.
    Lock(ChannelId),
    /// Gives the channel its only token; nothing happens if it has it.
    Unlock(ChannelId),
    /// Sleeps until so many tasks have come here; the last one wakes the others and goes on.
    Barrier(ChannelId, usize),
    /// Repeats the steps so often (`None`: for ever).
    Loop(Option<u64>, Vec<Step>),
    /// One of the lists, chosen at random.
    OneOf(Vec<Vec<Step>>),
    /// Gives up the CPU without sleeping.
    Yield,
    /// Starts a task.
    Fork(TemplateId),
    /// Waits until all own children are gone.
    WaitChildren,
    /// Changes its own affinity; CPUs that the machine does not have do not count.
    SetAffinity(Rc<CpuSet>),
    /// Draws its own affinity: so many CPUs in a row, at a random place.
    RandomAffinity(usize),
    /// Changes its own weight (100 is nice 0).
    SetWeight(u32),
    /// Changes its own policy (`SCHED_*`); the weight goes with it by a step of its own.
    SetPolicy(u32),
    /// Moves itself to the cgroup of this number.
    EnterCgroup(usize),
    /// From here (true) or up to here (false) it must not migrate.
    MigrateDisable(bool),
    /// A unit of useful work begins: its response time counts from here.
    Begin,
    /// One unit of useful work is complete; its response time counts from the token taken last, or from the previous
    /// completion.
    Done,
    /// The CPU that it brings up takes part from here on (the kernel's hotplug thread).
    ComeUp,
    /// Ends.
    Exit,
}

/// The flat form of steps that a task runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A step without parts.
    Plain(Step),
    /// Pushes a counter (`u64::MAX`: endless); to `exit` when it is 0.
    LoopBegin {
        /// How often.
        count: u64,
        /// Behind the loop.
        exit: usize,
    },
    /// Counts down and goes back behind `begin`.
    LoopEnd {
        /// The matching begin.
        begin: usize,
    },
    /// Goes to one of the places.
    Choose(Vec<usize>),
    /// Goes to a place.
    Jump(usize),
}

/// A program, shared by the tasks that run it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Its operations; behind the last one the task exits.
    pub ops: Vec<Op>,
}

impl Program {
    /// Compiles steps.
    pub fn new(steps: &[Step]) -> Rc<Self> {
        let mut program = Self::default();
        program.add(steps);
        Rc::new(program)
    }

    fn add(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Loop(count, body) => {
                    let begin = self.ops.len();
                    let count = count.unwrap_or(u64::MAX);
                    self.ops.push(Op::LoopBegin { count, exit: 0 });
                    self.add(body);
                    self.ops.push(Op::LoopEnd { begin });
                    self.ops[begin] = Op::LoopBegin { count, exit: self.ops.len() };
                }
                Step::OneOf(lists) => self.add_choice(lists),
                plain => self.ops.push(Op::Plain(plain.clone())),
            }
        }
    }

    fn add_choice(&mut self, lists: &[Vec<Step>]) {
        let choose = self.ops.len();
        self.ops.push(Op::Choose(Vec::new()));
        let (mut starts, mut jumps) = (Vec::new(), Vec::new());
        for list in lists {
            starts.push(self.ops.len());
            self.add(list);
            jumps.push(self.ops.len());
            self.ops.push(Op::Jump(0));
        }
        let end = self.ops.len();
        for jump in jumps {
            self.ops[jump] = Op::Jump(end);
        }
        self.ops[choose] = Op::Choose(starts);
    }
}

/// Where a task is in its program.
#[derive(Clone, Debug)]
pub struct Position {
    program: Rc<Program>,
    at: usize,
    loops: Vec<u64>,
}

impl Position {
    /// The beginning.
    pub fn new(program: Rc<Program>) -> Self {
        Self { program, at: 0, loops: Vec::new() }
    }

    /// The next plain step; `Exit` behind the end, `Yield` when the program runs in circles without doing anything.
    pub fn next(&mut self, rng: &mut Rng) -> Step {
        for _ in 0..1000 {
            match self.program.ops.get(self.at) {
                None => return Step::Exit,
                Some(Op::Plain(step)) => {
                    self.at += 1;
                    return step.clone();
                }
                Some(&Op::LoopBegin { count: 0, exit }) => self.at = exit,
                Some(&Op::LoopBegin { count, .. }) => {
                    self.loops.push(count);
                    self.at += 1;
                }
                Some(&Op::LoopEnd { begin }) => self.end_loop(begin),
                Some(Op::Choose(places)) => {
                    let choice = rng.below(places.len() as u64) as usize;
                    self.at = places.get(choice).copied().unwrap_or(self.at + 1);
                }
                Some(&Op::Jump(place)) => self.at = place,
            }
        }
        Step::Yield
    }

    fn end_loop(&mut self, begin: usize) {
        let again = match self.loops.last_mut() {
            Some(&mut u64::MAX) => true,
            Some(left) => {
                *left -= 1;
                *left > 0
            }
            None => false,
        };
        if again {
            self.at = begin + 1;
        } else {
            self.loops.pop();
            self.at += 1;
        }
    }
}
