// SPDX-License-Identifier: GPL-2.0-only
//! Translates one function: relocations applied, jumps turned into indices.

use std::collections::{BTreeMap, BTreeSet};

use super::symbols::Referred;
use super::{Linker, LoadError};
use crate::insn::{
    CALL, CLASS_ALU, CLASS_ALU64, CLASS_LDX, CLASS_ST, CLASS_STX, FP, Insn, LD_IMM64, Op, RawInsn, ZERO,
    lower,
};
use crate::relocate::{Answer, resolve};

/// Sources of a call instruction: a helper, another BPF function, a kernel function by type id.
const CALL_HELPER: u8 = 0;
const CALL_LOCAL: u8 = 1;

/// A function in internal form; jumps go to indices within it.
pub(super) struct Translated {
    pub code: Vec<Insn>,
    /// Slot of each instruction.
    pub slots: Vec<u32>,
    /// Instructions that load the address of a BPF function, and which.
    pub callbacks: BTreeMap<usize, u32>,
    /// Calls of missing functions that are not weak.
    pub required: BTreeSet<usize>,
    /// Instructions that do not exist.
    pub invalid: BTreeSet<usize>,
}

/// What a CO-RE relocation does to its instruction.
enum Patched {
    Insn(RawInsn),
    Wide(u64),
    Missing(String),
}

impl<S> Linker<'_, S> {
    fn message(&mut self, text: String) -> i64 {
        let messages = &mut self.program.messages;
        let known = messages.iter().position(|message| *message == text);
        known.unwrap_or_else(|| {
            messages.push(text);
            messages.len() - 1
        }) as i64
    }

    fn poison(&mut self, text: String) -> Insn {
        Insn { op: Op::Poison, dst: 0, src: ZERO, off: 0, imm: self.message(text) }
    }

    pub(super) fn translate(&mut self, function: u32) -> Result<Translated, LoadError> {
        let code = &self.object.functions[function as usize];
        let (section, start, count) = (code.section, code.offset, code.size / 8);
        let bytes = &self.object.sections[section].data[start as usize..(start + code.size) as usize];
        let raw: Vec<RawInsn> = bytes
            .chunks_exact(8)
            .map(|chunk| RawInsn::read(chunk.try_into().expect("chunks of eight bytes")))
            .collect();
        let mut done = Translated {
            code: Vec::with_capacity(raw.len()),
            slots: Vec::with_capacity(raw.len()),
            callbacks: BTreeMap::new(),
            required: BTreeSet::new(),
            invalid: BTreeSet::new(),
        };
        // Index of the instruction at each slot; the second half of a wide one has none.
        let mut indices = vec![None; count as usize];
        let mut slot = 0;
        while slot < count {
            let here = raw[slot as usize];
            let second = raw.get(slot as usize + 1).copied();
            indices[slot as usize] = Some(done.code.len() as u32);
            done.slots.push(slot);
            let insn = self.instruction((section, start + slot * 8), here, second, &mut done)?;
            done.code.push(insn);
            slot += if here.is_wide() { 2 } else { 1 };
        }
        self.resolve_jumps(&mut done, &indices);
        Ok(done)
    }

    fn invalid(&mut self, raw: RawInsn, done: &mut Translated) -> Insn {
        done.invalid.insert(done.code.len());
        self.poison(format!("an instruction with code {:#04x} that does not exist", raw.code))
    }

    fn instruction(
        &mut self,
        at: (usize, u32),
        raw: RawInsn,
        second: Option<RawInsn>,
        done: &mut Translated,
    ) -> Result<Insn, LoadError> {
        let relocation = self.object.sections[at.0].relocations.get(&at.1).copied();
        if raw.is_wide() {
            return self.wide(at, raw, second, relocation, done);
        }
        if raw.code == CALL {
            return self.call(at, raw, relocation, done);
        }
        if let Some(symbol) = relocation {
            let name = self.symbol(symbol)?.name.clone();
            return Err(LoadError::Unsupported(format!(
                "a relocation against '{name}' of a plain instruction"
            )));
        }
        let raw = match self.patched(at, raw)? {
            Some(Patched::Missing(what)) => return Ok(self.poison(what)),
            Some(Patched::Wide(_)) | None => raw,
            Some(Patched::Insn(raw)) => raw,
        };
        Ok(match lower(raw) {
            Some(insn) => insn,
            None => self.invalid(raw, done),
        })
    }

    fn wide(
        &mut self,
        at: (usize, u32),
        raw: RawInsn,
        second: Option<RawInsn>,
        relocation: Option<usize>,
        done: &mut Translated,
    ) -> Result<Insn, LoadError> {
        let Some(second) = second.filter(|second| second.code == 0) else {
            return Ok(self.invalid(raw, done));
        };
        if raw.dst >= FP || (raw.src != 0 && relocation.is_none()) {
            return Ok(self.invalid(raw, done));
        }
        let value = u64::from(second.imm as u32) << 32 | u64::from(raw.imm as u32);
        let value = match relocation {
            // The addend is a signed 32-bit number in the first half.
            Some(symbol) => match self.refer(symbol, i64::from(raw.imm).cast_unsigned())? {
                Referred::Address(addr) => addr.0,
                Referred::Callback(function) => {
                    done.callbacks.insert(done.code.len(), function);
                    self.callback_addr(function).0
                }
            },
            None => match self.patched(at, raw)? {
                Some(Patched::Missing(what)) => return Ok(self.poison(what)),
                Some(Patched::Wide(value)) => value,
                Some(Patched::Insn(_)) | None => value,
            },
        };
        Ok(Insn { op: Op::Mov64, dst: raw.dst, src: ZERO, off: 0, imm: value.cast_signed() })
    }

    fn call(
        &mut self,
        at: (usize, u32),
        raw: RawInsn,
        relocation: Option<usize>,
        done: &mut Translated,
    ) -> Result<Insn, LoadError> {
        let call = |op, imm: usize| Insn { op, dst: 0, src: ZERO, off: 0, imm: imm as i64 };
        let Some(symbol) = relocation else {
            if raw.src == CALL_HELPER {
                return Ok(match self.registry.helper(raw.imm.cast_unsigned()) {
                    Some((name, function)) => call(Op::CallExtern, self.add_extern(name, function)),
                    None => {
                        done.required.insert(done.code.len());
                        let message = self.message(format!("helper {}", raw.imm));
                        call(Op::CallMissing, message as usize)
                    }
                });
            }
            let target = i64::from(at.1) + (i64::from(raw.imm) + 1) * 8;
            let function = u32::try_from(target).ok().and_then(|target| self.places.get(&(at.0, target)));
            return Ok(match function {
                Some(&function) if raw.src == CALL_LOCAL => call(Op::CallLocal, function as usize),
                _ => self.invalid(raw, done),
            });
        };
        match self.callee(symbol, raw.imm)? {
            Ok(function) => Ok(call(Op::CallLocal, function as usize)),
            Err(symbol) => Ok(match self.extern_function(&symbol.name) {
                Some(index) => call(Op::CallExtern, index),
                None => {
                    if !symbol.weak {
                        done.required.insert(done.code.len());
                    }
                    let message = self.message(symbol.name);
                    call(Op::CallMissing, message as usize)
                }
            }),
        }
    }

    /// Applies the CO-RE relocation of the instruction, if it has one.
    fn patched(&mut self, at: (usize, u32), raw: RawInsn) -> Result<Option<Patched>, LoadError> {
        let Some(&number) = self.core.get(&at) else { return Ok(None) };
        let section = &self.object.sections[at.0].name;
        let relocation = &self.object.ext.relocations[section][number];
        let answer = resolve(&self.object.btf, self.target, relocation)?;
        let (value, sizes) = match answer {
            Answer::Missing(what) => return Ok(Some(Patched::Missing(what))),
            Answer::Value(value) => (value, None),
            Answer::Offset { value, local_size, target_size, widens } => {
                (value, Some((local_size, target_size, widens)))
            }
        };
        if raw.code == LD_IMM64 {
            return Ok(Some(Patched::Wide(value)));
        }
        let misfit =
            || Ok(Some(Patched::Missing(format!("a place for the value {value} of a CO-RE relocation"))));
        match raw.class() {
            CLASS_ALU | CLASS_ALU64 if raw.code & 8 == 0 => match i32::try_from(value.cast_signed()) {
                Ok(imm) => Ok(Some(Patched::Insn(RawInsn { imm, ..raw }))),
                // An unsigned 32-bit number has the same bits.
                Err(_) => match u32::try_from(value) {
                    Ok(imm) => Ok(Some(Patched::Insn(RawInsn { imm: imm.cast_signed(), ..raw }))),
                    Err(_) => misfit(),
                },
            },
            CLASS_LDX | CLASS_ST | CLASS_STX => {
                let Ok(off) = i16::try_from(value) else { return misfit() };
                let Some(code) = resized(raw.code, sizes) else {
                    return Ok(Some(Patched::Missing(
                        "a field of the width that the program reads".to_owned(),
                    )));
                };
                Ok(Some(Patched::Insn(RawInsn { off, code, ..raw })))
            }
            _ => Err(LoadError::Damaged(
                "a CO-RE relocation of an instruction that has no place for it".to_owned(),
            )),
        }
    }

    /// Turns jump offsets, which count slots, into indices.
    fn resolve_jumps(&mut self, done: &mut Translated, indices: &[Option<u32>]) {
        for index in 0..done.code.len() {
            let insn = done.code[index];
            if !insn.op.is_branch() {
                continue;
            }
            let target = i64::from(done.slots[index]) + 1 + i64::from(insn.off);
            let target = usize::try_from(target).ok().and_then(|slot| indices.get(slot).copied().flatten());
            match target {
                Some(target) => done.code[index].off = target.cast_signed(),
                None => {
                    done.invalid.insert(index);
                    done.code[index] = self.poison("a jump out of its function".to_owned());
                }
            }
        }
        let ends = done
            .code
            .last()
            .is_some_and(|insn| matches!(insn.op, Op::Exit | Op::Jump | Op::Poison | Op::CallMissing));
        if !ends {
            // Falling off the end would run into the next function.
            done.invalid.insert(done.code.len());
            done.slots.push(done.slots.last().map_or(0, |slot| slot + 1));
            let poison = self.poison("the missing exit at the end of the function".to_owned());
            done.code.push(poison);
        }
    }
}

/// The instruction code with the access width of the target's field, where that differs and may be changed.
fn resized(code: u8, sizes: Option<(u32, u32, bool)>) -> Option<u8> {
    let Some((local, target, widens)) = sizes else { return Some(code) };
    let size_bits = |size: u32| match size {
        1 => Some(0x10),
        2 => Some(0x08),
        4 => Some(0x00),
        8 => Some(0x18),
        _ => None,
    };
    match (size_bits(local), size_bits(target)) {
        (Some(local), Some(target)) if local != target => {
            // Only an access of the whole field follows its width.
            if code & 0x18 != local {
                return Some(code);
            }
            widens.then_some((code & !0x18) | target)
        }
        _ => Some(code),
    }
}
