// SPDX-License-Identifier: GPL-2.0-only
//! The loop that executes instructions.

use std::hint::black_box;

use super::alu::{compute, is_taken};
use super::chains::with_chains;
use super::step::{Do, Step};
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

/// What a part of a step does. `$attempt` turns a fault at this part into the end of the run.
macro_rules! part {
    (Load64, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {
        $regs[$step.dst()] = u64::from_le_bytes($attempt!($step, load($vm.mem, $regs[$step.b()], $step.off)))
    };
    (Load32, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {
        $regs[$step.dst()] = u32::from_le_bytes($attempt!($step, load($vm.mem, $regs[$step.b()], $step.off))).into()
    };
    (Store64, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {{
        let value = $regs[$step.b()].wrapping_add($step.imm.cast_unsigned());
        $attempt!($step, store($vm.mem, $regs[$step.dst()], $step.off, value.to_le_bytes()));
    }};
    (Store32, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {{
        let value = $regs[$step.b()].wrapping_add($step.imm.cast_unsigned()) as u32;
        $attempt!($step, store($vm.mem, $regs[$step.dst()], $step.off, value.to_le_bytes()));
    }};
    (Jump, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {
        $pc = $step.off as u32
    };
    (Jeq64, $($rest:tt)*) => { part!(@jump Jeq64, $($rest)*) };
    (Jne64, $($rest:tt)*) => { part!(@jump Jne64, $($rest)*) };
    (Jgt64, $($rest:tt)*) => { part!(@jump Jgt64, $($rest)*) };
    (Jge64, $($rest:tt)*) => { part!(@jump Jge64, $($rest)*) };
    (Jlt64, $($rest:tt)*) => { part!(@jump Jlt64, $($rest)*) };
    (Jle64, $($rest:tt)*) => { part!(@jump Jle64, $($rest)*) };
    (Jeq32, $($rest:tt)*) => { part!(@jump Jeq32, $($rest)*) };
    (Jne32, $($rest:tt)*) => { part!(@jump Jne32, $($rest)*) };
    (Jgt32, $($rest:tt)*) => { part!(@jump Jgt32, $($rest)*) };
    (Jge32, $($rest:tt)*) => { part!(@jump Jge32, $($rest)*) };
    (Jlt32, $($rest:tt)*) => { part!(@jump Jlt32, $($rest)*) };
    (Jle32, $($rest:tt)*) => { part!(@jump Jle32, $($rest)*) };
    (Jsgt32, $($rest:tt)*) => { part!(@jump Jsgt32, $($rest)*) };
    (Jsge32, $($rest:tt)*) => { part!(@jump Jsge32, $($rest)*) };
    (Jslt32, $($rest:tt)*) => { part!(@jump Jslt32, $($rest)*) };
    (@jump $op:ident, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {
        if is_taken(Op::$op, $regs[$step.a()], $regs[$step.b()].wrapping_add($step.imm.cast_unsigned())) {
            $pc = $step.off as u32;
        }
    };
    ($op:ident, $vm:ident, $regs:ident, $step:ident, $pc:ident, $attempt:ident) => {
        $regs[$step.dst()] =
            compute(Op::$op, $regs[$step.a()], $regs[$step.b()].wrapping_add($step.imm.cast_unsigned()))
    };
}

/// Matches what a step does, with one arm for each operation and each chain: a single table for the compiler to jump
/// through, where a test for groups of operations would cost branches on every instruction.
macro_rules! dispatch {
    ($names:tt $arms:tt) => {
        with_chains! { dispatch @chains $names
            [Load64 Load32 Store64 Store32
             Add64 Sub64 Mul64 Div64 SDiv64 Mod64 SMod64 Or64 And64 Xor64 Lsh64 Rsh64 Arsh64 Neg64 Mov64
             MovSx8To64 MovSx16To64 MovSx32To64
             Add32 Sub32 Mul32 Div32 SDiv32 Mod32 SMod32 Or32 And32 Xor32 Lsh32 Rsh32 Arsh32 Neg32 Mov32
             MovSx8To32 MovSx16To32 Swap16 Swap32 Swap64 Low16 Low32 Low64 Jump]
            [Jeq64 Jne64 Jgt64 Jge64 Jlt64 Jle64 Jset64 Jsgt64 Jsge64 Jslt64 Jsle64
             Jeq32 Jne32 Jgt32 Jge32 Jlt32 Jle32 Jset32 Jsgt32 Jsge32 Jslt32 Jsle32]
            $arms }
    };
    (@chains ($vm:ident, $regs:ident, $step:ident, $at:ident, $pc:ident, $code:ident, $attempt:ident, $out:lifetime)
            [$($alu:ident)*] [$($jump:ident)*] { $($arms:tt)* } $($chain:ident: $first:ident $($part:ident)+;)*) => {
        match $step.does {
            $(Do::$alu => part!($alu, $vm, $regs, $step, $pc, $attempt),)*
            $(Do::$jump => part!(@jump $jump, $vm, $regs, $step, $pc, $attempt),)*
            $(Do::$chain => {
                part!($first, $vm, $regs, $step, $pc, $attempt);
                $(
                    $at += u32::from($step.own);
                    let Some(next) = $code.get($at as usize) else { continue $out };
                    $step = next;
                    part!($part, $vm, $regs, $step, $pc, $attempt);
                )+
            })*
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
        let (program, code) = (self.program, self.program.steps.as_slice());
        let mut pc = entry;
        let mut fuel = self.core.fuel;
        let mut may_goto = MAY_GOTO_LIMIT;
        let vm = &mut *self;
        // Ends with a fault; a program that ends well returns from within.
        let stopped = 'run: loop {
            let mut at = pc;
            let Some(mut step) = code.get(at as usize) else {
                break (Fault::violation("the code ends without an exit"), at);
            };
            let plain;
            if fuel < step.len().into() {
                if fuel == 0 {
                    break (FaultKind::Budget(vm.core.budget).into(), at);
                }
                // The last few instructions of the budget, one by one.
                plain = Step::plain(program.code[at as usize]);
                step = &plain;
            }
            let end = at + step.len();
            fuel -= u64::from(step.len());
            pc = end;
            macro_rules! attempt {
                ($step:ident, $action:expr) => {
                    match $action {
                        Ok(value) => value,
                        Err(fault) => {
                            // The last instruction of the part failed; those behind it were not executed.
                            let at = at + u32::from($step.own) - 1;
                            fuel += u64::from(end - at - 1);
                            break 'run (fault, at);
                        }
                    }
                };
            }
            dispatch!((vm, regs, step, at, pc, code, attempt, 'run) {
                Do::CallExtern => {
                    vm.core.fuel = fuel;
                    vm.core.site = at;
                    let result = vm.call_extern(step.imm as usize, &regs);
                    fuel = vm.core.fuel;
                    regs[0] = attempt!(step, result);
                }
                Do::CallLocal => {
                    attempt!(step, vm.call_local(at, step.off, &mut regs, &entered));
                    pc = step.off as u32;
                }
                Do::Exit => {
                    if vm.core.frames.len() == entered.frames {
                        vm.core.fuel = fuel;
                        return Ok(regs[0]);
                    }
                    pc = vm.return_to(&mut regs) + 1;
                }
                Do::MayGoto => match may_goto.checked_sub(1) {
                    Some(left) => may_goto = left,
                    None => pc = step.off as u32,
                },
                _ => attempt!(step, vm.rare(program.code[at as usize], &mut regs)),
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
        function(&mut ctx, arguments(regs)).map_err(|fault| fault.within(name))
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

/// r1 to r5, moved one by one: the registers were just written one by one, and a processor that is made to read two of
/// them at once has to wait until both are in its cache.
#[inline(always)]
fn arguments(regs: &Registers) -> [u64; 5] {
    [1, 2, 3, 4, 5].map(|register| black_box(regs[register]))
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
