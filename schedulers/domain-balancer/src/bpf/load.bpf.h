/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Load: the running-average duty cycle of each task and of each (domain, weight bucket).
 *
 * A task's duty cycle is the share of time it is runnable (waiting or running). A bucket holds the sum over the tasks
 * whose home is the domain and whose weight falls into the bucket, sleeping ones included: their average decays there
 * as it does in the task. The average is linear, so a task that changes domain or weight takes its part along exactly,
 * and one that exits takes it away.
 *
 * Relies on: callbacks of one task never running at the same time (the kernel holds its rq lock), so its own average
 * needs no lock; a bucket is shared by the domain's CPUs and has one.
 * Does not handle: time a CPU was taken away by interrupts or a hypervisor; it counts as runnable time.
 */
#ifndef DOMAIN_BALANCER_LOAD_BPF_H
#define DOMAIN_BALANCER_LOAD_BPF_H

#include "state.bpf.h"

struct load_bucket {
	struct bpf_spin_lock lock;
	u32 pad;
	struct ravg duty;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct load_bucket);
	/* Userspace sets domains × WEIGHT_BUCKETS. */
	__uint(max_entries, 1);
} load_buckets SEC(".maps");

static __always_inline struct load_bucket *load_bucket(u32 domain, u32 weight)
{
	u32 key = domain * WEIGHT_BUCKETS + weight_bucket(weight);

	return bpf_map_lookup_elem(&load_buckets, &key);
}

static __always_inline void domain_count_runnable(u32 domain, s32 delta)
{
	struct domain_ctx *dom = domain_ctx(domain);

	if (dom)
		__sync_fetch_and_add(&dom->nr_runnable, delta);
}

/* The task becomes runnable (1) or stops being so (0). */
static __noinline void load_set_runnable(struct task_ctx *tctx, u32 runnable, u64 now)
{
	struct load_bucket *bucket;

	if (tctx->runnable == runnable)
		return;
	tctx->runnable = runnable;
	ravg_update(&tctx->duty, runnable, now, conf.load_half_life_ns);

	bucket = load_bucket(tctx->domain, tctx->weight);
	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	/* Saturating: a lost update must not turn into four billion runnable tasks. */
	ravg_update(&bucket->duty,
		    runnable ? bucket->duty.val + 1 : (bucket->duty.val ? bucket->duty.val - 1 : 0), now,
		    conf.load_half_life_ns);
	bpf_spin_unlock(&bucket->lock);
	domain_count_runnable(tctx->domain, runnable ? 1 : -1);
}

static __noinline void load_bucket_add(struct task_ctx *tctx, u64 now)
{
	struct load_bucket *bucket = load_bucket(tctx->domain, tctx->weight);
	struct ravg duty = tctx->duty;

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	ravg_add(&bucket->duty, &duty, now, conf.load_half_life_ns);
	bpf_spin_unlock(&bucket->lock);
}

static __noinline void load_bucket_sub(struct task_ctx *tctx, u64 now)
{
	struct load_bucket *bucket = load_bucket(tctx->domain, tctx->weight);
	struct ravg duty = tctx->duty;

	if (!bucket)
		return;
	bpf_spin_lock(&bucket->lock);
	ravg_sub(&bucket->duty, &duty, now, conf.load_half_life_ns);
	bpf_spin_unlock(&bucket->lock);
}

/* The task's home or weight changes: its part of the load goes with it. */
static __noinline void load_transfer(struct task_ctx *tctx, u32 domain, u32 weight, u64 now)
{
	if (tctx->domain == domain && weight_bucket(tctx->weight) == weight_bucket(weight)) {
		tctx->weight = weight;
		return;
	}
	/* Bring the task itself to now first, so that both buckets see the same part. */
	ravg_update(&tctx->duty, tctx->duty.val, now, conf.load_half_life_ns);
	load_bucket_sub(tctx, now);
	if (tctx->runnable && tctx->domain != domain) {
		domain_count_runnable(tctx->domain, -1);
		domain_count_runnable(domain, 1);
	}
	tctx->domain = domain;
	tctx->weight = weight;
	load_bucket_add(tctx, now);
}

/* The task is gone: so is its part of the load. */
static __always_inline void load_forget(struct task_ctx *tctx, u64 now)
{
	load_bucket_sub(tctx, now);
	if (tctx->runnable)
		domain_count_runnable(tctx->domain, -1);
	tctx->runnable = 0;
}

#endif /* DOMAIN_BALANCER_LOAD_BPF_H */
