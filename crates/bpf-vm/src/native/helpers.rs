// SPDX-License-Identifier: GPL-2.0-only
//! What compiled code calls: functions in Rust for all that is not worth compiling.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use super::{Context, FAULTED};
use crate::error::Fault;
use crate::memory::{Addr, Memory};
use crate::run::Vm;

/// Addresses of the functions, for machines with one type of state. Each takes the context first and returns a status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Helpers {
    /// `(instruction, count)`: goes on in the interpreter to the end of the function, in which `count` instructions are
    /// paid for and not executed; its r0 is the result.
    pub resume: usize,
    /// `(instruction and index, r1 to r5)`: calls a registered function; its r0 is the result.
    pub call: usize,
    /// `(instruction, function)`: begins a call of a BPF function: its frame is the one that the context names.
    pub push: usize,
    /// Ends it.
    pub pop: usize,
    /// `(address, value, size)`: writes where not the whole region may be written; a failure is none yet.
    pub store: usize,
    /// `(map, object)`: the value that a storage map keeps for an object is the result, and its place in the context.
    pub storage: usize,
    /// `(lock)`: takes a lock; a failure is none yet.
    pub lock: usize,
    /// Gives it back.
    pub unlock: usize,
}

impl Helpers {
    pub(crate) fn of<S>() -> Helpers {
        Helpers {
            resume: resume::<S> as *const () as usize,
            call: call::<S> as *const () as usize,
            push: push::<S> as *const () as usize,
            pop: pop::<S> as *const () as usize,
            store: store as *const () as usize,
            storage: storage as *const () as usize,
            lock: lock as *const () as usize,
            unlock: unlock as *const () as usize,
        }
    }
}

/// Does something with the machine at instruction `pc`, whose result is for the compiled code. A panic waits until the
/// compiled code has returned.
///
/// # Safety
/// As for [`super::Native::run`], from within that call.
unsafe fn act<S>(
    context: *const Context,
    pc: u32,
    action: impl FnOnce(&mut Vm<'_, S>) -> Result<u64, (Fault, u32)>,
) -> u32 {
    // SAFETY: the caller promises that the context is live, and that its `vm` is a `Vm<S>` that only the code which
    // called us uses: it does so again when we have returned.
    let vm = unsafe { &mut *(*context).vm.get().cast::<Vm<'_, S>>() };
    let status = match catch_unwind(AssertUnwindSafe(|| action(vm))) {
        Ok(Ok(result)) => {
            vm.core.context.result.set(result);
            0
        }
        Ok(Err(stopped)) => {
            vm.core.stopped = Some(stopped);
            FAULTED
        }
        Err(panic) => {
            vm.core.panic = Some(panic);
            vm.core.stopped = Some((Fault::violation("a registered function panicked"), pc));
            FAULTED
        }
    };
    vm.mem.show(&vm.core.context);
    status
}

extern "C" fn resume<S>(context: *const Context, pc: u32, unpaid: u32) -> u32 {
    // SAFETY: only compiled code calls this, with the context it was given.
    unsafe {
        act::<S>(context, pc, |vm| {
            let fuel = &vm.core.context.fuel;
            fuel.set(fuel.get() + u64::from(unpaid));
            let mut registers = vm.core.given_up();
            vm.interpret(pc, &mut registers)
        })
    }
}

extern "C" fn call<S>(
    context: *const Context,
    site: u64,
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
) -> u32 {
    let (pc, index) = ((site >> 32) as u32, site as u32);
    // SAFETY: as above.
    unsafe {
        act::<S>(context, pc, |vm| {
            vm.core.site = pc;
            // One by one: they were just written one by one, and a processor that is made to read two of them at once has
            // to wait until both are in its cache.
            let args = [black_box(r1), black_box(r2), black_box(r3), black_box(r4), black_box(r5)];
            vm.call_extern(index as usize, args).map_err(|fault| (fault, pc))
        })
    }
}

extern "C" fn push<S>(context: *const Context, pc: u32, function: u32) -> u32 {
    // SAFETY: as in `act`.
    let vm = unsafe { &mut *(*context).vm.get().cast::<Vm<'_, S>>() };
    match vm.push_frame(pc, function, [0; 4]) {
        Ok(_) => {
            // A new stack may have moved the table of regions.
            vm.mem.show(&vm.core.context);
            0
        }
        Err(fault) => {
            vm.core.stopped = Some((fault, pc));
            FAULTED
        }
    }
}

extern "C" fn pop<S>(context: *const Context) {
    // SAFETY: as in `act`.
    let vm = unsafe { &mut *(*context).vm.get().cast::<Vm<'_, S>>() };
    vm.core.pop_frame();
}

/// The memory of the machine whose code runs.
///
/// # Safety
/// As for [`act`].
unsafe fn memory<'a>(context: *const Context) -> &'a mut Memory {
    // SAFETY: the caller promises that the context is live; its memory is that of the `Vm` which only the code that called us
    // uses, and that does so again when we have returned.
    unsafe { &mut *(*context).memory.get() }
}

extern "C" fn store(context: *const Context, address: u64, value: u64, size: u32) -> u32 {
    // SAFETY: only compiled code calls this, with the context it was given.
    let memory = unsafe { memory(context) };
    let (addr, bytes) = (Addr(address), value.to_le_bytes());
    let written = match size {
        1 => memory.store(addr, [bytes[0]]),
        2 => memory.store(addr, [bytes[0], bytes[1]]),
        4 => memory.store(addr, (value as u32).to_le_bytes()),
        _ => memory.store(addr, bytes),
    };
    if written.is_ok() { 0 } else { FAULTED }
}

extern "C" fn storage(context: *const Context, map: u64, owner: u64) -> u32 {
    // SAFETY: as above.
    let (memory, context) = unsafe { (memory(context), &*context) };
    match memory.storage_place(map, Addr(owner)) {
        Ok(found) => {
            let (value, host) = found.unwrap_or((Addr::NULL, null_mut()));
            context.result.set(value.0);
            context.host.set(host);
            0
        }
        Err(_) => FAULTED,
    }
}

extern "C" fn lock(context: *const Context, lock: u64) -> u32 {
    // SAFETY: as above.
    let memory = unsafe { memory(context) };
    if memory.lock(lock).is_ok() { 0 } else { FAULTED }
}

extern "C" fn unlock(context: *const Context, lock: u64) -> u32 {
    // SAFETY: as above.
    let memory = unsafe { memory(context) };
    if memory.unlock(lock).is_ok() { 0 } else { FAULTED }
}
