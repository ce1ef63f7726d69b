// SPDX-License-Identifier: GPL-2.0-only
//! The seam between a scheduler's userspace half and its BPF half, over the model; and time for that userspace half.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bpf_vm::UsageError;
use runtime::seam::{BpfObject, Entry, SeamError};
use runtime::signals::Wake;

use crate::bpf::BpfScheduler;
use crate::kernel::Violation;
use crate::sim::Sim;

/// Told the virtual time (ns) every virtual millisecond; true ends the run.
pub type Look = Rc<dyn Fn(u64) -> bool>;

/// A model that a scheduler's loop and its BPF object share.
#[derive(Clone)]
pub struct Session {
    sim: Rc<RefCell<Sim<BpfScheduler>>>,
    end_ns: u64,
    broken: Rc<RefCell<Option<Violation>>>,
    look: Look,
    stopped: Rc<Cell<bool>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("sim", &self.sim)
            .field("end_ns", &self.end_ns)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Takes over a model; the loop is told to end at `end_ns`.
    pub fn new(sim: Sim<BpfScheduler>, end_ns: u64) -> Self {
        let (sim, stopped) = (Rc::new(RefCell::new(sim)), Rc::default());
        Self { sim, end_ns, broken: Rc::default(), look: Rc::new(|_| false), stopped }
    }

    /// The run ends early when `look` says so.
    #[must_use]
    pub fn watched(mut self, look: Look) -> Self {
        self.look = look;
        self
    }

    /// Whether the run was ended early.
    pub fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Works on the model.
    pub fn with<R>(&self, work: impl FnOnce(&mut Sim<BpfScheduler>) -> R) -> R {
        work(&mut self.sim.borrow_mut())
    }

    /// Virtual time, ns.
    pub fn now_ns(&self) -> u64 {
        self.sim.borrow().kernel.now
    }

    /// When the run ends, ns.
    pub fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// Lets virtual time pass: up to `timeout`, the end of the run, or the end of the scheduler.
    pub fn wait(&self, timeout: Duration) -> Wake {
        let mut sim = self.sim.borrow_mut();
        if sim.kernel.now >= self.end_ns || self.broken.borrow().is_some() || self.stopped.get() {
            return Wake::Shutdown;
        }
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let until = sim.kernel.now.saturating_add(timeout).min(self.end_ns);
        let look = |now| {
            self.stopped.set(self.stopped.get() || (self.look)(now));
            self.stopped.get()
        };
        match sim.run_watched(until, look) {
            Ok(false) if sim.kernel.now >= self.end_ns || self.stopped.get() => Wake::Shutdown,
            Ok(_) => Wake::Timeout,
            Err(violation) => {
                *self.broken.borrow_mut() = Some(violation);
                Wake::Shutdown
            }
        }
    }

    /// The invariant that broke, if one did; also since time last passed, as by a program that userspace ran.
    pub fn violation(&self) -> Option<Violation> {
        let broken = self.broken.borrow().clone();
        broken.or_else(|| self.sim.borrow().kernel.violation.clone())
    }

    /// The BPF object of the attached scheduler.
    pub fn object(&self) -> SimObject {
        SimObject { session: self.clone() }
    }
}

/// The BPF object of a scheduler on the model.
#[derive(Clone, Debug)]
pub struct SimObject {
    session: Session,
}

impl SimObject {
    fn read<R>(&self, read: impl FnOnce(&BpfScheduler) -> Result<R, UsageError>) -> Result<R, SeamError> {
        let sim = self.session.sim.borrow();
        let ops = sim.ops.as_ref().ok_or_else(nothing_loaded)?;
        read(ops).map_err(translate)
    }

    fn change<R>(
        &self,
        change: impl FnOnce(&mut BpfScheduler) -> Result<R, UsageError>,
    ) -> Result<R, SeamError> {
        let mut sim = self.session.sim.borrow_mut();
        let ops = sim.ops.as_mut().ok_or_else(nothing_loaded)?;
        change(ops).map_err(translate)
    }
}

fn nothing_loaded() -> SeamError {
    SeamError::Missing { kind: "program", name: "of a loaded scheduler".to_owned() }
}

fn translate(error: UsageError) -> SeamError {
    match error {
        UsageError::Missing { kind, name } => SeamError::Missing { kind, name },
        UsageError::Size { name, expected, found } => SeamError::Size { what: name, expected, found },
        UsageError::Refused { operation, name, errno, reason } => {
            SeamError::Refused { operation, name, errno: Some(errno), reason }
        }
        other => SeamError::Refused {
            operation: "use",
            name: "the BPF object".to_owned(),
            errno: None,
            reason: other.to_string(),
        },
    }
}

impl BpfObject for SimObject {
    fn read_global(&self, variable: &str) -> Result<Vec<u8>, SeamError> {
        self.read(|ops| ops.machine().read_global(variable).map(<[u8]>::to_vec))
    }

    fn map_lookup(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, SeamError> {
        self.read(|ops| ops.machine().memory().map_lookup(map, key))
    }

    fn map_lookup_percpu(&self, map: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, SeamError> {
        self.read(|ops| ops.machine().memory().map_lookup_percpu(map, key))
    }

    fn map_entries(&self, map: &str) -> Result<Vec<Entry>, SeamError> {
        self.read(|ops| ops.machine().memory().map_entries(map))
    }

    fn map_update(&mut self, map: &str, key: &[u8], value: &[u8]) -> Result<(), SeamError> {
        self.change(|ops| ops.machine_mut().memory_mut().map_update(map, key, value))
    }

    fn map_delete(&mut self, map: &str, key: &[u8]) -> Result<bool, SeamError> {
        self.change(|ops| ops.machine_mut().memory_mut().map_delete(map, key))
    }

    fn run_syscall(&mut self, program: &str, context: &mut [u8]) -> Result<i32, SeamError> {
        let mut sim = self.session.sim.borrow_mut();
        let Sim { kernel, ops, .. } = &mut *sim;
        let ops = ops.as_mut().ok_or_else(nothing_loaded)?;
        let id = ops
            .machine()
            .program(program)
            .ok_or_else(|| SeamError::Missing { kind: "program", name: program.to_owned() })?;
        match ops.run_syscall(kernel, id, context) {
            Ok(value) => Ok(value as i32),
            Err(fault) => {
                let reason = fault.to_string();
                kernel.violate(format!("syscall program '{program}' faulted: {reason}"));
                Err(SeamError::Refused { operation: "run", name: program.to_owned(), errno: None, reason })
            }
        }
    }
}
