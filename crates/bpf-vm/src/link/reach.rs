// SPDX-License-Identifier: GPL-2.0-only
//! Which instructions of a function can run: constants are followed through registers, and branches that a constant
//! decides are followed one way only.
//!
//! Constants come from immediates, answered relocations and read-only variables. What is not known to be constant
//! counts as anything, so code that can run is never left out.

use super::Linker;
use crate::insn::{Insn, Op, ZERO};
use crate::memory::{Addr, Memory};
use crate::run::{constant, decides};

/// Known values of r0 to r10; `None` is anything.
type Values = [Option<u64>; 11];

impl<S> Linker<'_, S> {
    pub(super) fn reachable(&self, code: &[Insn]) -> Vec<bool> {
        let mut states: Vec<Option<Values>> = vec![None; code.len()];
        let mut queue = Vec::new();
        arrive(&mut states, &mut queue, 0, [None; 11]);
        while let Some(index) = queue.pop() {
            let Some(before) = states[index] else { continue };
            let insn = code[index];
            if insn.op.is_branch() {
                self.branch(&mut states, &mut queue, index, insn, before);
            } else if !matches!(insn.op, Op::Exit | Op::Poison | Op::CallMissing) {
                let after = self.step(insn, before);
                arrive(&mut states, &mut queue, index + 1, after);
            }
        }
        states.iter().map(Option::is_some).collect()
    }

    fn branch(
        &self,
        states: &mut [Option<Values>],
        queue: &mut Vec<usize>,
        index: usize,
        insn: Insn,
        before: Values,
    ) {
        let (a, b) = operands(insn, &before);
        let decided = match insn.op {
            Op::Jump => Some(true),
            Op::MayGoto => None,
            op => a.zip(b).map(|(a, b)| decides(op, a, b)),
        };
        if decided != Some(false) {
            let mut taken = before;
            if insn.op == Op::Jeq64 && b.is_some() {
                taken[insn.dst as usize] = b;
            }
            arrive(states, queue, insn.off as usize, taken);
        }
        if decided != Some(true) {
            let mut passed = before;
            if insn.op == Op::Jne64 && b.is_some() {
                passed[insn.dst as usize] = b;
            }
            arrive(states, queue, index + 1, passed);
        }
    }

    fn step(&self, insn: Insn, mut values: Values) -> Values {
        let (a, b) = operands(insn, &values);
        match insn.op {
            op if (op as u8) < Op::Jump as u8 => {
                let needs_a = !matches!(op, Op::Mov64 | Op::Mov32 | Op::MovSx8To64)
                    && !matches!(op, Op::MovSx16To64 | Op::MovSx32To64 | Op::MovSx8To32 | Op::MovSx16To32);
                let known = if needs_a { a } else { Some(0) };
                values[insn.dst as usize] = known.zip(b).map(|(a, b)| constant(op, a, b));
            }
            Op::CallExtern | Op::CallLocal => values[..6].fill(None),
            Op::Atomic32 | Op::Atomic64 => {
                values[insn.src as usize] = None;
                values[0] = None;
            }
            _ if insn.writes_dst() => {
                let addr = b.map(|b| Addr(b.wrapping_add(i64::from(insn.off).cast_unsigned())));
                values[insn.dst as usize] = addr.and_then(|addr| self.frozen_value(insn.op, addr));
            }
            _ => {}
        }
        values
    }

    /// What a load from constant memory gives.
    fn frozen_value(&self, op: Op, addr: Addr) -> Option<u64> {
        if !self.frozen.contains(&addr.base()) {
            return None;
        }
        fn get<const N: usize>(memory: &Memory, addr: Addr) -> Option<[u8; N]> {
            memory.load(addr)
        }
        let memory = &self.memory;
        Some(match op {
            Op::Load8 => u8::from_le_bytes(get(memory, addr)?).into(),
            Op::Load16 => u16::from_le_bytes(get(memory, addr)?).into(),
            Op::Load32 => u32::from_le_bytes(get(memory, addr)?).into(),
            Op::Load64 => u64::from_le_bytes(get(memory, addr)?),
            Op::LoadSx8 => i64::from(i8::from_le_bytes(get(memory, addr)?)).cast_unsigned(),
            Op::LoadSx16 => i64::from(i16::from_le_bytes(get(memory, addr)?)).cast_unsigned(),
            Op::LoadSx32 => i64::from(i32::from_le_bytes(get(memory, addr)?)).cast_unsigned(),
            _ => return None,
        })
    }
}

fn operands(insn: Insn, values: &Values) -> (Option<u64>, Option<u64>) {
    let base = if insn.src == ZERO { Some(0) } else { values.get(insn.src as usize).copied().flatten() };
    let b = base.map(|base| base.wrapping_add(insn.imm.cast_unsigned()));
    (values.get(insn.dst as usize).copied().flatten(), b)
}

/// Merges the values that arrive at an instruction; queues it if that told something new.
fn arrive(states: &mut [Option<Values>], queue: &mut Vec<usize>, index: usize, values: Values) {
    let Some(state) = states.get_mut(index) else { return };
    let merged = match state {
        None => values,
        Some(known) => {
            let mut merged = *known;
            for (value, new) in merged.iter_mut().zip(values) {
                if *value != new {
                    *value = None;
                }
            }
            if merged == *known {
                return;
            }
            merged
        }
    };
    *state = Some(merged);
    queue.push(index);
}
