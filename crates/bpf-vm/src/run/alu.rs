// SPDX-License-Identifier: GPL-2.0-only
//! Arithmetic and comparisons. RFC 9669: division by zero gives 0, the remainder of a division by zero is the dividend,
//! shift distances are taken modulo the width, and signed division truncates.

use crate::insn::Op;

/// Result of an arithmetic operation on `a` (destination) and `b`; 32-bit operations zero the upper half.
#[inline(always)]
pub(super) fn compute(op: Op, a: u64, b: u64) -> u64 {
    let (a32, b32) = (a as u32, b as u32);
    let (sa, sb) = (a.cast_signed(), b.cast_signed());
    let (sa32, sb32) = (a32.cast_signed(), b32.cast_signed());
    let narrow = |value: u32| u64::from(value);
    match op {
        Op::Add64 => a.wrapping_add(b),
        Op::Sub64 => a.wrapping_sub(b),
        Op::Mul64 => a.wrapping_mul(b),
        Op::Div64 => a.checked_div(b).unwrap_or(0),
        Op::SDiv64 => {
            if b == 0 {
                0
            } else {
                sa.wrapping_div(sb).cast_unsigned()
            }
        }
        Op::Mod64 => a.checked_rem(b).unwrap_or(a),
        Op::SMod64 => {
            if b == 0 {
                a
            } else {
                sa.wrapping_rem(sb).cast_unsigned()
            }
        }
        Op::Or64 => a | b,
        Op::And64 => a & b,
        Op::Xor64 => a ^ b,
        Op::Lsh64 => a << (b & 63),
        Op::Rsh64 => a >> (b & 63),
        Op::Arsh64 => (sa >> (b & 63)).cast_unsigned(),
        Op::Neg64 => a.wrapping_neg(),
        Op::Mov64 => b,
        Op::MovSx8To64 => i64::from(b as i8).cast_unsigned(),
        Op::MovSx16To64 => i64::from(b as i16).cast_unsigned(),
        Op::MovSx32To64 => i64::from(sb32).cast_unsigned(),
        Op::Add32 => narrow(a32.wrapping_add(b32)),
        Op::Sub32 => narrow(a32.wrapping_sub(b32)),
        Op::Mul32 => narrow(a32.wrapping_mul(b32)),
        Op::Div32 => narrow(a32.checked_div(b32).unwrap_or(0)),
        Op::SDiv32 => {
            if b32 == 0 {
                0
            } else {
                narrow(sa32.wrapping_div(sb32).cast_unsigned())
            }
        }
        Op::Mod32 => narrow(a32.checked_rem(b32).unwrap_or(a32)),
        Op::SMod32 => narrow(if b32 == 0 { a32 } else { sa32.wrapping_rem(sb32).cast_unsigned() }),
        Op::Or32 => narrow(a32 | b32),
        Op::And32 => narrow(a32 & b32),
        Op::Xor32 => narrow(a32 ^ b32),
        Op::Lsh32 => narrow(a32 << (b32 & 31)),
        Op::Rsh32 => narrow(a32 >> (b32 & 31)),
        Op::Arsh32 => narrow((sa32 >> (b32 & 31)).cast_unsigned()),
        Op::Neg32 => narrow(a32.wrapping_neg()),
        Op::Mov32 | Op::Low32 => narrow(if matches!(op, Op::Mov32) { b32 } else { a32 }),
        Op::MovSx8To32 => narrow(i32::from(b as i8).cast_unsigned()),
        Op::MovSx16To32 => narrow(i32::from(b as i16).cast_unsigned()),
        Op::Swap16 => u64::from((a as u16).swap_bytes()),
        Op::Swap32 => narrow(a32.swap_bytes()),
        Op::Swap64 => a.swap_bytes(),
        Op::Low16 => u64::from(a as u16),
        Op::Low64 => a,
        _ => 0,
    }
}

/// Whether a conditional jump is taken.
#[inline(always)]
pub(super) fn is_taken(op: Op, a: u64, b: u64) -> bool {
    let (a32, b32) = (a as u32, b as u32);
    let (sa, sb) = (a.cast_signed(), b.cast_signed());
    let (sa32, sb32) = (a32.cast_signed(), b32.cast_signed());
    match op {
        Op::Jeq64 => a == b,
        Op::Jne64 => a != b,
        Op::Jgt64 => a > b,
        Op::Jge64 => a >= b,
        Op::Jlt64 => a < b,
        Op::Jle64 => a <= b,
        Op::Jset64 => a & b != 0,
        Op::Jsgt64 => sa > sb,
        Op::Jsge64 => sa >= sb,
        Op::Jslt64 => sa < sb,
        Op::Jsle64 => sa <= sb,
        Op::Jeq32 => a32 == b32,
        Op::Jne32 => a32 != b32,
        Op::Jgt32 => a32 > b32,
        Op::Jge32 => a32 >= b32,
        Op::Jlt32 => a32 < b32,
        Op::Jle32 => a32 <= b32,
        Op::Jset32 => a32 & b32 != 0,
        Op::Jsgt32 => sa32 > sb32,
        Op::Jsge32 => sa32 >= sb32,
        Op::Jslt32 => sa32 < sb32,
        Op::Jsle32 => sa32 <= sb32,
        _ => true,
    }
}

pub(crate) fn constant(op: Op, a: u64, b: u64) -> u64 {
    compute(op, a, b)
}

pub(crate) fn decides(op: Op, a: u64, b: u64) -> bool {
    is_taken(op, a, b)
}
