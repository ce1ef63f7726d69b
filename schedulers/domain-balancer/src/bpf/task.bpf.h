/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a task as the scheduler sees it: creation, waking and sleeping, weight and affinity changes, exit.
 *
 * Relies on: runnable/quiescent bracketing every time on a run queue, attribute changes included.
 * Does not handle: where the task goes next; that is placement.
 */
#ifndef DOMAIN_BALANCER_TASK_BPF_H
#define DOMAIN_BALANCER_TASK_BPF_H

#include "run.bpf.h"

void BPF_STRUCT_OPS(domain_balancer_runnable, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	if (!tctx->waiting_since_ns)
		tctx->waiting_since_ns = scx_bpf_now();
	reweigh(p, tctx);
	load_set_runnable(tctx, 1, scx_bpf_now());
}

void BPF_STRUCT_OPS(domain_balancer_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct task_ctx *tctx = task_ctx(p);

	if (tctx)
		load_set_runnable(tctx, 0, scx_bpf_now());
}

/* The task enters this scheduler: it starts level with its queue. */
void BPF_STRUCT_OPS(domain_balancer_enable, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);
	struct domain_ctx *dom = tctx ? domain_ctx(tctx->domain) : NULL;

	if (!dom)
		return;
	tctx->axis = 0;
	tctx->waiting_since_ns = 0;
	scx_bpf_task_set_dsq_vtime(p, dom->vtime_now);
}

void BPF_STRUCT_OPS(domain_balancer_set_weight, struct task_struct *p, u32 weight)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	tctx->own_weight = weight_clamp(weight);
	weigh(p, tctx, scx_bpf_now());
}

void BPF_STRUCT_OPS(domain_balancer_set_cpumask, struct task_struct *p, const struct cpumask *cpumask)
{
	struct task_ctx *tctx = task_ctx(p);

	if (tctx)
		ensure_home(p, tctx, scx_bpf_now());
}

s32 BPF_STRUCT_OPS(domain_balancer_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *tctx;
	u32 domain;

	tctx = bpf_task_storage_get(&task_ctxs, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!tctx)
		return -ENOMEM;
	domain = domain_of_cpu(scx_bpf_task_cpu(p));
	tctx->generation = __sync_fetch_and_add(&next_generation, 1) + 1;
	/* Its cgroup is not settled yet when it is being forked: the first time it becomes runnable, it is weighed. */
	tctx->own_weight = p->scx.weight ?: VTIME_WEIGHT_ONE;
	tctx->weight = tctx->own_weight;
	tctx->domain = domain < conf.nr_domains ? domain : 0;
	tctx->duty.val_at = scx_bpf_now();
	__sync_fetch_and_add(&nr_tasks, 1);
	return 0;
}

void BPF_STRUCT_OPS(domain_balancer_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	if (__sync_lock_test_and_set(&tctx->move_target, 0))
		count(DB_MOVE_EXPIRED);
	load_forget(tctx, scx_bpf_now());
	bpf_task_storage_delete(&task_ctxs, p);
	__sync_fetch_and_add(&nr_tasks, -1);
}

#endif /* DOMAIN_BALANCER_TASK_BPF_H */
