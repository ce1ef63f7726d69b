// SPDX-License-Identifier: GPL-2.0-only
//! Loads and stores: checked once for a stretch of accesses through the same pointer, then plain.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, AliasRegion, InstBuilder, MemFlags, Type, Value, types};

use super::spans::{Access, Bytes, Span, fixed};
use super::translate::{Translator, field};
use crate::insn::{Insn, Op, atomic};
use crate::memory::{Addr, RegionLayout};
use crate::run::STACK_BYTES;

/// What an address was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Root {
    /// The frame pointer.
    Frame,
    /// A number in the code: the address of a variable, for example.
    Constant(u64),
    /// Anything.
    Value(Value),
}

/// What has been checked of a pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// Host address of what it points to.
    host: Value,
    /// Bytes around it that may be read.
    read: Option<Bytes>,
    /// Bytes around it that may be written: always, or if the value is not 0.
    written: Option<(Bytes, Option<Value>)>,
    /// No call of a function can change it.
    pub lasts: bool,
}

impl Checked {
    /// A value of so many bytes that may be read and written.
    pub(super) fn value(host: Value, size: u32, lasts: bool) -> Checked {
        let all = Bytes { start: 0, end: size.into() };
        Checked { host, read: Some(all), written: Some((all, None)), lasts }
    }
}

/// Checks that still hold.
pub(super) type Known = HashMap<Root, Checked>;

/// Where an access goes.
pub(super) struct Place {
    pub host: Value,
    pub offset: i32,
    /// Whether it may be written, unless that is certain.
    may_write: Option<Value>,
}

/// Memory of programs: nothing is known of its alignment, and it is there once it was checked.
pub(super) fn plain() -> MemFlags {
    MemFlags::new().with_notrap().with_alias_region(Some(AliasRegion::Heap))
}

fn table() -> MemFlags {
    MemFlags::trusted().with_alias_region(Some(AliasRegion::Table))
}

fn of_size(size: u32) -> Type {
    match size {
        1 => types::I8,
        2 => types::I16,
        4 => types::I32,
        _ => types::I64,
    }
}

impl Translator<'_> {
    /// An instruction that reads or writes memory.
    pub(super) fn memory_access(&mut self, pc: u32, insn: Insn, access: Access) {
        match insn.op {
            Op::Atomic32 | Op::Atomic64 => self.atomic(pc, insn, access),
            Op::LoadAcquire16 | Op::LoadAcquire32 | Op::LoadAcquire64 => {
                self.leave_if_misaligned(pc, insn, access);
                self.load(pc, insn, access);
            }
            Op::StoreRelease16 | Op::StoreRelease32 | Op::StoreRelease64 => {
                self.leave_if_misaligned(pc, insn, access);
                self.store(pc, insn, access);
            }
            _ if access.write => self.store(pc, insn, access),
            _ => self.load(pc, insn, access),
        }
    }

    fn load(&mut self, pc: u32, insn: Insn, access: Access) {
        let place = self.locate(pc, insn, access);
        let kind = of_size(access.size);
        let value = self.b.ins().load(kind, plain(), place.host, place.offset);
        let value = match insn.op {
            Op::LoadSx8 | Op::LoadSx16 | Op::LoadSx32 => self.b.ins().sextend(types::I64, value),
            _ if access.size == 8 => value,
            _ => self.b.ins().uextend(types::I64, value),
        };
        self.set(insn.dst, value);
    }

    fn store(&mut self, pc: u32, insn: Insn, access: Access) {
        let place = self.locate(pc, insn, access);
        let whole = self.operand(insn);
        let value = if access.size == 8 { whole } else { self.b.ins().ireduce(of_size(access.size), whole) };
        let Some(may_write) = place.may_write else {
            self.b.ins().store(plain(), value, place.host, place.offset);
            return;
        };
        let [direct, slow, done] = [(); 3].map(|()| self.b.create_block());
        self.b.set_cold_block(slow);
        let exit = self.give_up(pc);
        self.b.ins().brif(may_write, direct, &[], slow, &[]);
        self.b.seal_block(direct);
        self.b.seal_block(slow);
        self.b.switch_to_block(slow);
        let address = self.address(insn, access);
        let size = self.b.ins().iconst(types::I32, i64::from(access.size));
        let status = self.helper(self.helpers.store, &[self.context, address, whole, size]);
        self.b.ins().brif(status, exit, &[], done, &[]);
        self.b.switch_to_block(direct);
        self.b.ins().store(plain(), value, place.host, place.offset);
        self.b.ins().jump(done, &[]);
        self.b.seal_block(done);
        self.b.switch_to_block(done);
    }

    fn atomic(&mut self, pc: u32, insn: Insn, access: Access) {
        self.leave_if_misaligned(pc, insn, access);
        let place = self.locate(pc, insn, access);
        if let Some(may_write) = place.may_write {
            let exit = self.give_up(pc);
            let refused = self.b.ins().icmp_imm(IntCC::Equal, may_write, 0);
            self.leave_if(refused, exit);
        }
        let kind = of_size(access.size);
        let old = self.b.ins().load(kind, plain(), place.host, place.offset);
        let cut = |this: &mut Self, value: Value| {
            if kind == types::I64 { value } else { this.b.ins().ireduce(kind, value) }
        };
        let source = self.register(insn.src);
        let operand = cut(self, source);
        let operation = insn.imm as i32;
        let new = match operation & !atomic::FETCH {
            atomic::ADD => self.b.ins().iadd(old, operand),
            atomic::OR => self.b.ins().bor(old, operand),
            atomic::AND => self.b.ins().band(old, operand),
            atomic::XOR => self.b.ins().bxor(old, operand),
            _ if operation == atomic::XCHG => operand,
            _ => {
                let expected = self.register(0);
                let expected = cut(self, expected);
                let same = self.b.ins().icmp(IntCC::Equal, old, expected);
                self.b.ins().select(same, operand, old)
            }
        };
        self.b.ins().store(plain(), new, place.host, place.offset);
        let old = if kind == types::I64 { old } else { self.b.ins().uextend(types::I64, old) };
        if operation == atomic::CMPXCHG {
            self.set(0, old);
        } else if operation & atomic::FETCH != 0 {
            self.set(insn.src, old);
        }
    }

    fn leave_if_misaligned(&mut self, pc: u32, insn: Insn, access: Access) {
        let exit = self.give_up(pc);
        let address = self.address(insn, access);
        let odd = self.b.ins().band_imm(address, i64::from(access.size) - 1);
        self.leave_if(odd, exit);
    }

    /// The address an instruction uses, as BPF code sees it.
    fn address(&mut self, insn: Insn, access: Access) -> Value {
        let base = self.register(access.base);
        self.b.ins().iadd_imm(base, i64::from(insn.off))
    }

    /// What a register's value was made from, and the distance from that.
    pub(super) fn root(&mut self, register: u8) -> (Root, i64) {
        let value = self.register(register);
        let value = self.b.func.dfg.resolve_aliases(value);
        self.roots.get(&value).copied().unwrap_or((Root::Value(value), 0))
    }

    /// Checks an access; where it fails or is not plain, the interpreter takes over.
    pub(super) fn locate(&mut self, pc: u32, insn: Insn, access: Access) -> Place {
        let (root, distance) = self.root(access.base);
        let at = distance.wrapping_add(insn.off.into());
        let bytes = Bytes { start: at, end: at.wrapping_add(access.size.into()) };
        let covers = |whole: Option<Bytes>| whole.is_some_and(|whole| whole.contains(bytes));
        match root {
            Root::Frame if covers(Some(Bytes { start: -i64::from(STACK_BYTES), end: 0 })) => {
                return Place { host: self.frame_end, offset: at as i32, may_write: None };
            }
            Root::Constant(start) => {
                let address = start.wrapping_add(at.cast_unsigned());
                let own = Some(Bytes { start: 0, end: access.size.into() });
                if let Some((host, read, written)) = fixed(self.memory, address)
                    && own.is_some_and(|own| {
                        if access.write {
                            written.is_some_and(|all| all.contains(own))
                        } else {
                            read.contains(own)
                        }
                    })
                {
                    let host = self.b.ins().iconst(types::I64, host as i64);
                    return Place { host, offset: 0, may_write: None };
                }
            }
            _ => {}
        }
        // A pointer that is not known to be anything special is checked when the program runs.
        let (root, at) = match root {
            Root::Value(_) => (root, at),
            _ => {
                let value = self.register(access.base);
                (Root::Value(value), insn.off.into())
            }
        };
        let bytes = Bytes { start: at, end: at.wrapping_add(access.size.into()) };
        let holds = |known: &Checked| match access.write {
            true => known.written.is_some_and(|(all, _)| all.contains(bytes)),
            false => known.read.is_some_and(|all| all.contains(bytes)),
        };
        let checked = match self.known.get(&root).copied().filter(holds) {
            Some(known) => known,
            None => {
                let own =
                    Span { read: (!access.write).then_some(bytes), written: access.write.then_some(bytes) };
                let span = self.span_at(pc).map_or(own, |span| span.moved(at));
                let checked = self.check(pc, root, span);
                self.known.insert(root, checked);
                checked
            }
        };
        let may_write = checked.written.filter(|_| access.write).and_then(|(_, may_write)| may_write);
        match i32::try_from(at) {
            Ok(offset) => Place { host: checked.host, offset, may_write },
            Err(_) => Place { host: self.b.ins().iadd_imm(checked.host, at), offset: 0, may_write },
        }
    }

    /// Checks that the bytes of a span around a pointer are there and may be read where they are read, and finds out
    /// whether they may be written where they are written.
    fn check(&mut self, pc: u32, root: Root, span: Span) -> Checked {
        let Root::Value(pointer) = root else {
            unreachable!("only values are checked while the program runs")
        };
        let all = span.all().expect("an access touches something");
        let exit = self.give_up(pc);
        let first = self.b.ins().iadd_imm(pointer, all.start);
        let slot = self.b.ins().ushr_imm(first, i64::from(Addr::SLOT_SHIFT));
        let count = self.load_field(field!(region_count), types::I64);
        let beyond = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, slot, count);
        self.leave_if(beyond, exit);
        let regions = self.load_field(field!(regions), types::I64);
        let distance = self.b.ins().imul_imm(slot, RegionLayout::SIZE);
        let region = self.b.ins().iadd(regions, distance);
        let tag = self.b.ins().ushr_imm(first, 32);
        let tag = self.b.ins().ireduce(types::I32, tag);
        let expected = self.b.ins().load(types::I32, table(), region, RegionLayout::TAG);
        let other = self.b.ins().icmp(IntCC::NotEqual, tag, expected);
        self.leave_if(other, exit);
        let low = super::alu::low(&mut self.b, first);
        let number = |this: &mut Self, offset: i32| this.b.ins().uload32(table(), region, offset);
        let len = number(self, RegionLayout::LEN);
        let end = self.b.ins().iadd_imm(low, all.end - all.start);
        let too_far = self.b.ins().icmp(IntCC::UnsignedGreaterThan, end, len);
        self.leave_if(too_far, exit);
        let mask = number(self, RegionLayout::MASK);
        let within = self.b.ins().band(low, mask);
        if let Some(read) = span.read {
            let readable = number(self, RegionLayout::READ_LEN);
            let end = self.b.ins().iadd_imm(within, read.end - all.start);
            let refused = self.b.ins().icmp(IntCC::UnsignedGreaterThan, end, readable);
            self.leave_if(refused, exit);
        }
        let written = span.written.map(|written| {
            let writable = number(self, RegionLayout::WRITE_LEN);
            let end = self.b.ins().iadd_imm(within, written.end - all.start);
            let allowed = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, end, writable);
            (written, Some(allowed))
        });
        let start = self.b.ins().load(types::I64, table(), region, RegionLayout::START);
        let host = self.b.ins().iadd(start, low);
        let host = self.b.ins().iadd_imm(host, -all.start);
        Checked { host, read: span.read, written, lasts: false }
    }

    /// Reads a field of the context.
    pub(super) fn load_field(&mut self, offset: i32, kind: Type) -> Value {
        self.b.ins().load(kind, context(), self.context, offset)
    }

    /// Writes a field of the context.
    pub(super) fn store_field(&mut self, offset: i32, value: Value) -> ir::Inst {
        self.b.ins().store(context(), value, self.context, offset)
    }
}

fn context() -> MemFlags {
    MemFlags::trusted().with_alias_region(Some(AliasRegion::Vmctx))
}
