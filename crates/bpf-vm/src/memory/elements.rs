// SPDX-License-Identifier: GPL-2.0-only
//! Questions an embedding model asks about map elements: which one holds an address, and which kernel objects they own.

use super::{Addr, Memory};

impl Memory {
    /// Key and value address of the element of the map with handle `map` whose value holds `addr`.
    #[must_use]
    pub fn map_element_at(&self, map: Addr, addr: Addr) -> Option<(Vec<u8>, Addr)> {
        let id = self.map_of(map.0).ok()?;
        let size = u64::from(self.map_sizes(id).1);
        let mut elements = (0..self.map_slots(id)).filter_map(|slot| self.map_element(id, slot));
        elements.find(|(_, value)| addr.0.checked_sub(value.0).is_some_and(|offset| offset < size))
    }

    /// The kernel objects that pointers in map values own now, one entry a pointer.
    #[must_use]
    pub fn held_kptrs(&self) -> Vec<Addr> {
        let mut held = Vec::new();
        for id in 0..self.maps.len() as u32 {
            let offsets: Vec<u64> = {
                let special = &self.map(id).def.special;
                special
                    .iter()
                    .filter(|special| special.is_kptr)
                    .map(|special| special.offset.into())
                    .collect()
            };
            if offsets.is_empty() {
                continue;
            }
            let values = self.all_values(id);
            let pointers = values.iter().flat_map(|value| offsets.iter().map(|&offset| value.offset(offset)));
            held.extend(pointers.filter_map(|at| self.read_u64(at).ok()).filter(|&held| held != 0).map(Addr));
        }
        held
    }

    fn all_values(&self, id: u32) -> Vec<Addr> {
        let def = &self.map(id).def;
        if def.kind.is_storage() {
            let attached = self.notes.iter().flat_map(|note| &note.storage);
            return attached.filter(|(map, _)| *map == id).map(|(_, value)| *value).collect();
        }
        let elements = (0..self.map_slots(id)).filter_map(|slot| self.map_element(id, slot));
        if !def.kind.is_per_cpu() {
            return elements.map(|(_, value)| value).collect();
        }
        let of_cpus = |key: Vec<u8>| {
            let values = (0..self.nr_cpus).map(move |cpu| self.map_addr(&def.name, &key, cpu));
            values.filter_map(|value| value.ok().flatten())
        };
        elements.flat_map(|(key, _)| of_cpus(key)).collect()
    }
}
