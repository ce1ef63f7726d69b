// SPDX-License-Identifier: GPL-2.0-only
//! Encodes instructions by the tables of RFC 9669.

pub const ALU: u8 = 4;
pub const JMP: u8 = 5;
pub const JMP32: u8 = 6;
pub const ALU64: u8 = 7;

/// Operand is a register rather than the immediate.
pub const X: u8 = 8;

pub const W: u8 = 0x00;
pub const H: u8 = 0x08;
pub const B: u8 = 0x10;
pub const DW: u8 = 0x18;

pub const MEM: u8 = 0x60;
pub const MEMSX: u8 = 0x80;
pub const ATOMIC: u8 = 0xc0;

/// One slot.
pub fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let mut bytes = [code, src << 4 | dst, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&off.to_le_bytes());
    bytes[4..].copy_from_slice(&imm.to_le_bytes());
    bytes
}

pub fn exit() -> [u8; 8] {
    insn(0x95, 0, 0, 0, 0)
}

pub fn mov(dst: u8, imm: i32) -> [u8; 8] {
    insn(0xb0 | ALU64, dst, 0, 0, imm)
}

pub fn mov_reg(dst: u8, src: u8) -> [u8; 8] {
    insn(0xb0 | ALU64 | X, dst, src, 0, 0)
}

/// Both slots of a 64-bit immediate.
pub fn wide(dst: u8, value: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&insn(0x18, dst, 0, 0, value as u32 as i32));
    bytes[8..].copy_from_slice(&insn(0, 0, 0, 0, (value >> 32) as u32 as i32));
    bytes
}

pub fn load(size: u8, dst: u8, src: u8, off: i16) -> [u8; 8] {
    insn(1 | MEM | size, dst, src, off, 0)
}

pub fn store(size: u8, dst: u8, off: i16, src: u8) -> [u8; 8] {
    insn(3 | MEM | size, dst, src, off, 0)
}

/// Joins slots to code.
pub fn code(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
