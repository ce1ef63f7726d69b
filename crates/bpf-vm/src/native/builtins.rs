// SPDX-License-Identifier: GPL-2.0-only
//! Functions of the kernel that schedulers call all the time, in place: look-ups, locks, the CPU and the time.
//!
//! What does not look as usual is left to the function itself.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::access::{Checked, Root, plain};
use super::spans::Access;
use super::translate::{Translator, field};
use crate::insn::{Insn, Op};
use crate::memory::ArrayLayout;
use crate::registry::Builtin;

/// Flag of a storage look-up: make the value if there is none.
const STORAGE_CREATE: u64 = 1;

impl Translator<'_> {
    /// Does what a function does; false if it has to be called.
    pub(super) fn in_place(&mut self, pc: u32, builtin: Builtin) -> bool {
        match builtin {
            Builtin::Cpu => self.number(field!(cpu)),
            Builtin::Time => self.number(field!(time)),
            Builtin::Lock => self.short_cut(pc, self.helpers.lock),
            Builtin::Unlock => self.short_cut(pc, self.helpers.unlock),
            Builtin::Lookup => return self.lookup(pc),
            Builtin::StorageGet => return self.storage(pc),
        }
        true
    }

    fn number(&mut self, offset: i32) {
        let value = self.load_field(offset, types::I64);
        self.returned(value);
    }

    /// A function in Rust that takes r1 and changes no regions; what is at fault, the interpreter finds once more.
    fn short_cut(&mut self, pc: u32, helper: usize) {
        // The call is paid for and not executed when it fails.
        let exit = self.give_up(pc);
        let argument = self.register(1);
        let status = self.helper(helper, &[self.context, argument]);
        self.leave_if(status, exit);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.returned(zero);
    }

    /// The constant in a register, if it holds one.
    fn constant(&mut self, register: u8) -> Option<u64> {
        match self.root(register) {
            (Root::Constant(start), distance) => Some(start.wrapping_add(distance.cast_unsigned())),
            _ => None,
        }
    }

    fn lookup(&mut self, pc: u32) -> bool {
        let map = self.constant(1).and_then(|handle| self.memory.array_layout(handle));
        let Some(map) = map else { return false };
        let key = Insn { op: Op::Load32, dst: 0, src: 2, off: 0, imm: 0 };
        let place = self.locate(pc, key, Access { base: 2, size: 4, write: false });
        let index = self.b.ins().uload32(plain(), place.host, place.offset);
        let offset = self.element(&map, index);
        let there = self.b.ins().icmp_imm(IntCC::UnsignedLessThan, index, i64::from(map.entries));
        let found = self.b.ins().iadd_imm(offset, map.values.cast_signed());
        let null = self.b.ins().iconst(types::I64, 0);
        let result = self.b.ins().select(there, found, null);
        let host = self.b.ins().iadd_imm(offset, map.host as i64);
        self.unless_null.insert(Root::Value(result), Checked::value(host, map.value_size, true));
        self.returned(result);
        true
    }

    /// Offset of the element for the current CPU.
    fn element(&mut self, map: &ArrayLayout, index: Value) -> Value {
        let number = match map.copies {
            None => index,
            Some(copies) => {
                let first = self.b.ins().imul_imm(index, i64::from(copies));
                let cpu = self.load_field(field!(cpu), types::I64);
                self.b.ins().iadd(first, cpu)
            }
        };
        // Distances are powers of two.
        self.b.ins().ishl_imm(number, i64::from(map.distance.trailing_zeros()))
    }

    fn storage(&mut self, pc: u32) -> bool {
        let size = self.constant(1).and_then(|handle| self.memory.storage_layout(handle));
        let only_looks = self.constant(4).is_some_and(|flags| flags & STORAGE_CREATE == 0);
        let Some(size) = size.filter(|_| only_looks) else { return false };
        let exit = self.give_up(pc);
        let (map, owner) = (self.register(1), self.register(2));
        let status = self.helper(self.helpers.storage, &[self.context, map, owner]);
        self.leave_if(status, exit);
        let result = self.load_field(field!(result), types::I64);
        let host = self.load_field(field!(host), types::I64);
        self.unless_null.insert(Root::Value(result), Checked::value(host, size, false));
        self.returned(result);
        true
    }
}
