// SPDX-License-Identifier: GPL-2.0-only
//! Running: a linked program over memory.

use crate::error::{Fault, Location};
use crate::memory::{Addr, Memory};
use crate::registry::{Builtin, Function};

mod alu;
mod atomics;
pub(crate) mod builtins;
mod core;
mod interpreter;
mod machine;

pub(crate) use alu::{constant, decides};
pub(crate) use core::Core;
pub use core::Engine;
use core::Registers;
pub(crate) use machine::Place;
pub use machine::{CallStats, Machine, ProgramId};

use crate::insn::{FP, Insn};

/// Bytes of a stack frame, as the kernel gives a program.
pub(crate) const STACK_BYTES: u32 = 512;
/// Frames of BPF functions within one entry (a program, or a callback that a registered function calls).
const MAX_FRAMES: usize = 8;
/// Frames in all: entries nest when registered functions call back.
const MAX_DEPTH: usize = 64;
/// Times all `may_goto` instructions of one entry may fall through, as in the kernel.
const MAY_GOTO_LIMIT: u32 = 8 << 20;
/// Entry of a function that was named but is never reached.
pub(crate) const UNLINKED: u32 = u32::MAX;

/// A linked BPF function.
#[derive(Debug, Clone)]
pub(crate) struct LinkedFunction {
    pub name: String,
    /// Index of its first instruction; [`UNLINKED`] if no reachable code calls it.
    pub entry: u32,
    pub len: u32,
    /// Bytes of its stack frame that it names, from the frame pointer down. Only these begin as zero.
    pub stack: u32,
}

/// How the context of a program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramType {
    /// r1 points to an array of 64-bit arguments.
    Arguments,
    /// r1 points to bytes the caller brings and gets back.
    Bytes,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub name: String,
    pub section: String,
    pub function: u32,
    pub kind: ProgramType,
}

/// A registered function that linked code calls.
pub(crate) struct Extern<S> {
    pub name: String,
    pub function: Function<S>,
    pub builtin: Option<Builtin>,
}

/// Linked code and what it refers to; never changes after loading.
pub(crate) struct Program<S> {
    pub code: Vec<Insn>,
    /// Which instructions can run, as far as constants tell.
    pub reached: Vec<bool>,
    /// For each instruction: index of its slot within its function, as a disassembler counts.
    pub slots: Vec<u32>,
    pub functions: Vec<LinkedFunction>,
    pub externs: Vec<Extern<S>>,
    /// What poisoned instructions and missing functions are about.
    pub messages: Vec<String>,
    pub entries: Vec<Entry>,
    /// Start of the addresses of BPF functions.
    pub code_base: Addr,
    pub lines: Lines,
}

/// Source positions by instruction.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// (first instruction, file, line, text), sorted; a gap has line 0.
    pub lines: Vec<(u32, u32, u32, u32)>,
    pub strings: Vec<String>,
}

impl<S> Program<S> {
    /// A program without code.
    pub(crate) fn new(functions: Vec<LinkedFunction>, code_base: Addr) -> Self {
        Program {
            code: Vec::new(),
            reached: Vec::new(),
            slots: Vec::new(),
            functions,
            externs: Vec::new(),
            messages: Vec::new(),
            entries: Vec::new(),
            code_base,
            lines: Lines::default(),
        }
    }

    /// Distance between the addresses of two BPF functions.
    pub(crate) const CODE_STEP: u64 = 8;

    pub(crate) fn function_at(&self, addr: Addr) -> Option<u32> {
        let offset = addr.0.checked_sub(self.code_base.0)?;
        let index = offset / Self::CODE_STEP;
        (offset % Self::CODE_STEP == 0 && index < self.functions.len() as u64).then_some(index as u32)
    }

    fn function_of(&self, pc: u32) -> Option<&LinkedFunction> {
        self.functions.iter().find(|f| f.entry != UNLINKED && pc >= f.entry && pc - f.entry < f.len)
    }

    pub(crate) fn location(&self, pc: u32) -> Location {
        let function = self.function_of(pc).map_or_else(|| "?".to_owned(), |f| f.name.clone());
        let insn = self.slots.get(pc as usize).map_or(0, |&slot| slot as usize);
        let after = self.lines.lines.partition_point(|line| line.0 <= pc);
        let line = after.checked_sub(1).map(|index| self.lines.lines[index]).filter(|line| line.2 != 0);
        let text = |index: u32| self.lines.strings.get(index as usize).cloned();
        Location {
            function,
            insn,
            source: line.and_then(|line| Some((text(line.1)?, line.2))),
            text: line.and_then(|line| text(line.3)).filter(|text| !text.trim().is_empty()),
        }
    }
}

/// Everything that runs code.
pub(crate) struct Vm<'a, S> {
    pub program: &'a Program<S>,
    pub mem: &'a mut Memory,
    pub state: &'a mut S,
    pub core: &'a mut Core,
}

/// A fault and the instruction it happened at.
pub(crate) type Stopped = (Fault, u32);

impl<S> Vm<'_, S> {
    pub(crate) fn call_address(&mut self, addr: Addr, args: [u64; 5]) -> Result<u64, Fault> {
        let function = self.program.function_at(addr);
        let function = function.ok_or_else(|| {
            Fault::violation(format!("call of {addr}, which is no BPF function: {}", self.mem.describe(addr)))
        })?;
        self.enter(function, &args)
    }

    /// Runs a function from its first instruction; on a fault adds where it happened. The arguments come by reference: who
    /// copies what was just written one by one waits for it.
    pub(crate) fn enter(&mut self, function: u32, args: &[u64; 5]) -> Result<u64, Fault> {
        let linked = &self.program.functions[function as usize];
        if linked.entry == UNLINKED {
            return Err(Fault::violation(format!("function '{}' was not linked", linked.name)));
        }
        let outer = self.core.begin_entry();
        let result = self.run(function, linked.entry, args);
        let frames = self.core.end_entry(outer);
        match result {
            Ok(value) => {
                self.core.frames.truncate(frames);
                Ok(value)
            }
            Err((mut fault, pc)) => {
                fault.push_location(self.program.location(pc));
                for frame in self.core.frames.drain(frames..).rev() {
                    fault.push_location(self.program.location(frame.call));
                }
                Err(fault)
            }
        }
    }

    fn run(&mut self, function: u32, entry: u32, args: &[u64; 5]) -> Result<u64, Stopped> {
        let zeroed = self.program.functions[function as usize].stack;
        let frame = self.core.push_stack(self.mem, zeroed).map_err(|fault| (fault, entry))?;
        if let Some(code) = self.compiled(function) {
            return self.run_compiled(code, args);
        }
        let mut registers: Registers = [0; 16];
        registers[1..6].copy_from_slice(args);
        registers[FP as usize] = frame;
        let before = self.core.context.fuel.get();
        let result = self.interpret(entry, &mut registers);
        self.core.warm(function, before - self.core.context.fuel.get());
        result
    }
}
