// SPDX-License-Identifier: GPL-2.0-only
//! Atomic read-modify-write instructions. One CPU runs at a time, so plain reads and writes are atomic.

use super::Vm;
use super::interpreter::{aligned, load, store};
use crate::error::Fault;
use crate::insn::{Insn, Op, atomic};

impl<S> Vm<'_, S> {
    pub(super) fn atomic(&mut self, insn: Insn, regs: &mut [u64; 16]) -> Result<(), Fault> {
        let wide = insn.op == Op::Atomic64;
        let (base, off) = (regs[insn.dst as usize & 15], insn.off);
        let source = insn.src as usize & 15;
        let mem = &mut *self.mem;
        aligned(mem, base, off, if wide { 8 } else { 4 })?;
        let old = if wide {
            u64::from_le_bytes(load(mem, base, off)?)
        } else {
            u32::from_le_bytes(load(mem, base, off)?).into()
        };
        let cut = |value: u64| if wide { value } else { u64::from(value as u32) };
        let operand = cut(regs[source]);
        let operation = insn.imm as i32;
        let new = match operation & !atomic::FETCH {
            atomic::ADD => cut(old.wrapping_add(operand)),
            atomic::OR => old | operand,
            atomic::AND => old & operand,
            atomic::XOR => old ^ operand,
            _ if operation == atomic::XCHG => operand,
            _ if old == cut(regs[0]) => operand,
            _ => old,
        };
        if wide {
            store(mem, base, off, new.to_le_bytes())?;
        } else {
            store(mem, base, off, (new as u32).to_le_bytes())?;
        }
        if operation == atomic::CMPXCHG {
            regs[0] = old;
        } else if operation & atomic::FETCH != 0 {
            regs[source] = old;
        }
        Ok(())
    }
}
