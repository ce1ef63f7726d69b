// SPDX-License-Identifier: GPL-2.0-only
//! Maps, storage attached to objects, and kernel pointers in map values.

use super::{EINVAL, errno};
use crate::error::Fault;
use crate::memory::{Addr, Memory};
use crate::registry::{Ctx, Registry};

const ENOENT: i64 = 2;
/// `bpf_task_storage_get`: create the value if there is none.
const STORAGE_CREATE: u64 = 1;

pub(super) fn register<S>(registry: &mut Registry<S>) {
    registry.helpers(&[
        (1, "bpf_map_lookup_elem", lookup),
        (2, "bpf_map_update_elem", update),
        (3, "bpf_map_delete_elem", delete),
        (195, "bpf_map_lookup_percpu_elem", lookup_percpu),
        (156, "bpf_task_storage_get", storage_get),
        (157, "bpf_task_storage_delete", storage_delete),
        (210, "bpf_cgrp_storage_get", storage_get),
        (211, "bpf_cgrp_storage_delete", storage_delete),
        (194, "bpf_kptr_xchg", kptr_xchg),
    ]);
}

pub(crate) fn lookup<S>(ctx: &mut Ctx<'_, S>, [map, key, ..]: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.lookup(map, key)
}

fn lookup_percpu<S>(ctx: &mut Ctx<'_, S>, [map, key, cpu, ..]: [u64; 5]) -> Result<u64, Fault> {
    let id = ctx.mem.map_of(map)?;
    if cpu >= u64::from(ctx.mem.nr_cpus()) {
        return Ok(0);
    }
    Ok(ctx.mem.map_value(id, Addr(key), cpu as u32)?.unwrap_or(Addr::NULL).0)
}

fn update<S>(ctx: &mut Ctx<'_, S>, [map, key, value, flags, _]: [u64; 5]) -> Result<u64, Fault> {
    let id = ctx.mem.map_of(map)?;
    let (key_size, value_size) = ctx.mem.map_sizes(id);
    let key = ctx.mem.readable(Addr(key), key_size)?.to_vec();
    let value = ctx.mem.readable(Addr(value), value_size)?.to_vec();
    Ok(match ctx.mem.map_set(id, &key, &value, flags) {
        Ok(()) => 0,
        Err(number) => i64::from(number).cast_unsigned(),
    })
}

fn delete<S>(ctx: &mut Ctx<'_, S>, [map, key, ..]: [u64; 5]) -> Result<u64, Fault> {
    let id = ctx.mem.map_of(map)?;
    let (key_size, _) = ctx.mem.map_sizes(id);
    let key = ctx.mem.readable(Addr(key), key_size)?.to_vec();
    if !ctx.mem.map_can_delete(id) {
        return Ok(errno(EINVAL));
    }
    Ok(if ctx.mem.map_remove(id, &key) { 0 } else { errno(ENOENT) })
}

/// `(map, owner, initial value or NULL, flags)`.
fn storage_get<S>(ctx: &mut Ctx<'_, S>, [map, owner, initial, flags, _]: [u64; 5]) -> Result<u64, Fault> {
    let (id, value_size) = ctx.mem.storage_map(map)?;
    let owner = Addr(owner);
    if owner.is_null() {
        return Ok(0);
    }
    whole_object(ctx.mem, owner)?;
    if let Some(value) = ctx.mem.storage_value(id, owner) {
        return Ok(value.0);
    }
    if flags & STORAGE_CREATE == 0 {
        return Ok(0);
    }
    let initial =
        if initial == 0 { None } else { Some(ctx.mem.readable(Addr(initial), value_size)?.to_vec()) };
    Ok(ctx.mem.create_storage(id, owner, initial.as_deref())?.0)
}

fn storage_delete<S>(ctx: &mut Ctx<'_, S>, [map, owner, ..]: [u64; 5]) -> Result<u64, Fault> {
    let (id, _) = ctx.mem.storage_map(map)?;
    if owner == 0 {
        return Ok(errno(EINVAL));
    }
    whole_object(ctx.mem, Addr(owner))?;
    Ok(if ctx.mem.delete_storage(id, Addr(owner)) { 0 } else { errno(ENOENT) })
}

/// Storage belongs to a live object, named by its start.
#[inline]
pub(crate) fn whole_object(mem: &Memory, owner: Addr) -> Result<(), Fault> {
    if owner == owner.base() && mem.is_live(owner) {
        return Ok(());
    }
    Err(Fault::violation(format!("storage of {owner}, {}", mem.describe(owner))))
}

/// `(place, new)`: exchanges a pointer in a map value; the old one belongs to the program now.
fn kptr_xchg<S>(ctx: &mut Ctx<'_, S>, [place, new, ..]: [u64; 5]) -> Result<u64, Fault> {
    if new != 0 && !ctx.mem.is_live(Addr(new)) {
        return Err(Fault::violation(format!("bpf_kptr_xchg of {}", ctx.mem.describe(Addr(new)))));
    }
    let bytes = ctx.mem.writable(Addr(place), 8)?;
    let old = u64::from_le_bytes(bytes.try_into().expect("eight bytes were asked for"));
    bytes.copy_from_slice(&new.to_le_bytes());
    Ok(old)
}
