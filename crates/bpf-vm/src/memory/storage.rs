// SPDX-License-Identifier: GPL-2.0-only
//! Storage attached to kernel objects: one value per object and map, freed with either.

use std::sync::Arc;

use super::{Access, Addr, Memory};
use crate::error::{Fault, UsageError};

impl Memory {
    /// The value that storage map `id` keeps for the object at `owner`.
    #[inline]
    pub(crate) fn storage_value(&self, id: u32, owner: Addr) -> Option<Addr> {
        let note = self.notes.get(owner.slot()).filter(|_| self.is_live(owner))?;
        note.storage.iter().find(|(map, _)| *map == id).map(|(_, value)| *value)
    }

    /// For compiled code: the value that the storage map with this handle keeps for an object, and its first byte; `None`
    /// if there is none, an error where the program is at fault.
    pub(crate) fn storage_place(&self, handle: u64, owner: Addr) -> Result<Option<(Addr, *mut u8)>, Fault> {
        let (id, _) = self.storage_map(handle)?;
        if owner.is_null() {
            return Ok(None);
        }
        crate::run::builtins::whole_object(self, owner)?;
        let value = self.storage_value(id, owner);
        Ok(value.and_then(|value| Some((value, self.region(value)?.data.start()))))
    }

    /// Creates the value that storage map `id` keeps for `owner`: zeroed, or a copy of `initial`.
    pub(crate) fn create_storage(
        &mut self,
        id: u32,
        owner: Addr,
        initial: Option<&[u8]>,
    ) -> Result<Addr, Fault> {
        if !self.is_live(owner) {
            return Err(Fault::violation(format!("storage for {}", self.describe(owner))));
        }
        let def = &self.map(id).def;
        let (name, len) = (Arc::from(format!("map {}", def.name)), def.value_size);
        let value = self.add_region(name, 0, vec![0; len as usize], u32::MAX, len, Access::ReadWrite)?;
        if let Some(initial) = initial {
            self.copy_value(id, value, initial);
        }
        self.notes[owner.slot()].storage.push((id, value));
        Ok(value)
    }

    /// Removes the value that storage map `id` keeps for `owner`; false if there was none.
    pub(crate) fn delete_storage(&mut self, id: u32, owner: Addr) -> bool {
        let Some(value) = self.storage_value(id, owner) else { return false };
        self.notes[owner.slot()].storage.retain(|(map, _)| *map != id);
        self.drop_kptrs(id, value);
        self.free(value).is_ok()
    }

    /// Removes all values attached to `owner`.
    pub(super) fn drop_storage(&mut self, owner: Addr) {
        for (id, value) in std::mem::take(&mut self.notes[owner.slot()].storage) {
            self.drop_kptrs(id, value);
            // Only live values are ever attached.
            let _freed = self.free(value);
        }
    }

    /// Address of the value that the storage map `name` keeps for the object at `owner`, or `None`.
    ///
    /// # Errors
    /// Unknown map, or one that is not storage.
    pub fn storage(&self, name: &str, owner: Addr) -> Result<Option<Addr>, UsageError> {
        let id = self.map_id(name)?;
        if !self.map(id).def.kind.is_storage() {
            return Err(UsageError::Missing { kind: "storage map", name: name.to_owned() });
        }
        Ok(self.storage_value(id, owner))
    }

    /// Size of the values of storage map `id`, if it is one.
    pub(crate) fn storage_map(&self, handle: u64) -> Result<(u32, u32), Fault> {
        let id = self.map_of(handle)?;
        let def = &self.map(id).def;
        if def.kind.is_storage() {
            return Ok((id, def.value_size));
        }
        Err(Fault::violation(format!("map '{}' is not attached to objects", def.name)))
    }
}
