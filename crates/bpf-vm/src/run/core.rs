// SPDX-License-Identifier: GPL-2.0-only
//! What changes while code runs, besides memory; and which of the two ways a function runs.

use std::any::Any;
use std::hint::black_box;

use super::{MAX_DEPTH, MAX_FRAMES, MAY_GOTO_LIMIT, Program, STACK_BYTES, Stopped, Vm};
use crate::error::{Fault, FaultKind};
use crate::insn::FP;
use crate::memory::{Access, Addr, Memory};
use crate::native::{Code, Context, Helpers, Native};

/// Registers r0 to r10, the zero register, and padding that makes every 4-bit number a valid index.
pub(super) type Registers = [u64; 16];

/// How programs run. Results, counts and faults are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Engine {
    /// Functions are compiled once they have run for so long that it pays. Where the host is one that Cranelift does not
    /// know, everything is interpreted.
    #[default]
    Auto,
    /// Everything is interpreted: the reference.
    Interpret,
    /// Functions are compiled when they are first called.
    Compile,
}

/// Instructions that a function executes in the interpreter before it is compiled.
const WARM: u64 = 200_000;

/// Heat of a function that cannot be compiled.
const REFUSED: u64 = u64::MAX;

/// A call of one BPF function by another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// The call instruction that made it.
    pub call: u32,
    /// r6 to r9 of the caller, if the interpreter runs it.
    pub saved: [u64; 4],
}

/// What an entry (a program, or a callback that a registered function calls) puts back when it ends.
pub(super) struct Outer {
    base: usize,
    depth: usize,
    site: u32,
    may_goto: u64,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(super) frames: Vec<Frame>,
    /// Frames of outer entries.
    base: usize,
    /// Stack region of each depth, made when first needed.
    stacks: Vec<Addr>,
    depth: usize,
    pub(super) budget: u64,
    entry: u32,
    /// The latest call of a registered function.
    pub(crate) site: u32,
    pub(crate) context: Box<Context>,
    /// Why compiled code stopped.
    pub(crate) stopped: Option<Stopped>,
    /// A panic that waits until compiled code has returned.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
    native: Option<Native>,
    /// Instructions that a function has executed in the interpreter, and how many make it worth compiling.
    heat: Vec<u64>,
    warm: u64,
}

impl Core {
    pub(crate) fn new(functions: usize) -> Core {
        Core {
            frames: Vec::new(),
            base: 0,
            stacks: Vec::new(),
            depth: 0,
            budget: 0,
            entry: 0,
            site: 0,
            context: Box::new(Context::new()),
            stopped: None,
            panic: None,
            native: None,
            heat: vec![0; functions],
            warm: WARM,
        }
    }

    /// Chooses how code runs from now on.
    pub(crate) fn set_engine(&mut self, engine: Engine) {
        self.warm = match engine {
            Engine::Auto => WARM,
            Engine::Interpret => u64::MAX,
            Engine::Compile => 0,
        };
        if engine == Engine::Interpret {
            self.native = None;
        }
    }

    /// How many functions are compiled.
    #[cfg(test)]
    pub(crate) fn compiled_functions(&self) -> usize {
        self.native.as_ref().map_or(0, Native::compiled)
    }

    pub(crate) fn executed(&self) -> u64 {
        self.budget - self.context.fuel.get()
    }

    pub(crate) fn entry_name<'a, S>(&self, program: &'a Program<S>) -> &'a str {
        program.entries.get(self.entry as usize).map_or("", |entry| &entry.name)
    }

    pub(crate) fn caller_name<'a, S>(&self, program: &'a Program<S>) -> &'a str {
        program.function_of(self.site).map_or("", |function| &function.name)
    }

    /// A call of the machine begins.
    pub(crate) fn begin(&mut self, entry: u32, budget: u64) {
        self.entry = entry;
        self.budget = budget;
        self.context.fuel.set(budget);
        self.depth = 0;
        self.frames.clear();
    }

    pub(super) fn begin_entry(&mut self) -> Outer {
        let may_goto = self.context.may_goto.replace(MAY_GOTO_LIMIT.into());
        let base = std::mem::replace(&mut self.base, self.frames.len());
        // The depth has just been written: to read it together with its neighbours would take waiting for that.
        Outer { base, depth: black_box(self.depth), site: self.site, may_goto }
    }

    /// Returns the number of frames before it began; those it left tell where it stopped.
    pub(super) fn end_entry(&mut self, outer: Outer) -> usize {
        self.depth = outer.depth;
        self.site = outer.site;
        self.context.may_goto.set(outer.may_goto);
        std::mem::replace(&mut self.base, outer.base)
    }

    /// A stack frame one level deeper, of which so many bytes are zero; returns the frame pointer. What lies below is as
    /// earlier functions left it, whichever way they ran.
    pub(super) fn push_stack(&mut self, mem: &mut Memory, zeroed: u32) -> Result<u64, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(FaultKind::Depth.into());
        }
        if self.depth == self.stacks.len() {
            let name = format!("stack frame {}", self.depth);
            let region = mem.alloc_bytes(&name, STACK_BYTES, Access::ReadWrite)?;
            mem.fix(region);
            self.stacks.push(region);
        }
        let base = self.stacks[self.depth];
        let bytes = mem.bytes_mut(base, STACK_BYTES)?;
        bytes[(STACK_BYTES - zeroed) as usize..].fill(0);
        self.context.frame_end.set(bytes.as_mut_ptr_range().end);
        self.depth += 1;
        let frame = base.offset(STACK_BYTES.into()).0;
        self.context.frame.set(frame);
        Ok(frame)
    }

    /// Leaves the innermost function; returns how it was called.
    pub(crate) fn pop_frame(&mut self) -> Frame {
        self.depth -= 1;
        self.frames.pop().expect("a function is left only after it was called")
    }

    /// The frame pointer of the function that runs.
    pub(super) fn frame_pointer(&self) -> u64 {
        self.stacks[self.depth - 1].offset(STACK_BYTES.into()).0
    }

    /// The registers of compiled code that has given up.
    pub(crate) fn given_up(&self) -> Registers {
        let mut registers: Registers = [0; 16];
        for (register, value) in registers.iter_mut().zip(&self.context.registers) {
            *register = value.get();
        }
        registers[FP as usize] = self.frame_pointer();
        registers
    }

    /// The interpreter has executed so many instructions for a function.
    pub(super) fn warm(&mut self, function: u32, instructions: u64) {
        let heat = &mut self.heat[function as usize];
        if *heat != REFUSED {
            *heat += instructions;
        }
    }
}

impl<S> Vm<'_, S> {
    /// The code of a function, which is compiled if that is due.
    #[inline]
    pub(super) fn compiled(&mut self, function: u32) -> Option<Code> {
        if let Some(code) = self.core.native.as_ref().and_then(|native| native.code(function)) {
            return Some(code);
        }
        let heat = self.core.heat[function as usize];
        (heat >= self.core.warm && heat != REFUSED).then(|| self.compile(function)).flatten()
    }

    #[cold]
    fn compile(&mut self, function: u32) -> Option<Code> {
        let core = &mut *self.core;
        if core.native.is_none() {
            core.native = Native::new(self.program.functions.len());
        }
        let Some(native) = &mut core.native else {
            // Not on this host.
            core.warm = u64::MAX;
            return None;
        };
        if native.compile(self.program, self.mem, &Helpers::of::<S>(), function).is_err() {
            // Too large for Cranelift, for example: the interpreter has no limits.
            core.heat[function as usize] = REFUSED;
        }
        native.code(function)
    }

    #[allow(unsafe_code, reason = "the only place where compiled code is entered")]
    pub(super) fn run_compiled(&mut self, code: Code, args: &[u64; 5]) -> Result<u64, Stopped> {
        self.mem.show(&self.core.context);
        let vm: *mut Vm<'_, S> = self;
        let outer = self.core.context.vm.replace(vm.cast());
        let memory = self.core.context.memory.replace(self.mem);
        // SAFETY: the code was compiled for this machine, and so for `Vm<S>`; `vm` points to one that is not used here until
        // the code has returned; the context is the machine's own.
        let status = unsafe { Native::run(code, &self.core.context, args) };
        self.core.context.vm.set(outer);
        self.core.context.memory.set(memory);
        if status == 0 {
            return Ok(self.core.context.result.get());
        }
        if let Some(panic) = self.core.panic.take() {
            std::panic::resume_unwind(panic);
        }
        Err(self.core.stopped.take().expect("whoever stops compiled code says why"))
    }

    /// Begins the call of a BPF function by another.
    pub(crate) fn push_frame(&mut self, call: u32, callee: u32, saved: [u64; 4]) -> Result<u64, Fault> {
        if self.core.frames.len() - self.core.base + 1 >= MAX_FRAMES {
            return Err(FaultKind::Depth.into());
        }
        let zeroed = self.program.functions[callee as usize].stack;
        let frame = self.core.push_stack(self.mem, zeroed)?;
        self.core.frames.push(Frame { call, saved });
        Ok(frame)
    }
}
