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

static __always_inline u32 bucket_key(u32 domain, u32 weight)
{
	return domain * WEIGHT_BUCKETS + weight_bucket(weight);
}

static __always_inline void domain_count_runnable(u32 domain, s32 delta)
{
	struct domain_ctx *dom = domain_ctx(domain);

	if (dom)
		__sync_fetch_and_add(&dom->nr_runnable, delta);
}

/*
 * The functions below are global, not static: the verifier goes through each once, and not again for every path that leads
 * to a call. The average alone is a hundred instructions.
 */

/* Brings a task's own average to now. */
__noinline int duty_settle(struct ravg *duty __arg_nonnull, u64 now)
{
	ravg_settle(duty, now, conf.load_half_life_ns);
	return 0;
}

/*
 * Adds an average and a value to a bucket or takes them away. They are as of `now`; should the bucket have been brought further
 * by a CPU whose clock is ahead, the difference between the clocks is neglected: it fades with the average.
 */
__noinline int bucket_change(u32 key, u64 avg, u32 val, u32 take, u64 now)
{
	struct load_bucket *bucket = bpf_map_lookup_elem(&load_buckets, &key);
	struct ravg part = { .avg = avg, .val = val };

	if (!bucket)
		return 0;
	bpf_spin_lock(&bucket->lock);
	ravg_settle(&bucket->duty, now, conf.load_half_life_ns);
	/* Saturating: a lost update must not turn into four billion runnable tasks. */
	if (take)
		ravg_minus(&bucket->duty, &part);
	else
		ravg_plus(&bucket->duty, &part);
	bpf_spin_unlock(&bucket->lock);
	return 0;
}

/* The task becomes runnable (1) or stops being so (0). */
static __always_inline void load_set_runnable(struct task_ctx *tctx, u32 runnable, u64 now)
{
	if (tctx->runnable == runnable)
		return;
	tctx->runnable = runnable;
	duty_settle(&tctx->duty, now);
	tctx->duty.val = runnable;
	bucket_change(bucket_key(tctx->domain, tctx->weight), 0, 1, !runnable, now);
	domain_count_runnable(tctx->domain, runnable ? 1 : -1);
}

/* The task's home or weight changes: its part of the load goes with it. */
__noinline int load_transfer(struct task_ctx *tctx __arg_nonnull, u32 domain, u32 weight, u64 now)
{
	if (tctx->domain == domain && weight_bucket(tctx->weight) == weight_bucket(weight)) {
		tctx->weight = weight;
		return 0;
	}
	/* Bring the task itself to now first, so that both buckets see the same part. */
	duty_settle(&tctx->duty, now);
	bucket_change(bucket_key(tctx->domain, tctx->weight), tctx->duty.avg, tctx->duty.val, 1, now);
	if (tctx->runnable && tctx->domain != domain) {
		domain_count_runnable(tctx->domain, -1);
		domain_count_runnable(domain, 1);
	}
	tctx->domain = domain;
	tctx->weight = weight;
	bucket_change(bucket_key(domain, weight), tctx->duty.avg, tctx->duty.val, 0, now);
	return 0;
}

/* The task is gone: so is its part of the load. */
static __always_inline void load_forget(struct task_ctx *tctx, u64 now)
{
	duty_settle(&tctx->duty, now);
	bucket_change(bucket_key(tctx->domain, tctx->weight), tctx->duty.avg, tctx->duty.val, 1, now);
	if (tctx->runnable)
		domain_count_runnable(tctx->domain, -1);
	tctx->runnable = 0;
}

#endif /* DOMAIN_BALANCER_LOAD_BPF_H */
