// SPDX-License-Identifier: GPL-2.0-only
//! What each step does, under the names of `src/bpf/`.

use crate::state::{
    Action, Asking, CPUS, Cpu, EVERYWHERE, Identity, PushState, State, TASKS, bit, cpus_from, tasks_from,
};

impl State {
    pub fn cpu(&mut self, cpu: u8) -> &mut Cpu {
        &mut self.cpus[cpu as usize]
    }

    pub fn identity(&self, task: u8) -> Identity {
        (task, self.tasks[task as usize].generation)
    }

    pub fn allows(&self, task: u8, cpu: u8) -> bool {
        self.tasks[task as usize].affinity & bit(cpu) != 0 && self.cpus[cpu as usize].online
    }

    /// `cctx->running_generation`: what a recorder reads.
    pub fn running_identity(&self, cpu: u8) -> Option<Identity> {
        self.cpus[cpu as usize].running.map(|task| self.identity(task))
    }

    pub fn release_target(&mut self, target: u8, source: u8) {
        let incoming = &mut self.cpu(target).incoming;
        if *incoming == Some(source) {
            *incoming = None;
        }
    }

    /// withdraw, by the target: only what is meant for it. A newer request of the source goes elsewhere.
    pub fn withdraw_from(&mut self, source: u8, target: u8) {
        if self.cpus[source as usize].request_target == target {
            self.withdraw(source);
        }
    }

    /// withdraw, by the source itself or by whoever sees that it is too old.
    pub fn withdraw(&mut self, source: u8) {
        if self.cpu(source).request == PushState::Requested {
            let target = self.cpu(source).request_target;
            self.release_target(target, source);
            self.forget_request(source);
            self.withdrawn = true;
        }
    }

    /// TAKEN ends.
    pub fn finish(&mut self, task: u8, source: u8) {
        let Some(target) = self.tasks[task as usize].push_target.take() else { return };
        self.release_target(target, source);
        self.forget_request(source);
    }

    /// NONE: what was written for the request has no meaning any more, and must not tell states apart.
    pub fn forget_request(&mut self, source: u8) {
        let this = self.cpu(source);
        this.request = PushState::None;
        this.request_of = None;
        this.request_target = 0;
    }

    pub fn claim_idle(&mut self, task: u8, near: u8) -> Option<u8> {
        let cpu = cpus_from(near).find(|&cpu| self.allows(task, cpu) && self.cpus[cpu as usize].idle_bit)?;
        self.cpu(cpu).idle_bit = false;
        Some(cpu)
    }

    /// Goes to the queue of a CPU whose idle bit is claimed for it, which is kicked.
    pub fn put_on_idle(&mut self, task: u8, cpu: u8) {
        let this = self.cpu(cpu);
        this.idle_bit = false;
        this.kicked = true;
        this.queue |= bit(task);
    }

    /// call_for_help: a task that waits where a higher class holds the CPU wakes an idle CPU that may have it.
    pub fn call_for_help(&mut self, held: u8, near: u8) {
        if let Some(helper) = self.helper(held, near) {
            self.cpu(helper).idle_bit = false;
            self.cpu(helper).kicked = true;
        }
    }

    /// Whom the watch over held CPUs wakes, if tasks wait on this one.
    pub fn helper(&self, held: u8, near: u8) -> Option<u8> {
        let this = &self.cpus[held as usize];
        let waiting = (0..TASKS as u8).filter(|&task| this.taken_away && this.queue & bit(task) != 0);
        cpus_from(near).find(|&cpu| {
            self.cpus[cpu as usize].idle_bit && waiting.clone().any(|task| self.allows(task, cpu))
        })
    }

    /// Waits in the queue of a CPU; an idle one is claimed and kicked, or those that are about to be idle.
    pub fn wait_on(&mut self, task: u8, near: u8) {
        let home = if self.allows(task, near) {
            near
        } else {
            // The kernel never leaves a task without a CPU.
            cpus_from(near).find(|&cpu| self.allows(task, cpu)).unwrap_or(near)
        };
        self.cpu(home).queue |= bit(task);
        // A CPU with nothing to run notices what is put on its queue.
        if self.cpu(home).idle_bit || self.cpu(home).looking {
            self.cpu(home).kicked = true;
        }
        if let Some(helper) = self.claim_idle(task, near) {
            // Claimed, so that nobody else takes it before it looks for work; kicked, should it be looking already.
            self.cpu(helper).kicked = true;
            return;
        }
        // No tick will ask for help here, so CPUs that looked in vain a moment ago are kicked.
        if self.cpu(home).running.is_none() {
            self.cpus.iter_mut().filter(|cpu| cpu.looking).for_each(|cpu| cpu.kicked = true);
        }
    }

    /// stopping(runnable).
    pub fn stop(&mut self, cpu: u8) {
        let Some(task) = self.cpu(cpu).running.take() else { return };
        self.cpu(cpu).leaving = Some(task);
        self.take(cpu, task);
    }

    /// take, or withdraw what does not fit.
    pub fn take(&mut self, cpu: u8, task: u8) {
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

    /// enqueue: where the push was to go, else any idle CPU, else wait.
    pub fn enqueue(&mut self, cpu: u8, near: u8) {
        let Some(task) = self.cpu(cpu).leaving.take() else { return };
        if self.arrive(cpu, task) {
            return;
        }
        match self.claim_idle(task, near) {
            Some(idle) => self.put_on_idle(task, idle),
            None => self.wait_on(task, cpu),
        }
    }

    /// push_verdict: why the task cannot go there, if so.
    pub fn refuse(&self, source: u8, task: u8, target: u8) -> bool {
        let there = &self.cpus[target as usize];
        target == source || !self.allows(task, target) || there.queue != 0 || !there.idle_bit
    }

    /// arrive, or refuse: in both cases the request is over.
    pub fn arrive(&mut self, cpu: u8, task: u8) -> bool {
        let Some(target) = self.tasks[task as usize].push_target else { return false };
        let there = &self.cpus[target as usize];
        let refused = self.refuse(cpu, task, target);
        // One arrival per target and request: the claim holds, and nobody is there or on the way.
        let occupied = there.local != 0 || there.queue != 0 || there.running.is_some();
        if there.incoming != Some(cpu) || (!refused && occupied) {
            self.broken = true;
        }
        self.finish(task, cpu);
        if !refused {
            self.put_on_idle(task, target);
            self.arrived = true;
        }
        !refused
    }

    /// running: requests that this contradicts end.
    pub fn start(&mut self, cpu: u8) {
        let local = self.cpu(cpu).local;
        let task = local.trailing_zeros() as u8;
        let this = self.cpu(cpu);
        this.local &= !bit(task);
        this.running = Some(task);
        this.idle_bit = false;
        this.looking = false;
        this.kicked = false;
        if let Some(source) = self.cpu(cpu).incoming {
            self.withdraw_from(source, cpu);
        }
        if self.cpu(cpu).request_of.is_some_and(|of| of != self.identity(task)) {
            self.withdraw(cpu);
        }
    }

    pub fn pullable(&self, cpu: u8, near: u8, first: u8) -> Option<(u8, u8)> {
        let own = std::iter::once(cpu);
        let others = cpus_from(near).filter(|&other| other != cpu);
        own.chain(others).find_map(|from| {
            let queue = self.cpus[from as usize].queue;
            let task = tasks_from(first).find(|&task| queue & bit(task) != 0 && self.allows(task, cpu))?;
            Some((from, task))
        })
    }

    pub fn dispatch(&mut self, cpu: u8, near: u8, first: u8) {
        self.cpu(cpu).kicked = false;
        // The recorded task cannot be running here any more.
        self.withdraw(cpu);
        match self.pullable(cpu, near, first) {
            Some((from, task)) => {
                self.cpu(from).queue &= !bit(task);
                self.cpu(cpu).local |= bit(task);
                self.cpu(cpu).idle_bit = false;
            }
            None => self.cpu(cpu).looking = true,
        }
    }

    /// push_record as an idle CPU goes through it.
    pub fn proceed(&mut self, by: u8) {
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
                self.publish(source, of);
                Asking::No
            }
        };
    }

    /// publish: from here on the source may take it.
    pub fn publish(&mut self, source: u8, of: Identity) {
        let this = self.cpu(source);
        this.request_of = Some(of);
        this.request = PushState::Requested;
    }

    /// A task leaves wherever it is, without passing through enqueue.
    pub fn remove(&mut self, task: u8) {
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

    pub fn offline(&mut self, cpu: u8, near: u8) {
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
            self.wait_on(task, near);
        }
        for task in 0..TASKS as u8 {
            self.free_if_stranded(task);
        }
    }

    /// The kernel overrides an affinity that has no online CPU left.
    pub fn free_if_stranded(&mut self, task: u8) {
        if !(0..CPUS as u8).any(|cpu| self.allows(task, cpu)) {
            self.tasks[task as usize].affinity = EVERYWHERE;
        }
    }

    pub fn repin(&mut self, task: u8, affinity: u8, near: u8) {
        self.tasks[task as usize].affinity = affinity;
        self.free_if_stranded(task);
        for cpu in 0..CPUS as u8 {
            if self.allows(task, cpu) {
                continue;
            }
            if (self.cpus[cpu as usize].queue | self.cpus[cpu as usize].local) & bit(task) != 0 {
                self.remove(task);
                self.wait_on(task, near);
            } else if self.cpus[cpu as usize].running == Some(task) {
                self.stop(cpu);
            }
        }
    }

    pub fn places(&self, task: u8) -> usize {
        let on = |cpu: &Cpu| {
            usize::from(cpu.running == Some(task))
                + usize::from(cpu.leaving == Some(task))
                + usize::from(cpu.queue & bit(task) != 0)
                + usize::from(cpu.local & bit(task) != 0)
        };
        self.cpus.iter().map(on).sum()
    }

    /// A CPU that could run something and runs nothing.
    pub fn spare(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        this.online && !this.taken_away && this.running.is_none() && this.leaving.is_none() && this.local == 0
    }

    /// The scheduler's own next step, were nothing to disturb it.
    pub fn own_step(&self) -> Option<Action> {
        let cpus = 0..CPUS as u8;
        let find = |wanted: &dyn Fn(u8) -> Option<Action>| cpus.clone().find_map(wanted);
        find(&|by| (self.cpus[by as usize].asking != Asking::No).then_some(Action::Proceed { by }))
            .or_else(|| {
                find(&|cpu| self.cpus[cpu as usize].leaving.map(|_| Action::Enqueue { cpu, near: cpu }))
            })
            .or_else(|| find(&|cpu| self.can_start(cpu).then_some(Action::Start { cpu })))
            .or_else(|| find(&|cpu| self.cpus[cpu as usize].looking.then_some(Action::GoIdle { cpu })))
            .or_else(|| {
                let dispatch = |cpu| Action::Dispatch { cpu, near: cpu, first: 0 };
                find(&|cpu| self.can_dispatch(cpu).then_some(dispatch(cpu)))
            })
            .or_else(|| find(&|cpu| self.tick_helper(cpu, cpu).map(|_| Action::Tick { cpu, near: cpu })))
            .or_else(|| find(&|cpu| self.helper(cpu, cpu).map(|_| Action::Watch { cpu, near: cpu })))
    }

    pub fn can_start(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        this.online
            && !this.taken_away
            && this.asking == Asking::No
            && this.running.is_none()
            && this.leaving.is_none()
            && this.local != 0
    }

    pub fn can_dispatch(&self, cpu: u8) -> bool {
        let this = &self.cpus[cpu as usize];
        self.spare(cpu)
            && this.asking == Asking::No
            && ((!this.looking && !this.idle_bit) || (this.idle_bit && this.kicked))
    }

    /// The idle CPU that the tick of a busy CPU kicks: at once if tasks wait there, and for the rounds that come due, which find
    /// what waits elsewhere.
    pub fn tick_helper(&self, cpu: u8, near: u8) -> Option<u8> {
        self.cpus[cpu as usize].running?;
        cpus_from(near).find(|&other| {
            let helper = &self.cpus[other as usize];
            helper.idle_bit && !helper.kicked && self.pullable(other, other, 0).is_some()
        })
    }

    /// Left alone, the scheduler comes to rest with no CPU idle beside work it may have, and nothing half done.
    pub fn settles(&self) -> bool {
        let mut state = self.clone();
        for _ in 0..200 {
            let Some(action) = state.own_step() else { return state.is_settled() };
            state.apply(action);
        }
        false
    }

    pub fn is_settled(&self) -> bool {
        let waits = |task: u8| self.cpus.iter().any(|cpu| cpu.queue & bit(task) != 0);
        let idle_beside =
            |task: u8| waits(task) && (0..CPUS as u8).any(|cpu| self.allows(task, cpu) && self.spare(cpu));
        let half_done = |cpu: &Cpu| {
            matches!(cpu.request, PushState::Recording | PushState::Taken) || cpu.leaving.is_some()
        };
        !(0..TASKS as u8).any(idle_beside) && !self.cpus.iter().any(half_done)
    }

    pub fn apply(&mut self, action: Action) {
        (self.arrived, self.withdrawn) = (false, false);
        match action {
            Action::Record { by, source } => {
                self.cpu(source).request = PushState::Recording;
                self.cpu(by).asking = Asking::Recording { source };
            }
            Action::Ask { source, target } => {
                self.cpu(target).incoming = Some(source);
                self.cpu(source).request_target = target;
                if let Some(of) = self.running_identity(source) {
                    self.publish(source, of);
                }
            }
            Action::Proceed { by } => self.proceed(by),
            Action::Stop { cpu } => self.stop(cpu),
            Action::Enqueue { cpu, near } => self.enqueue(cpu, near),
            Action::Dispatch { cpu, near, first } => self.dispatch(cpu, near, first),
            Action::GoIdle { cpu } => {
                let this = self.cpu(cpu);
                this.looking = false;
                // The kernel looks at the local queue once more before it marks the CPU idle, under the same lock.
                this.idle_bit = this.local == 0;
            }
            Action::Start { cpu } => self.start(cpu),
            Action::Tick { cpu, near } => {
                if let Some(helper) = self.tick_helper(cpu, near) {
                    self.cpu(helper).kicked = true;
                }
            }
            Action::Watch { cpu, near } => self.call_for_help(cpu, near),
            Action::Expire { source } => self.withdraw(source),
            Action::GiveBack { cpu } => self.cpu(cpu).taken_away = false,
            Action::Wake { task, near } => {
                self.tasks[task as usize].asleep = false;
                match self.claim_idle(task, near) {
                    Some(idle) => self.put_on_idle(task, idle),
                    None => self.wait_on(task, near),
                }
            }
            disturbance => {
                self.left -= 1;
                self.disturb(disturbance);
            }
        }
    }

    pub fn disturb(&mut self, action: Action) {
        match action {
            Action::TakeAway { cpu, near } => {
                self.cpu(cpu).taken_away = true;
                self.cpu(cpu).idle_bit = false;
                self.cpu(cpu).looking = false;
                // stopping: what waits here must not wait for the higher class. On an idle CPU nothing of ours stops, and only
                // the watch notices.
                if self.cpus[cpu as usize].running.is_some() {
                    self.stop(cpu);
                    self.call_for_help(cpu, near);
                }
            }
            Action::Sleep { cpu } => {
                if let Some(task) = self.cpus[cpu as usize].running {
                    self.remove(task);
                    self.tasks[task as usize].asleep = true;
                }
            }
            Action::Repin { task, affinity, near } => self.repin(task, affinity, near),
            Action::Offline { cpu, near } => self.offline(cpu, near),
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
