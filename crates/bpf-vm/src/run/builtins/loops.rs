// SPDX-License-Identifier: GPL-2.0-only
//! Loops: helpers that call back, and the iterator over numbers.

use super::{EINVAL, errno};
use crate::error::Fault;
use crate::memory::{Access, Addr};
use crate::registry::{Ctx, Registry};

const E2BIG: i64 = 7;
/// Most iterations of `bpf_loop` and of a numeric iterator.
const MAX_ITERATIONS: u64 = 8 << 20;

pub(super) fn register<S>(registry: &mut Registry<S>) {
    registry.helpers(&[(181, "bpf_loop", bpf_loop), (164, "bpf_for_each_map_elem", for_each_map_elem)]);
    registry.functions(&[
        ("bpf_iter_num_new", num_new),
        ("bpf_iter_num_next", num_next),
        ("bpf_iter_num_destroy", num_destroy),
    ]);
}

/// `(iterations, callback, context, flags)`: returns how many were done.
fn bpf_loop<S>(ctx: &mut Ctx<'_, S>, [count, callback, context, flags, _]: [u64; 5]) -> Result<u64, Fault> {
    let count = count & 0xffff_ffff;
    if flags != 0 {
        return Ok(errno(EINVAL));
    }
    if count > MAX_ITERATIONS {
        return Ok(errno(E2BIG));
    }
    for index in 0..count {
        if ctx.call(Addr(callback), [index, context, 0, 0, 0])? != 0 {
            return Ok(index + 1);
        }
    }
    Ok(count)
}

/// `(map, callback, context, flags)`: the callback gets map, key, value and context.
fn for_each_map_elem<S>(
    ctx: &mut Ctx<'_, S>,
    [map, callback, context, flags, _]: [u64; 5],
) -> Result<u64, Fault> {
    let id = ctx.mem.map_of(map)?;
    if flags != 0 {
        return Ok(errno(EINVAL));
    }
    let (key_size, _) = ctx.mem.map_sizes(id);
    let place = ctx.mem.alloc_bytes("map key", key_size, Access::ReadOnly)?;
    let mut done = 0;
    let mut result = Ok(0);
    let mut slot = 0;
    // The callback may add and remove elements meanwhile.
    while slot < ctx.mem.map_slots(id) {
        let element = ctx.mem.map_element(id, slot);
        slot += 1;
        let Some((key, value)) = element else { continue };
        ctx.mem.write_bytes(place, &key)?;
        done += 1;
        result = ctx.call(Addr(callback), [map, place.0, value.0, context, 0]);
        if !matches!(result, Ok(0)) {
            break;
        }
    }
    ctx.mem.free(place)?;
    result.map(|_| done)
}

/// `(iterator, start, end)`: the iterator holds the number before the next one, and the end.
fn num_new<S>(ctx: &mut Ctx<'_, S>, [iterator, start, end, ..]: [u64; 5]) -> Result<u64, Fault> {
    let (start, end) = (start as i32, end as i32);
    let place = ctx.mem.writable(Addr(iterator), 8)?;
    place.fill(0);
    if start > end {
        return Ok(errno(EINVAL));
    }
    if i64::from(end) - i64::from(start) > MAX_ITERATIONS as i64 {
        return Ok(errno(E2BIG));
    }
    place[..4].copy_from_slice(&start.wrapping_sub(1).to_le_bytes());
    place[4..].copy_from_slice(&end.to_le_bytes());
    Ok(0)
}

fn num_next<S>(ctx: &mut Ctx<'_, S>, [iterator, ..]: [u64; 5]) -> Result<u64, Fault> {
    let place = ctx.mem.writable(Addr(iterator), 8)?;
    let state = u64::from_le_bytes(place.try_into().expect("eight bytes were asked for"));
    let (current, end) = (state as u32 as i32, (state >> 32) as u32 as i32);
    let next = current.wrapping_add(1);
    let place = ctx.mem.writable(Addr(iterator), 8)?;
    if next >= end {
        place.fill(0);
        return Ok(0);
    }
    place[..4].copy_from_slice(&next.to_le_bytes());
    Ok(iterator)
}

fn num_destroy<S>(ctx: &mut Ctx<'_, S>, [iterator, ..]: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.writable(Addr(iterator), 8)?.fill(0);
    Ok(0)
}
