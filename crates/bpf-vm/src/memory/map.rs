// SPDX-License-Identifier: GPL-2.0-only
//! Maps: arrays and hashes, plain and per-CPU, and the definitions of all kinds.
//!
//! All values of a map live in one region, one element after the other, so a value's address never changes while its
//! element exists. Elements of a hash keep the order of their slots when they are listed: the same history gives the
//! same order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::{Access, Addr, Memory};
use crate::error::{Fault, UsageError};

/// Errnos of map operations, as the kernel gives them.
const ENOENT: i32 = 2;
const E2BIG: i32 = 7;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;

/// Update only if there is no such key yet.
const BPF_NOEXIST: u64 = 1;
/// Update only if the key is there.
const BPF_EXIST: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    Array,
    PerCpuArray,
    Hash,
    PerCpuHash,
    /// A hash that drops an old element instead of refusing a new one.
    LruHash,
    TaskStorage,
    CgroupStorage,
    /// A type by its number: the map has a name, and no program that is linked may use it.
    Unsupported(u32),
}

impl MapKind {
    pub(crate) fn is_per_cpu(self) -> bool {
        matches!(self, MapKind::PerCpuArray | MapKind::PerCpuHash)
    }

    pub(crate) fn is_storage(self) -> bool {
        // An unsupported map has no values of its own either.
        matches!(self, MapKind::TaskStorage | MapKind::CgroupStorage | MapKind::Unsupported(_))
    }

    fn is_array(self) -> bool {
        matches!(self, MapKind::Array | MapKind::PerCpuArray)
    }
}

/// What the object says about a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MapDef {
    pub name: String,
    pub kind: MapKind,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    /// Parts of a value that are not data: locks, timers, pointers to kernel objects. Copies leave them alone.
    pub special: Vec<Special>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Special {
    pub offset: u32,
    pub len: u32,
    pub is_kptr: bool,
}

/// What a map is, for callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapInfo {
    /// Name in the object.
    pub name: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value (of one CPU).
    pub value_size: u32,
    /// Most elements; 0 for storage attached to objects.
    pub max_entries: u32,
    /// One value per CPU.
    pub per_cpu: bool,
}

/// Key and value of one element.
pub type MapEntry = (Vec<u8>, Vec<u8>);

/// FNV-1a: the same on every host and in every run.
#[derive(Debug)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[derive(Debug, Default)]
struct HashIndex {
    slots: HashMap<Arc<[u8]>, u32, BuildHasherDefault<Fnv>>,
    /// Key of each slot; `None` for a free one.
    keys: Vec<Option<Arc<[u8]>>>,
    free: Vec<u32>,
    /// Where an LRU map looks for the next victim.
    hand: u32,
}

#[derive(Debug)]
pub(super) struct Map {
    pub(super) def: MapDef,
    /// What programs hold as the map itself.
    handle: Addr,
    /// The region with all values; NULL for storage maps.
    values: Addr,
    /// Bytes from one element to the next.
    distance: u32,
    hash: HashIndex,
}

impl Map {
    fn info(&self) -> MapInfo {
        MapInfo {
            name: self.def.name.clone(),
            key_size: self.def.key_size,
            value_size: self.def.value_size,
            max_entries: self.def.max_entries,
            per_cpu: self.def.kind.is_per_cpu(),
        }
    }

    /// Values per key.
    fn copies(&self, nr_cpus: u32) -> u64 {
        if self.def.kind.is_per_cpu() { u64::from(nr_cpus) } else { 1 }
    }

    /// The slot a key has.
    #[inline]
    fn slot(&self, key: &[u8]) -> Option<u32> {
        if self.def.kind.is_array() {
            let index = u32::from_le_bytes(key.get(..4)?.try_into().ok()?);
            return (index < self.def.max_entries).then_some(index);
        }
        self.hash.slots.get(key).copied()
    }

    #[inline]
    fn value(&self, slot: u32, cpu: u32, nr_cpus: u32) -> Addr {
        let element = if self.def.kind.is_per_cpu() {
            u64::from(slot) * u64::from(nr_cpus) + u64::from(cpu)
        } else {
            slot.into()
        };
        self.values.offset(element * u64::from(self.distance))
    }
}

/// An array as compiled code sees it.
pub(crate) struct ArrayLayout {
    /// Address of the first element, and where that is in host memory.
    pub values: u64,
    pub host: *mut u8,
    pub entries: u32,
    pub value_size: u32,
    /// Bytes from one element to the next.
    pub distance: u32,
    /// Elements for each index, by CPU, if there are several.
    pub copies: Option<u32>,
}

/// Largest region: offsets are 32 bits, of which the upper half means "before the region" in reports.
const MAX_REGION: u64 = 1 << 31;

/// Bytes between two elements at least: an access just behind a value must not hit the next one.
const GAP: u32 = 8;

impl Memory {
    pub(crate) fn add_map(&mut self, def: MapDef) -> Result<u32, UsageError> {
        let too_big = |reason: &str| UsageError::Refused {
            operation: "creation",
            name: def.name.clone(),
            errno: E2BIG,
            reason: reason.to_owned(),
        };
        let padded = def.value_size.checked_add(GAP).and_then(u32::checked_next_power_of_two);
        let distance = padded.ok_or_else(|| too_big("values of more than 2 GiB"))?;
        let copies = if def.kind.is_per_cpu() { u64::from(self.nr_cpus) } else { 1 };
        let len = u64::from(distance)
            .checked_mul(u64::from(def.max_entries))
            .and_then(|len| len.checked_mul(copies))
            .filter(|&len| len <= MAX_REGION)
            .ok_or_else(|| too_big("more than 2 GiB of values"))?;
        let full = |fault: Fault| too_big(&fault.to_string());
        let id = self.maps.len() as u32;
        let name: Arc<str> = Arc::from(format!("map {}", def.name));
        let handle =
            self.add_region(Arc::clone(&name), 0, Vec::new(), u32::MAX, 0, Access::None).map_err(full)?;
        self.notes[handle.slot()].set_map(id);
        let values = if def.kind.is_storage() {
            Addr::NULL
        } else {
            let data = if def.kind.is_array() { vec![0; len as usize] } else { Vec::new() };
            self.add_region(name, 0, data, distance - 1, def.value_size, Access::ReadWrite).map_err(full)?
        };
        if def.kind.is_array() {
            self.fix(values);
        }
        self.maps.push(Map { def, handle, values, distance, hash: HashIndex::default() });
        Ok(id)
    }

    pub(crate) fn map_handle(&self, id: u32) -> Addr {
        self.maps[id as usize].handle
    }

    /// The map whose handle a program passed.
    #[inline]
    pub(crate) fn map_of(&self, handle: u64) -> Result<u32, Fault> {
        let addr = Addr(handle);
        let id = self.notes.get(addr.slot()).and_then(|note| note.map());
        match id {
            Some(id) if self.maps[id as usize].handle == addr => Ok(id),
            _ => Err(Fault::violation(format!("not a map: {}", self.describe(addr)))),
        }
    }

    pub(crate) fn map_id(&self, name: &str) -> Result<u32, UsageError> {
        let id = (0u32..).zip(&self.maps).find(|(_, map)| map.def.name == name).map(|(id, _)| id);
        id.ok_or_else(|| UsageError::Missing { kind: "map", name: name.to_owned() })
    }

    pub(super) fn map(&self, id: u32) -> &Map {
        &self.maps[id as usize]
    }

    /// The name of the map whose handle is `addr`.
    #[must_use]
    pub fn map_name(&self, addr: Addr) -> Option<&str> {
        self.map_of(addr.0).ok().map(|id| self.map(id).def.name.as_str())
    }

    /// What the map is.
    ///
    /// # Errors
    /// Unknown map.
    pub fn map_info(&self, name: &str) -> Result<MapInfo, UsageError> {
        Ok(self.map(self.map_id(name)?).info())
    }

    /// Names of all maps, in the order of the object.
    pub fn map_names(&self) -> impl Iterator<Item = &str> {
        self.maps.iter().map(|map| map.def.name.as_str())
    }

    /// Bytes of a key and of a value.
    pub(crate) fn map_sizes(&self, id: u32) -> (u32, u32) {
        let def = &self.map(id).def;
        (def.key_size, def.value_size)
    }

    pub(crate) fn map_can_delete(&self, id: u32) -> bool {
        let kind = self.map(id).def.kind;
        !kind.is_array() && !kind.is_storage()
    }

    /// Look-up by a program in a map given by its handle: the address of the value for the current CPU, or 0.
    #[inline]
    pub(crate) fn lookup(&self, handle: u64, key: u64) -> Result<u64, Fault> {
        let id = self.map_of(handle)?;
        let map = self.map(id);
        if map.def.kind == MapKind::Array
            && map.def.key_size == 4
            && let Some(key) = self.load::<4>(Addr(key))
        {
            let index = u32::from_le_bytes(key);
            let value = map.values.offset(u64::from(index) * u64::from(map.distance));
            return Ok(if index < map.def.max_entries { value.0 } else { 0 });
        }
        Ok(self.map_value(id, Addr(key), self.cpu)?.unwrap_or(Addr::NULL).0)
    }

    /// Look-up by a program: the address of the value for a CPU.
    #[inline]
    pub(crate) fn map_value(&self, id: u32, key: Addr, cpu: u32) -> Result<Option<Addr>, Fault> {
        let map = self.map(id);
        if map.def.kind.is_storage() {
            return Err(Fault::violation(format!("look-up by key in storage map '{}'", map.def.name)));
        }
        let key = self.readable(key, map.def.key_size)?;
        Ok(map.slot(key).map(|slot| map.value(slot, cpu, self.nr_cpus)))
    }

    /// Where compiled code finds the elements of an array given by its handle.
    pub(crate) fn array_layout(&self, handle: u64) -> Option<ArrayLayout> {
        let map = self.map(self.map_of(handle).ok()?);
        let region = self.region(map.values).filter(|_| map.def.kind.is_array() && map.def.key_size == 4)?;
        Some(ArrayLayout {
            values: map.values.0,
            host: region.data.start(),
            entries: map.def.max_entries,
            value_size: map.def.value_size,
            distance: map.distance,
            copies: map.def.kind.is_per_cpu().then_some(self.nr_cpus),
        })
    }

    /// Size of the values of the storage map with this handle, for compiled code.
    pub(crate) fn storage_layout(&self, handle: u64) -> Option<u32> {
        let map = self.map(self.map_of(handle).ok()?);
        map.def.kind.is_storage().then_some(map.def.value_size)
    }

    /// Slots that elements can have now; some may be free.
    pub(crate) fn map_slots(&self, id: u32) -> u32 {
        let map = self.map(id);
        if map.def.kind.is_array() { map.def.max_entries } else { map.hash.keys.len() as u32 }
    }

    /// Key and value address (of the current CPU) of the element in `slot`.
    pub(crate) fn map_element(&self, id: u32, slot: u32) -> Option<(Vec<u8>, Addr)> {
        let map = self.map(id);
        let key = match map.def.kind.is_array() {
            true => slot.to_le_bytes().to_vec(),
            false => map.hash.keys.get(slot as usize)?.as_ref()?.to_vec(),
        };
        Some((key, map.value(slot, self.cpu, self.nr_cpus)))
    }

    /// Sets an element; a negative errno is what the kernel's helper would return.
    pub(crate) fn map_set(&mut self, id: u32, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        // The lock flag asks for what happens anyway.
        let flags = flags & 3;
        let map = self.map(id);
        if map.def.kind.is_storage() || flags > BPF_EXIST {
            return Err(-EINVAL);
        }
        let slot = match map.slot(key) {
            Some(_) if flags == BPF_NOEXIST => return Err(-EEXIST),
            Some(slot) => slot,
            None if map.def.kind.is_array() => return Err(-E2BIG),
            None if flags == BPF_EXIST => return Err(-ENOENT),
            None => self.new_element(id, key)?,
        };
        let at = self.map(id).value(slot, self.cpu, self.nr_cpus);
        self.copy_value(id, at, value);
        Ok(())
    }

    fn new_element(&mut self, id: u32, key: &[u8]) -> Result<u32, i32> {
        let nr_cpus = self.nr_cpus;
        let map = &self.maps[id as usize];
        if map.hash.free.is_empty() && map.hash.keys.len() >= map.def.max_entries as usize {
            if map.def.kind != MapKind::LruHash || map.hash.keys.is_empty() {
                return Err(-E2BIG);
            }
            let victim = map.hash.hand % map.hash.keys.len() as u32;
            let victim_key = map.hash.keys[victim as usize].clone();
            self.maps[id as usize].hash.hand = victim + 1;
            if let Some(victim_key) = victim_key {
                self.map_remove(id, &victim_key);
            }
        }
        let map = &mut self.maps[id as usize];
        let key: Arc<[u8]> = Arc::from(key);
        let slot = match map.hash.free.pop() {
            Some(slot) => slot,
            None => {
                map.hash.keys.push(None);
                map.hash.keys.len() as u32 - 1
            }
        };
        map.hash.keys[slot as usize] = Some(Arc::clone(&key));
        map.hash.slots.insert(key, slot);
        let (start, bytes) = (map.value(slot, 0, nr_cpus), u64::from(map.distance) * map.copies(nr_cpus));
        let data = &mut self.regions[start.slot()].data;
        let start = start.low() as usize;
        data.grow(start + bytes as usize);
        data[start..start + bytes as usize].fill(0);
        Ok(slot)
    }

    /// Removes an element of a hash; false if it was not there. What its kernel pointers held is queued for
    /// [`Memory::take_dropped_kptrs`].
    pub(crate) fn map_remove(&mut self, id: u32, key: &[u8]) -> bool {
        let map = &mut self.maps[id as usize];
        let Some(slot) = map.hash.slots.remove(key) else { return false };
        map.hash.keys[slot as usize] = None;
        map.hash.free.push(slot);
        let (copies, nr_cpus) = (map.copies(self.nr_cpus) as u32, self.nr_cpus);
        for cpu in 0..copies {
            let at = self.map(id).value(slot, cpu, nr_cpus);
            self.drop_kptrs(id, at);
        }
        true
    }

    pub(super) fn drop_kptrs(&mut self, id: u32, value: Addr) {
        let map = &self.maps[id as usize];
        for special in map.def.special.iter().filter(|special| special.is_kptr) {
            let held = self.read_u64(value.offset(special.offset.into())).unwrap_or(0);
            if held != 0 {
                self.dropped_kptrs.push(Addr(held));
            }
        }
    }

    /// Copies a value into an element, leaving its special parts alone.
    pub(super) fn copy_value(&mut self, id: u32, at: Addr, value: &[u8]) {
        let Memory { maps, regions, .. } = self;
        let map = &maps[id as usize];
        let start = at.low() as usize;
        let Some(place) = regions[at.slot()].data.get_mut(start..start + value.len()) else { return };
        if map.def.special.is_empty() {
            place.copy_from_slice(value);
            return;
        }
        for (offset, (to, from)) in (0u32..).zip(place.iter_mut().zip(value)) {
            if !map.def.special.iter().any(|s| offset >= s.offset && offset - s.offset < s.len) {
                *to = *from;
            }
        }
    }

    /// A copy of a value with its special parts zeroed, as a system call hands it out.
    fn plain_value(&self, map: &Map, at: Addr) -> Vec<u8> {
        let mut value = self.bytes(at, map.def.value_size).map(<[u8]>::to_vec).unwrap_or_default();
        for special in &map.def.special {
            let end = special.offset.saturating_add(special.len).min(value.len() as u32);
            value[special.offset.min(end) as usize..end as usize].fill(0);
        }
        value
    }
}

/// The view from outside, as of a process with the map's file descriptor.
impl Memory {
    fn map_for_user(&self, name: &str, key: &[u8], operation: &'static str) -> Result<u32, UsageError> {
        let id = self.map_id(name)?;
        let def = &self.map(id).def;
        if def.kind.is_storage() {
            return Err(refused(operation, name, EINVAL, "it is storage attached to objects"));
        }
        if key.len() != def.key_size as usize {
            let expected = def.key_size as usize;
            return Err(UsageError::Size { name: name.to_owned(), expected, found: key.len() });
        }
        Ok(id)
    }

    /// The value at `key`, or `None`. Locks, timers and kernel pointers in it read as zero.
    ///
    /// # Errors
    /// Unknown or per-CPU map, or a key of the wrong size.
    pub fn map_lookup(&self, name: &str, key: &[u8]) -> Result<Option<Vec<u8>>, UsageError> {
        let map = self.map(self.map_for_user(name, key, "look-up")?);
        if map.def.kind.is_per_cpu() {
            return Err(refused("look-up", name, EINVAL, "it has one value per CPU"));
        }
        Ok(map.slot(key).map(|slot| self.plain_value(map, map.value(slot, 0, self.nr_cpus))))
    }

    /// The values at `key` of a per-CPU map by CPU, or `None`.
    ///
    /// # Errors
    /// Unknown map, one that is not per-CPU, or a key of the wrong size.
    pub fn map_lookup_percpu(&self, name: &str, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, UsageError> {
        let map = self.map(self.map_for_user(name, key, "look-up")?);
        if !map.def.kind.is_per_cpu() {
            return Err(refused("look-up", name, EINVAL, "it has one value for all CPUs"));
        }
        let Some(slot) = map.slot(key) else { return Ok(None) };
        let values = (0..self.nr_cpus).map(|cpu| self.plain_value(map, map.value(slot, cpu, self.nr_cpus)));
        Ok(Some(values.collect()))
    }

    /// All elements of a map that is not per-CPU.
    ///
    /// # Errors
    /// Unknown, per-CPU or storage map.
    pub fn map_entries(&self, name: &str) -> Result<Vec<MapEntry>, UsageError> {
        let id = self.map_id(name)?;
        let map = self.map(id);
        if map.def.kind.is_per_cpu() || map.def.kind.is_storage() {
            return Err(refused("listing", name, EINVAL, "only plain arrays and hashes can be listed"));
        }
        let elements = (0..self.map_slots(id)).filter_map(|slot| self.map_element(id, slot));
        Ok(elements.map(|(key, at)| (key, self.plain_value(map, at))).collect())
    }

    /// Address of the value at `key` on `cpu` (ignored unless the map is per-CPU), or `None`.
    ///
    /// # Errors
    /// Unknown map or a key of the wrong size.
    pub fn map_addr(&self, name: &str, key: &[u8], cpu: u32) -> Result<Option<Addr>, UsageError> {
        let map = self.map(self.map_for_user(name, key, "look-up")?);
        let cpu = cpu.min(self.nr_cpus.saturating_sub(1));
        Ok(map.slot(key).map(|slot| map.value(slot, cpu, self.nr_cpus)))
    }

    /// Sets the value at `key`, creating the element in a hash. In a per-CPU map, `value` holds one value per CPU,
    /// each padded to a multiple of 8 bytes, as for the system call.
    ///
    /// # Errors
    /// Unknown or storage map, wrong sizes, a full hash, an index beyond an array.
    pub fn map_update(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<(), UsageError> {
        let id = self.map_for_user(name, key, "update")?;
        let (len, per_cpu) = (self.map(id).def.value_size as usize, self.map(id).def.kind.is_per_cpu());
        let step = if per_cpu { len.next_multiple_of(8) } else { len };
        let copies = if per_cpu { self.nr_cpus } else { 1 };
        let expected = step * copies as usize;
        if value.len() != expected {
            return Err(UsageError::Size { name: name.to_owned(), expected, found: value.len() });
        }
        let before = self.cpu;
        let mut result = Ok(());
        for cpu in 0..copies {
            let start = cpu as usize * step;
            self.cpu = if per_cpu { cpu } else { before };
            result = result.and(self.map_set(id, key, &value[start..start + len], 0));
        }
        self.cpu = before;
        result.map_err(|errno| refused("update", name, -errno, "it is full, or the index is beyond its end"))
    }

    /// Removes `key`; `false` when it was not there.
    ///
    /// # Errors
    /// Unknown map, wrong key size, or an array.
    pub fn map_delete(&mut self, name: &str, key: &[u8]) -> Result<bool, UsageError> {
        let id = self.map_for_user(name, key, "delete")?;
        if self.map(id).def.kind.is_array() {
            return Err(refused("delete", name, EINVAL, "elements of an array cannot be removed"));
        }
        Ok(self.map_remove(id, key))
    }

    /// Kernel objects whose owning map element was removed since the last call: the model must release them.
    pub fn take_dropped_kptrs(&mut self) -> Vec<Addr> {
        std::mem::take(&mut self.dropped_kptrs)
    }
}

fn refused(operation: &'static str, name: &str, errno: i32, reason: &str) -> UsageError {
    UsageError::Refused { operation, name: name.to_owned(), errno, reason: reason.to_owned() }
}
