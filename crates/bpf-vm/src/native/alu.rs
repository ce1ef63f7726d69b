// SPDX-License-Identifier: GPL-2.0-only
//! Arithmetic and comparisons in Cranelift's form; what they mean is written in `run::alu`.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};
use cranelift_frontend::FunctionBuilder;

use crate::insn::Op;

/// Result of an operation on 64-bit registers.
pub(super) fn compute(b: &mut FunctionBuilder<'_>, op: Op, x: Value, y: Value) -> Value {
    match op {
        Op::Mov64 => y,
        Op::Low64 => x,
        Op::Mov32 => low(b, y),
        Op::Low32 => low(b, x),
        Op::Low16 => widened(b, x, types::I16),
        Op::Swap16 => swapped(b, x, types::I16),
        Op::Swap32 => swapped(b, x, types::I32),
        Op::Swap64 => b.ins().bswap(x),
        Op::MovSx8To64 => sign_extended(b, y, types::I8, types::I64),
        Op::MovSx16To64 => sign_extended(b, y, types::I16, types::I64),
        Op::MovSx32To64 => sign_extended(b, y, types::I32, types::I64),
        Op::MovSx8To32 => sign_extended(b, y, types::I8, types::I32),
        Op::MovSx16To32 => sign_extended(b, y, types::I16, types::I32),
        _ => match narrow(op) {
            Some(wide) => {
                let [x, y] = [x, y].map(|value| b.ins().ireduce(types::I32, value));
                let result = arithmetic(b, wide, x, y);
                b.ins().uextend(types::I64, result)
            }
            None => arithmetic(b, op, x, y),
        },
    }
}

/// The operation on 64 bits that does the same as one on 32 bits.
fn narrow(op: Op) -> Option<Op> {
    Some(match op {
        Op::Add32 => Op::Add64,
        Op::Sub32 => Op::Sub64,
        Op::Mul32 => Op::Mul64,
        Op::Div32 => Op::Div64,
        Op::SDiv32 => Op::SDiv64,
        Op::Mod32 => Op::Mod64,
        Op::SMod32 => Op::SMod64,
        Op::Or32 => Op::Or64,
        Op::And32 => Op::And64,
        Op::Xor32 => Op::Xor64,
        Op::Lsh32 => Op::Lsh64,
        Op::Rsh32 => Op::Rsh64,
        Op::Arsh32 => Op::Arsh64,
        Op::Neg32 => Op::Neg64,
        _ => return None,
    })
}

/// An operation named by its 64-bit form on values of either width. Shifts of Cranelift take distances modulo the width,
/// as those of BPF do.
fn arithmetic(b: &mut FunctionBuilder<'_>, op: Op, x: Value, y: Value) -> Value {
    match op {
        Op::Add64 => b.ins().iadd(x, y),
        Op::Sub64 => b.ins().isub(x, y),
        Op::Mul64 => b.ins().imul(x, y),
        Op::Or64 => b.ins().bor(x, y),
        Op::And64 => b.ins().band(x, y),
        Op::Xor64 => b.ins().bxor(x, y),
        Op::Lsh64 => b.ins().ishl(x, y),
        Op::Rsh64 => b.ins().ushr(x, y),
        Op::Arsh64 => b.ins().sshr(x, y),
        Op::Neg64 => b.ins().ineg(x),
        Op::Div64 | Op::Mod64 => unsigned_division(b, op, x, y),
        _ => signed_division(b, op, x, y),
    }
}

fn unsigned_division(b: &mut FunctionBuilder<'_>, op: Op, x: Value, y: Value) -> Value {
    let one = constant_like(b, y, 1);
    let is_zero = b.ins().icmp_imm(IntCC::Equal, y, 0);
    let divisor = b.ins().select(is_zero, one, y);
    if op == Op::Div64 {
        let zero = constant_like(b, y, 0);
        let quotient = b.ins().udiv(x, divisor);
        b.ins().select(is_zero, zero, quotient)
    } else {
        let rest = b.ins().urem(x, divisor);
        b.ins().select(is_zero, x, rest)
    }
}

fn signed_division(b: &mut FunctionBuilder<'_>, op: Op, x: Value, y: Value) -> Value {
    let one = constant_like(b, y, 1);
    let zero = constant_like(b, y, 0);
    let is_zero = b.ins().icmp_imm(IntCC::Equal, y, 0);
    // The least number divided by -1 does not fit: the host would trap.
    let is_minus = b.ins().icmp_imm(IntCC::Equal, y, -1);
    let special = b.ins().bor(is_zero, is_minus);
    let divisor = b.ins().select(special, one, y);
    if op == Op::SDiv64 {
        let quotient = b.ins().sdiv(x, divisor);
        let negated = b.ins().ineg(x);
        let quotient = b.ins().select(is_minus, negated, quotient);
        b.ins().select(is_zero, zero, quotient)
    } else {
        let rest = b.ins().srem(x, divisor);
        let rest = b.ins().select(is_minus, zero, rest);
        b.ins().select(is_zero, x, rest)
    }
}

/// Whether a conditional jump is taken.
pub(super) fn decides(b: &mut FunctionBuilder<'_>, op: Op, x: Value, y: Value) -> Value {
    let (code, wide) = match op {
        Op::Jset64 => {
            let common = b.ins().band(x, y);
            return b.ins().icmp_imm(IntCC::NotEqual, common, 0);
        }
        Op::Jset32 => {
            let common = b.ins().band(x, y);
            let common = b.ins().ireduce(types::I32, common);
            return b.ins().icmp_imm(IntCC::NotEqual, common, 0);
        }
        Op::Jeq64 => (IntCC::Equal, true),
        Op::Jne64 => (IntCC::NotEqual, true),
        Op::Jgt64 => (IntCC::UnsignedGreaterThan, true),
        Op::Jge64 => (IntCC::UnsignedGreaterThanOrEqual, true),
        Op::Jlt64 => (IntCC::UnsignedLessThan, true),
        Op::Jle64 => (IntCC::UnsignedLessThanOrEqual, true),
        Op::Jsgt64 => (IntCC::SignedGreaterThan, true),
        Op::Jsge64 => (IntCC::SignedGreaterThanOrEqual, true),
        Op::Jslt64 => (IntCC::SignedLessThan, true),
        Op::Jsle64 => (IntCC::SignedLessThanOrEqual, true),
        Op::Jeq32 => (IntCC::Equal, false),
        Op::Jne32 => (IntCC::NotEqual, false),
        Op::Jgt32 => (IntCC::UnsignedGreaterThan, false),
        Op::Jge32 => (IntCC::UnsignedGreaterThanOrEqual, false),
        Op::Jlt32 => (IntCC::UnsignedLessThan, false),
        Op::Jle32 => (IntCC::UnsignedLessThanOrEqual, false),
        Op::Jsgt32 => (IntCC::SignedGreaterThan, false),
        Op::Jsge32 => (IntCC::SignedGreaterThanOrEqual, false),
        Op::Jslt32 => (IntCC::SignedLessThan, false),
        _ => (IntCC::SignedLessThanOrEqual, false),
    };
    if wide {
        return b.ins().icmp(code, x, y);
    }
    let [x, y] = [x, y].map(|value| b.ins().ireduce(types::I32, value));
    b.ins().icmp(code, x, y)
}

/// The lower half, the upper half zero.
pub(super) fn low(b: &mut FunctionBuilder<'_>, value: Value) -> Value {
    widened(b, value, types::I32)
}

/// The lower bits of a type, the others zero.
fn widened(b: &mut FunctionBuilder<'_>, value: Value, from: Type) -> Value {
    let cut = b.ins().ireduce(from, value);
    b.ins().uextend(types::I64, cut)
}

fn swapped(b: &mut FunctionBuilder<'_>, value: Value, width: Type) -> Value {
    let cut = b.ins().ireduce(width, value);
    let swapped = b.ins().bswap(cut);
    b.ins().uextend(types::I64, swapped)
}

/// The lower bits of type `from` as a signed number of type `to`, the bits above that zero.
fn sign_extended(b: &mut FunctionBuilder<'_>, value: Value, from: Type, to: Type) -> Value {
    let cut = b.ins().ireduce(from, value);
    let signed = b.ins().sextend(to, cut);
    if to == types::I64 { signed } else { b.ins().uextend(types::I64, signed) }
}

/// A constant of the type of another value.
fn constant_like(b: &mut FunctionBuilder<'_>, like: Value, value: i64) -> Value {
    let kind = b.func.dfg.value_type(like);
    b.ins().iconst(kind, value)
}
