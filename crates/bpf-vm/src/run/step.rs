// SPDX-License-Identifier: GPL-2.0-only
//! The form of the code that the interpreter runs, made once at load from the linked instructions.
//!
//! There is one step for each instruction, at the same index, and a step may do the work of the instructions behind it
//! as well: `mov` and an operation on the result become an operation with three operands, the shifts that cut a number
//! to 32 bits become one move, and sequences from a list are executed without going round the loop. Since the steps of
//! those instructions stay where they are, a jump into the middle of a sequence needs no care. Steps know how many
//! instructions they stand for, so counts and budgets are those of the instructions.

use super::chains::with_chains;
use crate::insn::{Insn, Op, ZERO};

macro_rules! define_do {
    (@all [$($op:ident)*] $($chain:ident: $($part:ident)+;)*) => {
        /// What a step does: one operation, or a chain of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Do {
            $($op,)*
            $($chain,)*
        }

        impl From<Op> for Do {
            fn from(op: Op) -> Do {
                match op {
                    $(Op::$op => Do::$op,)*
                }
            }
        }

        /// Each chain with its parts.
        const CHAINS: &[(Do, &[Do])] = &[$((Do::$chain, &[$(Do::$part),+])),*];
    };
    ($($chains:tt)*) => {
        define_do! { @all [
            Add64 Sub64 Mul64 Div64 SDiv64 Mod64 SMod64 Or64 And64 Xor64 Lsh64 Rsh64 Arsh64 Neg64 Mov64
            MovSx8To64 MovSx16To64 MovSx32To64
            Add32 Sub32 Mul32 Div32 SDiv32 Mod32 SMod32 Or32 And32 Xor32 Lsh32 Rsh32 Arsh32 Neg32 Mov32
            MovSx8To32 MovSx16To32 Swap16 Swap32 Swap64 Low16 Low32 Low64
            Jump Jeq64 Jne64 Jgt64 Jge64 Jlt64 Jle64 Jset64 Jsgt64 Jsge64 Jslt64 Jsle64
            Jeq32 Jne32 Jgt32 Jge32 Jlt32 Jle32 Jset32 Jsgt32 Jsge32 Jslt32 Jsle32
            MayGoto Load8 Load16 Load32 Load64 LoadSx8 LoadSx16 LoadSx32 Store8 Store16 Store32 Store64
            Atomic32 Atomic64 LoadAcquire8 LoadAcquire16 LoadAcquire32 LoadAcquire64
            StoreRelease8 StoreRelease16 StoreRelease32 StoreRelease64
            CallLocal CallExtern CallMissing Exit Poison
        ] $($chains)* }
    };
}
with_chains!(define_do);

/// One step: `dst = a op (b + imm)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub does: Do,
    /// `dst` in the lower half, `a` in the upper.
    dst_a: u8,
    /// `b` in the lower half, the number of instructions of the whole chain in the upper.
    b_len: u8,
    /// Instructions of this step alone.
    pub own: u8,
    /// Memory offset, or index of the instruction to jump to.
    pub off: i32,
    pub imm: i64,
}

impl Step {
    #[inline(always)]
    pub(super) fn dst(&self) -> usize {
        usize::from(self.dst_a & 15)
    }

    #[inline(always)]
    pub(super) fn a(&self) -> usize {
        usize::from(self.dst_a >> 4)
    }

    #[inline(always)]
    pub(super) fn b(&self) -> usize {
        usize::from(self.b_len & 15)
    }

    /// Instructions executed when all goes well.
    #[inline(always)]
    pub(super) fn len(&self) -> u32 {
        u32::from(self.b_len >> 4)
    }

    fn new(op: Op, [dst, a, b]: [u8; 3], own: u8, off: i32, imm: i64) -> Step {
        Step { does: op.into(), dst_a: dst | a << 4, b_len: b | own << 4, own, off, imm }
    }

    /// The instruction alone.
    pub(super) fn plain(insn: Insn) -> Step {
        Step::new(insn.op, [insn.dst & 15, insn.dst & 15, insn.src & 15], 1, insn.off, insn.imm)
    }
}

/// The steps of linked code.
pub(super) fn prepare(code: &[Insn]) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..code.len()).map(|at| single(&code[at..])).collect();
    for at in 0..steps.len() {
        if let Some((chain, len)) = chain_at(&steps, at) {
            steps[at].does = chain;
            steps[at].b_len = (steps[at].b_len & 15) | len << 4;
        }
    }
    steps
}

/// The first instructions as one operation.
fn single(code: &[Insn]) -> Step {
    let first = code[0];
    if let Some(step) = code.get(..3).and_then(|code| cut(code[0], code[1], code[2])) {
        return step;
    }
    let Some(&second) = code.get(1) else { return Step::plain(first) };
    if first.op == Op::Lsh64 && first.src == ZERO && first.imm == 32 && is_shift(Op::Rsh64, second, first.dst)
    {
        return Step::new(Op::Mov32, [first.dst, first.dst, first.dst], 2, 0, 0);
    }
    moved(first, second).unwrap_or_else(|| Step::plain(first))
}

fn is_shift(op: Op, insn: Insn, dst: u8) -> bool {
    insn.op == op && insn.dst == dst && insn.src == ZERO && insn.imm == 32
}

/// `mov` and the two shifts that keep the lower half of a number.
fn cut(first: Insn, second: Insn, third: Insn) -> Option<Step> {
    let cuts = first.op == Op::Mov64
        && first.src != ZERO
        && first.imm == 0
        && is_shift(Op::Lsh64, second, first.dst)
        && is_shift(Op::Rsh64, third, first.dst);
    cuts.then(|| Step::new(Op::Mov32, [first.dst, first.dst, first.src], 3, 0, 0))
}

/// `mov` and an operation on its result.
fn moved(first: Insn, second: Insn) -> Option<Step> {
    let wide = (Op::Add64 as u8..=Op::Arsh64 as u8).contains(&(second.op as u8));
    if first.op != Op::Mov64 || !wide || second.dst != first.dst {
        return None;
    }
    let dst = first.dst;
    if first.src != ZERO && first.imm == 0 {
        let b = if second.src == dst { first.src } else { second.src };
        return Some(Step::new(second.op, [dst, first.src, b], 2, 0, second.imm));
    }
    let swaps = matches!(second.op, Op::Add64 | Op::Mul64 | Op::Or64 | Op::And64 | Op::Xor64);
    let other = second.src != ZERO && second.src != dst && second.imm == 0;
    (first.src == ZERO && swaps && other)
        .then(|| Step::new(second.op, [dst, second.src, ZERO], 2, 0, first.imm))
}

/// The longest chain that begins at `at`, and how many instructions it stands for.
fn chain_at(steps: &[Step], at: usize) -> Option<(Do, u8)> {
    let fits = |parts: &[Do]| {
        let mut next = at;
        for &part in parts {
            let step = steps.get(next).filter(|step| step.does == part)?;
            next += usize::from(step.own);
        }
        u8::try_from(next - at).ok().filter(|len| *len < 16)
    };
    let found = CHAINS.iter().filter_map(|(chain, parts)| Some((*chain, fits(parts)?)));
    found.max_by_key(|(_, len)| *len)
}

#[cfg(test)]
mod tests;
