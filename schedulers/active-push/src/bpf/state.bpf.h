/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of active-push in the kernel: configuration, the machine as ranges, maps, and the look-ups every other file uses.
 *
 * Every CPU has one queue (DSQ) ordered by its own virtual clock. A runnable task is accounted to exactly one CPU: the one whose
 * queue it waits in, or on which it runs.
 *
 * Relies on: configuration and tables being final before load.
 * Does not handle: CPU hotplug in place; hotplug ends the scheduler with the restart code and userspace comes back with the
 * new topology.
 */
#ifndef ACTIVE_PUSH_STATE_BPF_H
#define ACTIVE_PUSH_STATE_BPF_H

#include <scx/common.bpf.h>

#include "abi.h"
#include "enq_flags.bpf.h"
#include "exempt.bpf.h"
#include "forced_stall.h"
#include "higher_class.bpf.h"
#include "hotplug.bpf.h"
#include "push_policy.h"
#include "starving.bpf.h"
#include "vtime.h"

#define CPU_DSQ_BASE (1ULL << 20)

/* No CPU, span or queue. */
#define AP_NONE (~0U)

const volatile struct ap_config conf;
const volatile struct ap_place places[AP_MAX_CPUS];
const volatile u32 cpu_order[AP_MAX_CPUS];
const volatile struct ap_span spans[AP_MAX_SPANS];

UEI_DEFINE(uei);

/* Generation numbers of tasks: a pid can come back, a generation can not. */
u64 next_generation;

/* Tasks that have a context. */
u64 nr_tasks;

/*
 * Some task that may move waits, as far as is known: without one there is nothing to pull. Set when a task is queued and by the
 * ticks of CPUs where some wait; cleared by a look at the whole machine that finds none. A look that misses a task by a moment is made
 * good by the next tick.
 */
u32 somebody_waits;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct ap_cpu);
	/* Userspace sets the number of CPUs. */
	__uint(max_entries, 1);
} cpus SEC(".maps");

/*
 * What one group remembers about balancing with the other groups of its span. The kernel keeps this per CPU and lets one CPU of
 * the group do the work; here whichever CPU comes first does it, for the group.
 */
struct level_state {
	/*
	 * The last round of an idle CPU and of a busy one. Apart, or in a group that has some of each the busy ones, whose rounds are the
	 * rarer, would never have one; there may be tasks that only they may take.
	 */
	u64 last_balance_ns;
	u64 last_busy_balance_ns;
	u64 interval_ns;
	u64 newidle_cost_ns;
	u64 next_decay_ns;
	u32 nr_failed;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct level_state);
	/* CPUs (groups of the innermost level), then spans (groups of the next ones). */
	__uint(max_entries, 1);
} level_states SEC(".maps");

struct mask_entry {
	struct bpf_cpumask __kptr *mask;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct mask_entry);
	__uint(max_entries, AP_MAX_LLCS);
} llc_masks SEC(".maps");

/* By kind of CPU: all CPUs with at least that capacity. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct mask_entry);
	__uint(max_entries, AP_MAX_CLASSES);
} class_masks SEC(".maps");

struct task_ctx {
	u64 generation;
	/* Utilisation of its CPU's capacity; kept only where capacities differ. */
	struct ravg util;
	/* sum_exec_runtime up to which vtime has been charged */
	u64 charged_ns;
	/* When it last left a CPU; 0 before that. */
	u64 last_ran_ns;
	/* Since when it waits for a CPU; 0 while it sleeps. Changes of its attributes do not begin it anew. */
	u64 waiting_since_ns;
	/* When it was put on a CPU that was idle. */
	u64 placed_ns;
	/* When its push was asked for; 0 when it is not being pushed. */
	u64 pushed_at_ns;
	/* CPU + 1 it is accounted to; 0 while it sleeps. */
	u32 account_cpu;
	/* CPU whose clock its vtime follows. */
	u32 clock_cpu;
	u32 weight;
	/* As they were accounted. */
	u32 accounted_load;
	u32 accounted_pinned;
	/* TAKEN: target + 1 and the CPU it leaves, from stopping to enqueue. */
	u32 push_target;
	u32 push_source;
	/* CPU + 1 that select_cpu chose for it, until enqueue. */
	u32 claimed;
	/* 1: left a CPU still runnable and has not been enqueued since. */
	u32 stopped;
	/* 1: a higher class took that CPU. */
	u32 preempted;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} task_ctxs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, AP_NR_COUNTERS);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, AP_MAX_LEVELS * AP_NR_IDLE_TYPES * AP_NR_LB);
} level_counters SEC(".maps");

/* Request to schedule-out, then request to running on the target. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 2 * AP_LATENCY_BUCKETS);
} latencies SEC(".maps");

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		(*value)++;
}

static __always_inline void count_level(u32 level, u32 idle, u32 counter, u64 by)
{
	u32 key = (level * AP_NR_IDLE_TYPES + idle) * AP_NR_LB + counter;
	u64 *value = bpf_map_lookup_elem(&level_counters, &key);

	if (value)
		*value += by;
}

static __always_inline void count_latency(u32 histogram, u64 ns)
{
	u32 key = histogram * AP_LATENCY_BUCKETS + push_latency_bucket(ns, AP_LATENCY_BUCKETS);
	u64 *value = bpf_map_lookup_elem(&latencies, &key);

	if (value)
		(*value)++;
}

static __always_inline struct task_ctx *task_ctx(struct task_struct *p)
{
	return bpf_task_storage_get(&task_ctxs, p, 0, 0);
}

static __always_inline u64 waiting_since_ns(struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	return tctx ? tctx->waiting_since_ns : 0;
}

static __always_inline struct ap_cpu *cpu_ctx(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline u64 cpu_dsq(u32 cpu)
{
	return CPU_DSQ_BASE + cpu;
}

/*
 * An index below a power of two, in a way that the compiler can neither drop nor move: after an ordinary comparison it may
 * address the array with another copy of the index, which the verifier then finds unbounded.
 */
static __always_inline u32 masked(u32 index, u32 size)
{
	barrier_var(index);
	return index & (size - 1);
}

/* For a CPU that exists; any other number gives some place. */
static __always_inline const volatile struct ap_place *place_of(u32 cpu)
{
	return &places[masked(cpu, AP_MAX_CPUS)];
}

static __always_inline const volatile struct ap_level *level_conf(u32 level)
{
	return &conf.levels[masked(level, AP_MAX_LEVELS)];
}

static __always_inline u32 class_capacity(u32 class)
{
	return conf.classes[masked(class, AP_MAX_CLASSES)];
}

/* The span of a CPU on a level. */
static __always_inline u32 span_of(u32 cpu, u32 level)
{
	return place_of(cpu)->spans[masked(level, AP_MAX_LEVELS)];
}

static __always_inline const volatile struct ap_span *span_at(u32 span)
{
	return &spans[masked(span, AP_MAX_SPANS)];
}

static __always_inline u32 capacity_of(u32 cpu)
{
	return place_of(cpu)->capacity;
}

static __always_inline bool is_online(u32 cpu)
{
	return cpu < conf.nr_cpu_ids && place_of(cpu)->online;
}

static __always_inline u32 ordered_cpu(u32 index)
{
	return cpu_order[masked(index, AP_MAX_CPUS)];
}

static __always_inline bool is_kthread(const struct task_struct *p)
{
	return p->flags & PF_KTHREAD;
}

static __always_inline bool may_move(const struct task_struct *p)
{
	return p->nr_cpus_allowed > 1 && !migration_disabled(p);
}

/* Tasks in a queue. While the scheduler is being taken down the queues are gone and the kernel answers with an error. */
static __always_inline u32 nr_queued(u32 cpu)
{
	s32 nr = scx_bpf_dsq_nr_queued(cpu_dsq(cpu));

	return nr > 0 ? nr : 0;
}

/* Of a CPU's tasks, those that wait and may run elsewhere. */
static __always_inline u32 nr_waiting_movable(const struct ap_cpu *cctx)
{
	s32 movable = (s32)cctx->nr_running - (s32)cctx->nr_pinned;

	if (cctx->running_generation && !cctx->running_pinned)
		movable--;
	return movable > 0 ? movable : 0;
}

static __always_inline void note_waiting(void)
{
	/* Read first: the line is shared by all CPUs. */
	if (!somebody_waits)
		somebody_waits = 1;
}

static __always_inline const struct cpumask *mask_of(void *map, u32 index)
{
	struct mask_entry *entry = bpf_map_lookup_elem(map, &index);
	struct bpf_cpumask *mask = entry ? entry->mask : NULL;

	return mask ? (const struct cpumask *)mask : NULL;
}

#endif /* ACTIVE_PUSH_STATE_BPF_H */
