/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The decisions of balancing and pushing as pure functions: which group is busiest, whether a move helps, when a failed
 * round becomes a push, and what the interval and the cost estimate become.
 *
 * Relies on: the includer for u32/u64/bool (vmlinux.h, or plain_types.h and stdbool.h otherwise). Compiled natively for its
 * tests.
 * Does not handle: where the figures come from; tasks; time other than as arguments.
 */
#ifndef ACTIVE_PUSH_POLICY_H
#define ACTIVE_PUSH_POLICY_H

#include "plain_types.h"
#ifndef __VMLINUX_H__
#include <stdbool.h>
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* A round that met only pinned tasks backs off up to this, whatever the level's own maximum. */
#define PUSH_PINNED_INTERVAL_MAX_NS (512ULL * 1000 * 1000)

/* Share of a CPU's capacity that a task may use and still fit: 80 %, the kernel's margin. */
#define PUSH_FIT_NUMERATOR 4
#define PUSH_FIT_DENOMINATOR 5

/* The CPUs of one group, summed. */
struct push_group {
	u64 load;
	u64 capacity;
	/* Running tasks that are not bound to their CPU. */
	u32 nr_free;
	u32 nr_running;
	/* Waiting tasks that may run elsewhere. */
	u32 nr_waiting;
	u32 nr_idle;
	/* Cores with more than one running task. */
	u32 nr_overfull;
	/* Running tasks too large for their CPU. */
	u32 nr_misfit;
};

/* How much a group would gain from help; a higher kind is always busier. */
enum push_kind {
	PUSH_HAS_SPARE,
	PUSH_FULLY_BUSY,
	PUSH_SMT_OVERFULL,
	PUSH_MISFIT_TASK,
	PUSH_OVERLOADED,
};

static __always_inline enum push_kind push_group_kind(const struct push_group *group)
{
	if (group->nr_waiting)
		return PUSH_OVERLOADED;
	if (group->nr_misfit)
		return PUSH_MISFIT_TASK;
	if (group->nr_overfull)
		return PUSH_SMT_OVERFULL;
	return group->nr_idle ? PUSH_HAS_SPARE : PUSH_FULLY_BUSY;
}

/* a has more load per capacity than b, by more than pct - 100 percent. A pct of 100 compares plainly. */
static __always_inline bool push_heavier(u64 a_load, u64 a_capacity, u64 b_load, u64 b_capacity, u32 pct)
{
	return a_load * b_capacity * 100 > b_load * a_capacity * pct;
}

/* a is the better group to take from than b. */
static __always_inline bool push_busier(const struct push_group *a, const struct push_group *b)
{
	enum push_kind a_kind = push_group_kind(a), b_kind = push_group_kind(b);

	if (a_kind != b_kind)
		return a_kind > b_kind;
	if (a_kind == PUSH_HAS_SPARE && a->nr_idle != b->nr_idle)
		return a->nr_idle < b->nr_idle;
	return push_heavier(a->load, a->capacity, b->load, b->capacity, 100);
}

/*
 * May a task of task_load go from one CPU to another? Only if the fuller of both ends up with less per capacity than the
 * source has now: the same move back would not help, so nothing goes to and fro. An empty CPU gains in any case.
 */
static __always_inline bool push_move_helps(u64 src_load, u64 src_capacity, u64 dst_load, u64 dst_capacity, u64 task_load)
{
	return !dst_load || (dst_load + task_load) * src_capacity < src_load * dst_capacity;
}

/*
 * Whether a group without waiting tasks should still give a running one to the wholly idle CPU that asks. The idle CPUs must
 * differ by two, so that after the move neither side wants it back.
 */
static __always_inline bool push_evens_out(const struct push_group *local, const struct push_group *busiest)
{
	return local->nr_idle > busiest->nr_idle + 1 && busiest->nr_running > 1;
}

/* What a group has above its share of the span by capacity; 0 if it is below. Rounded down. */
static __always_inline u64 push_excess(u64 load, u64 capacity, u64 span_load, u64 span_capacity)
{
	u64 share = span_capacity ? span_load * capacity / span_capacity : 0;

	return load > share ? load - share : 0;
}

/* The load to pull: brings neither group past its share of a span. 0 if the local group has its share already. */
static __always_inline u64 push_shared_imbalance(const struct push_group *local, const struct push_group *busiest, u64 span_load,
					  u64 span_capacity)
{
	u64 over = push_excess(busiest->load, busiest->capacity, span_load, span_capacity);
	u64 share = span_capacity ? span_load * local->capacity / span_capacity : 0;
	u64 under = share > local->load ? share - local->load : 0;

	return over < under ? over : under;
}

/*
 * The load to pull. Shares of the whole span say nothing where some of its load cannot move or some of its CPUs cannot be used: what a
 * third group has of it then makes the heavier of two groups look light or the lighter one full. Those two alone are the measure then.
 */
static __always_inline u64 push_imbalance(const struct push_group *local, const struct push_group *busiest, u64 span_load,
					  u64 span_capacity)
{
	u64 shared = push_shared_imbalance(local, busiest, span_load, span_capacity);

	return shared ?: push_shared_imbalance(local, busiest, local->load + busiest->load, local->capacity + busiest->capacity);
}

/* Failures after which a running task is pushed, and cache-hot ones are moved. */
static __always_inline bool push_is_due(u32 nr_failed, u32 push_failures)
{
	return nr_failed > push_failures;
}

static __always_inline bool push_fits(u64 util, u64 capacity)
{
	return util * PUSH_FIT_DENOMINATOR <= capacity * PUSH_FIT_NUMERATOR;
}

/* The interval after a round: shortest after an imbalance, doubled up to its maximum when there was nothing to do. */
static __always_inline u64 push_next_interval(u64 interval, u64 min, u64 max, bool unbalanced, bool all_pinned)
{
	u64 limit = all_pinned && max < PUSH_PINNED_INTERVAL_MAX_NS ? PUSH_PINNED_INTERVAL_MAX_NS : max;

	if (unbalanced || interval < min)
		return min;
	return interval * 2 < limit ? interval * 2 : limit;
}

/*
 * How long a group waits from one round to the next: on a busy CPU the factor times its interval. What rounds among pinned tasks have
 * added is not multiplied, or a busy CPU would find out many seconds late that they may move again. (The kernel cuts a busy CPU's
 * interval at a tenth of a second for each CPU: get_sd_balance_interval.)
 */
static __always_inline u64 push_round_interval(u64 interval, u64 min, u64 max, u32 busy_factor, bool busy)
{
	u64 own = interval < min ? min : interval, usual = own < max ? own : max;

	return busy && usual * busy_factor > own ? usual * busy_factor : own;
}

/* The estimate of what a newly idle round costs rises at once, up to a limit. */
static __always_inline u64 push_newidle_cost(u64 estimate, u64 measured, u64 limit)
{
	if (measured > limit)
		measured = limit;
	return measured > estimate ? measured : estimate;
}

/* And falls by 1 % each time it is due, as the kernel's max_newidle_lb_cost. */
static __always_inline u64 push_decayed_cost(u64 estimate)
{
	return estimate * 253 / 256;
}

/* An average of the last idle periods, one eighth each; long ones count no more than `max`. */
static __always_inline u64 push_average_idle(u64 average, u64 period, u64 max)
{
	u64 next = period >= average ? average + (period - average) / 8 : average - (average - period) / 8;

	return next < max ? next : max;
}

/* Index of a duration among powers of two of microseconds: 0 below 1 µs, 1 below 2 µs, 2 below 4 µs ... */
static __always_inline u32 push_latency_bucket(u64 ns, u32 nr_buckets)
{
	u64 us = ns / 1000;
	u32 bucket = 0;

	if (us >> 16) {
		bucket += 16;
		us >>= 16;
	}
	if (us >> 16)
		return nr_buckets - 1;
	if (us >> 8) {
		bucket += 8;
		us >>= 8;
	}
	if (us >> 4) {
		bucket += 4;
		us >>= 4;
	}
	if (us >> 2) {
		bucket += 2;
		us >>= 2;
	}
	bucket += us >> 1 ? 2 : us;
	return bucket < nr_buckets ? bucket : nr_buckets - 1;
}

#endif /* ACTIVE_PUSH_POLICY_H */
