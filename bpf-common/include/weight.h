// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buckets of task weights, so that load can be kept per (domain, weight) in a small table.
 *
 * What it does: maps a weight 1..10000 (100 = nice 0, the scale of sched_ext and of cgroup cpu.weight) to one
 * of 90 buckets and back to a weight that stands for the bucket. Below 16 every weight has its own bucket;
 * above, each power of two is cut into 8 equal parts, so the representative is within 1/16 of any weight of
 * its bucket.
 *
 * Relies on: the includer for u32 (vmlinux.h, or plain_types.h otherwise). No branches, no tables.
 * Does not handle: weights outside the range (clamped) and bucket numbers outside 0..89 (taken as the last).
 * The Rust balancer has the same two functions; a test compares them over the whole range.
 */
#ifndef BPF_COMMON_WEIGHT_H
#define BPF_COMMON_WEIGHT_H

#include "plain_types.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define WEIGHT_MIN 1
#define WEIGHT_MAX 10000
/* Bucket 0 stays empty: no weight is below 1. */
#define WEIGHT_BUCKETS 90

static __always_inline u32 weight_clamp(u32 weight)
{
	if (weight < WEIGHT_MIN)
		return WEIGHT_MIN;
	return weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
}

/*
 * floor(log2(value)) for 1 <= value < 2^16. BPF has no count-leading-zeroes; the borrow of a subtraction
 * serves as the comparison, which spares the verifier the branches.
 */
static __always_inline u32 weight_log2(u32 value)
{
	u32 log, step;

	log = ((255 - value) >> 31) << 3;
	value >>= log;
	step = ((15 - value) >> 31) << 2;
	value >>= step;
	log += step;
	step = ((3 - value) >> 31) << 1;
	value >>= step;
	return log + step + (value >> 1);
}

/* The bucket of a weight: the weight itself below 8, else 8 per power of two. Weights are clamped first. */
static __always_inline u32 weight_bucket(u32 weight)
{
	u32 log;

	weight = weight_clamp(weight);
	if (weight < 8)
		return weight;
	log = weight_log2(weight);
	return (log - 2) * 8 + ((weight >> (log - 3)) & 7);
}

/*
 * The weight that stands for a bucket: the middle of its lowest and highest weight, rounded down. The last
 * bucket ends at WEIGHT_MAX; bucket 0, which no weight has, counts as WEIGHT_MIN.
 */
static __always_inline u32 weight_bucket_rep(u32 bucket)
{
	u32 shift, low, high;

	if (bucket >= WEIGHT_BUCKETS)
		bucket = WEIGHT_BUCKETS - 1;
	if (bucket < 8)
		return bucket < WEIGHT_MIN ? WEIGHT_MIN : bucket;
	shift = bucket / 8 - 1;
	low = (8 + bucket % 8) << shift;
	high = low + (1U << shift) - 1;
	if (high > WEIGHT_MAX)
		high = WEIGHT_MAX;
	return (low + high) / 2;
}

#endif /* BPF_COMMON_WEIGHT_H */
