/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a task as the scheduler sees it: creation, waking and sleeping, weight changes, exit.
 *
 * Relies on: runnable/quiescent bracketing every time on a run queue, attribute changes included.
 * Does not handle: where the task goes next; that is placement.
 */
#ifndef ACTIVE_PUSH_TASK_BPF_H
#define ACTIVE_PUSH_TASK_BPF_H

#include "run.bpf.h"

void BPF_STRUCT_OPS(active_push_runnable, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	if (!tctx->waiting_since_ns)
		tctx->waiting_since_ns = scx_bpf_now();
	account_to(p, tctx, scx_bpf_task_cpu(p));
}

void BPF_STRUCT_OPS(active_push_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	push_abandon(tctx);
	tctx->pushed_at_ns = 0;
	tctx->stopped = 0;
	tctx->preempted = 0;
	tctx->claimed = 0;
	account_leave(tctx);
}

/* The task enters this scheduler: it starts level with the queue of its CPU. */
void BPF_STRUCT_OPS(active_push_enable, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct ap_cpu *cctx = cpu_ctx(cpu);

	if (!tctx || !cctx)
		return;
	tctx->clock_cpu = cpu;
	tctx->waiting_since_ns = 0;
	scx_bpf_task_set_dsq_vtime(p, cctx->vtime_now);
}

void BPF_STRUCT_OPS(active_push_set_weight, struct task_struct *p, u32 weight)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	tctx->weight = weight;
	if (tctx->account_cpu)
		account_to(p, tctx, tctx->account_cpu - 1);
}

s32 BPF_STRUCT_OPS(active_push_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *tctx;

	tctx = bpf_task_storage_get(&task_ctxs, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!tctx)
		return -ENOMEM;
	tctx->generation = __sync_fetch_and_add(&next_generation, 1) + 1;
	tctx->weight = p->scx.weight ?: VTIME_WEIGHT_ONE;
	tctx->clock_cpu = scx_bpf_task_cpu(p);
	tctx->util.val_at = scx_bpf_now();
	__sync_fetch_and_add(&nr_tasks, 1);
	return 0;
}

void BPF_STRUCT_OPS(active_push_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	push_abandon(tctx);
	account_leave(tctx);
	bpf_task_storage_delete(&task_ctxs, p);
	__sync_fetch_and_add(&nr_tasks, -1);
}

#endif /* ACTIVE_PUSH_TASK_BPF_H */
