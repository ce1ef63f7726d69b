// SPDX-License-Identifier: GPL-2.0-only
//! Which accesses of a block can be checked together: those through the same pointer, up to the next call.
//!
//! All instructions of such a stretch are executed once its first one is, so when the bytes of all of them are there the
//! first check does for all, and when they are not, one of them is going to fail or needs more than a plain access.

use std::collections::HashMap;

use crate::insn::{FP, Insn, Op, ZERO};
use crate::memory::Memory;

/// Bytes from `start` up to `end`, relative to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes {
    pub start: i64,
    pub end: i64,
}

impl Bytes {
    pub(super) fn contains(self, other: Bytes) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    pub(super) fn with(self, other: Bytes) -> Bytes {
        Bytes { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    pub(super) fn moved(self, by: i64) -> Bytes {
        Bytes { start: self.start.wrapping_add(by), end: self.end.wrapping_add(by) }
    }
}

/// What is read and what is written through one pointer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub read: Option<Bytes>,
    pub written: Option<Bytes>,
}

impl Span {
    fn with(self, other: Span) -> Span {
        let both = |a: Option<Bytes>, b: Option<Bytes>| match (a, b) {
            (Some(a), Some(b)) => Some(a.with(b)),
            (a, b) => a.or(b),
        };
        Span { read: both(self.read, other.read), written: both(self.written, other.written) }
    }

    pub(super) fn moved(self, by: i64) -> Span {
        Span {
            read: self.read.map(|read| read.moved(by)),
            written: self.written.map(|written| written.moved(by)),
        }
    }

    /// Everything that is touched.
    pub(super) fn all(self) -> Option<Bytes> {
        match (self.read, self.written) {
            (Some(read), Some(written)) => Some(read.with(written)),
            (read, written) => read.or(written),
        }
    }
}

/// An instruction's access to memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// Register with the base address.
    pub base: u8,
    pub size: u32,
    pub write: bool,
}

/// What an instruction does with memory, if it does anything.
pub(super) fn access(insn: Insn) -> Option<Access> {
    let (size, write) = match insn.op {
        Op::Load8 | Op::LoadSx8 | Op::LoadAcquire8 => (1, false),
        Op::Load16 | Op::LoadSx16 | Op::LoadAcquire16 => (2, false),
        Op::Load32 | Op::LoadSx32 | Op::LoadAcquire32 => (4, false),
        Op::Load64 | Op::LoadAcquire64 => (8, false),
        Op::Store8 | Op::StoreRelease8 => (1, true),
        Op::Store16 | Op::StoreRelease16 => (2, true),
        Op::Store32 | Op::StoreRelease32 | Op::Atomic32 => (4, true),
        Op::Store64 | Op::StoreRelease64 | Op::Atomic64 => (8, true),
        _ => return None,
    };
    Some(Access { base: if write { insn.dst } else { insn.src }, size, write })
}

/// Longest stretch that is checked at once.
const MAX_SPAN: i64 = 4096;

/// For each access of a block: what this and the later ones of the same stretch and pointer touch, relative to the
/// address of this access.
pub(super) fn spans(code: &[Insn]) -> Vec<Option<Span>> {
    // What a register holds: a value by number, and the distance from it.
    let mut held: [(u32, i64); 12] = std::array::from_fn(|register| (register as u32, 0));
    let (mut values, mut stretch) = (held.len() as u32, 0u32);
    let mut found = Vec::with_capacity(code.len());
    for &insn in code {
        let touched = access(insn).map(|access| {
            let (value, distance) = held[access.base as usize];
            let at = distance.wrapping_add(insn.off.into());
            let bytes = Bytes { start: at, end: at.wrapping_add(access.size.into()) };
            ((value, stretch), access.write, bytes)
        });
        found.push(touched);
        let mut fresh = |register: u8| {
            values += 1;
            if register < FP {
                held[register as usize] = (values, 0);
            }
        };
        match insn.op {
            Op::CallExtern | Op::CallLocal => {
                (0..6).for_each(&mut fresh);
                stretch += 1;
            }
            Op::Mov64 if insn.src != ZERO && insn.imm == 0 => {
                held[insn.dst as usize] = held[insn.src as usize]
            }
            Op::Add64 if insn.src == ZERO => {
                let (_, distance) = &mut held[insn.dst as usize];
                *distance = distance.wrapping_add(insn.imm);
            }
            Op::Atomic32 | Op::Atomic64 => [0, insn.src].into_iter().for_each(&mut fresh),
            _ if insn.writes_dst() => fresh(insn.dst),
            _ => {}
        }
    }
    let mut later: HashMap<(u32, u32), Span> = HashMap::new();
    let mut spans = vec![None; code.len()];
    for (index, touched) in found.into_iter().enumerate().rev() {
        let Some((pointer, write, bytes)) = touched else { continue };
        let own = if write {
            Span { read: None, written: Some(bytes) }
        } else {
            Span { read: Some(bytes), written: None }
        };
        let mut all = later.get(&pointer).map_or(own, |later| later.with(own));
        if all.all().is_none_or(|all| all.end.wrapping_sub(all.start) > MAX_SPAN || all.end < all.start) {
            all = own;
        }
        later.insert(pointer, all);
        spans[index] = Some(all.moved(bytes.start.wrapping_neg()));
    }
    spans
}

/// Host address of the bytes at a constant address and what may be read and written around it, if the region stays where
/// it is for as long as the code lives.
pub(super) fn fixed(memory: &Memory, address: u64) -> Option<(*mut u8, Bytes, Option<Bytes>)> {
    let (start, offset, readable, writable) = memory.fixed(address)?;
    let around = |len: u32| Bytes { start: -i64::from(offset), end: i64::from(len) - i64::from(offset) };
    let written = (writable > 0).then(|| around(writable));
    Some((start.wrapping_add(offset as usize), around(readable), written))
}
