// SPDX-License-Identifier: GPL-2.0-only
//! A loaded object, ready to run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Core, Engine, Program, ProgramType, Vm};
use crate::error::{Fault, UsageError};
use crate::memory::{Access, Addr, Memory};

/// Instructions one call may execute unless [`Machine::set_budget`] says otherwise.
const DEFAULT_BUDGET: u64 = 16_000_000;
/// Most arguments of a callback.
const MAX_ARGS: usize = 12;
/// Largest context of a syscall program, as in the kernel.
const MAX_CONTEXT: usize = 65535;

/// A program of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProgramId(pub(crate) u32);

/// What the latest call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallStats {
    /// Instructions executed, callbacks included; a 64-bit immediate counts as one, a registered function as none.
    pub instructions: u64,
}

/// A global variable of a loaded object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub addr: Addr,
    pub size: u32,
}

/// A loaded object: code, memory and maps. `S` is the state that the registered functions work on.
pub struct Machine<S> {
    pub(crate) program: Arc<Program<S>>,
    pub(crate) memory: Memory,
    core: Core,
    globals: BTreeMap<String, Place>,
    ksyms: BTreeMap<String, Addr>,
    /// (table, member, program)
    ops: Vec<(String, String, ProgramId)>,
    /// Context region: room for the arguments of a callback, per nesting depth 0.
    args: Addr,
    budget: u64,
    stats: CallStats,
}

impl<S> Machine<S> {
    pub(crate) fn new(
        program: Program<S>,
        mut memory: Memory,
        globals: BTreeMap<String, Place>,
        ksyms: BTreeMap<String, Addr>,
        ops: Vec<(String, String, ProgramId)>,
    ) -> Result<Machine<S>, Fault> {
        let args = memory.alloc_bytes("context", MAX_ARGS as u32 * 8, Access::ReadOnly)?;
        Ok(Machine {
            core: Core::new(program.functions.len()),
            program: Arc::new(program),
            memory,
            globals,
            ksyms,
            ops,
            args,
            budget: DEFAULT_BUDGET,
            stats: CallStats::default(),
        })
    }

    /// Memory and maps.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Memory and maps, to change.
    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Sets how many instructions a call may execute; more is a fault.
    pub fn set_budget(&mut self, instructions: u64) {
        self.budget = instructions;
    }

    /// Chooses how programs run: by default ([`Engine::Auto`]) what runs much is compiled.
    pub fn set_engine(&mut self, engine: Engine) {
        self.core.set_engine(engine);
    }

    /// What the latest call cost.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        self.stats
    }

    /// The loaded programs: name, section and id.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &str, ProgramId)> {
        let entries = (0u32..).zip(&self.program.entries);
        entries.map(|(id, entry)| (entry.name.as_str(), entry.section.as_str(), ProgramId(id)))
    }

    /// The program of that name, if it is loaded.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<ProgramId> {
        self.programs().find(|(found, _, _)| *found == name).map(|(_, _, id)| id)
    }

    /// The program behind a member of a callback table, such as `enqueue`.
    #[must_use]
    pub fn ops_program(&self, ops: &str, member: &str) -> Option<ProgramId> {
        let found = self.ops.iter().find(|(table, name, _)| table == ops && name == member);
        found.map(|(_, _, program)| *program)
    }

    /// The object behind a kernel variable that the object uses, see `LoadOptions::ksyms`.
    #[must_use]
    pub fn ksym(&self, name: &str) -> Option<Addr> {
        self.ksyms.get(name).copied()
    }

    fn place(&self, variable: &str) -> Result<Place, UsageError> {
        let place = self.globals.get(variable).copied();
        place.ok_or_else(|| UsageError::Missing { kind: "variable", name: variable.to_owned() })
    }

    /// Address of a global variable.
    ///
    /// # Errors
    /// Unknown variable.
    pub fn global_addr(&self, variable: &str) -> Result<Addr, UsageError> {
        Ok(self.place(variable)?.addr)
    }

    /// The bytes of a global variable.
    ///
    /// # Errors
    /// Unknown variable.
    pub fn read_global(&self, variable: &str) -> Result<&[u8], UsageError> {
        let Place { addr, size } = self.place(variable)?;
        self.memory
            .bytes(addr, size)
            .map_err(|_| UsageError::Missing { kind: "variable", name: variable.to_owned() })
    }

    /// Sets a global variable, read-only ones included.
    ///
    /// Code that a read-only value made unreachable at load was not linked; changing such a value now may lead there,
    /// which is a fault. Use [`crate::Object::set_global`] before loading for configuration.
    ///
    /// # Errors
    /// Unknown variable, or bytes of another length.
    pub fn set_global(&mut self, variable: &str, bytes: &[u8]) -> Result<(), UsageError> {
        let Place { addr, size } = self.place(variable)?;
        if bytes.len() != size as usize {
            let expected = size as usize;
            return Err(UsageError::Size { name: variable.to_owned(), expected, found: bytes.len() });
        }
        let missing = |_| UsageError::Missing { kind: "variable", name: variable.to_owned() };
        self.memory.write_bytes(addr, bytes).map_err(missing)
    }

    /// Runs a callback with its arguments, for programs whose context is an array of arguments (`struct_ops`,
    /// `fentry`, `tp_btf`). Returns r0.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub fn call(&mut self, program: ProgramId, args: &[u64], state: &mut S) -> Result<u64, Fault> {
        let entry = self.entry(program, ProgramType::Arguments)?;
        if args.len() > MAX_ARGS {
            return Err(Fault::violation(format!("{} arguments for a callback", args.len())));
        }
        let context = self.memory.bytes_mut(self.args, MAX_ARGS as u32 * 8)?;
        let (given, rest) = context.split_at_mut(args.len() * 8);
        for (place, arg) in given.chunks_exact_mut(8).zip(args) {
            place.copy_from_slice(&arg.to_le_bytes());
        }
        rest.fill(0);
        self.enter(program, entry, self.args.0, state)
    }

    /// Runs a program whose context is bytes (`syscall`), at most 65535, which it may change. Returns r0.
    ///
    /// # Errors
    /// The fault that stopped it.
    pub fn call_bytes(
        &mut self,
        program: ProgramId,
        context: &mut [u8],
        state: &mut S,
    ) -> Result<u64, Fault> {
        let entry = self.entry(program, ProgramType::Bytes)?;
        if context.len() > MAX_CONTEXT {
            return Err(Fault::violation(format!("a context of {} bytes", context.len())));
        }
        let addr = self.memory.alloc_bytes("context", context.len() as u32, Access::ReadWrite)?;
        self.memory.write_bytes(addr, context)?;
        let result = self.enter(program, entry, addr.0, state);
        context.copy_from_slice(self.memory.bytes(addr, context.len() as u32)?);
        self.memory.free(addr)?;
        result
    }

    /// Calls a BPF function by its address: a timer callback, for example.
    ///
    /// # Errors
    /// The fault that stopped it, or an address that is no BPF function.
    pub fn call_address(&mut self, callback: Addr, args: [u64; 5], state: &mut S) -> Result<u64, Fault> {
        let function = self.program.function_at(callback);
        let function = function
            .ok_or_else(|| Fault::violation(format!("{callback} is the address of no BPF function")))?;
        self.start(u32::MAX, function, &args, state)
    }

    fn entry(&self, program: ProgramId, kind: ProgramType) -> Result<u32, Fault> {
        let entry = self.program.entries.get(program.0 as usize);
        let entry = entry.ok_or_else(|| Fault::violation("a program of another machine"))?;
        if entry.kind == kind {
            return Ok(entry.function);
        }
        let wanted = if kind == ProgramType::Bytes { "bytes" } else { "arguments" };
        Err(Fault::violation(format!("program '{}' ({}) does not take {wanted}", entry.name, entry.section)))
    }

    fn enter(
        &mut self,
        program: ProgramId,
        function: u32,
        context: u64,
        state: &mut S,
    ) -> Result<u64, Fault> {
        self.start(program.0, function, &[context, 0, 0, 0, 0], state)
    }

    fn start(&mut self, entry: u32, function: u32, args: &[u64; 5], state: &mut S) -> Result<u64, Fault> {
        self.core.begin(entry, self.budget);
        let mut vm = Vm { program: &self.program, mem: &mut self.memory, state, core: &mut self.core };
        let result = vm.enter(function, args);
        self.stats = CallStats { instructions: self.core.executed() };
        let left = self.memory.end_of_call();
        let value = result?;
        match left {
            None => Ok(value),
            Some(what) => {
                let name = &self.program.functions[function as usize].name;
                Err(Fault::violation(format!("program '{name}' ended {what}")))
            }
        }
    }
}
