/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Figures per slot, kept per CPU so that no CPU waits for another to count, and the ring of debug events.
 *
 * Relies on: userspace summing over CPUs; the scheduler's callbacks not being interrupted on a CPU by each other.
 * Does not handle: reading; waits that have not ended yet are not counted.
 */
#ifndef CELL_SCHEDULER_ACCOUNT_BPF_H
#define CELL_SCHEDULER_ACCOUNT_BPF_H

#include "state.bpf.h"

static __always_inline struct cs_figures *figures_of(u32 slot)
{
	return bpf_map_lookup_elem(&figures, &slot);
}

static __always_inline void count(struct task_ctx *tctx, u32 counter)
{
	struct cs_figures *entry = figures_of(tctx->slot);

	if (entry && counter < CS_NR_COUNTERS)
		entry->counters[counter]++;
}

/* Runnable time of a task, waiting or running, as load of its cgroup. */
static __always_inline void count_load(struct task_ctx *tctx, u64 runnable_ns)
{
	u64 id = tctx->cgroup_id, load = runnable_ns * tctx->own_weight / VTIME_WEIGHT_ONE, *sum;

	if (!conf.cgroup_weights || !id)
		return;
	sum = bpf_map_lookup_elem(&cgroup_loads, &id);
	if (sum)
		__sync_fetch_and_add(sum, load);
	else
		bpf_map_update_elem(&cgroup_loads, &id, &load, BPF_NOEXIST);
}

/* floor(log2(value)), 0 for 0, at most 31: BPF has no count-leading-zeroes. */
static __always_inline u32 floor_log2(u32 value)
{
	u32 log = 0;

	if (value >> 16) {
		value >>= 16;
		log += 16;
	}
	if (value >> 8) {
		value >>= 8;
		log += 8;
	}
	if (value >> 4) {
		value >>= 4;
		log += 4;
	}
	if (value >> 2) {
		value >>= 2;
		log += 2;
	}
	return log + (value >> 1);
}

/* The wait of a task that starts to run now. */
static __always_inline void count_wait(struct task_ctx *tctx, u64 now)
{
	struct cs_figures *entry = figures_of(tctx->slot);
	u64 since = tctx->waiting_since, waited, waited_us;
	u32 bucket;

	tctx->waiting_since = 0;
	/* Clocks of two CPUs may differ a little. */
	if (!entry || !since || !vtime_before(since, now))
		return;
	waited = now - since;
	entry->waited_ns += waited;
	count_load(tctx, waited);
	waited_us = waited / 1000;
	bucket = floor_log2(waited_us > 0xffffffffULL ? 0xffffffff : (u32)waited_us);
	entry->waits[bucket & (CS_WAIT_BUCKETS - 1)]++;
}

/* The debug ring: the last events, whatever CPU they happened on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cs_event);
	__uint(max_entries, CS_NR_EVENTS);
} events SEC(".maps");

u64 nr_events;

static __always_inline void note_event(u32 kind, s32 pid, u64 subject)
{
	u64 number = __sync_fetch_and_add(&nr_events, 1);
	u32 index = number & (CS_NR_EVENTS - 1);
	struct cs_event *event = bpf_map_lookup_elem(&events, &index);

	if (!event)
		return;
	event->at_ns = scx_bpf_now();
	event->number = number;
	event->subject = subject;
	event->pid = pid;
	event->kind = kind;
}

static __noinline void dump_event(u32 index)
{
	struct cs_event *event = bpf_map_lookup_elem(&events, &index);

	if (!event || event->kind == CS_EVENT_NONE)
		return;
	if (event->kind == CS_EVENT_TABLE)
		scx_bpf_dump("event %llu at %llu: table %llu\n", event->number, event->at_ns, event->subject);
	else if (event->kind == CS_EVENT_TASK_INIT)
		scx_bpf_dump("event %llu at %llu: task %d init\n", event->number, event->at_ns, event->pid);
	else if (event->kind == CS_EVENT_TASK_EXIT)
		scx_bpf_dump("event %llu at %llu: task %d exit\n", event->number, event->at_ns, event->pid);
	else if (event->kind == CS_EVENT_CGROUP_INIT)
		scx_bpf_dump("event %llu at %llu: cgroup %llu init\n", event->number, event->at_ns, event->subject);
	else if (event->kind == CS_EVENT_CGROUP_EXIT)
		scx_bpf_dump("event %llu at %llu: cgroup %llu exit\n", event->number, event->at_ns, event->subject);
	else
		scx_bpf_dump("event %llu at %llu: task %d to cgroup %llu\n", event->number, event->at_ns, event->pid,
			     event->subject);
}

/* Oldest first. */
static __always_inline void dump_events(void)
{
	u64 next = nr_events;
	u32 i;

	bpf_for(i, 0, CS_NR_EVENTS)
		dump_event((next + i) & (CS_NR_EVENTS - 1));
}

#endif /* CELL_SCHEDULER_ACCOUNT_BPF_H */
