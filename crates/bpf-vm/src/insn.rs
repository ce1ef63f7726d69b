// SPDX-License-Identifier: GPL-2.0-only
//! Instructions: as the object encodes them, and as the interpreter runs them.
//!
//! The internal form makes every operand `register + constant`: an immediate operand names the register that is always
//! zero, a register operand has the constant 0. That halves the number of operations without a branch.

/// One 8-byte slot of the object's code. RFC 9669 describes the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawInsn {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl RawInsn {
    pub(crate) fn read(bytes: [u8; 8]) -> RawInsn {
        let [code, registers, off0, off1, imm0, imm1, imm2, imm3] = bytes;
        RawInsn {
            code,
            dst: registers & 15,
            src: registers >> 4,
            off: i16::from_le_bytes([off0, off1]),
            imm: i32::from_le_bytes([imm0, imm1, imm2, imm3]),
        }
    }

    pub(crate) fn class(self) -> u8 {
        self.code & 7
    }

    /// First half of a 64-bit immediate load.
    pub(crate) fn is_wide(self) -> bool {
        self.code == LD_IMM64
    }
}

pub(crate) const LD_IMM64: u8 = 0x18;
pub(crate) const CALL: u8 = 0x85;

pub(crate) const CLASS_LDX: u8 = 1;
pub(crate) const CLASS_ST: u8 = 2;
pub(crate) const CLASS_STX: u8 = 3;
pub(crate) const CLASS_ALU: u8 = 4;
pub(crate) const CLASS_JMP: u8 = 5;
pub(crate) const CLASS_JMP32: u8 = 6;
pub(crate) const CLASS_ALU64: u8 = 7;

/// Register that is always 0.
pub(crate) const ZERO: u8 = 11;
/// Frame pointer.
pub(crate) const FP: u8 = 10;

/// What the interpreter does for an instruction. `a` is the destination register, `b` the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Op {
    Add64,
    Sub64,
    Mul64,
    Div64,
    SDiv64,
    Mod64,
    SMod64,
    Or64,
    And64,
    Xor64,
    Lsh64,
    Rsh64,
    Arsh64,
    Neg64,
    Mov64,
    MovSx8To64,
    MovSx16To64,
    MovSx32To64,
    Add32,
    Sub32,
    Mul32,
    Div32,
    SDiv32,
    Mod32,
    SMod32,
    Or32,
    And32,
    Xor32,
    Lsh32,
    Rsh32,
    Arsh32,
    Neg32,
    Mov32,
    MovSx8To32,
    MovSx16To32,
    Swap16,
    Swap32,
    Swap64,
    Low16,
    Low32,
    Low64,
    Jump,
    Jeq64,
    Jne64,
    Jgt64,
    Jge64,
    Jlt64,
    Jle64,
    Jset64,
    Jsgt64,
    Jsge64,
    Jslt64,
    Jsle64,
    Jeq32,
    Jne32,
    Jgt32,
    Jge32,
    Jlt32,
    Jle32,
    Jset32,
    Jsgt32,
    Jsge32,
    Jslt32,
    Jsle32,
    /// Jumps when the loop allowance is used up.
    MayGoto,
    Load8,
    Load16,
    Load32,
    Load64,
    LoadSx8,
    LoadSx16,
    LoadSx32,
    Store8,
    Store16,
    Store32,
    Store64,
    /// `imm` holds the operation.
    Atomic32,
    Atomic64,
    LoadAcquire8,
    LoadAcquire16,
    LoadAcquire32,
    LoadAcquire64,
    StoreRelease8,
    StoreRelease16,
    StoreRelease32,
    StoreRelease64,
    /// `imm`: function index; `off`: its first instruction.
    CallLocal,
    /// `imm`: index of the registered function.
    CallExtern,
    /// `imm`: index of the name of a missing function.
    CallMissing,
    Exit,
    /// `imm`: index of what is missing.
    Poison,
}

impl Op {
    pub(crate) fn is_branch(self) -> bool {
        (Op::Jump as u8..=Op::MayGoto as u8).contains(&(self as u8))
    }
}

/// An instruction of the interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    pub op: Op,
    pub dst: u8,
    pub src: u8,
    /// Memory offset, or index of the instruction to jump to.
    pub off: i32,
    pub imm: i64,
}

/// `imm` of an atomic instruction.
pub(crate) mod atomic {
    pub(crate) const ADD: i32 = 0x00;
    pub(crate) const OR: i32 = 0x40;
    pub(crate) const AND: i32 = 0x50;
    pub(crate) const XOR: i32 = 0xa0;
    pub(crate) const FETCH: i32 = 0x01;
    pub(crate) const XCHG: i32 = 0xe1;
    pub(crate) const CMPXCHG: i32 = 0xf1;
    pub(crate) const LOAD_ACQUIRE: i32 = 0x100;
    pub(crate) const STORE_RELEASE: i32 = 0x110;
}

fn alu(raw: RawInsn) -> Option<Insn> {
    let wide = raw.class() == CLASS_ALU64;
    let from_register = raw.code & 8 != 0;
    let (src, imm) = if from_register { (raw.src, 0) } else { (ZERO, i64::from(raw.imm)) };
    let pick = |narrow: Op, wide_op: Op| if wide { wide_op } else { narrow };
    let signed = match raw.off {
        0 => false,
        1 => true,
        _ if raw.code >> 4 == 0xb => false,
        _ => return None,
    };
    let op = match (raw.code >> 4, signed) {
        (0x0, false) => pick(Op::Add32, Op::Add64),
        (0x1, false) => pick(Op::Sub32, Op::Sub64),
        (0x2, false) => pick(Op::Mul32, Op::Mul64),
        (0x3, false) => pick(Op::Div32, Op::Div64),
        (0x3, true) => pick(Op::SDiv32, Op::SDiv64),
        (0x4, false) => pick(Op::Or32, Op::Or64),
        (0x5, false) => pick(Op::And32, Op::And64),
        (0x6, false) => pick(Op::Lsh32, Op::Lsh64),
        (0x7, false) => pick(Op::Rsh32, Op::Rsh64),
        (0x8, false) if !from_register => pick(Op::Neg32, Op::Neg64),
        (0x9, false) => pick(Op::Mod32, Op::Mod64),
        (0x9, true) => pick(Op::SMod32, Op::SMod64),
        (0xa, false) => pick(Op::Xor32, Op::Xor64),
        (0xb, _) => return mov(raw, wide, from_register, src, imm),
        (0xc, false) => pick(Op::Arsh32, Op::Arsh64),
        (0xd, false) => match (wide, from_register, raw.imm) {
            (false, false, 16) => Op::Low16,
            (false, false, 32) => Op::Low32,
            (false, false, 64) => Op::Low64,
            (false, true, 16) | (true, false, 16) => Op::Swap16,
            (false, true, 32) | (true, false, 32) => Op::Swap32,
            (false, true, 64) | (true, false, 64) => Op::Swap64,
            _ => return None,
        },
        _ => return None,
    };
    Some(Insn { op, dst: raw.dst, src, off: 0, imm })
}

fn mov(raw: RawInsn, wide: bool, from_register: bool, src: u8, imm: i64) -> Option<Insn> {
    let op = match (raw.off, from_register, wide) {
        (0, _, true) => Op::Mov64,
        (0, _, false) => Op::Mov32,
        (8, true, true) => Op::MovSx8To64,
        (16, true, true) => Op::MovSx16To64,
        (32, true, true) => Op::MovSx32To64,
        (8, true, false) => Op::MovSx8To32,
        (16, true, false) => Op::MovSx16To32,
        // A cast between address spaces changes nothing here: addresses have one form only.
        (1, true, true) if raw.imm == 1 || raw.imm == 1 << 16 => Op::Mov64,
        _ => return None,
    };
    Some(Insn { op, dst: raw.dst, src, off: 0, imm })
}

/// A jump; `off` of the result counts raw slots relative to the next one.
fn jump(raw: RawInsn) -> Option<Insn> {
    let wide = raw.class() == CLASS_JMP;
    let from_register = raw.code & 8 != 0;
    let (src, imm) = if from_register { (raw.src, 0) } else { (ZERO, i64::from(raw.imm)) };
    let plain = |op, off| Some(Insn { op, dst: 0, src: ZERO, off, imm: 0 });
    let pick = |narrow: Op, wide_op: Op| if wide { wide_op } else { narrow };
    let op = match raw.code >> 4 {
        0x0 if from_register => return None,
        0x0 => return plain(Op::Jump, if wide { raw.off.into() } else { raw.imm }),
        0x9 if wide && !from_register => return plain(Op::Exit, 0),
        0xe if wide && !from_register && raw.src == 0 => return plain(Op::MayGoto, raw.off.into()),
        0x1 => pick(Op::Jeq32, Op::Jeq64),
        0x2 => pick(Op::Jgt32, Op::Jgt64),
        0x3 => pick(Op::Jge32, Op::Jge64),
        0x4 => pick(Op::Jset32, Op::Jset64),
        0x5 => pick(Op::Jne32, Op::Jne64),
        0x6 => pick(Op::Jsgt32, Op::Jsgt64),
        0x7 => pick(Op::Jsge32, Op::Jsge64),
        0xa => pick(Op::Jlt32, Op::Jlt64),
        0xb => pick(Op::Jle32, Op::Jle64),
        0xc => pick(Op::Jslt32, Op::Jslt64),
        0xd => pick(Op::Jsle32, Op::Jsle64),
        _ => return None,
    };
    Some(Insn { op, dst: raw.dst, src, off: raw.off.into(), imm })
}

fn memory(raw: RawInsn) -> Option<Insn> {
    const MODE_MEM: u8 = 0x60;
    const MODE_MEM_SIGNED: u8 = 0x80;
    const MODE_ATOMIC: u8 = 0xc0;
    // Size codes: 0 word, 1 half word, 2 byte, 3 double word.
    let (mode, size) = (raw.code & 0xe0, (raw.code >> 3) & 3);
    let off = raw.off.into();
    let by_size = |ops: [Op; 4]| ops[size as usize];
    let insn = |op, src, imm| Some(Insn { op, dst: raw.dst, src, off, imm });
    match (raw.class(), mode) {
        (CLASS_LDX, MODE_MEM) => insn(by_size([Op::Load32, Op::Load16, Op::Load8, Op::Load64]), raw.src, 0),
        (CLASS_LDX, MODE_MEM_SIGNED) if size != 3 => {
            insn(by_size([Op::LoadSx32, Op::LoadSx16, Op::LoadSx8, Op::LoadSx8]), raw.src, 0)
        }
        (CLASS_ST, MODE_MEM) => {
            insn(by_size([Op::Store32, Op::Store16, Op::Store8, Op::Store64]), ZERO, raw.imm.into())
        }
        (CLASS_STX, MODE_MEM) => {
            insn(by_size([Op::Store32, Op::Store16, Op::Store8, Op::Store64]), raw.src, 0)
        }
        (CLASS_STX, MODE_ATOMIC) => match raw.imm {
            atomic::LOAD_ACQUIRE => {
                let ops = [Op::LoadAcquire32, Op::LoadAcquire16, Op::LoadAcquire8, Op::LoadAcquire64];
                insn(by_size(ops), raw.src, 0)
            }
            atomic::STORE_RELEASE => {
                let ops = [Op::StoreRelease32, Op::StoreRelease16, Op::StoreRelease8, Op::StoreRelease64];
                insn(by_size(ops), raw.src, 0)
            }
            atomic::XCHG | atomic::CMPXCHG => atomic_op(raw, size),
            operation if matches!(operation & !1, atomic::ADD | atomic::OR | atomic::AND | atomic::XOR) => {
                atomic_op(raw, size)
            }
            _ => None,
        },
        _ => None,
    }
}

fn atomic_op(raw: RawInsn, size: u8) -> Option<Insn> {
    let op = match size {
        0 => Op::Atomic32,
        3 => Op::Atomic64,
        _ => return None,
    };
    if raw.src == FP && raw.imm & atomic::FETCH != 0 {
        // The old value would go into the frame pointer.
        return None;
    }
    Some(Insn { op, dst: raw.dst, src: raw.src, off: raw.off.into(), imm: raw.imm.into() })
}

/// The internal form of everything but calls and 64-bit immediates; `None` for an encoding that does not exist.
/// The offset of a jump still counts raw slots.
pub(crate) fn lower(raw: RawInsn) -> Option<Insn> {
    if raw.dst > FP || raw.src > FP {
        return None;
    }
    let insn = match raw.class() {
        CLASS_ALU | CLASS_ALU64 => alu(raw)?,
        CLASS_JMP | CLASS_JMP32 => jump(raw)?,
        _ => memory(raw)?,
    };
    // Nothing may change the frame pointer.
    (insn.dst != FP || !insn.writes_dst()).then_some(insn)
}

impl Insn {
    /// Whether `dst` is a result, not an address or an operand.
    pub(crate) fn writes_dst(&self) -> bool {
        let op = self.op as u8;
        op <= Op::Low64 as u8
            || (Op::Load8 as u8..=Op::LoadSx32 as u8).contains(&op)
            || (Op::LoadAcquire8 as u8..=Op::LoadAcquire64 as u8).contains(&op)
    }
}
