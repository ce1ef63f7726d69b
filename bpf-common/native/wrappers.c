// SPDX-License-Identifier: GPL-2.0-only
/*
 * The inline functions of the headers as ordinary symbols for Rust tests.
 *
 * What it does: one wrapper per function, named bpf_common_<function>, plus the constants in one struct.
 * Relies on: src/native.rs declaring the same signatures; the assertions below hold the shared struct's
 * layout. Does not handle: BPF; this file is compiled for the machine that runs the tests.
 */
#include <stddef.h>

#include "plain_types.h"
#include "ravg.h"
#include "vtime.h"
#include "weight.h"

_Static_assert(sizeof(u8) == 1 && sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8, "unsigned");
_Static_assert(sizeof(s8) == 1 && sizeof(s16) == 2 && sizeof(s32) == 4 && sizeof(s64) == 8, "signed");
_Static_assert((s8)-1 < 0 && (s16)-1 < 0 && (s32)-1 < 0 && (s64)-1 < 0, "signs");
_Static_assert(sizeof(struct ravg) == 24, "struct ravg has no hidden padding");
_Static_assert(offsetof(struct ravg, avg) == 0, "avg");
_Static_assert(offsetof(struct ravg, val_at) == 8, "val_at");
_Static_assert(offsetof(struct ravg, val) == 16, "val");
_Static_assert(offsetof(struct ravg, pad) == 20, "pad");

struct bpf_common_constants {
	u64 ravg_half_life_max_ns;
	u64 vtime_slice_max_ns;
	u64 vtime_max_ahead_slices;
	u32 ravg_fraction_bits;
	u32 weight_min;
	u32 weight_max;
	u32 weight_buckets;
	u32 vtime_weight_one;
	u32 pad;
};

void bpf_common_constants(struct bpf_common_constants *out)
{
	*out = (struct bpf_common_constants){
		.ravg_half_life_max_ns = RAVG_HALF_LIFE_MAX_NS,
		.vtime_slice_max_ns = VTIME_SLICE_MAX_NS,
		.vtime_max_ahead_slices = VTIME_MAX_AHEAD_SLICES,
		.ravg_fraction_bits = RAVG_FRACTION_BITS,
		.weight_min = WEIGHT_MIN,
		.weight_max = WEIGHT_MAX,
		.weight_buckets = WEIGHT_BUCKETS,
		.vtime_weight_one = VTIME_WEIGHT_ONE,
	};
}

u64 bpf_common_ravg_pow2_coarse(u32 index)
{
	return ravg_pow2_coarse[index & 63];
}

u64 bpf_common_ravg_pow2_fine(u32 index)
{
	return ravg_pow2_fine[index & 63];
}

u64 bpf_common_ravg_mul63(u64 a, u64 b)
{
	return ravg_mul63(a, b);
}

u64 bpf_common_ravg_pow2_neg(u64 x)
{
	return ravg_pow2_neg(x);
}

u64 bpf_common_ravg_decay(u64 distance, u64 elapsed_ns, u64 half_life_ns)
{
	return ravg_decay(distance, elapsed_ns, half_life_ns);
}

u64 bpf_common_ravg_read(const struct ravg *r, u64 now_ns, u64 half_life_ns)
{
	return ravg_read(r, now_ns, half_life_ns);
}

void bpf_common_ravg_update(struct ravg *r, u32 new_val, u64 now_ns, u64 half_life_ns)
{
	ravg_update(r, new_val, now_ns, half_life_ns);
}

void bpf_common_ravg_settle(struct ravg *r, u64 now_ns, u64 half_life_ns)
{
	ravg_settle(r, now_ns, half_life_ns);
}

void bpf_common_ravg_add(struct ravg *aggregate, struct ravg *part, u64 now_ns, u64 half_life_ns)
{
	ravg_add(aggregate, part, now_ns, half_life_ns);
}

void bpf_common_ravg_sub(struct ravg *aggregate, struct ravg *part, u64 now_ns, u64 half_life_ns)
{
	ravg_sub(aggregate, part, now_ns, half_life_ns);
}

void bpf_common_ravg_transfer(struct ravg *from, struct ravg *to, struct ravg *part, u64 now_ns,
			      u64 half_life_ns)
{
	ravg_transfer(from, to, part, now_ns, half_life_ns);
}

u32 bpf_common_weight_clamp(u32 weight)
{
	return weight_clamp(weight);
}

u32 bpf_common_weight_bucket(u32 weight)
{
	return weight_bucket(weight);
}

u32 bpf_common_weight_bucket_rep(u32 bucket)
{
	return weight_bucket_rep(bucket);
}

bool bpf_common_vtime_before(u64 a, u64 b)
{
	return vtime_before(a, b);
}

u64 bpf_common_vtime_charge(u64 used_ns, u64 slice_ns, u32 weight)
{
	return vtime_charge(used_ns, slice_ns, weight);
}

u64 bpf_common_vtime_delta(u64 used_ns, u32 weight)
{
	return vtime_delta(used_ns, weight);
}

u64 bpf_common_vtime_clamp(u64 vtime, u64 now, u64 slice_ns)
{
	return vtime_clamp(vtime, now, slice_ns);
}

u64 bpf_common_vtime_forgive(u64 vtime, u64 now, u64 slice_ns, u32 weight)
{
	return vtime_forgive(vtime, now, slice_ns, weight);
}

u64 bpf_common_vtime_base(u64 base, u64 head, u64 now, u64 slice_ns, bool alone)
{
	return vtime_base(base, head, now, slice_ns, alone);
}

u64 bpf_common_vtime_rebase(u64 vtime, u64 from_now, u64 to_now)
{
	return vtime_rebase(vtime, from_now, to_now);
}
