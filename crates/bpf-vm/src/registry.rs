// SPDX-License-Identifier: GPL-2.0-only
//! What programs may call: one row a function.

use std::collections::HashMap;

use crate::error::Fault;
use crate::memory::{Addr, Memory};
use crate::run::{Core, Program, Vm};

/// A function of the kernel, as the embedding model implements it. The arguments are the registers r1 to r5; those that
/// the function does not take hold anything.
pub type Function<S> = fn(&mut Ctx<'_, S>, [u64; 5]) -> Result<u64, Fault>;

/// Functions of this crate that compiled code need not call: it does their work in place, or calls a short cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    Lookup,
    StorageGet,
    Lock,
    Unlock,
    Cpu,
    Time,
}

/// A registered function, as programs are linked against it.
#[derive(Debug)]
pub(crate) struct Known<S> {
    pub function: Function<S>,
    pub builtin: Option<Builtin>,
}

impl<S> Clone for Known<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Known<S> {}

impl<S> Known<S> {
    fn plain(function: Function<S>) -> Known<S> {
        Known { function, builtin: None }
    }
}

/// What a registered function works with.
pub struct Ctx<'a, S> {
    /// Memory and maps.
    pub mem: &'a mut Memory,
    /// The state of the embedding model.
    pub state: &'a mut S,
    pub(crate) core: &'a mut Core,
    pub(crate) program: &'a Program<S>,
}

impl<S> Ctx<'_, S> {
    /// Calls a BPF function through a pointer that the program handed over: a callback.
    ///
    /// # Errors
    /// A fault inside, or an address that is no function of the object.
    pub fn call(&mut self, callback: Addr, args: [u64; 5]) -> Result<u64, Fault> {
        let mut vm = Vm { program: self.program, mem: self.mem, state: self.state, core: self.core };
        vm.call_address(callback, args)
    }

    /// Name of the program that the machine was asked to run.
    #[must_use]
    pub fn program_name(&self) -> &str {
        self.core.entry_name(self.program)
    }

    /// Name of the BPF function that called this function.
    #[must_use]
    pub fn caller(&self) -> &str {
        self.core.caller_name(self.program)
    }

    /// Instructions that the current call of the machine has executed so far.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.core.executed()
    }
}

/// Functions by name (kfuncs) and by number (helpers).
#[derive(Debug)]
pub struct Registry<S> {
    functions: HashMap<&'static str, Known<S>>,
    helpers: HashMap<u32, (&'static str, Known<S>)>,
}

impl<S> Clone for Registry<S> {
    fn clone(&self) -> Self {
        Registry { functions: self.functions.clone(), helpers: self.helpers.clone() }
    }
}

impl<S> Default for Registry<S> {
    fn default() -> Self {
        Registry::new()
    }
}

impl<S> Registry<S> {
    /// The functions that need nothing but memory and maps: map look-up and update, storage, `bpf_loop`,
    /// `bpf_for_each_map_elem`, numeric iterators, spin locks, RCU sections, `bpf_kptr_xchg`, probe reads and others.
    #[must_use]
    pub fn new() -> Registry<S> {
        let mut registry = Registry::empty();
        crate::run::builtins::register(&mut registry);
        registry
    }

    /// No functions at all.
    #[must_use]
    pub fn empty() -> Registry<S> {
        Registry { functions: HashMap::new(), helpers: HashMap::new() }
    }

    /// Adds kfuncs; a later row replaces an earlier one of the same name.
    ///
    /// A program's name with a flavour (`scx_bpf_task_set_slice___new`) means the row of exactly that name, else the
    /// row of the name without its last flavour. If the target types declare the function (as `extern … __ksym`, used
    /// somewhere in the C file they are compiled from), the signatures must agree, or the function counts as missing.
    pub fn functions(&mut self, rows: &[(&'static str, Function<S>)]) -> &mut Self {
        self.functions.extend(rows.iter().map(|&(name, function)| (name, Known::plain(function))));
        self
    }

    /// Adds helpers with their numbers.
    pub fn helpers(&mut self, rows: &[(u32, &'static str, Function<S>)]) -> &mut Self {
        let rows = rows.iter().map(|&(number, name, function)| (number, (name, Known::plain(function))));
        self.helpers.extend(rows);
        self
    }

    /// Adds functions and helpers that return the time, as [`Memory::set_time`] sets it.
    pub fn clocks(&mut self, functions: &[&'static str], helpers: &[(u32, &'static str)]) -> &mut Self {
        let clock =
            Known { function: crate::run::builtins::time as Function<S>, builtin: Some(Builtin::Time) };
        self.functions.extend(functions.iter().map(|&name| (name, clock)));
        self.helpers.extend(helpers.iter().map(|&(number, name)| (number, (name, clock))));
        self
    }

    /// Marks a helper as one that compiled code knows.
    pub(crate) fn builtin(&mut self, number: u32, builtin: Builtin) {
        if let Some((_, known)) = self.helpers.get_mut(&number) {
            known.builtin = Some(builtin);
        }
    }

    pub(crate) fn function(&self, name: &str) -> Option<Known<S>> {
        self.functions.get(name).copied()
    }

    pub(crate) fn helper(&self, number: u32) -> Option<(&'static str, Known<S>)> {
        self.helpers.get(&number).copied()
    }
}
