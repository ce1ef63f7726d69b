// SPDX-License-Identifier: GPL-2.0-only
//! Objects of kernel types, what slots are called, and how an address is described.

use std::sync::Arc;

use super::{Access, Addr, GENERATION_BITS, Memory};
use crate::btf::{BtfError, Field};
use crate::error::Fault;

/// What a slot holds, beyond what the access check needs.
#[derive(Debug)]
pub(crate) struct SlotNote {
    name: Arc<str>,
    /// Kernel type of the object; 0 for none.
    type_id: u32,
    uses: u32,
    /// Index of the map whose handle this is; `u32::MAX` for none.
    map: u32,
    /// It is never freed.
    fixed: bool,
    /// Local storage attached to the object: (map, address of the value).
    pub(super) storage: Vec<(u32, Addr)>,
}

impl SlotNote {
    pub(super) fn new(name: Arc<str>, type_id: u32) -> SlotNote {
        SlotNote { name, type_id, uses: 0, map: u32::MAX, fixed: false, storage: Vec::new() }
    }

    pub(super) fn reuse(&mut self, name: Arc<str>, type_id: u32) {
        self.name = name;
        self.type_id = type_id;
        self.map = u32::MAX;
        self.uses = self.uses.wrapping_add(1);
    }

    pub(super) fn generation(&self) -> u32 {
        self.uses.wrapping_sub(1) & ((1 << GENERATION_BITS) - 1)
    }

    pub(super) fn fix(&mut self) {
        self.fixed = true;
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    pub(super) fn set_map(&mut self, map: u32) {
        self.map = map;
    }

    #[inline]
    pub(super) fn map(&self) -> Option<u32> {
        (self.map != u32::MAX).then_some(self.map)
    }

    pub(super) fn type_id(&self) -> u32 {
        self.type_id
    }
}

impl Memory {
    /// A new zeroed object of the target kernel type `type_name`. Programs may read it, and write what
    /// [`Memory::allow_write`] opens.
    ///
    /// # Errors
    /// Unknown type, or two million regions live.
    pub fn alloc(&mut self, type_name: &str) -> Result<Addr, Fault> {
        self.alloc_extra(type_name, 0)
    }

    /// As [`Memory::alloc`], with `extra` bytes after the struct: for flexible array members.
    ///
    /// # Errors
    /// As [`Memory::alloc`].
    pub fn alloc_extra(&mut self, type_name: &str, extra: u32) -> Result<Addr, Fault> {
        let btf = Arc::clone(&self.btf);
        let type_id = btf
            .composite(type_name)
            .ok_or_else(|| Fault::violation(BtfError::NoType(type_name.to_owned()).to_string()))?;
        let len = btf.get(type_id).size.saturating_add(extra);
        let name = Arc::from(type_name);
        self.add_region(name, type_id, vec![0; len as usize], u32::MAX, len, Access::ReadOnly)
    }

    /// Finds a field of a target kernel type by path, once, to use it with [`Memory::read`] and [`Memory::write`].
    ///
    /// # Errors
    /// Unknown type or field.
    pub fn field(&self, type_name: &str, path: &str) -> Result<Field, BtfError> {
        self.btf.field(type_name, path)
    }

    /// Lets programs write a field of all objects of a target kernel type, as the verifier does for `scx.slice`.
    ///
    /// # Errors
    /// Unknown type or field.
    pub fn allow_write(&mut self, type_name: &str, path: &str) -> Result<(), BtfError> {
        let field = self.btf.field(type_name, path)?;
        let type_id = self.btf.composite(type_name).ok_or_else(|| BtfError::NoType(type_name.to_owned()))?;
        self.writable.push((type_id, field.offset, field.offset.saturating_add(field.size)));
        Ok(())
    }

    /// Address of one word says what it points at, in words: region, offset, and what is wrong with it if anything is.
    #[must_use]
    pub fn describe(&self, addr: Addr) -> String {
        if addr.0 < 1 << 32 {
            return if addr.0 < 1 << 16 {
                format!("a NULL pointer plus {}", addr.0)
            } else {
                format!("{:#x} is a number, not a pointer", addr.0)
            };
        }
        // A small negative offset carries into the slot number.
        let before = Addr(addr.0.wrapping_add(1 << 31)).base();
        let (base, offset) = if addr.low() > i32::MAX as u32 && self.is_live(before) {
            (before, i64::from(addr.low().cast_signed()))
        } else {
            (addr.base(), i64::from(addr.low()))
        };
        let Some(note) = self.notes.get(base.slot()).filter(|_| base.0 >> 63 == 0) else {
            return format!("{:#x} is a number, not a pointer", addr.0);
        };
        let Some(region) = self.region(base) else {
            return if note.uses == 0 {
                format!("{:#x} is a number, not a pointer", addr.0)
            } else {
                format!("offset {offset} of a freed region, its slot was last '{}'", note.name)
            };
        };
        let name = if note.type_id == 0 { note.name.to_string() } else { format!("struct {}", note.name) };
        let inside = self.member_name(note.type_id, offset);
        let rights = match (region.read_len, region.write_len) {
            (0, 0) if !region.data.is_empty() => ", which programs may not touch",
            (_, 0) => ", read-only",
            _ => "",
        };
        if region.mask == u32::MAX {
            format!("offset {offset}{inside} of '{name}' ({} bytes{rights})", region.data.len())
        } else {
            let distance = i64::from(region.mask) + 1;
            let (element, within) = (offset.div_euclid(distance), offset.rem_euclid(distance));
            let count = region.data.len() as i64 / distance;
            format!(
                "offset {within} of element {element} of '{name}' ({count} elements of {} bytes{rights})",
                region.read_len.max(region.write_len)
            )
        }
    }

    /// ` (scx.slice)` for an offset inside a kernel object.
    fn member_name(&self, type_id: u32, offset: i64) -> String {
        let Ok(offset) = u32::try_from(offset) else { return String::new() };
        let name = self.btf.member_at(type_id, offset);
        if name.is_empty() { name } else { format!(" ({name})") }
    }
}
