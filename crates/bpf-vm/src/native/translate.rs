// SPDX-License-Identifier: GPL-2.0-only
//! One function from BPF to Cranelift's form.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, FuncRef, InstBuilder, SigRef, Signature, Value, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Module, ModuleError};

use super::access::{Checked, Known, Root};
use super::calls::Exit;
use super::flow::Flow;
use super::helpers::Helpers;
use super::spans::{Span, access, spans};
use super::{alu, declared};
use crate::insn::{FP, Insn, Op, ZERO};
use crate::memory::Memory;
use crate::registry::Builtin;
use crate::run::{Program, UNLINKED};

/// Offset of a field of the context.
macro_rules! field {
    ($name:ident) => {
        std::mem::offset_of!(crate::native::context::Context, $name) as i32
    };
}
pub(super) use field;

/// What is translated.
pub(super) struct Source<'a, S> {
    pub program: &'a Program<S>,
    pub memory: &'a Memory,
    pub helpers: &'a Helpers,
    pub function: u32,
}

/// The function under way.
pub(super) struct Translator<'a> {
    pub b: FunctionBuilder<'a>,
    pub memory: &'a Memory,
    pub helpers: &'a Helpers,
    pub convention: CallConv,
    pub context: Value,
    /// Frame pointer as BPF code sees it, and the end of the frame in host memory.
    frame: Value,
    pub frame_end: Value,
    registers: [Variable; 10],
    pub signatures: Vec<(Signature, SigRef)>,
    pub callees: HashMap<u32, FuncRef>,
    pub exits: Vec<Exit>,
    pub failed: Option<ir::Block>,
    /// Instructions before this one are paid for.
    pub paid_up_to: u32,
    pub known: Known,
    /// What will be known of values once they are known not to be 0.
    pub unless_null: Known,
    /// By index of a registered function: what it is, if that is known here.
    pub builtins: Vec<Option<Builtin>>,
    /// What values were made from: always true.
    pub roots: HashMap<Value, (Root, i64)>,
    code: &'a [Insn],
    entry: u32,
    flow: Flow,
    blocks: Vec<ir::Block>,
    /// Edges to each block that are not written yet.
    missing: Vec<usize>,
    /// What is known at the beginning of blocks with one predecessor.
    arriving: HashMap<usize, Known>,
    /// Spans of the block under way, and its first instruction.
    spans: (u32, Vec<Option<Span>>),
}

/// Writes the body of a function.
pub(super) fn translate<S>(
    source: &Source<'_, S>,
    module: &mut JITModule,
    builder: &mut FunctionBuilderContext,
    ids: &mut [Option<FuncId>],
    function: &mut ir::Function,
) -> Result<(), Box<ModuleError>> {
    let Program { code, functions, reached, .. } = source.program;
    let linked = &functions[source.function as usize];
    let mut callees = HashMap::new();
    for insn in &code[linked.entry as usize..(linked.entry + linked.len) as usize] {
        let callee = insn.imm as u32;
        if insn.op == Op::CallLocal && functions[callee as usize].entry != UNLINKED {
            let id = declared(module, ids, callee)?;
            callees.entry(callee).or_insert_with(|| module.declare_func_in_func(id, function));
        }
    }
    let flow = Flow::new(code, linked, reached);
    let convention = module.isa().default_call_conv();
    let mut b = FunctionBuilder::new(function, builder);
    let registers = std::array::from_fn(|_| b.declare_var(types::I64));
    let blocks: Vec<ir::Block> = flow.blocks.iter().map(|_| b.create_block()).collect();
    let begin = b.create_block();
    b.append_block_params_for_function_params(begin);
    b.switch_to_block(begin);
    b.seal_block(begin);
    let parameters: [Value; 6] = std::array::from_fn(|index| b.block_params(begin)[index]);
    let zero = b.ins().iconst(types::I64, 0);
    for (register, variable) in registers.iter().enumerate() {
        b.def_var(*variable, if (1..6).contains(&register) { parameters[register] } else { zero });
    }
    let mut missing: Vec<usize> = flow.blocks.iter().map(|block| block.before).collect();
    missing[0] += 1;
    let translator = Translator {
        b,
        memory: source.memory,
        helpers: source.helpers,
        convention,
        context: parameters[0],
        frame: zero,
        frame_end: zero,
        registers,
        signatures: Vec::new(),
        callees,
        exits: Vec::new(),
        failed: None,
        paid_up_to: 0,
        known: Known::new(),
        unless_null: Known::new(),
        builtins: source.program.externs.iter().map(|known| known.builtin).collect(),
        roots: HashMap::new(),
        code,
        entry: linked.entry,
        flow,
        blocks,
        missing,
        arriving: HashMap::new(),
        spans: (0, Vec::new()),
    };
    translator.write();
    Ok(())
}

impl Translator<'_> {
    /// All of the function, from its prologue to the places where it gives up.
    fn write(mut self) {
        self.frame = self.load_field(field!(frame), types::I64);
        self.frame_end = self.load_field(field!(frame_end), types::I64);
        self.roots.insert(self.frame, (Root::Frame, 0));
        self.edge(self.entry);
        self.b.ins().jump(self.blocks[0], &[]);
        self.settle_edges(&[self.entry]);
        for index in 0..self.flow.blocks.len() {
            self.block(index);
        }
        self.write_exits();
        self.b.seal_all_blocks();
        self.b.finalize();
    }

    /// The value of a register.
    pub(super) fn register(&mut self, register: u8) -> Value {
        match register {
            FP => self.frame,
            ZERO => self.b.ins().iconst(types::I64, 0),
            _ => self.b.use_var(self.registers[register as usize]),
        }
    }

    /// Gives a register a value.
    pub(super) fn set(&mut self, register: u8, value: Value) {
        self.b.def_var(self.registers[register as usize], value);
    }

    /// `src + imm`: the second operand of an instruction.
    pub(super) fn operand(&mut self, insn: Insn) -> Value {
        if insn.src == ZERO {
            return self.b.ins().iconst(types::I64, insn.imm);
        }
        self.register(insn.src)
    }

    /// Registers that are needed at an instruction.
    pub(super) fn needed_at(&self, pc: u32) -> u16 {
        self.flow.needed[(pc - self.entry) as usize]
    }

    /// What the accesses from this one on touch, relative to its address.
    pub(super) fn span_at(&self, pc: u32) -> Option<Span> {
        self.spans.1[(pc - self.spans.0) as usize]
    }

    fn index_of(&self, pc: u32) -> Option<usize> {
        self.flow.blocks.iter().position(|block| block.start == pc)
    }

    /// Notes what is known on the way to the block at `pc`.
    fn edge(&mut self, pc: u32) {
        self.edge_with(pc, None);
    }

    fn edge_with(&mut self, pc: u32, more: Option<(Root, Checked)>) {
        if let Some(index) = self.index_of(pc)
            && self.flow.blocks[index].before == 1
        {
            let mut known = self.known.clone();
            known.extend(more);
            self.arriving.insert(index, known);
        }
    }

    /// Edges to these blocks have been written.
    fn settle_edges(&mut self, targets: &[u32]) {
        for index in targets.iter().filter_map(|&pc| self.index_of(pc)).collect::<Vec<usize>>() {
            self.missing[index] -= 1;
            if self.missing[index] == 0 {
                self.b.seal_block(self.blocks[index]);
            }
        }
    }

    fn block(&mut self, index: usize) {
        let block = self.flow.blocks[index].clone();
        self.b.switch_to_block(self.blocks[index]);
        self.known = self.arriving.remove(&index).unwrap_or_default();
        // Blocks are not translated in the order in which they run: what a call may have freed is not looked at again.
        self.unless_null.retain(|_, checked| checked.lasts);
        self.spans = (block.start, spans(&self.code[block.start as usize..block.end as usize]));
        self.pay(block.start, block.end);
        for pc in block.start..block.end {
            let insn = self.code[pc as usize];
            self.instruction(pc, insn);
            if matches!(insn.op, Op::CallExtern | Op::CallLocal) && pc + 1 < block.end {
                self.pay(pc + 1, block.end);
            }
        }
        let last = self.code[block.end as usize - 1];
        match last.op {
            Op::Exit | Op::Poison | Op::CallMissing => {}
            op if op.is_branch() => {}
            _ => self.go(block.end),
        }
    }

    /// Goes on at `pc`.
    fn go(&mut self, pc: u32) {
        self.edge(pc);
        let to = self.target(pc);
        self.b.ins().jump(to, &[]);
        self.settle_edges(&[pc]);
    }

    /// The block at `pc`; code that cannot run according to the linker is left to the interpreter.
    fn target(&mut self, pc: u32) -> ir::Block {
        match self.index_of(pc) {
            Some(index) => self.blocks[index],
            None => {
                // Everything up to here is executed.
                let paid_up_to = std::mem::replace(&mut self.paid_up_to, pc);
                let exit = self.give_up(pc);
                self.paid_up_to = paid_up_to;
                exit
            }
        }
    }

    /// Pays for the instructions from `from` up to the next call or the end of the block.
    fn pay(&mut self, from: u32, end: u32) {
        let code = self.code;
        let is_call = |pc: &u32| matches!(code[*pc as usize].op, Op::CallExtern | Op::CallLocal);
        let end = (from..end).find(is_call).map_or(end, |call| call + 1);
        let cost = i64::from(end - from);
        // Nothing is paid if it is not enough: the interpreter pays one by one.
        self.paid_up_to = from;
        let exit = self.give_up(from);
        let fuel = self.load_field(field!(fuel), types::I64);
        let short = self.b.ins().icmp_imm(IntCC::UnsignedLessThan, fuel, cost);
        self.leave_if(short, exit);
        let left = self.b.ins().iadd_imm(fuel, -cost);
        self.store_field(field!(fuel), left);
        self.paid_up_to = end;
    }

    fn instruction(&mut self, pc: u32, insn: Insn) {
        match insn.op {
            Op::CallExtern => self.call_extern(pc, insn),
            Op::CallLocal => self.call_local(pc, insn),
            Op::Exit => {
                let result = self.register(0);
                self.store_field(field!(result), result);
                let status = self.b.ins().iconst(types::I32, 0);
                self.b.ins().return_(&[status]);
            }
            Op::Poison | Op::CallMissing => {
                let exit = self.give_up(pc);
                self.b.ins().jump(exit, &[]);
            }
            Op::Jump => self.go(insn.off.cast_unsigned()),
            Op::MayGoto => self.may_goto(pc, insn),
            op if op.is_branch() => {
                let (x, y) = (self.register(insn.dst), self.operand(insn));
                let taken = alu::decides(&mut self.b, op, x, y);
                // A pointer that is not NULL: what a look-up has found, and nothing beside it.
                let (root, distance) = self.root(insn.dst);
                let is_null_check = insn.src == ZERO && insn.imm == 0 && distance == 0;
                let found = self.unless_null.get(&root).filter(|_| is_null_check).map(|found| (root, *found));
                let [there, next] = match op {
                    Op::Jeq64 => [None, found],
                    Op::Jne64 => [found, None],
                    _ => [None, None],
                };
                self.branch(taken, (insn.off.cast_unsigned(), there), (pc + 1, next));
            }
            op => match access(insn) {
                Some(access) => self.memory_access(pc, insn, access),
                None => self.arithmetic(op, insn),
            },
        }
    }

    fn arithmetic(&mut self, op: Op, insn: Insn) {
        let (x, y) = match op {
            // The old value is not looked at.
            Op::Mov64 | Op::Mov32 => {
                let y = self.operand(insn);
                (y, y)
            }
            _ => (self.register(insn.dst), self.operand(insn)),
        };
        let made = self.made_from(op, insn);
        let value = alu::compute(&mut self.b, op, x, y);
        if let Some(made) = made {
            self.roots.insert(value, made);
        }
        self.set(insn.dst, value);
    }

    /// What the result of an operation is made from, if it is a pointer that may be followed. A copy is the same value as
    /// before.
    fn made_from(&mut self, op: Op, insn: Insn) -> Option<(Root, i64)> {
        match op {
            Op::Mov64 if insn.src == ZERO => Some((Root::Constant(insn.imm.cast_unsigned()), 0)),
            Op::Add64 if insn.src == ZERO => {
                let (root, distance) = self.root(insn.dst);
                Some((root, distance.wrapping_add(insn.imm)))
            }
            _ => None,
        }
    }

    fn may_goto(&mut self, pc: u32, insn: Insn) {
        let left = self.load_field(field!(may_goto), types::I64);
        let used_up = self.b.ins().icmp_imm(IntCC::Equal, left, 0);
        let less = self.b.ins().iadd_imm(left, -1);
        let less = self.b.ins().select(used_up, left, less);
        self.store_field(field!(may_goto), less);
        self.branch(used_up, (insn.off.cast_unsigned(), None), (pc + 1, None));
    }

    /// Goes to one of two places, with what is known there and not yet here.
    fn branch(
        &mut self,
        taken: Value,
        there: (u32, Option<(Root, Checked)>),
        next: (u32, Option<(Root, Checked)>),
    ) {
        self.edge_with(there.0, there.1);
        self.edge_with(next.0, next.1);
        let (there, next) = (there.0, next.0);
        let (to, on) = (self.target(there), self.target(next));
        self.b.ins().brif(taken, to, &[], on, &[]);
        self.settle_edges(&[there, next]);
    }
}
