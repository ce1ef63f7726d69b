// SPDX-License-Identifier: GPL-2.0-only
//! The loop that executes instructions one by one: the reference for compiled code, and what that falls back to.

use super::alu::{compute, is_taken};
use super::core::Registers;
use super::{Stopped, UNLINKED, Vm};
use crate::error::{Fault, FaultKind};
use crate::insn::{FP, Insn, Op};
use crate::memory::{Addr, Memory};
use crate::registry::Ctx;

/// Bytes that are never mapped at address 0.
const PAGE: u64 = 4096;

/// Matches an operation, with an arm of its own for each one that is arithmetic or a jump: a single table for the compiler
/// to go through, where a test for groups of operations would cost branches on every instruction.
macro_rules! dispatch {
    ($insn:ident, $pc:ident, $regs:ident, { $($arms:tt)* }) => {
        dispatch! { @all $insn $pc $regs
            [Add64 Sub64 Mul64 Div64 SDiv64 Mod64 SMod64 Or64 And64 Xor64 Lsh64 Rsh64 Arsh64 Neg64 Mov64
             MovSx8To64 MovSx16To64 MovSx32To64
             Add32 Sub32 Mul32 Div32 SDiv32 Mod32 SMod32 Or32 And32 Xor32 Lsh32 Rsh32 Arsh32 Neg32 Mov32
             MovSx8To32 MovSx16To32 Swap16 Swap32 Swap64 Low16 Low32 Low64]
            [Jump Jeq64 Jne64 Jgt64 Jge64 Jlt64 Jle64 Jset64 Jsgt64 Jsge64 Jslt64 Jsle64
             Jeq32 Jne32 Jgt32 Jge32 Jlt32 Jle32 Jset32 Jsgt32 Jsge32 Jslt32 Jsle32]
            { $($arms)* }
        }
    };
    (@all $insn:ident $pc:ident $regs:ident [$($alu:ident)*] [$($jump:ident)*] { $($arms:tt)* }) => {
        match $insn.op {
            $(Op::$alu => {
                let (a, b) = operands($insn, $regs);
                $regs[usize::from($insn.dst & 15)] = compute(Op::$alu, a, b);
            })*
            $(Op::$jump => {
                let (a, b) = operands($insn, $regs);
                if is_taken(Op::$jump, a, b) {
                    $pc = $insn.off.cast_unsigned();
                }
            })*
            $($arms)*
        }
    };
}

#[inline(always)]
fn operands(insn: Insn, regs: &Registers) -> (u64, u64) {
    (
        regs[usize::from(insn.dst & 15)],
        regs[usize::from(insn.src & 15)].wrapping_add(insn.imm.cast_unsigned()),
    )
}

impl<S> Vm<'_, S> {
    /// Goes on at an instruction until the function that it belongs to ends.
    pub(crate) fn interpret(&mut self, pc: u32, regs: &mut Registers) -> Result<u64, Stopped> {
        let program = self.program;
        let floor = self.core.frames.len();
        let mut pc = pc;
        let mut fuel = self.core.context.fuel.get();
        let stopped = loop {
            let at = pc;
            let Some(&insn) = program.code.get(at as usize) else {
                break (Fault::violation("the code ends without an exit"), at);
            };
            let Some(left) = fuel.checked_sub(1) else {
                break (FaultKind::Budget(self.core.budget).into(), at);
            };
            (fuel, pc) = (left, at + 1);
            macro_rules! attempt {
                ($action:expr) => {
                    match $action {
                        Ok(value) => value,
                        Err(fault) => break (fault, at),
                    }
                };
            }
            dispatch!(insn, pc, regs, {
                Op::CallExtern => {
                    self.core.context.fuel.set(fuel);
                    self.core.site = at;
                    let args = std::array::from_fn(|index| regs[index + 1]);
                    let result = self.call_extern(insn.imm as usize, args);
                    fuel = self.core.context.fuel.get();
                    regs[0] = attempt!(result);
                    regs[1..6].fill(0);
                }
                Op::CallLocal => {
                    if insn.off.cast_unsigned() == UNLINKED {
                        break (Fault::violation("call of a function that was not linked"), at);
                    }
                    let saved = [regs[6], regs[7], regs[8], regs[9]];
                    regs[FP as usize] = attempt!(self.push_frame(at, insn.imm as u32, saved));
                    regs[0] = 0;
                    regs[6..10].fill(0);
                    pc = insn.off.cast_unsigned();
                }
                Op::Exit => {
                    if self.core.frames.len() == floor {
                        self.core.context.fuel.set(fuel);
                        return Ok(regs[0]);
                    }
                    let frame = self.core.pop_frame();
                    regs[1..6].fill(0);
                    regs[6..10].copy_from_slice(&frame.saved);
                    regs[FP as usize] = self.core.frame_pointer();
                    pc = frame.call + 1;
                }
                Op::MayGoto => {
                    let left = &self.core.context.may_goto;
                    match left.get().checked_sub(1) {
                        Some(less) => left.set(less),
                        None => pc = insn.off.cast_unsigned(),
                    }
                }
                _ => attempt!(self.access(insn, regs)),
            });
        };
        self.core.context.fuel.set(fuel);
        Err(stopped)
    }

    #[inline]
    pub(crate) fn call_extern(&mut self, index: usize, args: [u64; 5]) -> Result<u64, Fault> {
        let program = self.program;
        let Some(callee) = program.externs.get(index) else {
            return Err(Fault::violation("call of an unknown function"));
        };
        let mut ctx = Ctx { mem: self.mem, state: self.state, core: self.core, program };
        (callee.function)(&mut ctx, args).map_err(|fault| fault.within(&callee.name))
    }

    /// Loads, stores, and what is missing.
    fn access(&mut self, insn: Insn, regs: &mut Registers) -> Result<(), Fault> {
        let Insn { op, dst, src, off, imm } = insn;
        let (dst, src) = (dst as usize & 15, src as usize & 15);
        let mem = &mut *self.mem;
        let (a, b) = (regs[dst], regs[src].wrapping_add(imm.cast_unsigned()));
        match op {
            Op::Load64 => regs[dst] = u64::from_le_bytes(load(mem, b, off)?),
            Op::Load32 => regs[dst] = u32::from_le_bytes(load(mem, b, off)?).into(),
            Op::Load16 => regs[dst] = u16::from_le_bytes(load(mem, b, off)?).into(),
            Op::Load8 => regs[dst] = u8::from_le_bytes(load(mem, b, off)?).into(),
            Op::Store64 => store(mem, a, off, b.to_le_bytes())?,
            Op::Store32 => store(mem, a, off, (b as u32).to_le_bytes())?,
            Op::Store16 => store(mem, a, off, (b as u16).to_le_bytes())?,
            Op::Store8 => store(mem, a, off, (b as u8).to_le_bytes())?,
            Op::LoadSx8 => regs[dst] = i64::from(i8::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::LoadSx16 => regs[dst] = i64::from(i16::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::LoadSx32 => regs[dst] = i64::from(i32::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::Atomic32 | Op::Atomic64 => self.atomic(insn, regs)?,
            Op::LoadAcquire8 => regs[dst] = u8::from_le_bytes(load(mem, b, off)?).into(),
            Op::LoadAcquire16 => regs[dst] = u16::from_le_bytes(load_aligned(mem, b, off)?).into(),
            Op::LoadAcquire32 => regs[dst] = u32::from_le_bytes(load_aligned(mem, b, off)?).into(),
            Op::LoadAcquire64 => regs[dst] = u64::from_le_bytes(load_aligned(mem, b, off)?),
            Op::StoreRelease8 => store(mem, a, off, (b as u8).to_le_bytes())?,
            Op::StoreRelease16 => store_aligned(mem, a, off, (b as u16).to_le_bytes())?,
            Op::StoreRelease32 => store_aligned(mem, a, off, (b as u32).to_le_bytes())?,
            Op::StoreRelease64 => store_aligned(mem, a, off, b.to_le_bytes())?,
            Op::CallMissing => return Err(FaultKind::MissingFunction(self.message(imm)).into()),
            _ => return Err(FaultKind::Poisoned(self.message(imm)).into()),
        }
        Ok(())
    }

    fn message(&self, index: i64) -> String {
        self.program.messages.get(index as usize).cloned().unwrap_or_default()
    }
}

#[inline(always)]
fn at(base: u64, off: i32) -> Addr {
    Addr(base.wrapping_add(i64::from(off).cast_unsigned()))
}

#[inline(always)]
pub(super) fn load<const N: usize>(mem: &Memory, base: u64, off: i32) -> Result<[u8; N], Fault> {
    let addr = at(base, off);
    match mem.load(addr) {
        Some(bytes) => Ok(bytes),
        None => unreadable(mem, addr),
    }
}

/// What a failed read gives: a kernel turns reads through NULL pointers between its objects into zero.
#[cold]
fn unreadable<const N: usize>(mem: &Memory, addr: Addr) -> Result<[u8; N], Fault> {
    if mem.null_reads_zero && addr.0 < PAGE {
        return Ok([0; N]);
    }
    Err(mem.access_fault(addr, N, false))
}

#[inline(always)]
pub(super) fn store<const N: usize>(
    mem: &mut Memory,
    base: u64,
    off: i32,
    bytes: [u8; N],
) -> Result<(), Fault> {
    mem.store(at(base, off), bytes)
}

/// Atomic accesses must be aligned.
pub(super) fn aligned(mem: &Memory, base: u64, off: i32, size: u64) -> Result<(), Fault> {
    let addr = at(base, off);
    if addr.0.is_multiple_of(size) {
        return Ok(());
    }
    Err(Fault::violation(format!("misaligned atomic access to {}", mem.describe(addr))))
}

fn load_aligned<const N: usize>(mem: &Memory, base: u64, off: i32) -> Result<[u8; N], Fault> {
    aligned(mem, base, off, N as u64)?;
    load(mem, base, off)
}

fn store_aligned<const N: usize>(mem: &mut Memory, base: u64, off: i32, bytes: [u8; N]) -> Result<(), Fault> {
    aligned(mem, base, off, N as u64)?;
    store(mem, base, off, bytes)
}
