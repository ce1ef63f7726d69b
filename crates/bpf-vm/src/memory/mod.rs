// SPDX-License-Identifier: GPL-2.0-only
//! The memory BPF code sees: tagged regions with bounds, and the maps in them.
//!
//! An address names a region (its slot in a table, and how often the slot was used before) and an offset, so a stale or
//! stray pointer cannot hit another region. Regions of several elements (maps) are laid out with a power-of-two
//! distance between elements, and an access must stay inside one element.
//!
//! Programs are held to the rights of a region; the embedding model reads and writes everything.

use std::collections::VecDeque;
use std::fmt;
use std::mem::offset_of;
use std::sync::Arc;

use crate::btf::Btf;
use crate::error::{Fault, FaultKind};
use crate::native::Context;

mod access;
mod buffer;
mod elements;
mod map;
mod objects;
mod storage;

pub(crate) use buffer::Buffer;
pub(crate) use map::{ArrayLayout, MapDef, MapKind, Special};
pub use map::{MapEntry, MapInfo};
pub(crate) use objects::SlotNote;

#[cfg(test)]
mod tests;

/// An address as BPF code sees it. 0 is NULL.
///
/// Bits 0–31: offset; 32–41: use count of the slot; 42–62: slot. Bit 63 stays 0, so no address looks like an error
/// code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub u64);

const GENERATION_BITS: u32 = 10;
const MAX_SLOTS: usize = 1 << (31 - GENERATION_BITS);
/// Freed slots wait in line until so many are free, so that a stale pointer stays recognisable for long.
const MIN_FREE_SLOTS: usize = 256;

impl Addr {
    /// The null pointer.
    pub const NULL: Addr = Addr(0);

    /// Bits below the slot.
    pub(crate) const SLOT_SHIFT: u32 = 32 + GENERATION_BITS;

    /// Whether this is the null pointer.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `bytes` further on.
    #[must_use]
    pub fn offset(self, bytes: u64) -> Addr {
        Addr(self.0.wrapping_add(bytes))
    }

    fn new(slot: usize, generation: u32) -> Addr {
        Addr(u64::from((slot as u32) << GENERATION_BITS | generation) << 32)
    }

    fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn slot(self) -> usize {
        (self.0 >> Addr::SLOT_SHIFT) as usize
    }

    fn low(self) -> u32 {
        self.0 as u32
    }

    /// Start of the region the address points into.
    #[must_use]
    pub fn base(self) -> Addr {
        Addr(self.0 & !0xffff_ffff)
    }
}

impl From<u64> for Addr {
    fn from(value: u64) -> Addr {
        Addr(value)
    }
}

impl From<Addr> for u64 {
    fn from(addr: Addr) -> u64 {
        addr.0
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What programs may do with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only.
    ReadOnly,
    /// Neither: an opaque handle.
    None,
}

/// Tag of a region that is not in use; no address has it, because bit 63 of an address is 0.
const DEAD: u32 = u32::MAX;

/// What the access check needs, and nothing else. Compiled code reads it where it is, by the offsets in
/// [`RegionLayout`].
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Region {
    /// Upper half of the addresses that are valid for it.
    tag: u32,
    /// Distance between elements − 1; all ones for a region of one element.
    mask: u32,
    /// Bytes of an element a program may read.
    read_len: u32,
    /// Bytes of an element a program may write.
    write_len: u32,
    data: Buffer,
}

/// Where compiled code finds the parts of a region.
pub(crate) struct RegionLayout;

impl RegionLayout {
    pub(crate) const SIZE: i64 = size_of::<Region>() as i64;
    pub(crate) const TAG: i32 = offset_of!(Region, tag) as i32;
    pub(crate) const MASK: i32 = offset_of!(Region, mask) as i32;
    pub(crate) const READ_LEN: i32 = offset_of!(Region, read_len) as i32;
    pub(crate) const WRITE_LEN: i32 = offset_of!(Region, write_len) as i32;
    pub(crate) const START: i32 = (offset_of!(Region, data) + Buffer::START) as i32;
    pub(crate) const LEN: i32 = (offset_of!(Region, data) + Buffer::LEN) as i32;
}

/// Memory, maps and the CPU the code runs on.
#[derive(Debug)]
pub struct Memory {
    regions: Vec<Region>,
    /// What a slot is, for reports and for storage attached to it; same index as `regions`.
    notes: Vec<SlotNote>,
    free: VecDeque<u32>,
    live: usize,
    btf: Arc<Btf>,
    maps: Vec<map::Map>,
    /// Fields of kernel types that programs may write: (type id, first byte, end).
    writable: Vec<(u32, u32, u32)>,
    cpu: u32,
    time: u64,
    nr_cpus: u32,
    pub(crate) locks: Vec<u64>,
    pub(crate) rcu_depth: u32,
    pub(crate) null_reads_zero: bool,
    dropped_kptrs: Vec<Addr>,
}

impl Memory {
    pub(crate) fn new(btf: Arc<Btf>, nr_cpus: u32) -> Memory {
        let mut memory = Memory {
            regions: Vec::new(),
            notes: Vec::new(),
            free: VecDeque::new(),
            live: 0,
            btf,
            maps: Vec::new(),
            writable: Vec::new(),
            cpu: 0,
            time: 0,
            nr_cpus,
            locks: Vec::new(),
            rcu_depth: 0,
            null_reads_zero: false,
            dropped_kptrs: Vec::new(),
        };
        // Slot 0 holds NULL and small integers: never valid.
        memory.regions.push(Region {
            tag: DEAD,
            mask: u32::MAX,
            read_len: 0,
            write_len: 0,
            data: Buffer::default(),
        });
        memory.notes.push(SlotNote::new("NULL".into(), 0));
        memory
    }

    /// The target kernel types.
    #[must_use]
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// CPUs that per-CPU maps have room for.
    #[must_use]
    pub fn nr_cpus(&self) -> u32 {
        self.nr_cpus
    }

    /// The CPU that code runs on: what per-CPU maps and `bpf_get_smp_processor_id` use.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Sets the CPU that code runs on from now on. CPUs beyond [`Memory::nr_cpus`] count as the last one.
    pub fn set_cpu(&mut self, cpu: u32) {
        self.cpu = cpu.min(self.nr_cpus.saturating_sub(1));
    }

    /// The time that code sees, see [`crate::Registry::clocks`].
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Sets the time that code sees from now on.
    pub fn set_time(&mut self, time: u64) {
        self.time = time;
    }

    /// Live regions; a model that frees what it allocates keeps it from growing.
    #[must_use]
    pub fn live_regions(&self) -> usize {
        self.live
    }

    /// A new region of `len` zero bytes; `name` appears in fault reports.
    ///
    /// # Errors
    /// When two million regions are live.
    pub fn alloc_bytes(&mut self, name: &str, len: u32, access: Access) -> Result<Addr, Fault> {
        self.add_region(Arc::from(name), 0, vec![0; len as usize], u32::MAX, len, access)
    }

    fn add_region(
        &mut self,
        name: Arc<str>,
        type_id: u32,
        data: Vec<u8>,
        mask: u32,
        element_len: u32,
        access: Access,
    ) -> Result<Addr, Fault> {
        let (read_len, write_len) = match access {
            Access::ReadWrite => (element_len, element_len),
            Access::ReadOnly => (element_len, 0),
            Access::None => (0, 0),
        };
        let slot = if self.free.len() > MIN_FREE_SLOTS || self.regions.len() >= MAX_SLOTS {
            let slot = self.free.pop_front().ok_or_else(|| Fault::violation("out of memory regions"))?;
            slot as usize
        } else {
            self.regions.push(Region { tag: DEAD, mask, read_len: 0, write_len: 0, data: Buffer::default() });
            self.notes.push(SlotNote::new(Arc::from(""), 0));
            self.regions.len() - 1
        };
        let note = &mut self.notes[slot];
        note.reuse(name, type_id);
        let addr = Addr::new(slot, note.generation());
        self.regions[slot] = Region { tag: addr.tag(), mask, read_len, write_len, data: data.into() };
        self.live += 1;
        Ok(addr)
    }

    /// Frees the region that starts at `addr`, with all storage attached to it. Later accesses through old pointers
    /// are faults.
    ///
    /// # Errors
    /// When `addr` is not the start of a live region.
    pub fn free(&mut self, addr: Addr) -> Result<(), Fault> {
        let fixed = self.notes.get(addr.slot()).is_some_and(SlotNote::is_fixed);
        if addr.low() != 0 || fixed || self.region(addr).is_none() {
            return Err(Fault::violation(format!("free of {addr}, {}", self.describe(addr))));
        }
        self.drop_storage(addr);
        let region = &mut self.regions[addr.slot()];
        region.tag = DEAD;
        region.data = Buffer::default();
        self.free.push_back(addr.slot() as u32);
        self.live -= 1;
        Ok(())
    }

    /// Regions that are never freed keep their bytes in one place: compiled code may hold on to them.
    pub(crate) fn fix(&mut self, addr: Addr) {
        self.notes[addr.slot()].fix();
    }

    /// Of a region that stays where it is: its first byte, the offset of `address` in it, and how many of its bytes
    /// programs may read and write.
    pub(crate) fn fixed(&self, address: u64) -> Option<(*mut u8, u32, u32, u32)> {
        let addr = Addr(address);
        let region = self.region(addr).filter(|region| region.mask == u32::MAX)?;
        let fixed = self.notes[addr.slot()].is_fixed() && addr.low() < region.data.len() as u32;
        fixed.then(|| (region.data.start(), addr.low(), region.read_len, region.write_len))
    }

    /// Tells compiled code where the regions are now.
    #[inline]
    pub(crate) fn show(&self, context: &Context) {
        context.regions.set(self.regions.as_ptr());
        context.region_count.set(self.regions.len() as u64);
        context.cpu.set(self.cpu.into());
        context.time.set(self.time);
    }

    /// The bytes of all regions.
    #[cfg(test)]
    pub(crate) fn contents(&self) -> Vec<Vec<u8>> {
        self.regions.iter().map(|region| region.data.to_vec()).collect()
    }

    fn region(&self, addr: Addr) -> Option<&Region> {
        self.regions.get(addr.slot()).filter(|region| region.tag == addr.tag())
    }

    /// Whether `addr` points into a live region.
    #[must_use]
    pub fn is_live(&self, addr: Addr) -> bool {
        self.region(addr).is_some()
    }

    /// Whether the region at `addr` is an object of the kernel type `type_name`.
    #[must_use]
    pub fn is_a(&self, addr: Addr, type_name: &str) -> bool {
        let type_id = self.notes.get(addr.slot()).map_or(0, |note| note.type_id());
        type_id != 0 && self.is_live(addr) && self.btf.get(type_id).name == type_name
    }

    #[cold]
    pub(crate) fn access_fault(&self, addr: Addr, size: usize, write: bool) -> Fault {
        let what = self.describe(addr);
        FaultKind::Access { write, size: size as u32, addr, what }.into()
    }
}
