// SPDX-License-Identifier: GPL-2.0-only
//! Bounds, rights, stale pointers, bit fields and the odd corners of maps.

use std::sync::Arc;

use super::*;
use crate::btf::Field;

fn memory() -> Memory {
    let empty = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    Memory::new(Arc::new(Btf::parse(&empty).unwrap()), 2)
}

fn def(kind: MapKind, max_entries: u32) -> MapDef {
    MapDef { name: "m".into(), kind, key_size: 4, value_size: 8, max_entries, special: Vec::new() }
}

#[test]
fn bounds_and_rights() {
    let mut memory = memory();
    let rw = memory.alloc_bytes("rw", 16, Access::ReadWrite).unwrap();
    let ro = memory.alloc_bytes("ro", 16, Access::ReadOnly).unwrap();
    let none = memory.alloc_bytes("none", 16, Access::None).unwrap();
    assert!(memory.store(rw.offset(8), [1; 8]).is_ok());
    assert!(memory.store(rw.offset(9), [1; 8]).is_err());
    assert_eq!(memory.load::<8>(rw.offset(8)), Some([1; 8]));
    assert_eq!(memory.load::<8>(rw.offset(9)), None);
    assert_eq!(memory.load::<1>(rw.offset(u64::MAX)), None, "just before");
    assert!(
        memory.store(ro, [1; 8]).unwrap_err().to_string().contains("offset 0 of 'ro' (16 bytes, read-only)")
    );
    assert_eq!(memory.load::<8>(ro), Some([0; 8]));
    assert!(memory.readable(none, 1).unwrap_err().to_string().contains("programs may not touch"));
    for addr in [rw, ro, none] {
        memory.write_u64(addr, 5).unwrap();
        assert_eq!(memory.read_u64(addr), Ok(5), "the model may do everything");
        assert!(memory.bytes(addr, 17).is_err() && memory.bytes_mut(addr.offset(1), 16).is_err());
    }
    assert_eq!(memory.load::<1>(Addr::NULL), None);
    assert!(memory.describe(Addr(8)).contains("NULL pointer plus 8"));
    assert!(memory.describe(Addr(0xffff_ffff_ffff_fff2)).contains("a number"));
    assert!(memory.describe(rw.offset(u64::MAX - 3)).contains("offset -4 of 'rw'"));
}

#[test]
fn stale_pointers_stay_stale() {
    let mut memory = memory();
    let first = memory.alloc_bytes("first", 8, Access::ReadWrite).unwrap();
    memory.free(first).unwrap();
    let mut slots = std::collections::HashSet::new();
    for _ in 0..5000 {
        let next = memory.alloc_bytes("next", 8, Access::ReadWrite).unwrap();
        assert_ne!(next, first);
        assert_eq!(memory.load::<8>(first), None);
        slots.insert(next.slot());
        memory.free(next).unwrap();
    }
    assert!(slots.len() <= MIN_FREE_SLOTS + 2, "slots are used again: {}", slots.len());
    assert!(memory.free(first).unwrap_err().to_string().contains("freed region"));
    assert!(memory.free(Addr(12)).is_err());
    assert_eq!(memory.live_regions(), 0);
}

#[test]
fn bit_fields() {
    let mut memory = memory();
    let at = memory.alloc_bytes("bits", 8, Access::ReadOnly).unwrap();
    memory.write_u32(at, u32::MAX).unwrap();
    for signed in [false, true] {
        let field = Field { offset: 0, size: 4, bit_shift: 5, bit_size: 3, signed };
        memory.write(at, &field, 0b1101).unwrap();
        assert_eq!(memory.read_u32(at), Ok(0xffff_ffbf), "only its bits change");
        assert_eq!(memory.read(at, &field), Ok(if signed { (-3i64).cast_unsigned() } else { 5 }));
    }
    assert_eq!(memory.read_u32(at.offset(4)), Ok(0));
}

#[test]
fn a_gap_parts_elements() {
    let mut memory = memory();
    let id = memory.add_map(def(MapKind::Array, 4)).unwrap();
    let second = memory.map_addr("m", &1u32.to_le_bytes(), 0).unwrap().unwrap();
    for outside in [1, 8, 15, u64::MAX] {
        assert!(memory.store(second.offset(outside), [0; 8]).is_err(), "offset {outside}");
    }
    assert!(memory.store(second, [0; 8]).is_ok());
    let handle = memory.map_handle(id);
    assert_eq!(memory.map_of(handle.0), Ok(id));
    assert!(
        memory.map_of(second.0).is_err() && memory.map_of(handle.0 + 1).is_err() && memory.map_of(0).is_err()
    );
    assert_eq!(memory.map_name(handle), Some("m"));
}

#[test]
fn an_lru_hash_makes_room() {
    let mut memory = memory();
    memory.add_map(def(MapKind::LruHash, 3)).unwrap();
    for key in 0u32..10 {
        memory.map_update("m", &key.to_le_bytes(), &u64::from(key).to_le_bytes()).unwrap();
    }
    let mut keys: Vec<u8> = memory.map_entries("m").unwrap().iter().map(|(key, _)| key[0]).collect();
    keys.sort_unstable();
    assert_eq!(keys, [7, 8, 9]);
}

#[test]
fn update_flags() {
    let mut memory = memory();
    let id = memory.add_map(def(MapKind::Hash, 3)).unwrap();
    let key = 1u32.to_le_bytes();
    assert_eq!(memory.map_set(id, &key, &[1; 8], 2), Err(-2), "only if it exists");
    assert_eq!(memory.map_set(id, &key, &[1; 8], 1), Ok(()), "only if it does not");
    assert_eq!(memory.map_set(id, &key, &[2; 8], 1), Err(-17));
    assert_eq!(memory.map_set(id, &key, &[3; 8], 2), Ok(()));
    assert_eq!(memory.map_set(id, &key, &[4; 8], 3), Err(-22));
    assert_eq!(memory.map_lookup("m", &key), Ok(Some(vec![3; 8])));
}

#[test]
fn too_big_is_an_error() {
    let mut memory = memory();
    let error = memory.add_map(def(MapKind::PerCpuArray, 1 << 27)).unwrap_err().to_string();
    assert!(error.contains("creation of 'm' refused") && error.contains("2 GiB"), "{error}");
}
