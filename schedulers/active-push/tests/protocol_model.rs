// SPDX-License-Identifier: GPL-2.0-only
//! The push protocol as a model whose every reachable state is visited: 3 CPUs, 3 tasks, each idle CPU asking on its own, and
//! disturbances in between (a higher class takes a CPU, affinity changes, hotplug, sleep, death).
//!
//! States and transitions are those of `src/bpf/push.bpf.h`, under the same names (record, publish, take, arrive, refuse,
//! withdraw); change both together. Steps that are separate in the kernel side, so that another CPU may act in between, are
//! separate here. What is one compare-and-exchange there, or happens under one rq lock, is one step.

use stateright::{Checker, Model, Property};

const CPUS: usize = 3;
const TASKS: usize = 3;
const EVERYWHERE: u8 = 0b111;

/// `enum push_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum PushState {
    None,
    Recording,
    Requested,
    Taken,
}

/// A task and its generation: what a request names.
type Identity = (u8, u8);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cpu {
    online: bool,
    /// A higher class has it.
    taken_away: bool,
    /// The kernel's idle bit.
    idle_bit: bool,
    /// Looked for work in vain; goes idle next.
    looking: bool,
    kicked: bool,
    running: Option<u8>,
    /// Tasks, as bits: in its queue, on its local queue.
    queue: u8,
    local: u8,
    /// Between stopping and enqueue.
    leaving: Option<u8>,
    request: PushState,
    request_of: Option<Identity>,
    request_target: u8,
    /// The source whose task is to come here.
    incoming: Option<u8>,
    /// As an idle CPU that asks for a running task: how far it is.
    asking: Asking,
}

/// push_record, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Asking {
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
struct Task {
    generation: u8,
    affinity: u8,
    asleep: bool,
    /// TAKEN: where it is to go.
    push_target: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State {
    cpus: [Cpu; CPUS],
    tasks: [Task; TASKS],
    /// Disturbances that may still come.
    left: u8,
    /// Ghosts of the last step: it did what must never be done; an arrival happened; a withdrawal happened.
    broken: bool,
    arrived: bool,
    withdrawn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    // The scheduler's own steps.
    Record {
        by: u8,
        source: u8,
    },
    /// push_record by the source itself, in its tick: nothing of the source can change in between.
    Ask {
        source: u8,
        target: u8,
    },
    Proceed {
        by: u8,
    },
    Stop {
        cpu: u8,
    },
    Enqueue {
        cpu: u8,
    },
    Dispatch {
        cpu: u8,
    },
    GoIdle {
        cpu: u8,
    },
    Start {
        cpu: u8,
    },
    Tick {
        cpu: u8,
    },
    Expire {
        source: u8,
    },
    GiveBack {
        cpu: u8,
    },
    Wake {
        task: u8,
    },
    // Disturbances.
    TakeAway {
        cpu: u8,
    },
    Sleep {
        cpu: u8,
    },
    Repin {
        task: u8,
        affinity: u8,
    },
    Offline {
        cpu: u8,
    },
    Die {
        task: u8,
    },
}

fn bit(index: u8) -> u8 {
    1 << index
}

impl State {
    fn cpu(&mut self, cpu: u8) -> &mut Cpu {
        &mut self.cpus[cpu as usize]
    }

    fn identity(&self, task: u8) -> Identity {
        (task, self.tasks[task as usize].generation)
    }

    fn allows(&self, task: u8, cpu: u8) -> bool {
        self.tasks[task as usize].affinity & bit(cpu) != 0 && self.cpus[cpu as usize].online
    }

    /// `cctx->running_generation`: what a recorder reads.
    fn running_identity(&self, cpu: u8) -> Option<Identity> {
        self.cpus[cpu as usize].running.map(|task| self.identity(task))
    }

    fn release_target(&mut self, target: u8, source: u8) {
        let incoming = &mut self.cpu(target).incoming;
        if *incoming == Some(source) {
            *incoming = None;
        }
    }

    fn withdraw(&mut self, source: u8) {
        if self.cpu(source).request == PushState::Requested {
            let target = self.cpu(source).request_target;
            self.release_target(target, source);
            self.forget_request(source);
            self.withdrawn = true;
        }
    }

    /// TAKEN ends.
    fn finish(&mut self, task: u8, source: u8) {
        let Some(target) = self.tasks[task as usize].push_target.take() else { return };
        self.release_target(target, source);
        self.forget_request(source);
    }

    /// NONE: what was written for the request has no meaning any more, and must not tell states apart.
    fn forget_request(&mut self, source: u8) {
        let this = self.cpu(source);
        this.request = PushState::None;
        this.request_of = None;
        this.request_target = 0;
    }

    fn claim_idle(&mut self, task: u8) -> Option<u8> {
        let cpu = (0..CPUS as u8).find(|&cpu| self.allows(task, cpu) && self.cpus[cpu as usize].idle_bit)?;
        self.cpu(cpu).idle_bit = false;
        Some(cpu)
    }

    /// Waits in the queue of a CPU; an idle one is claimed and kicked, or those that are about to be idle.
    fn wait_on(&mut self, task: u8, near: u8) {
        let home = if self.allows(task, near) {
            near
        } else {
            // The kernel never leaves a task without a CPU.
            (0..CPUS as u8).find(|&cpu| self.allows(task, cpu)).unwrap_or(0)
        };
        self.cpu(home).queue |= bit(task);
        // A CPU with nothing to run notices what is put on its queue.
        if self.cpu(home).idle_bit || self.cpu(home).looking {
            self.cpu(home).kicked = true;
        }
        if let Some(helper) = self.claim_idle(task) {
            // Claimed, so that nobody else takes it before it looks for work; kicked, should it be looking already.
            self.cpu(helper).kicked = true;
            return;
        }
        // No tick will ask for help here, so CPUs that looked in vain a moment ago are kicked.
        if self.cpu(home).running.is_none() {
            self.cpus.iter_mut().filter(|cpu| cpu.looking).for_each(|cpu| cpu.kicked = true);
        }
    }

    /// stopping(runnable): take, or withdraw what does not fit.
    fn stop(&mut self, cpu: u8) {
        let Some(task) = self.cpu(cpu).running.take() else { return };
        self.cpu(cpu).leaving = Some(task);
        if self.cpu(cpu).request != PushState::Requested {
            return;
        }
        if self.cpus[cpu as usize].request_of == Some(self.identity(task)) {
            self.cpu(cpu).request = PushState::Taken;
            self.tasks[task as usize].push_target = Some(self.cpu(cpu).request_target);
        } else {
            self.withdraw(cpu);
        }
    }

    /// enqueue: arrive or refuse, else any idle CPU, else wait.
    fn enqueue(&mut self, cpu: u8) {
        let Some(task) = self.cpu(cpu).leaving.take() else { return };
        if let Some(target) = self.tasks[task as usize].push_target {
            let arrives = target != cpu && self.allows(task, target) && self.cpus[target as usize].idle_bit;
            if self.cpus[target as usize].incoming != Some(cpu) {
                self.broken = true;
            }
            self.finish(task, cpu);
            if arrives {
                self.cpu(target).idle_bit = false;
                // One arrival per target: nobody may be there or on the way.
                if self.cpus[target as usize].local != 0 || self.cpus[target as usize].running.is_some() {
                    self.broken = true;
                }
                self.cpu(target).local |= bit(task);
                self.arrived = true;
                return;
            }
        }
        match self.claim_idle(task) {
            Some(idle) => self.cpu(idle).local |= bit(task),
            None => self.wait_on(task, cpu),
        }
    }

    /// running: requests that this contradicts end.
    fn start(&mut self, cpu: u8) {
        let local = self.cpu(cpu).local;
        let task = local.trailing_zeros() as u8;
        let this = self.cpu(cpu);
        this.local &= !bit(task);
        this.running = Some(task);
        this.idle_bit = false;
        this.looking = false;
        this.kicked = false;
        if let Some(source) = self.cpu(cpu).incoming {
            self.withdraw(source);
        }
        if self.cpu(cpu).request_of.is_some_and(|of| of != self.identity(task)) {
            self.withdraw(cpu);
        }
    }

    fn pullable(&self, cpu: u8) -> Option<(u8, u8)> {
        let own = std::iter::once(cpu);
        let others = (0..CPUS as u8).filter(|&other| other != cpu);
        own.chain(others).find_map(|from| {
            let queue = self.cpus[from as usize].queue;
            let task = (0..TASKS as u8).find(|&task| queue & bit(task) != 0 && self.allows(task, cpu))?;
            Some((from, task))
        })
    }

    fn dispatch(&mut self, cpu: u8) {
        self.cpu(cpu).kicked = false;
        // The recorded task cannot be running here any more.
        self.withdraw(cpu);
        match self.pullable(cpu) {
            Some((from, task)) => {
                self.cpu(from).queue &= !bit(task);
                self.cpu(cpu).local |= bit(task);
                self.cpu(cpu).idle_bit = false;
            }
            None => self.cpu(cpu).looking = true,
        }
    }

    /// push_record as an idle CPU goes through it.
    fn proceed(&mut self, by: u8) {
        self.cpu(by).asking = match self.cpu(by).asking {
            Asking::No => Asking::No,
            Asking::Recording { source } => match self.running_identity(source) {
                Some(of) if self.cpu(by).incoming.is_none() => {
                    self.cpu(by).incoming = Some(source);
                    self.cpu(source).request_target = by;
                    Asking::Claimed { source, of }
                }
                _ => {
                    self.forget_request(source);
                    Asking::No
                }
            },
            Asking::Claimed { source, of } => {
                self.cpu(source).request_of = Some(of);
                self.cpu(source).request = PushState::Requested;
                Asking::No
            }
        };
    }

    /// A task leaves wherever it is, without passing through enqueue.
    fn remove(&mut self, task: u8) {
        for cpu in 0..CPUS as u8 {
            if self.cpu(cpu).leaving == Some(task) {
                self.finish(task, cpu);
                self.cpu(cpu).leaving = None;
            }
            if self.cpu(cpu).running == Some(task) {
                if self.cpus[cpu as usize].request_of == Some(self.identity(task)) {
                    self.withdraw(cpu);
                }
                self.cpu(cpu).running = None;
            }
            self.cpu(cpu).queue &= !bit(task);
            self.cpu(cpu).local &= !bit(task);
        }
    }

    fn offline(&mut self, cpu: u8) {
        let this = self.cpu(cpu);
        this.online = false;
        this.idle_bit = false;
        this.looking = false;
        this.kicked = false;
        let moved = this.queue | this.local;
        this.queue = 0;
        this.local = 0;
        if self.cpu(cpu).running.is_some() {
            self.stop(cpu);
        }
        for task in (0..TASKS as u8).filter(|&task| moved & bit(task) != 0) {
            self.free_if_stranded(task);
            self.wait_on(task, cpu);
        }
        for task in 0..TASKS as u8 {
            self.free_if_stranded(task);
        }
    }

    /// The kernel overrides an affinity that has no online CPU left.
    fn free_if_stranded(&mut self, task: u8) {
        if !(0..CPUS as u8).any(|cpu| self.allows(task, cpu)) {
            self.tasks[task as usize].affinity = EVERYWHERE;
        }
    }

    fn repin(&mut self, task: u8, affinity: u8) {
        self.tasks[task as usize].affinity = affinity;
        self.free_if_stranded(task);
        for cpu in 0..CPUS as u8 {
            if self.allows(task, cpu) {
                continue;
            }
            if (self.cpus[cpu as usize].queue | self.cpus[cpu as usize].local) & bit(task) != 0 {
                self.remove(task);
                self.wait_on(task, cpu);
            } else if self.cpus[cpu as usize].running == Some(task) {
                self.stop(cpu);
            }
        }
    }

    fn places(&self, task: u8) -> usize {
        let on = |cpu: &Cpu| {
            usize::from(cpu.running == Some(task))
                + usize::from(cpu.leaving == Some(task))
                + usize::from(cpu.queue & bit(task) != 0)
                + usize::from(cpu.local & bit(task) != 0)
        };
        self.cpus.iter().map(on).sum()
    }

    /// A CPU that could run something and runs nothing.
    fn spare(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        this.online && !this.taken_away && this.running.is_none() && this.leaving.is_none() && this.local == 0
    }

    /// The scheduler's own next step, were nothing to disturb it.
    fn own_step(&self) -> Option<Action> {
        let cpus = 0..CPUS as u8;
        let find = |wanted: &dyn Fn(u8) -> Option<Action>| cpus.clone().find_map(wanted);
        find(&|by| (self.cpus[by as usize].asking != Asking::No).then_some(Action::Proceed { by }))
            .or_else(|| find(&|cpu| self.cpus[cpu as usize].leaving.map(|_| Action::Enqueue { cpu })))
            .or_else(|| find(&|cpu| self.can_start(cpu).then_some(Action::Start { cpu })))
            .or_else(|| find(&|cpu| self.cpus[cpu as usize].looking.then_some(Action::GoIdle { cpu })))
            .or_else(|| find(&|cpu| self.can_dispatch(cpu).then_some(Action::Dispatch { cpu })))
            .or_else(|| find(&|cpu| self.tick_helper(cpu).map(|_| Action::Tick { cpu })))
    }

    fn can_start(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        this.online
            && !this.taken_away
            && this.asking == Asking::No
            && this.running.is_none()
            && this.leaving.is_none()
            && this.local != 0
    }

    fn can_dispatch(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        self.spare(cpu)
            && this.asking == Asking::No
            && ((!this.looking && !this.idle_bit) || (this.idle_bit && this.kicked))
    }

    /// The idle CPU that the tick of a busy CPU kicks: at once if tasks wait there, and for the rounds that come due, which find
    /// what waits elsewhere.
    fn tick_helper(&self, cpu: u8) -> Option<u8> {
        self.cpus[cpu as usize].running?;
        (0..CPUS as u8).find(|&other| {
            let helper = &self.cpus[other as usize];
            helper.idle_bit && !helper.kicked && self.pullable(other).is_some()
        })
    }

    /// Left alone, the scheduler comes to rest with no CPU idle beside work it may have, and nothing half done.
    fn settles(&self) -> bool {
        let mut state = self.clone();
        for _ in 0..200 {
            let Some(action) = state.own_step() else { return state.is_settled() };
            state.apply(action);
        }
        false
    }

    fn is_settled(&self) -> bool {
        let waits = |task: u8| self.cpus.iter().any(|cpu| cpu.queue & bit(task) != 0);
        let idle_beside =
            |task: u8| waits(task) && (0..CPUS as u8).any(|cpu| self.allows(task, cpu) && self.spare(cpu));
        let half_done = |cpu: &Cpu| {
            matches!(cpu.request, PushState::Recording | PushState::Taken) || cpu.leaving.is_some()
        };
        !(0..TASKS as u8).any(idle_beside) && !self.cpus.iter().any(half_done)
    }

    fn apply(&mut self, action: Action) {
        (self.arrived, self.withdrawn) = (false, false);
        match action {
            Action::Record { by, source } => {
                self.cpu(source).request = PushState::Recording;
                self.cpu(by).asking = Asking::Recording { source };
            }
            Action::Ask { source, target } => {
                self.cpu(target).incoming = Some(source);
                let of = self.running_identity(source);
                let this = self.cpu(source);
                this.request = PushState::Requested;
                this.request_of = of;
                this.request_target = target;
            }
            Action::Proceed { by } => self.proceed(by),
            Action::Stop { cpu } => self.stop(cpu),
            Action::Enqueue { cpu } => self.enqueue(cpu),
            Action::Dispatch { cpu } => self.dispatch(cpu),
            Action::GoIdle { cpu } => {
                let this = self.cpu(cpu);
                this.looking = false;
                // The kernel looks at the local queue once more before it marks the CPU idle, under the same lock.
                this.idle_bit = this.local == 0;
            }
            Action::Start { cpu } => self.start(cpu),
            Action::Tick { cpu } => {
                if let Some(helper) = self.tick_helper(cpu) {
                    self.cpu(helper).kicked = true;
                }
            }
            Action::Expire { source } => self.withdraw(source),
            Action::GiveBack { cpu } => self.cpu(cpu).taken_away = false,
            Action::Wake { task } => {
                self.tasks[task as usize].asleep = false;
                match self.claim_idle(task) {
                    Some(idle) => self.cpu(idle).local |= bit(task),
                    None => self.wait_on(task, 0),
                }
            }
            disturbance => {
                self.left -= 1;
                self.disturb(disturbance);
            }
        }
    }

    fn disturb(&mut self, action: Action) {
        match action {
            Action::TakeAway { cpu } => {
                self.cpu(cpu).taken_away = true;
                self.cpu(cpu).idle_bit = false;
                self.cpu(cpu).looking = false;
                self.stop(cpu);
                // What was inserted there and has not run moves on with the next look of the kernel's own queues.
                let stranded = self.cpu(cpu).local;
                self.cpu(cpu).local = 0;
                for task in (0..TASKS as u8).filter(|&task| stranded & bit(task) != 0) {
                    self.wait_on(task, cpu);
                }
            }
            Action::Sleep { cpu } => {
                if let Some(task) = self.cpus[cpu as usize].running {
                    self.remove(task);
                    self.tasks[task as usize].asleep = true;
                }
            }
            Action::Repin { task, affinity } => self.repin(task, affinity),
            Action::Offline { cpu } => self.offline(cpu),
            Action::Die { task } => {
                self.remove(task);
                // Another task takes its place, asleep, under a new generation.
                let slot = &mut self.tasks[task as usize];
                slot.generation += 1;
                slot.affinity = EVERYWHERE;
                slot.asleep = true;
                slot.push_target = None;
            }
            _ => {}
        }
    }
}

/// All orders of three things.
const ORDERS: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Bits moved to where `order` puts their numbers.
fn moved(bits: u8, order: &[u8; 3]) -> u8 {
    (0..3).filter(|&index| bits & bit(index) != 0).map(|index| bit(order[index as usize])).sum()
}

/// CPUs are alike and tasks are alike: of all states that differ in their numbering only, one stands for all.
impl State {
    /// A CPU that has something to run neither looks nor is kicked; one that does not is not kicked unless it is idle or
    /// about to be.
    fn forget_what_does_not_matter(&mut self) {
        for cpu in &mut self.cpus {
            if cpu.local != 0 || cpu.running.is_some() || cpu.leaving.is_some() {
                cpu.looking = false;
                cpu.idle_bit = false;
            }
            cpu.kicked &= cpu.looking || cpu.idle_bit;
        }
    }

    fn representative(&self) -> State {
        let renumbered =
            ORDERS.iter().flat_map(|cpus| ORDERS.iter().map(|tasks| self.renumbered(cpus, tasks)));
        renumbered.min().unwrap_or_else(|| self.clone())
    }

    fn renumbered(&self, cpus: &[u8; 3], tasks: &[u8; 3]) -> State {
        let mut state = self.clone();
        let cpu_of = |cpu: u8| cpus[cpu as usize];
        let task_of = |task: u8| tasks[task as usize];
        let identity = |(task, generation): Identity| (task_of(task), generation);
        for (index, from) in self.tasks.iter().enumerate() {
            let to = &mut state.tasks[tasks[index] as usize];
            *to = from.clone();
            to.affinity = moved(from.affinity, cpus);
            to.push_target = from.push_target.map(cpu_of);
        }
        for (index, from) in self.cpus.iter().enumerate() {
            let to = &mut state.cpus[cpus[index] as usize];
            *to = from.clone();
            to.running = from.running.map(task_of);
            to.leaving = from.leaving.map(task_of);
            to.queue = moved(from.queue, tasks);
            to.local = moved(from.local, tasks);
            to.request_of = from.request_of.map(identity);
            to.request_target = if from.incoming_matters() { cpu_of(from.request_target) } else { 0 };
            to.incoming = from.incoming.map(cpu_of);
            to.asking = match from.asking {
                Asking::No => Asking::No,
                Asking::Recording { source } => Asking::Recording { source: cpu_of(source) },
                Asking::Claimed { source, of } => {
                    Asking::Claimed { source: cpu_of(source), of: identity(of) }
                }
            };
        }
        state
    }
}

impl Cpu {
    /// The target has a meaning: from the claim on.
    fn incoming_matters(&self) -> bool {
        self.request != PushState::None
    }
}

/// What disturbs the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    /// A higher class takes a CPU; it may give it back.
    HigherClass,
    /// The task that runs goes to sleep.
    Sleep,
    /// Affinity of one task changes.
    Affinity,
    /// A CPU goes offline.
    Hotplug,
    /// A task dies and another takes its pid.
    Death,
}

struct Protocol {
    disturbances: &'static [Disturbance],
    times: u8,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    /// All tasks on CPU 0: one runs, two wait; the others have just become idle.
    fn init_states(&self) -> Vec<State> {
        let cpu = |index: usize| Cpu {
            online: true,
            taken_away: false,
            idle_bit: index != 0,
            looking: false,
            kicked: false,
            running: (index == 0).then_some(0),
            queue: 0,
            local: 0,
            leaving: None,
            request: PushState::None,
            request_of: None,
            request_target: 0,
            incoming: None,
            asking: Asking::No,
        };
        let task = |asleep| Task { generation: 0, affinity: EVERYWHERE, asleep, push_target: None };
        let start = State {
            cpus: [cpu(0), cpu(1), cpu(2)],
            tasks: [task(false), task(true), task(true)],
            left: self.times,
            broken: false,
            arrived: false,
            withdrawn: false,
        };
        let mut crowded = start.clone();
        crowded.tasks[1].asleep = false;
        crowded.cpus[1].idle_bit = false;
        crowded.cpus[1].running = Some(1);
        vec![start, crowded]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for cpu in 0..CPUS as u8 {
            let this = &state.cpus[cpu as usize];
            if this.asking != Asking::No {
                actions.push(Action::Proceed { by: cpu });
            } else if state.spare(cpu) && this.looking {
                let busy = |source: &u8| {
                    let other = &state.cpus[*source as usize];
                    *source != cpu && other.running.is_some() && other.request == PushState::None
                };
                actions.extend((0..CPUS as u8).filter(busy).map(|source| Action::Record { by: cpu, source }));
            }
            if this.running.is_some() && this.request == PushState::None {
                let free = |target: &u8| {
                    let other = &state.cpus[*target as usize];
                    other.idle_bit && other.incoming.is_none()
                };
                let targets = (0..CPUS as u8).filter(free);
                actions.extend(targets.map(|target| Action::Ask { source: cpu, target }));
            }
            if this.running.is_some() && (this.queue != 0 || this.request == PushState::Requested) {
                actions.push(Action::Stop { cpu });
            }
            if this.leaving.is_some() {
                actions.push(Action::Enqueue { cpu });
            }
            if state.can_start(cpu) {
                actions.push(Action::Start { cpu });
            }
            if state.can_dispatch(cpu) {
                actions.push(Action::Dispatch { cpu });
            }
            // What a CPU asks for, it asks for within ops.dispatch: it goes on when that is over.
            if this.looking && this.asking == Asking::No {
                actions.push(Action::GoIdle { cpu });
            }
            if state.tick_helper(cpu).is_some() {
                actions.push(Action::Tick { cpu });
            }
            if this.request == PushState::Requested {
                actions.push(Action::Expire { source: cpu });
            }
            if this.taken_away {
                actions.push(Action::GiveBack { cpu });
            }
        }
        let asleep = (0..TASKS as u8).filter(|&task| state.tasks[task as usize].asleep);
        actions.extend(asleep.map(|task| Action::Wake { task }));
        if state.left > 0 {
            self.disturbances.iter().for_each(|&kind| disturb(kind, state, actions));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.apply(action);
        next.forget_what_does_not_matter();
        Some(next.representative())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("no task is lost or in two places", |_, state| {
                (0..TASKS as u8)
                    .all(|task| state.places(task) == usize::from(!state.tasks[task as usize].asleep))
            }),
            Property::<Self>::always("at most one arrival per target and request", |_, state| {
                let active = |source: &usize| {
                    matches!(state.cpus[*source].request, PushState::Requested | PushState::Taken)
                };
                let mut targets: Vec<u8> =
                    (0..CPUS).filter(active).map(|source| state.cpus[source].request_target).collect();
                targets.sort_unstable();
                targets.windows(2).all(|pair| pair[0] != pair[1]) && !state.broken
            }),
            Property::<Self>::always(
                "no request outlives its target's claim, and no claim its request",
                |_, state| {
                    (0..CPUS as u8).all(|target| match state.cpus[target as usize].incoming {
                        None => true,
                        Some(source) => {
                            let from = &state.cpus[source as usize];
                            from.request != PushState::None && from.request_target == target
                        }
                    }) && (0..CPUS as u8).all(|source| {
                        let from = &state.cpus[source as usize];
                        !matches!(from.request, PushState::Requested | PushState::Taken)
                            || state.cpus[from.request_target as usize].incoming == Some(source)
                    })
                },
            ),
            Property::<Self>::always("every idle CPU gets waiting work", |_, state| state.settles()),
            Property::<Self>::sometimes("a push arrives", |_, state| state.arrived),
            Property::<Self>::sometimes("a request is withdrawn", |_, state| state.withdrawn),
        ]
    }
}

fn disturb(kind: Disturbance, state: &State, actions: &mut Vec<Action>) {
    let online = state.cpus.iter().filter(|cpu| cpu.online).count();
    let cpus = (0..CPUS as u8).map(|cpu| (cpu, &state.cpus[cpu as usize]));
    let settled = |task: &u8| {
        let leaving = state.cpus.iter().any(|cpu| cpu.leaving == Some(*task));
        !state.tasks[*task as usize].asleep && !leaving
    };
    let tasks = (0..TASKS as u8).filter(settled);
    match kind {
        Disturbance::HigherClass => actions.extend(
            cpus.filter(|(_, this)| this.online && !this.taken_away && this.leaving.is_none())
                .map(|(cpu, _)| Action::TakeAway { cpu }),
        ),
        Disturbance::Sleep => actions
            .extend(cpus.filter(|(_, this)| this.running.is_some()).map(|(cpu, _)| Action::Sleep { cpu })),
        Disturbance::Affinity => actions
            .extend(tasks.flat_map(|task| [0b001, 0b011].map(|affinity| Action::Repin { task, affinity }))),
        Disturbance::Hotplug => actions.extend(
            cpus.filter(|(_, this)| this.online && online > 1 && this.leaving.is_none())
                .map(|(cpu, _)| Action::Offline { cpu }),
        ),
        Disturbance::Death => actions.extend(tasks.map(|task| Action::Die { task })),
    }
}

/// Visits every state and tells how many there were.
fn check(disturbances: &'static [Disturbance], times: u8) {
    let checker = Protocol { disturbances, times }.checker().threads(2).spawn_bfs().join();
    let (all, unique) = (checker.state_count(), checker.unique_state_count());
    println!("{times} of {disturbances:?}: {all} states, {unique} of them unique");
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn the_protocol_survives_any_disturbance() {
    use Disturbance::{Affinity, Death, HigherClass, Hotplug, Sleep};
    check(&[HigherClass, Sleep, Affinity, Hotplug, Death], 1);
}

#[test]
fn the_protocol_survives_hotplug_and_affinity_together() {
    check(&[Disturbance::Hotplug, Disturbance::Affinity], 2);
}
