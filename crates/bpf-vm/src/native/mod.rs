// SPDX-License-Identifier: GPL-2.0-only
//! Compiled code: linked functions in the instructions of the host, made by Cranelift.
//!
//! It does what the interpreter does, to the instruction: the same checks of every access, the same counts, the same
//! faults. It keeps that simple by giving up: where anything but the usual is about to happen (an access that may not be
//! plain, the last instructions of the budget, an instruction that is missing), it hands its registers to the
//! interpreter, which goes on from there to the end of the function and finds whatever there is to find.
//!
//! - [`flow`]: blocks of a function, and which registers are needed where;
//! - [`spans`]: which accesses can be checked together;
//! - [`translate`]: one function from BPF to Cranelift's form, with [`alu`], [`access`], [`calls`] and [`builtins`];
//! - [`context`]: what compiled code and Rust share;
//! - [`helpers`]: what compiled code calls.
#![allow(unsafe_code, reason = "compiled code is called through pointers and calls back with them")]

use cranelift_codegen::ir::{self, types};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, ModuleError, default_libcall_names};

use crate::insn::Op;
use crate::memory::Memory;
use crate::run::{Program, UNLINKED};

mod access;
mod alu;
mod builtins;
mod calls;
mod context;
mod flow;
mod helpers;
mod spans;
#[cfg(test)]
mod tests;
mod translate;

pub(crate) use context::Context;
pub(crate) use helpers::Helpers;

/// A compiled function: the context and r1 to r5; 0 if it ended well, with r0 in the context.
pub(crate) type Code = unsafe extern "C" fn(*const Context, u64, u64, u64, u64, u64) -> u32;

/// Status of a compiled function or a helper that ended with a fault, which Rust keeps.
pub(super) const FAULTED: u32 = 1;

/// The compiled functions of a machine.
pub(crate) struct Native {
    /// `None` when the memory is given back.
    module: Option<JITModule>,
    builder: FunctionBuilderContext,
    /// By function: what its id is, once it is declared.
    ids: Vec<Option<FuncId>>,
    code: Vec<Option<Code>>,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let compiled = self.code.iter().flatten().count();
        write!(f, "Native({compiled} of {} functions)", self.code.len())
    }
}

impl Native {
    /// For a program of so many functions; `None` where Cranelift knows no instructions of the host.
    pub(crate) fn new(functions: usize) -> Option<Native> {
        if cfg!(target_endian = "big") || size_of::<usize>() != 8 {
            return None;
        }
        let mut flags = settings::builder();
        for (name, value) in
            [("opt_level", "speed"), ("is_pic", "false"), ("use_colocated_libcalls", "false")]
        {
            flags.set(name, value).ok()?;
        }
        let isa = cranelift_native::builder().ok()?.finish(settings::Flags::new(flags)).ok()?;
        let module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
        let builder = FunctionBuilderContext::new();
        Some(Native {
            module: Some(module),
            builder,
            ids: vec![None; functions],
            code: vec![None; functions],
        })
    }

    /// Runs a function that is compiled: 0, or [`FAULTED`] with the fault where the helpers keep it.
    ///
    /// # Safety
    /// `context` is the one of the machine the code was compiled for, its `vm` points to the `Vm` that runs it, of the
    /// type the code was compiled for, and nothing else uses that `Vm` meanwhile.
    pub(crate) unsafe fn run(code: Code, context: &Context, args: &[u64; 5]) -> u32 {
        let [r1, r2, r3, r4, r5] = *args;
        // SAFETY: the code was made from the signature of `Code`; the rest is the caller's promise.
        unsafe { code(std::ptr::from_ref(context), r1, r2, r3, r4, r5) }
    }

    /// The code of a function, if it is compiled.
    #[inline]
    pub(crate) fn code(&self, function: u32) -> Option<Code> {
        self.code[function as usize]
    }

    /// How many functions are compiled.
    #[cfg(test)]
    pub(crate) fn compiled(&self) -> usize {
        self.code.iter().flatten().count()
    }

    /// Compiles a function and the BPF functions it calls.
    ///
    /// # Errors
    /// What Cranelift does not like about it.
    pub(crate) fn compile<S>(
        &mut self,
        program: &Program<S>,
        memory: &Memory,
        helpers: &Helpers,
        function: u32,
    ) -> Result<(), Box<ModuleError>> {
        let Native { module: Some(module), builder, ids, code } = self else { return Ok(()) };
        let mut queue = vec![function];
        let mut made = Vec::new();
        while let Some(function) = queue.pop() {
            let linked = &program.functions[function as usize];
            if code[function as usize].is_some() || made.contains(&function) || linked.entry == UNLINKED {
                continue;
            }
            made.push(function);
            let calls = program.code[linked.entry as usize..(linked.entry + linked.len) as usize].iter();
            queue.extend(calls.filter(|insn| insn.op == Op::CallLocal).map(|insn| insn.imm as u32));
            let mut context = module.make_context();
            context.func.signature = signature(module);
            let source = translate::Source { program, memory, helpers, function };
            translate::translate(&source, module, builder, ids, &mut context.func)?;
            let id = declared(module, ids, function)?;
            module.define_function(id, &mut context)?;
            module.clear_context(&mut context);
        }
        module.finalize_definitions()?;
        for function in made {
            let id = declared(module, ids, function)?;
            let start = module.get_finalized_function(id);
            // SAFETY: the code was compiled with the signature of `Code` for the host's calling convention, and stays
            // where it is until `drop`.
            code[function as usize] = Some(unsafe { std::mem::transmute::<*const u8, Code>(start) });
        }
        Ok(())
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: compiled code runs only inside a call of the machine that owns this, and the pointers to it go with
            // `self`.
            unsafe { module.free_memory() };
        }
    }
}

/// The signature of [`Code`].
fn signature(module: &JITModule) -> ir::Signature {
    let mut signature = module.make_signature();
    signature.params.extend([ir::AbiParam::new(types::I64); 6]);
    signature.returns.push(ir::AbiParam::new(types::I32));
    signature
}

/// The id of a function in the module.
fn declared(
    module: &mut JITModule,
    ids: &mut [Option<FuncId>],
    function: u32,
) -> Result<FuncId, Box<ModuleError>> {
    if let Some(id) = ids[function as usize] {
        return Ok(id);
    }
    let id = module.declare_function(&format!("bpf {function}"), Linkage::Local, &signature(module))?;
    ids[function as usize] = Some(id);
    Ok(id)
}
