/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shares of cgroups: a task's effective weight is its own times the factor of its cgroup.
 *
 * Userspace works the factors out from cpu.weight along each path and from who is active, and puts them into
 * cgroup_factors; `renew_weights` then makes them count. A task looks its factor up again when that has happened, or when it
 * has changed its cgroup since, at the next moment it becomes runnable, stops, or is about to go on; vtime and load
 * buckets know the effective weight only. A cgroup without a factor has factor one, so without any of this everybody
 * has just his own weight.
 *
 * Relies on: the kernel's rq lock, held where a task is weighed; a css_set (what p->cgroups points to) standing for one
 * combination of cgroups, so that a task that changes its cgroup changes it.
 * Does not handle: the time between two rounds of userspace; a cgroup that wakes up keeps the factor of its sleep until
 * then. Bandwidth limits (cpu.max); the kernel does not apply them to sched_ext tasks by itself.
 */
#ifndef DOMAIN_BALANCER_SHARE_BPF_H
#define DOMAIN_BALANCER_SHARE_BPF_H

#include "load.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	/* Cgroup id. */
	__type(key, u64);
	/* Factor in 1 / 2^DB_FACTOR_BITS. */
	__type(value, u32);
	__uint(max_entries, DB_MAX_CGROUPS);
} cgroup_factors SEC(".maps");

/* Grows with every change of the factors. */
u64 weight_epoch;

static __always_inline u64 cgroup_id_of(struct task_struct *p)
{
	struct cgroup *cgrp = p->cgroups->dfl_cgrp;

	return cgrp ? BPF_CORE_READ(cgrp, kn, id) : 0;
}

/* Works the effective weight out anew; the load follows it. Global for the verifier's sake, as the load functions. */
__noinline int weigh(struct task_struct *p __arg_trusted, struct task_ctx *tctx __arg_nonnull, u64 now)
{
	u64 id = cgroup_id_of(p), weight = tctx->own_weight;
	u32 *factor;

	/* Before the look-up: factors that change meanwhile make the task look again. */
	tctx->weight_epoch = weight_epoch;
	tctx->css_set = (u64)p->cgroups;
	factor = bpf_map_lookup_elem(&cgroup_factors, &id);
	if (factor)
		weight = (weight * *factor + (1 << (DB_FACTOR_BITS - 1))) >> DB_FACTOR_BITS;
	load_transfer(tctx, tctx->domain, weight_clamp(weight < WEIGHT_MAX ? weight : WEIGHT_MAX), now);
	return 0;
}

/* The same, if there is a reason. */
static __always_inline void reweigh(struct task_struct *p, struct task_ctx *tctx)
{
	if (unlikely(tctx->weight_epoch != weight_epoch || tctx->css_set != (u64)p->cgroups))
		weigh(p, tctx, scx_bpf_now());
}

#endif /* DOMAIN_BALANCER_SHARE_BPF_H */
