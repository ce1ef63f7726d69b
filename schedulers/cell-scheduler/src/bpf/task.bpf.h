/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The life of a task as the scheduler sees it: creation, waking and sleeping, changes of weight and cgroup, exit.
 *
 * Relies on: stopping being told when a task goes to sleep, so that runnable finds no wait under way then.
 * Does not handle: where the task goes next; that is placement.
 */
#ifndef CELL_SCHEDULER_TASK_BPF_H
#define CELL_SCHEDULER_TASK_BPF_H

#include "run.bpf.h"

void BPF_STRUCT_OPS(cell_scheduler_runnable, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);

	/* A change of attributes does not begin the wait anew. */
	if (tctx && !tctx->waiting_since)
		tctx->waiting_since = scx_bpf_now();
}

/* The task enters this scheduler: it starts level with the queue where it is. */
void BPF_STRUCT_OPS(cell_scheduler_enable, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);
	struct cpu_ctx *cctx = cpu_ctx(scx_bpf_task_cpu(p));

	if (!tctx || !cctx)
		return;
	tctx->axis = cctx->queue;
	tctx->waiting_since = 0;
	scx_bpf_task_set_dsq_vtime(p, axis_now(tctx->axis));
}

/* What was charged until now was charged at the old weight; how far ahead it may be is bounded at the next enqueue. */
void BPF_STRUCT_OPS(cell_scheduler_set_weight, struct task_struct *p, u32 weight)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	tctx->own_weight = weight_clamp(weight);
	weigh(tctx);
}

s32 BPF_STRUCT_OPS(cell_scheduler_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct cs_figures *entry;
	struct task_ctx *tctx;

	tctx = bpf_task_storage_get(&task_ctxs, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!tctx)
		return -ENOMEM;
	tctx->own_weight = p->scx.weight ?: VTIME_WEIGHT_ONE;
	tctx->weight = tctx->own_weight;
	tctx->factor_epoch = ~0ULL;
	/* Slot 0 until it is first looked up: a task that is being forked is not in its cgroup yet. */
	tctx->sequence = ~0ULL;
	tctx->cell = CS_NONE;
	entry = figures_of(0);
	if (entry)
		__sync_fetch_and_add(&entry->nr_tasks, 1);
	__sync_fetch_and_add(&nr_tasks, 1);
	note_event(CS_EVENT_TASK_INIT, p->pid, 0);
	return 0;
}

void BPF_STRUCT_OPS(cell_scheduler_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct task_ctx *tctx = task_ctx(p);
	struct cs_figures *entry;

	if (!tctx)
		return;
	entry = figures_of(tctx->slot);
	if (entry)
		__sync_fetch_and_add(&entry->nr_tasks, -1);
	bpf_task_storage_delete(&task_ctxs, p);
	__sync_fetch_and_add(&nr_tasks, -1);
	note_event(CS_EVENT_TASK_EXIT, p->pid, 0);
}

/* The rest is for kernels with the cpu controller; membership itself is read from the task, whatever controllers are on. */
s32 BPF_STRUCT_OPS_SLEEPABLE(cell_scheduler_cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	note_event(CS_EVENT_CGROUP_INIT, 0, cgrp->kn->id);
	return 0;
}

void BPF_STRUCT_OPS(cell_scheduler_cgroup_exit, struct cgroup *cgrp)
{
	note_event(CS_EVENT_CGROUP_EXIT, 0, cgrp->kn->id);
}

void BPF_STRUCT_OPS(cell_scheduler_cgroup_move, struct task_struct *p, struct cgroup *from, struct cgroup *to)
{
	note_event(CS_EVENT_CGROUP_MOVE, p->pid, to->kn->id);
}

void BPF_STRUCT_OPS(cell_scheduler_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
}

#endif /* CELL_SCHEDULER_TASK_BPF_H */
