// SPDX-License-Identifier: GPL-2.0-only
/*
 * Weighted virtual time: the key by which queues order their tasks.
 *
 * What it does: charges CPU time scaled by weight (100 = nice 0 is charged one to one), compares times across
 * the wrap of 64 bits, bounds how far a task may be behind or ahead of its queue, and carries a task's lag to
 * another queue.
 *
 * Relies on: the includer for u32/u64/s64/bool (vmlinux.h, or plain_types.h and stdbool.h otherwise); times
 * that are compared lie within 2^63 ns (292 years of virtual time) of each other, which vtime_clamp() at
 * every enqueue keeps. Does not handle: locking; who advances the queue's own time and when.
 */
#ifndef BPF_COMMON_VTIME_H
#define BPF_COMMON_VTIME_H

#include "plain_types.h"
#ifndef __VMLINUX_H__
#include <stdbool.h>
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* The weight that is charged one to one: nice 0. */
#define VTIME_WEIGHT_ONE 100

/*
 * A task may be this many slices ahead of its queue. It is what the lowest weight (1) is charged for one full
 * slice, so ordinary fairness is untouched, while no history (a weight that was raised, a queue whose time
 * ran slower) can strand a task for longer.
 */
#define VTIME_MAX_AHEAD_SLICES 100

/* Longer slices count as this (417 days): VTIME_MAX_AHEAD_SLICES of them stay far below half the range. */
#define VTIME_SLICE_MAX_NS (1ULL << 55)

/* a comes before b. Times exactly 2^63 apart each count as before the other. */
static __always_inline bool vtime_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/*
 * What used_ns of CPU time costs a task of that weight; weight 0 counts as 1. Never above 2^63 - 1, so
 * charging never makes a task look earlier.
 */
static __always_inline u64 vtime_delta(u64 used_ns, u32 weight)
{
	u64 limit = (~0ULL >> 1) / VTIME_WEIGHT_ONE;

	if (used_ns > limit)
		used_ns = limit;
	return used_ns * VTIME_WEIGHT_ONE / (weight ? weight : 1);
}

/*
 * A stretch on a CPU that is charged counts as at most this many slices. A tick ends a slice, so a longer stretch was not the
 * task's doing: a hypervisor had the CPU, or the kernel could not be preempted. Charged in full, a stolen second would be
 * waited out once for every other task of the queue.
 */
#define VTIME_STRETCH_SLICES 4

/* What a stretch of used_ns on a CPU costs a task of that weight, where nobody gets slices longer than slice_ns. */
static __always_inline u64 vtime_charge(u64 used_ns, u64 slice_ns, u32 weight)
{
	u64 limit = (slice_ns < VTIME_SLICE_MAX_NS ? slice_ns : VTIME_SLICE_MAX_NS) * VTIME_STRETCH_SLICES;

	return vtime_delta(used_ns < limit ? used_ns : limit, weight);
}

/*
 * Bounds a task's time around its queue's time `now`: not before now - slice (sleeping earns at most one
 * slice of credit) and not after now + VTIME_MAX_AHEAD_SLICES slices.
 */
static __always_inline u64 vtime_clamp(u64 vtime, u64 now, u64 slice_ns)
{
	s64 lead = (s64)(vtime - now);
	s64 slice = (s64)(slice_ns < VTIME_SLICE_MAX_NS ? slice_ns : VTIME_SLICE_MAX_NS);

	/* Both bounds are compared as distances from now: between themselves, far times would wrap. */
	if (lead < -slice)
		return now - (u64)slice;
	if (lead > slice * VTIME_MAX_AHEAD_SLICES)
		return now + (u64)slice * VTIME_MAX_AHEAD_SLICES;
	return vtime;
}

/* The task's time in a queue at to_now: as far from that queue's time as it was from from_now. */
static __always_inline u64 vtime_rebase(u64 vtime, u64 from_now, u64 to_now)
{
	return to_now + (vtime - from_now);
}

/*
 * vtime bounded as for a task that used CPU time nobody else wanted: at most one slice behind `now` and at most two of its own
 * slices ahead. It owes nothing for that time, and without the bound it would wait out seconds of it once others come. Never for
 * a task that competes: there, being kept on as the earliest for several slices is its due, and cutting what it was charged
 * would favour it.
 */
static __always_inline u64 vtime_forgive(u64 vtime, u64 now, u64 slice_ns, u32 weight)
{
	u64 latest = now + vtime_delta(2 * slice_ns, weight);

	vtime = vtime_clamp(vtime, now, slice_ns);
	return vtime_before(latest, vtime) ? latest : vtime;
}

/*
 * Two queues with a time axis of their own compete for one CPU: that of the CPU, whose earliest task is at `head`, and a shared
 * one that has reached `now`. time of the shared one = time of the CPU + base; this is the base from now on. The earliest is not
 * more than a slice behind: what the shared queue did elsewhere meanwhile is no debt to this CPU. Nor is it ahead when it is
 * `alone`: what nobody else wanted is not held against it. And never further ahead than a task may be: a CPU that changes hands in this
 * very moment may have its distance corrected twice, by as much as two clocks are apart.
 */
static __always_inline u64 vtime_base(u64 base, u64 head, u64 now, u64 slice_ns, bool alone)
{
	u64 time = head + base;

	if (vtime_before(time, now - slice_ns))
		return now - slice_ns - head;
	if (alone && vtime_before(now, time))
		return now - head;
	if (vtime_before(now + slice_ns * VTIME_MAX_AHEAD_SLICES, time))
		return now + slice_ns * VTIME_MAX_AHEAD_SLICES - head;
	return base;
}

#endif /* BPF_COMMON_VTIME_H */
