// SPDX-License-Identifier: GPL-2.0-only
//! The `bpf_timer_*` helpers.

use bpf_vm::{Access, Addr, Ctx, Fault, Registry};

use crate::abi::EINVAL;
use crate::kernel::Kernel;

type C<'a> = Ctx<'a, Kernel>;
type R = Result<u64, Fault>;

pub(super) fn register(registry: &mut Registry<Kernel>) {
    registry.helpers(&[
        (169, "bpf_timer_init", init),
        (170, "bpf_timer_set_callback", |ctx, a| signed(ctx.state.timers.set_callback(a[0], a[1]))),
        (171, "bpf_timer_start", |ctx, a| signed(ctx.state.start_timer(a[0], a[1], a[2]))),
        (172, "bpf_timer_cancel", |ctx, a| signed(ctx.state.timers.cancel(a[0]))),
    ]);
}

fn signed(value: i32) -> R {
    Ok(i64::from(value).cast_unsigned())
}

/// `(timer, map, flags)`: the timer lies in a value of the map; flags are the clock.
fn init(ctx: &mut C<'_>, [timer, map, clock, ..]: [u64; 5]) -> R {
    // CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME: all are the virtual time.
    if !matches!(clock, 0 | 1 | 7) {
        return signed(-EINVAL);
    }
    let Some((key, value)) = ctx.mem.map_element_at(Addr(map), Addr(timer)) else {
        return Err(Fault::violation("a bpf_timer that is not in a value of the map given"));
    };
    let place = ctx.mem.alloc_bytes("timer key", key.len() as u32, Access::ReadOnly)?;
    ctx.mem.write_bytes(place, &key)?;
    let errno = ctx.state.timers.init(timer, [map, place.0, value.0]);
    if errno != 0 {
        ctx.mem.free(place)?;
    }
    signed(errno)
}
