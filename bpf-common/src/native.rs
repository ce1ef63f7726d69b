// SPDX-License-Identifier: GPL-2.0-only
//! Safe calls into the headers' functions, compiled for the host.
//!
//! What each function computes, its units and its limits are documented in the header of the same name prefix;
//! here only what Rust adds.

use std::num::NonZeroU64;

use crate::Ravg;

/// The constants of the headers, as the C compiler sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    /// `RAVG_HALF_LIFE_MAX_NS`, ns.
    pub ravg_half_life_max_ns: u64,
    /// `VTIME_SLICE_MAX_NS`, ns.
    pub vtime_slice_max_ns: u64,
    /// `VTIME_MAX_AHEAD_SLICES`, slices.
    pub vtime_max_ahead_slices: u64,
    /// `RAVG_FRACTION_BITS`, bits.
    pub ravg_fraction_bits: u32,
    /// `WEIGHT_MIN`.
    pub weight_min: u32,
    /// `WEIGHT_MAX`.
    pub weight_max: u32,
    /// `WEIGHT_BUCKETS`.
    pub weight_buckets: u32,
    /// `VTIME_WEIGHT_ONE`.
    pub vtime_weight_one: u32,
    pad: u32,
}

mod ffi {
    use super::Constants;
    use crate::Ravg;

    #[rustfmt::skip]
    unsafe extern "C" {
        pub(super) fn bpf_common_constants(out: *mut Constants);
        pub(super) safe fn bpf_common_ravg_pow2_coarse(index: u32) -> u64;
        pub(super) safe fn bpf_common_ravg_pow2_fine(index: u32) -> u64;
        pub(super) safe fn bpf_common_ravg_mul63(a: u64, b: u64) -> u64;
        pub(super) safe fn bpf_common_ravg_pow2_neg(x: u64) -> u64;
        pub(super) fn bpf_common_ravg_decay(distance: u64, elapsed_ns: u64, half_life_ns: u64) -> u64;
        pub(super) fn bpf_common_ravg_read(r: *const Ravg, now_ns: u64, half_life_ns: u64) -> u64;
        pub(super) fn bpf_common_ravg_update(r: *mut Ravg, new_val: u32, now_ns: u64, half_life_ns: u64);
        pub(super) fn bpf_common_ravg_settle(r: *mut Ravg, now_ns: u64, half_life_ns: u64);
        pub(super) fn bpf_common_ravg_add(aggregate: *mut Ravg, part: *mut Ravg, now_ns: u64, half_life_ns: u64);
        pub(super) fn bpf_common_ravg_sub(aggregate: *mut Ravg, part: *mut Ravg, now_ns: u64, half_life_ns: u64);
        pub(super) fn bpf_common_ravg_transfer(
            from: *mut Ravg, to: *mut Ravg, part: *mut Ravg, now_ns: u64, half_life_ns: u64,
        );
        pub(super) safe fn bpf_common_weight_clamp(weight: u32) -> u32;
        pub(super) safe fn bpf_common_weight_bucket(weight: u32) -> u32;
        pub(super) safe fn bpf_common_weight_bucket_rep(bucket: u32) -> u32;
        pub(super) safe fn bpf_common_vtime_before(a: u64, b: u64) -> bool;
        pub(super) safe fn bpf_common_vtime_charge(used_ns: u64, slice_ns: u64, weight: u32) -> u64;
        pub(super) safe fn bpf_common_vtime_delta(used_ns: u64, weight: u32) -> u64;
        pub(super) safe fn bpf_common_vtime_clamp(vtime: u64, now: u64, slice_ns: u64) -> u64;
        pub(super) safe fn bpf_common_vtime_forgive(vtime: u64, now: u64, slice_ns: u64, weight: u32) -> u64;
        pub(super) safe fn bpf_common_vtime_base(base: u64, head: u64, now: u64, slice_ns: u64, alone: bool) -> u64;
        pub(super) safe fn bpf_common_vtime_rebase(vtime: u64, from_now: u64, to_now: u64) -> u64;
    }
}

/// The constants of the headers.
#[must_use]
pub fn constants() -> Constants {
    let mut out = Constants::default();
    // SAFETY: `out` is a valid, exclusively borrowed struct of the layout that wrappers.c fills.
    unsafe { ffi::bpf_common_constants(&mut out) };
    out
}

/// Entry `index` (taken modulo 64) of the table of 2^-(i/64), 1.63 fixed point.
#[must_use]
pub fn ravg_pow2_coarse(index: u32) -> u64 {
    ffi::bpf_common_ravg_pow2_coarse(index)
}

/// Entry `index` (taken modulo 64) of the table of 2^-(j/4096), 1.63 fixed point.
#[must_use]
pub fn ravg_pow2_fine(index: u32) -> u64 {
    ffi::bpf_common_ravg_pow2_fine(index)
}

/// `a * b / 2^63` rounded to nearest, for `b` up to 2^63.
#[must_use]
pub fn ravg_mul63(a: u64, b: u64) -> u64 {
    ffi::bpf_common_ravg_mul63(a, b)
}

/// `2^-(x / 2^64)`, 1.63 fixed point.
#[must_use]
pub fn ravg_pow2_neg(x: u64) -> u64 {
    ffi::bpf_common_ravg_pow2_neg(x)
}

/// `distance * 2^-(elapsed_ns / half_life_ns)`.
#[must_use]
pub fn ravg_decay(distance: u64, elapsed_ns: u64, half_life_ns: NonZeroU64) -> u64 {
    // SAFETY: plain integers; the one forbidden input, a half-life of 0 (a division), is excluded by the type.
    unsafe { ffi::bpf_common_ravg_decay(distance, elapsed_ns, half_life_ns.get()) }
}

/// The average at `now_ns`, 32.32 fixed point.
#[must_use]
pub fn ravg_read(r: &Ravg, now_ns: u64, half_life_ns: u64) -> u64 {
    // SAFETY: a valid shared reference to the C struct's layout, only read and not kept.
    unsafe { ffi::bpf_common_ravg_read(r, now_ns, half_life_ns) }
}

/// Brings `r` to `now_ns`, then lets `new_val` hold.
pub fn ravg_update(r: &mut Ravg, new_val: u32, now_ns: u64, half_life_ns: u64) {
    // SAFETY: a valid exclusive reference to the C struct's layout, not kept.
    unsafe { ffi::bpf_common_ravg_update(r, new_val, now_ns, half_life_ns) }
}

/// Brings `r` to `now_ns` with the value it has.
pub fn ravg_settle(r: &mut Ravg, now_ns: u64, half_life_ns: u64) {
    // SAFETY: a valid exclusive reference to the C struct's layout, not kept.
    unsafe { ffi::bpf_common_ravg_settle(r, now_ns, half_life_ns) }
}

/// Adds the contribution of `part` to `aggregate`.
pub fn ravg_add(aggregate: &mut Ravg, part: &mut Ravg, now_ns: u64, half_life_ns: u64) {
    // SAFETY: valid exclusive references to the C struct's layout, not kept.
    unsafe { ffi::bpf_common_ravg_add(aggregate, part, now_ns, half_life_ns) }
}

/// Takes the contribution of `part` out of `aggregate`.
pub fn ravg_sub(aggregate: &mut Ravg, part: &mut Ravg, now_ns: u64, half_life_ns: u64) {
    // SAFETY: valid exclusive references to the C struct's layout, not kept.
    unsafe { ffi::bpf_common_ravg_sub(aggregate, part, now_ns, half_life_ns) }
}

/// Moves the contribution of `part` from one aggregate to another.
pub fn ravg_transfer(from: &mut Ravg, to: &mut Ravg, part: &mut Ravg, now_ns: u64, half_life_ns: u64) {
    // SAFETY: valid exclusive references to the C struct's layout, not kept.
    unsafe { ffi::bpf_common_ravg_transfer(from, to, part, now_ns, half_life_ns) }
}

/// The weight limited to `WEIGHT_MIN..=WEIGHT_MAX`.
#[must_use]
pub fn weight_clamp(weight: u32) -> u32 {
    ffi::bpf_common_weight_clamp(weight)
}

/// The bucket of a weight.
#[must_use]
pub fn weight_bucket(weight: u32) -> u32 {
    ffi::bpf_common_weight_bucket(weight)
}

/// The weight that stands for a bucket.
#[must_use]
pub fn weight_bucket_rep(bucket: u32) -> u32 {
    ffi::bpf_common_weight_bucket_rep(bucket)
}

/// Whether virtual time `a` comes before `b`.
#[must_use]
pub fn vtime_before(a: u64, b: u64) -> bool {
    ffi::bpf_common_vtime_before(a, b)
}

/// What a stretch of `used_ns` on a CPU costs a task of `weight` where nobody gets slices longer than `slice_ns`, ns of
/// virtual time: `vtime_charge` of `vtime.h`.
#[must_use]
pub fn vtime_charge(used_ns: u64, slice_ns: u64, weight: u32) -> u64 {
    ffi::bpf_common_vtime_charge(used_ns, slice_ns, weight)
}

/// What `used_ns` of CPU time costs a task of that weight.
#[must_use]
pub fn vtime_delta(used_ns: u64, weight: u32) -> u64 {
    ffi::bpf_common_vtime_delta(used_ns, weight)
}

/// A task's virtual time bounded around its queue's.
#[must_use]
pub fn vtime_clamp(vtime: u64, now: u64, slice_ns: u64) -> u64 {
    ffi::bpf_common_vtime_clamp(vtime, now, slice_ns)
}

/// A task's virtual time bounded as for one that used CPU time nobody else wanted.
#[must_use]
pub fn vtime_forgive(vtime: u64, now: u64, slice_ns: u64, weight: u32) -> u64 {
    ffi::bpf_common_vtime_forgive(vtime, now, slice_ns, weight)
}

/// The distance between a CPU's time and that of the queue it shares with others, from now on.
#[must_use]
pub fn vtime_base(base: u64, head: u64, now: u64, slice_ns: u64, alone: bool) -> u64 {
    ffi::bpf_common_vtime_base(base, head, now, slice_ns, alone)
}

/// A task's virtual time in another queue, with the same lag.
#[must_use]
pub fn vtime_rebase(vtime: u64, from_now: u64, to_now: u64) -> u64 {
    ffi::bpf_common_vtime_rebase(vtime, from_now, to_now)
}
