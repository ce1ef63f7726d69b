/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inline functions of push_policy.h as ordinary symbols for src/tests/policy.rs.
 *
 * What it does: one wrapper per function, named active_push_<function>.
 * Relies on: src/tests/policy.rs declaring the same signatures and struct layout.
 * Does not handle: BPF; this file is compiled for the machine that runs the tests.
 */
#include "push_policy.h"

_Static_assert(sizeof(struct push_group) == 40, "struct push_group has no hidden padding");

u32 active_push_group_kind(const struct push_group *group)
{
	return push_group_kind(group);
}

bool active_push_busier(const struct push_group *a, const struct push_group *b)
{
	return push_busier(a, b);
}

bool active_push_heavier(u64 a_load, u64 a_capacity, u64 b_load, u64 b_capacity, u32 pct)
{
	return push_heavier(a_load, a_capacity, b_load, b_capacity, pct);
}

bool active_push_move_helps(u64 src_load, u64 src_capacity, u64 dst_load, u64 dst_capacity, u64 task_load)
{
	return push_move_helps(src_load, src_capacity, dst_load, dst_capacity, task_load);
}

bool active_push_evens_out(const struct push_group *local, const struct push_group *busiest)
{
	return push_evens_out(local, busiest);
}

u64 active_push_imbalance(const struct push_group *local, const struct push_group *busiest, u64 span_load, u64 span_capacity)
{
	return push_imbalance(local, busiest, span_load, span_capacity);
}

bool active_push_fits(u64 util, u64 capacity)
{
	return push_fits(util, capacity);
}

u64 active_push_next_interval(u64 interval, u64 min, u64 max, bool unbalanced, bool all_pinned)
{
	return push_next_interval(interval, min, max, unbalanced, all_pinned);
}

u64 active_push_round_interval(u64 interval, u64 min, u64 max, u32 busy_factor, bool busy)
{
	return push_round_interval(interval, min, max, busy_factor, busy);
}

u64 active_push_newidle_cost(u64 estimate, u64 measured, u64 limit)
{
	return push_newidle_cost(estimate, measured, limit);
}

u64 active_push_decayed_cost(u64 estimate)
{
	return push_decayed_cost(estimate);
}

u64 active_push_average_idle(u64 average, u64 period, u64 max)
{
	return push_average_idle(average, period, max);
}

u32 active_push_latency_bucket(u64 ns, u32 nr_buckets)
{
	return push_latency_bucket(ns, nr_buckets);
}
