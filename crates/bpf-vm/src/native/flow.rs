// SPDX-License-Identifier: GPL-2.0-only
//! Flow of control and of data through one function: its blocks, and which registers are still needed where.

use crate::insn::{Insn, Op, ZERO, atomic};
use crate::run::LinkedFunction;

/// Instructions that are executed one after the other: `start` to `end`, which is the first one behind.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub start: u32,
    pub end: u32,
    /// Indices of the blocks that may follow.
    pub next: Vec<usize>,
    /// How many blocks may come before.
    pub before: usize,
}

/// The blocks of a function, each behind those that lead to it, except at the end of loops.
#[derive(Debug)]
pub(super) struct Flow {
    pub blocks: Vec<Block>,
    /// Registers (bit 0: r0) whose value is used at or behind each instruction of the function, by its place in it.
    pub needed: Vec<u16>,
}

/// Whether control never goes on to the next instruction.
fn ends(op: Op) -> bool {
    matches!(op, Op::Exit | Op::Jump | Op::Poison | Op::CallMissing)
}

/// Where an instruction may lead, within the function.
fn successors(code: &[Insn], pc: u32) -> impl Iterator<Item = u32> {
    let insn = code[pc as usize];
    let jump = insn.op.is_branch().then(|| insn.off.cast_unsigned());
    let next = (!ends(insn.op)).then_some(pc + 1);
    jump.into_iter().chain(next)
}

impl Flow {
    /// Follows the code from the first instruction of `function`, through those instructions only that can run.
    pub(super) fn new(code: &[Insn], function: &LinkedFunction, can_run: &[bool]) -> Flow {
        let leaders = leaders(code, function, can_run);
        let blocks = ordered(code, function.entry, &leaders, can_run);
        let needed = needed(code, function, &blocks);
        Flow { blocks, needed }
    }
}

/// First instructions of blocks, by place in the function.
fn leaders(code: &[Insn], function: &LinkedFunction, can_run: &[bool]) -> Vec<bool> {
    let mut leaders = vec![false; function.len as usize + 1];
    leaders[0] = true;
    let end = function.entry + function.len;
    for pc in (function.entry..end).filter(|&pc| can_run[pc as usize]) {
        let insn = code[pc as usize];
        if insn.op.is_branch() {
            leaders[(insn.off.cast_unsigned() - function.entry) as usize] = true;
        }
        if insn.op.is_branch() || ends(insn.op) {
            leaders[(pc + 1 - function.entry) as usize] = true;
        }
    }
    leaders
}

/// The blocks in reverse postorder.
fn ordered(code: &[Insn], entry: u32, leaders: &[bool], can_run: &[bool]) -> Vec<Block> {
    let end_of = |start: u32| {
        let mut pc = start;
        loop {
            pc += 1;
            let there = (pc - entry) as usize;
            if ends(code[pc as usize - 1].op) || leaders.get(there).copied().unwrap_or(true) {
                return pc;
            }
        }
    };
    // A branch to what cannot run has no such successor.
    let after = |end: u32| successors(code, end - 1).filter(|&pc| can_run[pc as usize]).collect::<Vec<u32>>();
    let mut seen = vec![false; leaders.len()];
    let mut finished: Vec<u32> = Vec::new();
    // (first instruction, successors not visited yet)
    let mut path = vec![(entry, after(end_of(entry)))];
    seen[0] = true;
    while let Some((start, left)) = path.last_mut() {
        match left.pop() {
            Some(next) if !std::mem::replace(&mut seen[(next - entry) as usize], true) => {
                path.push((next, after(end_of(next))));
            }
            Some(_) => {}
            None => {
                finished.push(*start);
                path.pop();
            }
        }
    }
    finished.reverse();
    let index_of = |pc: u32| finished.iter().position(|&start| start == pc);
    let mut blocks: Vec<Block> = finished
        .iter()
        .map(|&start| {
            let end = end_of(start);
            Block { start, end, next: after(end).into_iter().filter_map(index_of).collect(), before: 0 }
        })
        .collect();
    for index in 0..blocks.len() {
        for next in blocks[index].next.clone() {
            blocks[next].before += 1;
        }
    }
    blocks
}

/// Registers that are needed at each instruction.
fn needed(code: &[Insn], function: &LinkedFunction, blocks: &[Block]) -> Vec<u16> {
    let mut needed = vec![0; function.len as usize];
    let place = |pc: u32| (pc - function.entry) as usize;
    let mut changed = true;
    while changed {
        changed = false;
        for block in blocks.iter().rev() {
            let mut live = block.next.iter().fold(0, |all, &next| all | needed[place(blocks[next].start)]);
            for pc in (block.start..block.end).rev() {
                let (reads, writes) = uses(code[pc as usize]);
                live = (live & !writes) | reads;
                changed |= std::mem::replace(&mut needed[place(pc)], live) != live;
            }
        }
    }
    needed
}

/// Registers that an instruction reads, and those it writes.
fn uses(insn: Insn) -> (u16, u16) {
    const ARGUMENTS: u16 = 0b11_1110;
    let bit = |register: u8| if register < 10 { 1u16 << register } else { 0 };
    let (dst, src) = (bit(insn.dst), if insn.src == ZERO { 0 } else { bit(insn.src) });
    match insn.op {
        Op::Jump | Op::MayGoto | Op::Poison | Op::CallMissing => (0, 0),
        Op::Exit => (1, 0),
        Op::CallExtern | Op::CallLocal => (ARGUMENTS, ARGUMENTS | 1),
        Op::Atomic32 | Op::Atomic64 => match insn.imm as i32 {
            atomic::CMPXCHG => (dst | src | 1, 1),
            operation if operation & atomic::FETCH != 0 => (dst | src, src),
            _ => (dst | src, 0),
        },
        Op::Mov64 | Op::Mov32 | Op::MovSx8To64 | Op::MovSx16To64 | Op::MovSx32To64 => (src, dst),
        Op::MovSx8To32 | Op::MovSx16To32 => (src, dst),
        op if op.is_branch() => (dst | src, 0),
        op if (op as u8) < Op::Jump as u8 => (dst | src, dst),
        _ if insn.writes_dst() => (src, dst),
        _ => (dst | src, 0),
    }
}
