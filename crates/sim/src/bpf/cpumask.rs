// SPDX-License-Identifier: GPL-2.0-only
//! The `bpf_cpumask_*` functions.

use bpf_vm::{Addr, Ctx, Fault, Registry};
use topology::CpuSet;

use crate::bpf::objects::{Mask, write_mask};
use crate::bpf::references::drop_cpumask;
use crate::idle::{Sets, any_after};
use crate::kernel::Kernel;

type C<'a> = Ctx<'a, Kernel>;
type R = Result<u64, Fault>;

pub(super) fn register(registry: &mut Registry<Kernel>) {
    registry.functions(&[
        ("bpf_cpumask_create", create),
        ("bpf_cpumask_acquire", acquire),
        ("bpf_cpumask_release", release),
        ("bpf_cpumask_first", |ctx, a| first(&*ctx, &[a[0]])),
        ("bpf_cpumask_first_and", |ctx, a| first(&*ctx, &[a[0], a[1]])),
        ("bpf_cpumask_first_zero", first_zero),
        ("bpf_cpumask_set_cpu", |ctx, a| change_bit(ctx, a, true)),
        ("bpf_cpumask_clear_cpu", |ctx, a| change_bit(ctx, a, false)),
        ("bpf_cpumask_test_and_set_cpu", |ctx, a| change_bit(ctx, a, true)),
        ("bpf_cpumask_test_and_clear_cpu", |ctx, a| change_bit(ctx, a, false)),
        ("bpf_cpumask_test_cpu", test_cpu),
        ("bpf_cpumask_setall", set_all),
        ("bpf_cpumask_clear", clear),
        ("bpf_cpumask_and", |ctx, a| combine(ctx, a, |x, y| x & y)),
        ("bpf_cpumask_or", |ctx, a| combine(ctx, a, |x, y| x | y)),
        ("bpf_cpumask_xor", |ctx, a| combine(ctx, a, |x, y| x ^ y)),
        ("bpf_cpumask_copy", |ctx, a| combine(ctx, [a[0], a[1], a[1], 0, 0], |x, _| x)),
        ("bpf_cpumask_equal", |ctx, a| compare(&*ctx, a, |x, y| x == y)),
        ("bpf_cpumask_subset", |ctx, a| compare(&*ctx, a, |x, y| x & !y == 0)),
        ("bpf_cpumask_intersects", intersects),
        ("bpf_cpumask_empty", |ctx, a| compare(&*ctx, [a[0], a[0], 0, 0, 0], |x, _| x == 0)),
        ("bpf_cpumask_full", full),
        ("bpf_cpumask_weight", |ctx, a| Ok(mask(&*ctx, a[0])?.len() as u64)),
        ("bpf_cpumask_populate", populate),
        ("bpf_cpumask_any_distribute", |ctx, a| distribute(ctx, a[0], a[0])),
        ("bpf_cpumask_any_and_distribute", |ctx, a| distribute(ctx, a[0], a[1])),
    ]);
}

fn mask(ctx: &C<'_>, addr: u64) -> Result<CpuSet, Fault> {
    let mut mask = Mask::new();
    ctx.state.objects.read_mask(ctx.mem, addr, &mut mask)?;
    Ok(mask.cpus())
}

fn nr_cpu_ids(ctx: &C<'_>) -> u64 {
    ctx.state.machine.nr_cpu_ids() as u64
}

fn usage(ctx: &C<'_>) -> Result<bpf_vm::Field, Fault> {
    ctx.mem.field("bpf_cpumask", "usage.counter").map_err(|error| Fault::violation(error.to_string()))
}

fn create(ctx: &mut C<'_>, _: [u64; 5]) -> R {
    let addr = ctx.mem.alloc("bpf_cpumask")?;
    let usage = usage(&*ctx)?;
    ctx.mem.write(addr, &usage, 1)?;
    ctx.state.objects.masks_alive += 1;
    Ok(addr.0)
}

fn owned(ctx: &C<'_>, addr: u64) -> Result<(), Fault> {
    if ctx.mem.is_a(Addr(addr), "bpf_cpumask") {
        return Ok(());
    }
    Err(Fault::violation(format!("a bpf_cpumask was expected: {}", ctx.mem.describe(Addr(addr)))))
}

fn acquire(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    owned(&*ctx, addr)?;
    let usage = usage(&*ctx)?;
    let count = ctx.mem.read(Addr(addr), &usage)?;
    ctx.mem.write(Addr(addr), &usage, count + 1)?;
    ctx.state.objects.masks_alive += 1;
    Ok(addr)
}

fn release(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    owned(&*ctx, addr)?;
    ctx.state.objects.masks_alive -= 1;
    drop_cpumask(ctx.mem, Addr(addr))?;
    Ok(0)
}

fn first(ctx: &C<'_>, addrs: &[u64]) -> R {
    let words = ctx.state.objects.words();
    for index in 0..u64::from(words) {
        let mut word = u64::MAX;
        for &addr in addrs {
            word &= word_at(ctx, addr, index)?;
        }
        if word != 0 {
            return Ok(index * 64 + u64::from(word.trailing_zeros()));
        }
    }
    Ok(nr_cpu_ids(ctx))
}

fn first_zero(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    let set = mask(&*ctx, addr)?;
    let limit = nr_cpu_ids(&*ctx);
    Ok((0..limit).find(|&cpu| !set.contains(cpu as usize)).unwrap_or(limit))
}

fn word_at(ctx: &C<'_>, addr: u64, index: u64) -> R {
    let bytes = ctx.mem.readable(Addr(addr).offset(index * 8), 8)?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were asked for")))
}

fn change_bit(ctx: &mut C<'_>, [cpu, addr, ..]: [u64; 5], set: bool) -> R {
    owned(&*ctx, addr)?;
    let cpu = u64::from(cpu as u32);
    if cpu >= nr_cpu_ids(&*ctx) {
        return Ok(0);
    }
    let (index, bit) = (cpu / 64, 1u64 << (cpu % 64));
    let word = word_at(&*ctx, addr, index)?;
    ctx.mem.write_u64(Addr(addr).offset(index * 8), if set { word | bit } else { word & !bit })?;
    Ok((word & bit != 0).into())
}

fn test_cpu(ctx: &mut C<'_>, [cpu, addr, ..]: [u64; 5]) -> R {
    let cpu = u64::from(cpu as u32);
    if cpu >= nr_cpu_ids(&*ctx) {
        return Ok(0);
    }
    Ok(word_at(&*ctx, addr, cpu / 64)? >> (cpu % 64) & 1)
}

fn set_all(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    owned(&*ctx, addr)?;
    let (all, words) = (ctx.state.machine.all.clone(), ctx.state.objects.words());
    write_mask(ctx.mem, Addr(addr), &all, words)?;
    Ok(0)
}

fn clear(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    owned(&*ctx, addr)?;
    let words = ctx.state.objects.words();
    write_mask(ctx.mem, Addr(addr), &CpuSet::new(), words)?;
    Ok(0)
}

fn combine(ctx: &mut C<'_>, [to, a, b, ..]: [u64; 5], how: fn(u64, u64) -> u64) -> R {
    owned(&*ctx, to)?;
    let mut any = 0;
    for index in 0..u64::from(ctx.state.objects.words()) {
        let word = how(word_at(&*ctx, a, index)?, word_at(&*ctx, b, index)?);
        any |= word;
        ctx.mem.write_u64(Addr(to).offset(index * 8), word)?;
    }
    Ok((any != 0).into())
}

fn compare(ctx: &C<'_>, [a, b, ..]: [u64; 5], holds: fn(u64, u64) -> bool) -> R {
    for index in 0..u64::from(ctx.state.objects.words()) {
        if !holds(word_at(ctx, a, index)?, word_at(ctx, b, index)?) {
            return Ok(0);
        }
    }
    Ok(1)
}

fn intersects(ctx: &mut C<'_>, [a, b, ..]: [u64; 5]) -> R {
    Ok(1 - compare(&*ctx, [a, b, 0, 0, 0], |x, y| x & y == 0)?)
}

fn full(ctx: &mut C<'_>, [addr, ..]: [u64; 5]) -> R {
    let set = mask(&*ctx, addr)?;
    Ok(ctx.state.machine.all.is_subset(&set).into())
}

/// `(mask, source, bytes)`: as many bytes as a mask of all CPU numbers has, at least.
fn populate(ctx: &mut C<'_>, [to, from, size, ..]: [u64; 5]) -> R {
    owned(&*ctx, to)?;
    let needed = nr_cpu_ids(&*ctx).div_ceil(64) * 8;
    if size < needed {
        return Ok(i64::from(-crate::abi::EACCES).cast_unsigned());
    }
    let bytes = ctx.mem.readable(Addr(from), needed as u32)?.to_vec();
    ctx.mem.write_bytes(Addr(to), &bytes)?;
    Ok(0)
}

fn distribute(ctx: &mut C<'_>, one: u64, other: u64) -> R {
    let [mut first, mut second] = [const { Mask::new() }; 2];
    let objects = &ctx.state.objects;
    objects.read_mask(ctx.mem, one, &mut first)?;
    objects.read_mask(ctx.mem, other, &mut second)?;
    let rest = Sets::new(second.words(), None);
    let sets = Sets::new(first.words(), Some(&rest));
    let this = ctx.state.this_cpu;
    let found = any_after(&sets, ctx.state.cpus[this].distribute_prev);
    if let Some(cpu) = found {
        ctx.state.cpus[this].distribute_prev = cpu;
    }
    Ok(found.map_or(nr_cpu_ids(&*ctx), |cpu| cpu as u64))
}
