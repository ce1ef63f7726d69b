// SPDX-License-Identifier: GPL-2.0-only
//! Functions that need nothing but memory and maps. Numbers and meanings are those of `linux/bpf.h`.

use crate::error::Fault;
use crate::memory::Addr;
use crate::registry::{Builtin, Ctx, Registry};

mod locks;
mod loops;
mod maps;
mod text;

pub(crate) use maps::whole_object;

#[cfg(test)]
mod tests;

const EINVAL: i64 = 22;
const EFAULT: i64 = 14;

/// A negative errno as a program sees it in r0.
fn errno(number: i64) -> u64 {
    (-number).cast_unsigned()
}

pub(crate) fn register<S>(registry: &mut Registry<S>) {
    maps::register(registry);
    loops::register(registry);
    locks::register(registry);
    text::register(registry);
    registry.helpers(&[
        (8, "bpf_get_smp_processor_id", cpu_id),
        (113, "bpf_probe_read_kernel", probe_read),
        (4, "bpf_probe_read", probe_read),
        (115, "bpf_probe_read_kernel_str", probe_read_str),
        (45, "bpf_probe_read_str", probe_read_str),
    ]);
    for (number, builtin) in [
        (1, Builtin::Lookup),
        (8, Builtin::Cpu),
        (93, Builtin::Lock),
        (94, Builtin::Unlock),
        (156, Builtin::StorageGet),
        (210, Builtin::StorageGet),
    ] {
        registry.builtin(number, builtin);
    }
    registry.functions(&[
        ("bpf_cast_to_kern_ctx", same),
        ("bpf_rdonly_cast", same),
        ("bpf_get_smp_processor_id", cpu_id),
    ]);
}

fn same<S>(_: &mut Ctx<'_, S>, args: [u64; 5]) -> Result<u64, Fault> {
    Ok(args[0])
}

pub(crate) fn time<S>(ctx: &mut Ctx<'_, S>, _: [u64; 5]) -> Result<u64, Fault> {
    Ok(ctx.mem.time())
}

fn cpu_id<S>(ctx: &mut Ctx<'_, S>, _: [u64; 5]) -> Result<u64, Fault> {
    Ok(ctx.mem.cpu().into())
}

/// `(dst, size, source)`: an unreadable source is no fault; the destination is zeroed then.
fn probe_read<S>(ctx: &mut Ctx<'_, S>, [dst, size, source, ..]: [u64; 5]) -> Result<u64, Fault> {
    let size = size as u32;
    let bytes = ctx.mem.readable(Addr(source), size).map(<[u8]>::to_vec);
    let place = ctx.mem.writable(Addr(dst), size)?;
    match bytes {
        Ok(bytes) => {
            place.copy_from_slice(&bytes);
            Ok(0)
        }
        Err(_) => {
            place.fill(0);
            Ok(errno(EFAULT))
        }
    }
}

/// `(dst, size, source)`: copies a text; returns its length with the NUL.
fn probe_read_str<S>(ctx: &mut Ctx<'_, S>, [dst, size, source, ..]: [u64; 5]) -> Result<u64, Fault> {
    let size = size as u32;
    ctx.mem.writable(Addr(dst), size)?;
    if size == 0 {
        return Ok(0);
    }
    let Ok(text) = ctx.mem.text(Addr(source), size - 1).map(<[u8]>::to_vec) else {
        ctx.mem.writable(Addr(dst), size)?.fill(0);
        return Ok(errno(EFAULT));
    };
    let place = ctx.mem.writable(Addr(dst), size)?;
    place[..text.len()].copy_from_slice(&text);
    place[text.len()] = 0;
    Ok(text.len() as u64 + 1)
}
