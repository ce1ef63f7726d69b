// SPDX-License-Identifier: GPL-2.0-only
//! Which steps are possible when, what disturbs, and what must hold.

use stateright::{Model, Property};

use crate::state::{
    Action, Asking, CPUS, Cpu, EVERYWHERE, PushState, State, TASKS, Task, cpus_from, tasks_from,
};

/// What disturbs the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
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

pub struct Protocol {
    pub disturbances: &'static [Disturbance],
    pub times: u8,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    /// One task runs on CPU 0 and two sleep, the other CPUs are idle; or two run and one sleeps.
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
                actions.extend(cpus_from(0).map(|near| Action::Enqueue { cpu, near }));
            }
            if state.can_start(cpu) {
                actions.push(Action::Start { cpu });
            }
            if state.can_dispatch(cpu) {
                let choices = cpus_from(0).flat_map(|near| tasks_from(0).map(move |first| (near, first)));
                actions.extend(choices.map(|(near, first)| Action::Dispatch { cpu, near, first }));
            }
            // What a CPU asks for, it asks for within ops.dispatch: it goes on when that is over.
            if this.looking && this.asking == Asking::No {
                actions.push(Action::GoIdle { cpu });
            }
            if state.tick_helper(cpu, cpu).is_some() {
                actions.extend(cpus_from(0).map(|near| Action::Tick { cpu, near }));
            }
            if state.helper(cpu, cpu).is_some() {
                actions.extend(cpus_from(0).map(|near| Action::Watch { cpu, near }));
            }
            if this.request == PushState::Requested {
                actions.push(Action::Expire { source: cpu });
            }
            if this.taken_away {
                actions.push(Action::GiveBack { cpu });
            }
        }
        let asleep = (0..TASKS as u8).filter(|&task| state.tasks[task as usize].asleep);
        actions.extend(asleep.flat_map(|task| cpus_from(0).map(move |near| Action::Wake { task, near })));
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
            // From dispatch to the start of what it found is one step under one lock.
            cpus.filter(|(_, this)| {
                this.online && !this.taken_away && this.leaving.is_none() && this.local == 0
            })
            .flat_map(|(cpu, _)| cpus_from(0).map(move |near| Action::TakeAway { cpu, near })),
        ),
        Disturbance::Sleep => actions
            .extend(cpus.filter(|(_, this)| this.running.is_some()).map(|(cpu, _)| Action::Sleep { cpu })),
        Disturbance::Affinity => {
            let choices = tasks.flat_map(|task| (1..=EVERYWHERE).map(move |affinity| (task, affinity)));
            actions.extend(choices.flat_map(|(task, affinity)| {
                cpus_from(0).map(move |near| Action::Repin { task, affinity, near })
            }));
        }
        Disturbance::Hotplug => actions.extend(
            cpus.filter(|(_, this)| this.online && online > 1 && this.leaving.is_none())
                .flat_map(|(cpu, _)| cpus_from(0).map(move |near| Action::Offline { cpu, near })),
        ),
        Disturbance::Death => actions.extend(tasks.map(|task| Action::Die { task })),
    }
}
