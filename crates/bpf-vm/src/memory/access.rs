// SPDX-License-Identifier: GPL-2.0-only
//! Reading and writing: by programs within their rights, by the embedding model without.

use super::{Addr, Memory, Region};
use crate::btf::Field;
use crate::error::Fault;

impl Region {
    /// Start of an access of `size` bytes if it stays inside one element's first `limit` bytes.
    #[inline(always)]
    fn range(&self, low: u32, size: usize, limit: u32) -> Option<usize> {
        let within = (low & self.mask) as usize;
        (within + size <= limit as usize).then_some(low as usize)
    }
}

impl Memory {
    /// A read by a program.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, addr: Addr) -> Option<[u8; N]> {
        let region = self.regions.get(addr.slot())?;
        if region.tag != addr.tag() {
            return None;
        }
        let start = region.range(addr.low(), N, region.read_len)?;
        region.data.get(start..start + N)?.try_into().ok()
    }

    /// The bytes a program may write at `addr`, for the fast path.
    #[inline(always)]
    pub(crate) fn store_at<const N: usize>(&mut self, addr: Addr) -> Option<&mut [u8; N]> {
        let region = self.regions.get_mut(addr.slot())?;
        if region.tag != addr.tag() {
            return None;
        }
        let start = region.range(addr.low(), N, region.write_len)?;
        region.data.get_mut(start..start + N)?.try_into().ok()
    }

    /// A write by a program.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(&mut self, addr: Addr, bytes: [u8; N]) -> Result<(), Fault> {
        if let Some(place) = self.store_at::<N>(addr) {
            *place = bytes;
            return Ok(());
        }
        self.store_slowly(addr, &bytes)
    }

    /// A write that the region as a whole does not allow: a field of a kernel object may still be open.
    #[cold]
    fn store_slowly(&mut self, addr: Addr, bytes: &[u8]) -> Result<(), Fault> {
        let type_id = self.notes.get(addr.slot()).map_or(0, |note| note.type_id());
        let start = addr.low();
        let open = type_id != 0
            && self.writable.iter().any(|&(id, first, end)| {
                id == type_id && start >= first && u64::from(start) + bytes.len() as u64 <= u64::from(end)
            });
        if !open {
            return Err(self.access_fault(addr, bytes.len(), true));
        }
        self.write_bytes(addr, bytes)
    }

    /// Bytes at `addr` a program may read, checked against its rights: for functions that act for a program.
    ///
    /// # Errors
    /// An access fault, as the program itself would get.
    pub fn readable(&self, addr: Addr, len: u32) -> Result<&[u8], Fault> {
        let bytes = self.region(addr).and_then(|region| {
            let start = region.range(addr.low(), len as usize, region.read_len)?;
            region.data.get(start..start + len as usize)
        });
        bytes.ok_or_else(|| self.access_fault(addr, len as usize, false))
    }

    /// Bytes at `addr` a program may write, checked against its rights.
    ///
    /// # Errors
    /// An access fault, as the program itself would get.
    pub fn writable(&mut self, addr: Addr, len: u32) -> Result<&mut [u8], Fault> {
        let allowed = self.region(addr).and_then(|region| {
            let start = region.range(addr.low(), len as usize, region.write_len)?;
            (start + len as usize <= region.data.len()).then_some(start)
        });
        match allowed {
            Some(start) => Ok(&mut self.regions[addr.slot()].data[start..start + len as usize]),
            None => Err(self.access_fault(addr, len as usize, true)),
        }
    }

    /// All bytes of the region that begins at `addr`, whatever programs may do there: for models that look at several
    /// fields of an object.
    ///
    /// # Errors
    /// An access fault when there is no live region at `addr`, or `addr` is not its start.
    #[inline]
    pub fn whole(&self, addr: Addr) -> Result<&[u8], Fault> {
        match self.region(addr).filter(|_| addr.low() == 0) {
            Some(region) => Ok(&region.data),
            None => Err(self.access_fault(addr, 1, false)),
        }
    }

    /// The same, to change.
    ///
    /// # Errors
    /// As [`Memory::whole`].
    #[inline]
    pub fn whole_mut(&mut self, addr: Addr) -> Result<&mut [u8], Fault> {
        if addr.low() != 0 || self.region(addr).is_none() {
            return Err(self.access_fault(addr, 1, true));
        }
        Ok(&mut self.regions[addr.slot()].data)
    }

    /// Bytes at `addr`, whatever programs may do there.
    ///
    /// # Errors
    /// An access fault when they do not lie inside one live region.
    #[inline]
    pub fn bytes(&self, addr: Addr, len: u32) -> Result<&[u8], Fault> {
        let start = addr.low() as usize;
        match self.region(addr).and_then(|region| region.data.get(start..start + len as usize)) {
            Some(bytes) => Ok(bytes),
            None => Err(self.access_fault(addr, len as usize, false)),
        }
    }

    /// Bytes at `addr` for writing, whatever programs may do there.
    ///
    /// # Errors
    /// An access fault when they do not lie inside one live region.
    #[inline]
    pub fn bytes_mut(&mut self, addr: Addr, len: u32) -> Result<&mut [u8], Fault> {
        let (start, end) = (addr.low() as usize, addr.low() as usize + len as usize);
        if self.region(addr).is_none_or(|region| region.data.len() < end) {
            return Err(self.access_fault(addr, len as usize, true));
        }
        Ok(&mut self.regions[addr.slot()].data[start..end])
    }

    /// Writes bytes, whatever programs may do there.
    ///
    /// # Errors
    /// As [`Memory::bytes_mut`].
    pub fn write_bytes(&mut self, addr: Addr, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes_mut(addr, bytes.len() as u32)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Reads the field of the object at `addr`; bit fields and signed fields come out as the C code would see them,
    /// widened to 64 bits. A field of more than 8 bytes gives its first 8.
    ///
    /// # Errors
    /// As [`Memory::bytes`].
    #[inline]
    pub fn read(&self, addr: Addr, field: &Field) -> Result<u64, Fault> {
        let at = addr.offset(u64::from(field.offset));
        // Plain fields of the usual widths need no copy of unknown length.
        if field.bit_size == 0 && !field.signed {
            match field.size {
                8 => return self.read_u64(at),
                4 => return self.read_u32(at).map(u64::from),
                _ => {}
            }
        }
        let size = field.size.min(8);
        let bytes = self.bytes(at, size)?;
        let mut value = [0; 8];
        value[..size as usize].copy_from_slice(bytes);
        let value = u64::from_le_bytes(value) >> field.bit_shift;
        let bits = if field.bit_size > 0 { field.bit_size } else { size * 8 };
        Ok(if field.signed { sign_extend(value, bits) } else { truncate(value, bits) })
    }

    /// Writes the field of the object at `addr`, cutting `value` to its width.
    ///
    /// # Errors
    /// As [`Memory::bytes_mut`].
    #[inline]
    pub fn write(&mut self, addr: Addr, field: &Field, value: u64) -> Result<(), Fault> {
        let at = addr.offset(u64::from(field.offset));
        if field.bit_size == 0 {
            match field.size {
                8 => return self.write_u64(at, value),
                4 => return self.write_u32(at, value as u32),
                _ => {}
            }
        }
        let size = field.size.min(8);
        let value = if field.bit_size == 0 {
            value
        } else {
            let plain = Field { bit_shift: 0, bit_size: 0, signed: false, ..*field };
            let old = self.read(addr, &plain)?;
            let mask = truncate(u64::MAX, field.bit_size) << field.bit_shift;
            (old & !mask) | ((value << field.bit_shift) & mask)
        };
        self.bytes_mut(at, size)?.copy_from_slice(&value.to_le_bytes()[..size as usize]);
        Ok(())
    }

    /// Reads 8 bytes at `addr`.
    ///
    /// # Errors
    /// As [`Memory::bytes`].
    #[inline]
    pub fn read_u64(&self, addr: Addr) -> Result<u64, Fault> {
        let bytes = self.bytes(addr, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were asked for")))
    }

    /// Reads 4 bytes at `addr`.
    ///
    /// # Errors
    /// As [`Memory::bytes`].
    #[inline]
    pub fn read_u32(&self, addr: Addr) -> Result<u32, Fault> {
        let bytes = self.bytes(addr, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes were asked for")))
    }

    /// Writes 8 bytes at `addr`.
    ///
    /// # Errors
    /// As [`Memory::bytes_mut`].
    #[inline]
    pub fn write_u64(&mut self, addr: Addr, value: u64) -> Result<(), Fault> {
        self.write_array(addr, value.to_le_bytes())
    }

    /// Writes 4 bytes at `addr`.
    ///
    /// # Errors
    /// As [`Memory::bytes_mut`].
    #[inline]
    pub fn write_u32(&mut self, addr: Addr, value: u32) -> Result<(), Fault> {
        self.write_array(addr, value.to_le_bytes())
    }

    #[inline]
    fn write_array<const N: usize>(&mut self, addr: Addr, bytes: [u8; N]) -> Result<(), Fault> {
        let start = addr.low() as usize;
        let region = self.regions.get_mut(addr.slot()).filter(|region| region.tag == addr.tag());
        if let Some(place) = region.and_then(|region| region.data.get_mut(start..start + N)) {
            place.copy_from_slice(&bytes);
            return Ok(());
        }
        Err(self.access_fault(addr, N, true))
    }

    /// The text at `addr` up to its NUL, at most `max` bytes, from memory a program may read.
    ///
    /// # Errors
    /// An access fault when not even one byte may be read.
    pub fn read_str(&self, addr: Addr, max: u32) -> Result<String, Fault> {
        let bytes = self.text(addr, max)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The bytes at `addr` before the first NUL, at most `max`.
    pub(crate) fn text(&self, addr: Addr, max: u32) -> Result<&[u8], Fault> {
        self.readable(addr, 1)?;
        let Some(region) = self.region(addr) else { return Err(self.access_fault(addr, 1, false)) };
        let room = (region.read_len - (addr.low() & region.mask)).min(max);
        let bytes = self.readable(addr, room)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Ok(&bytes[..end])
    }
}

fn truncate(value: u64, bits: u32) -> u64 {
    if bits >= 64 { value } else { value & ((1 << bits) - 1) }
}

fn sign_extend(value: u64, bits: u32) -> u64 {
    if bits == 0 || bits >= 64 {
        return value;
    }
    let unused = 64 - bits;
    ((value << unused).cast_signed() >> unused).cast_unsigned()
}
