// SPDX-License-Identifier: GPL-2.0-only
//! Calls: of registered functions, of BPF functions, and giving up.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};

use super::translate::{Translator, field};
use crate::insn::Insn;

/// A place where compiled code gives up: the interpreter goes on at an instruction.
pub(super) struct Exit {
    pub block: ir::Block,
    pub pc: u32,
    /// Instructions that are paid for and not executed.
    pub unpaid: u32,
    pub registers: Vec<(usize, Value)>,
}

impl Translator<'_> {
    /// Calls a function in Rust.
    pub(super) fn helper(&mut self, address: usize, arguments: &[Value]) -> Value {
        let kinds = arguments.iter().map(|&value| self.b.func.dfg.value_type(value));
        let mut signature = ir::Signature::new(self.convention);
        signature.params.extend(kinds.map(ir::AbiParam::new));
        signature.returns.push(ir::AbiParam::new(types::I32));
        let signature = match self.signatures.iter().find(|(known, _)| *known == signature) {
            Some((_, found)) => *found,
            None => {
                let found = self.b.import_signature(signature.clone());
                self.signatures.push((signature, found));
                found
            }
        };
        let callee = self.b.ins().iconst(types::I64, address as i64);
        let call = self.b.ins().call_indirect(signature, callee, arguments);
        self.b.inst_results(call)[0]
    }

    /// Leaves the function with a status that is not 0.
    fn leave_if_failed(&mut self, status: Value) {
        let failed = match self.failed {
            Some(block) => block,
            None => {
                let block = self.b.create_block();
                self.b.set_cold_block(block);
                *self.failed.insert(block)
            }
        };
        let failure = self.b.ins().icmp_imm(IntCC::NotEqual, status, 0);
        self.leave_if(failure, failed);
    }

    /// Goes to `to` if a condition holds, else on.
    pub(super) fn leave_if(&mut self, condition: Value, to: ir::Block) {
        let on = self.b.create_block();
        self.b.ins().brif(condition, to, &[], on, &[]);
        self.b.seal_block(on);
        self.b.switch_to_block(on);
    }

    pub(super) fn call_extern(&mut self, pc: u32, insn: Insn) {
        if let Some(Some(builtin)) = self.builtins.get(insn.imm as usize).copied()
            && self.in_place(pc, builtin)
        {
            return;
        }
        let site = u64::from(pc) << 32 | insn.imm.cast_unsigned();
        let mut arguments = vec![self.context, self.b.ins().iconst(types::I64, site.cast_signed())];
        for register in 1..6 {
            arguments.push(self.register(register));
        }
        let status = self.helper(self.helpers.call, &arguments);
        self.leave_if_failed(status);
        self.after_call();
    }

    pub(super) fn call_local(&mut self, pc: u32, insn: Insn) {
        let Some(&callee) = self.callees.get(&(insn.imm as u32)) else {
            let exit = self.give_up(pc);
            self.b.ins().jump(exit, &[]);
            // Nothing comes here; what follows in the block needs a place all the same.
            let nowhere = self.b.create_block();
            self.b.seal_block(nowhere);
            self.b.switch_to_block(nowhere);
            return;
        };
        let [here, function] =
            [i64::from(pc), insn.imm].map(|number| self.b.ins().iconst(types::I32, number));
        let status = self.helper(self.helpers.push, &[self.context, here, function]);
        self.leave_if_failed(status);
        let mut arguments = vec![self.context];
        for register in 1..6 {
            arguments.push(self.register(register));
        }
        let call = self.b.ins().call(callee, &arguments);
        let status = self.b.inst_results(call)[0];
        self.leave_if_failed(status);
        self.helper(self.helpers.pop, &[self.context]);
        self.after_call();
    }

    /// r0 is the result, r1 to r5 are nothing, and memory may have changed.
    fn after_call(&mut self) {
        let result = self.load_field(field!(result), types::I64);
        self.returned(result);
        // Regions that stay where they are stay checked; any other may be gone.
        self.known.retain(|_, checked| checked.lasts);
        self.unless_null.retain(|_, checked| checked.lasts);
    }

    /// r0 is the result, r1 to r5 are nothing.
    pub(super) fn returned(&mut self, result: Value) {
        self.set(0, result);
        let zero = self.b.ins().iconst(types::I64, 0);
        (1..6).for_each(|register| self.set(register, zero));
    }

    /// The block that hands over to the interpreter at `pc`, which has not been executed.
    pub(super) fn give_up(&mut self, pc: u32) -> ir::Block {
        let unpaid = self.paid_up_to.saturating_sub(pc);
        if let Some(exit) = self.exits.last().filter(|exit| (exit.pc, exit.unpaid) == (pc, unpaid)) {
            return exit.block;
        }
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        let needed = self.needed_at(pc);
        let registers = (0..10).filter(|register| needed >> register & 1 != 0);
        let registers = registers.map(|register| (register, self.register(register as u8))).collect();
        self.exits.push(Exit { block, pc, unpaid, registers });
        block
    }

    /// Writes the blocks that leave the function other than by its own exits.
    pub(super) fn write_exits(&mut self) {
        for exit in std::mem::take(&mut self.exits) {
            self.b.switch_to_block(exit.block);
            for (register, value) in exit.registers {
                self.store_field(field!(registers) + 8 * register as i32, value);
            }
            let [pc, unpaid] =
                [exit.pc, exit.unpaid].map(|number| self.b.ins().iconst(types::I32, i64::from(number)));
            let status = self.helper(self.helpers.resume, &[self.context, pc, unpaid]);
            self.b.ins().return_(&[status]);
        }
        if let Some(failed) = self.failed {
            self.b.switch_to_block(failed);
            let status = self.b.ins().iconst(types::I32, i64::from(super::FAULTED));
            self.b.ins().return_(&[status]);
        }
    }
}
