// SPDX-License-Identifier: GPL-2.0-only
//! The loop that executes instructions.

use super::alu::{compute, is_taken};
use super::{Frame, MAX_FRAMES, MAY_GOTO_LIMIT, UNLINKED, Vm};
use crate::error::{Fault, FaultKind};
use crate::insn::{Insn, Op};
use crate::memory::{Addr, Memory};
use crate::registry::Ctx;

/// Bytes that are never mapped at address 0.
const PAGE: u64 = 4096;

/// A fault and the instruction it happened at.
type Stopped = (Fault, u32);

/// Registers r0 to r10, the zero register, and padding that makes every 4-bit number a valid index.
type Registers = [u64; 16];

/// Matches an operation, with one arm for each of arithmetic and jumps: a single table for the compiler to jump
/// through, where a test for groups of operations would cost branches on every instruction.
macro_rules! dispatch {
    ($op:expr, $a:expr, $b:expr, $result:expr, $pc:ident = $target:expr, { $($arms:tt)* }) => {
        dispatch!(@arms $op, $a, $b, $result, $pc = $target, { $($arms)* };
            Add64 Sub64 Mul64 Div64 SDiv64 Mod64 SMod64 Or64 And64 Xor64 Lsh64 Rsh64 Arsh64 Neg64 Mov64
            MovSx8To64 MovSx16To64 MovSx32To64
            Add32 Sub32 Mul32 Div32 SDiv32 Mod32 SMod32 Or32 And32 Xor32 Lsh32 Rsh32 Arsh32 Neg32 Mov32
            MovSx8To32 MovSx16To32 Swap16 Swap32 Swap64 Low16 Low32 Low64;
            Jump Jeq64 Jne64 Jgt64 Jge64 Jlt64 Jle64 Jset64 Jsgt64 Jsge64 Jslt64 Jsle64
            Jeq32 Jne32 Jgt32 Jge32 Jlt32 Jle32 Jset32 Jsgt32 Jsge32 Jslt32 Jsle32)
    };
    (@arms $op:expr, $a:expr, $b:expr, $result:expr, $pc:ident = $target:expr, { $($arms:tt)* };
            $($alu:ident)*; $($jump:ident)*) => {
        match $op {
            $(Op::$alu => $result = compute(Op::$alu, $a, $b),)*
            $(Op::$jump => if is_taken(Op::$jump, $a, $b) { $pc = $target },)*
            $($arms)*
        }
    };
}

/// Calls in one entry, so that frames of an outer entry are left alone.
struct Entered {
    frames: usize,
}

impl<S> Vm<'_, S> {
    pub(super) fn run(&mut self, entry: u32, args: [u64; 5]) -> Result<u64, Stopped> {
        let mut regs: Registers = [0; 16];
        regs[1..6].copy_from_slice(&args);
        regs[10] = self.core.push_stack(self.mem).map_err(|fault| (fault, entry))?;
        let entered = Entered { frames: self.core.frames.len() };
        let program = self.program;
        let code = program.code.as_slice();
        let mut pc = entry;
        let mut fuel = self.core.fuel;
        let mut may_goto = MAY_GOTO_LIMIT;
        // Ends with a fault; a program that ends well returns from within.
        let stopped = 'run: loop {
            let at = pc;
            let Some(&insn) = code.get(at as usize) else {
                break (Fault::violation("the code ends without an exit"), at);
            };
            let Some(left) = fuel.checked_sub(1) else {
                break (FaultKind::Budget(self.core.budget).into(), at);
            };
            fuel = left;
            pc += 1;
            let Insn { op, dst, src, off, imm } = insn;
            let (dst, src) = (dst as usize & 15, src as usize & 15);
            let a = regs[dst];
            let b = regs[src].wrapping_add(imm.cast_unsigned());
            macro_rules! attempt {
                ($action:expr) => {
                    match $action {
                        Ok(value) => value,
                        Err(fault) => break 'run (fault, at),
                    }
                };
            }
            dispatch!(op, a, b, regs[dst], pc = off as u32, {
                Op::Load64 => regs[dst] = u64::from_le_bytes(attempt!(load(self.mem, b, off))),
                Op::Load32 => regs[dst] = u32::from_le_bytes(attempt!(load(self.mem, b, off))).into(),
                Op::Store64 => attempt!(store(self.mem, a, off, b.to_le_bytes())),
                Op::Store32 => attempt!(store(self.mem, a, off, (b as u32).to_le_bytes())),
                Op::CallExtern => {
                    self.core.fuel = fuel;
                    self.core.site = at;
                    let result = self.call_extern(imm as usize, &regs);
                    fuel = self.core.fuel;
                    regs[0] = attempt!(result);
                }
                Op::CallLocal => {
                    attempt!(self.call_local(at, off, &mut regs, &entered));
                    pc = off as u32;
                }
                Op::Exit => {
                    if self.core.frames.len() == entered.frames {
                        self.core.fuel = fuel;
                        return Ok(regs[0]);
                    }
                    pc = self.return_to(&mut regs) + 1;
                }
                Op::MayGoto => match may_goto.checked_sub(1) {
                    Some(left) => may_goto = left,
                    None => pc = off as u32,
                },
                _ => attempt!(self.rare(insn, &mut regs)),
            });
        };
        self.core.fuel = fuel;
        Err(stopped)
    }

    #[inline]
    fn call_extern(&mut self, index: usize, regs: &Registers) -> Result<u64, Fault> {
        let program = self.program;
        let Some((name, function)) = program.externs.get(index) else {
            return Err(Fault::violation("call of an unknown function"));
        };
        let mut ctx = Ctx { mem: self.mem, state: self.state, core: self.core, program };
        function(&mut ctx, [regs[1], regs[2], regs[3], regs[4], regs[5]]).map_err(|fault| fault.within(name))
    }

    fn call_local(
        &mut self,
        pc: u32,
        target: i32,
        regs: &mut Registers,
        entered: &Entered,
    ) -> Result<(), Fault> {
        if self.core.frames.len() - entered.frames + 1 >= MAX_FRAMES {
            return Err(FaultKind::Depth.into());
        }
        if target as u32 == UNLINKED {
            return Err(Fault::violation("call of a function that was not linked"));
        }
        let fp = self.core.push_stack(self.mem)?;
        self.core.frames.push(Frame { call: pc, saved: [regs[6], regs[7], regs[8], regs[9]] });
        regs[10] = fp;
        Ok(())
    }

    /// Leaves the innermost function; returns the call instruction.
    fn return_to(&mut self, regs: &mut Registers) -> u32 {
        let frame = self.core.frames.pop().expect("the caller saw that there is a frame");
        self.core.depth -= 1;
        regs[6..10].copy_from_slice(&frame.saved);
        regs[10] = self.core.stacks[self.core.depth - 1].offset(super::STACK_BYTES.into()).0;
        frame.call
    }

    /// Instructions that are not worth a place in the loop.
    fn rare(&mut self, insn: Insn, regs: &mut Registers) -> Result<(), Fault> {
        let Insn { op, dst, src, off, imm } = insn;
        let (dst, src) = (dst as usize & 15, src as usize & 15);
        let mem = &mut *self.mem;
        let (a, b) = (regs[dst], regs[src].wrapping_add(imm.cast_unsigned()));
        match op {
            Op::Load8 => regs[dst] = u8::from_le_bytes(load(mem, b, off)?).into(),
            Op::Load16 => regs[dst] = u16::from_le_bytes(load(mem, b, off)?).into(),
            Op::LoadSx8 => regs[dst] = i64::from(i8::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::LoadSx16 => regs[dst] = i64::from(i16::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::LoadSx32 => regs[dst] = i64::from(i32::from_le_bytes(load(mem, b, off)?)).cast_unsigned(),
            Op::Store8 => store(mem, a, off, (b as u8).to_le_bytes())?,
            Op::Store16 => store(mem, a, off, (b as u16).to_le_bytes())?,
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
