/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of domain-balancer in the kernel: configuration, maps, and the look-ups every other file uses.
 *
 * One task belongs to one *home* domain at a time; a domain has one queue (DSQ) ordered by vtime. A task that may use
 * one CPU only waits in that CPU's own queue. Home changes for four reasons: the affinity excludes it, a planned move,
 * the first placement of a new task, or a wake-up while home is crowded. Running elsewhere by stealing never changes it.
 *
 * Relies on: configuration and the cpu → domain table being final before load.
 * Does not handle: CPU hotplug in place; hotplug ends the scheduler with the restart code and userspace comes back with the
 * new topology.
 */
#ifndef DOMAIN_BALANCER_STATE_BPF_H
#define DOMAIN_BALANCER_STATE_BPF_H

#include <scx/common.bpf.h>

#include "abi.h"
#include "enq_flags.bpf.h"
#include "exempt.bpf.h"
#include "forced_stall.h"
#include "higher_class.bpf.h"
#include "hotplug.bpf.h"
#include "starving.bpf.h"
#include "vtime.h"

/* DSQ ids: domains first, then one per CPU for tasks pinned to it. */
#define CPU_DSQ_BASE (1ULL << 20)

const volatile struct db_config conf;
/* Domain of each CPU; DB_MAX_DOMAINS for a CPU that is in none (offline at start). */
const volatile u32 cpu_domain[DB_MAX_CPUS];
/* Node of each domain. */
const volatile u32 domain_node[DB_MAX_DOMAINS];

UEI_DEFINE(uei);

/* Generation numbers of tasks: a pid can come back, a generation can not. */
u64 next_generation;

/* Tasks that have a context. */
u64 nr_tasks;

struct domain_ctx {
	/* The vtime the domain's queue has reached: tasks that wake up are brought close to it. */
	u64 vtime_now;
	/* Planned moves applied, by direction. */
	u64 nr_moved_in;
	u64 nr_moved_out;
	u32 nr_runnable;
	u32 nr_cpus;
	struct bpf_cpumask __kptr *cpumask;
	/* All CPUs of the domain's node that are in some domain, its own included. */
	struct bpf_cpumask __kptr *node_cpumask;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct domain_ctx);
	/* Userspace sets the number of domains. */
	__uint(max_entries, 1);
} domains SEC(".maps");

struct task_ctx {
	u64 generation;
	struct ravg duty;
	/* sum_exec_runtime up to which the task's vtime has been charged */
	u64 charged_ns;
	u64 last_moved_ns;
	/* When it last left a CPU; 0 before that. */
	u64 last_ran_ns;
	u64 move_expires_ns;
	/* Since when it waits for a CPU; 0 while it sleeps. Changes of its attributes do not begin it anew. */
	u64 waiting_since_ns;
	/* What `weight` was worked out from: see share.bpf.h. The address is compared and never followed. */
	u64 weight_epoch;
	u64 css_set;
	/* Home. */
	u32 domain;
	/* Effective: the task's own times the factor of its cgroup. */
	u32 weight;
	u32 own_weight;
	/* In what time its vtime counts: 0 its domain's, else CPU + 1 for that CPU's; see axis.bpf.h. */
	u32 axis;
	/* Target domain + 1 of a planned move, 0 for none. Claimed by exchange, so that one plan moves at most once. */
	u32 move_target;
	/* 1 between runnable and quiescent */
	u32 runnable;
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
	__uint(max_entries, DB_NR_COUNTERS);
} counters SEC(".maps");

static __always_inline u64 waiting_since_ns(struct task_struct *p)
{
	struct task_ctx *tctx = bpf_task_storage_get(&task_ctxs, p, 0, 0);

	return tctx ? tctx->waiting_since_ns : 0;
}

static __always_inline void count(u32 counter)
{
	u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		(*value)++;
}

static __always_inline struct task_ctx *task_ctx(struct task_struct *p)
{
	return bpf_task_storage_get(&task_ctxs, p, 0, 0);
}

static __always_inline struct domain_ctx *domain_ctx(u32 domain)
{
	return bpf_map_lookup_elem(&domains, &domain);
}

static __always_inline u32 domain_of_cpu(s32 cpu)
{
	u32 index = cpu;

	if (index >= DB_MAX_CPUS)
		return DB_MAX_DOMAINS;
	return cpu_domain[index];
}

static __always_inline u32 node_of_domain(u32 domain)
{
	return domain < DB_MAX_DOMAINS ? domain_node[domain] : 0;
}

static __always_inline u64 domain_dsq(u32 domain)
{
	return domain;
}

static __always_inline u64 cpu_dsq(s32 cpu)
{
	return CPU_DSQ_BASE + (u32)cpu;
}

/* Tasks in a queue. While the scheduler is being taken down the queues are gone and the kernel answers with an error. */
static __always_inline u32 nr_queued(u64 dsq)
{
	s32 nr = scx_bpf_dsq_nr_queued(dsq);

	return nr > 0 ? nr : 0;
}

/* The CPUs of a domain, for kfuncs that take a plain cpumask; NULL before init has run. Valid inside the callback. */
static __always_inline const struct cpumask *domain_cpumask(struct domain_ctx *dom)
{
	struct bpf_cpumask *mask = dom->cpumask;

	return mask ? (const struct cpumask *)mask : NULL;
}

static __always_inline bool is_kthread(const struct task_struct *p)
{
	return p->flags & PF_KTHREAD;
}

static __always_inline const struct cpumask *node_cpumask(struct domain_ctx *dom)
{
	struct bpf_cpumask *mask = dom->node_cpumask;

	return mask ? (const struct cpumask *)mask : NULL;
}

/*
 * The task's affinity. Not p->cpus_ptr: that names a single CPU while the task has migration disabled, which says
 * nothing about where its home can be.
 */
static __always_inline const struct cpumask *affinity(struct task_struct *p)
{
	return &p->cpus_mask;
}

static __always_inline bool may_run_in(struct task_struct *p, struct domain_ctx *dom)
{
	const struct cpumask *mask = domain_cpumask(dom);

	return mask && bpf_cpumask_intersects(affinity(p), mask);
}

#endif /* DOMAIN_BALANCER_STATE_BPF_H */
