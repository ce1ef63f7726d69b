/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Axes: in what time a task's vtime counts, and how it is carried from one to another.
 *
 * Each queue of a cell has its own axis, and so has each CPU, for the tasks bound to it. They must not share: a light task runs far
 * ahead in vtime within one slice, and whoever is bound to another CPU would seem to lag behind it, be clamped, and lose what
 * its weight is worth. A CPU's axis lies a distance, its `base`, from that of the queue its cell has there, so that pinned tasks
 * and the cell's compete by vtime; vtime_base() says when the distance gives way. When the CPU changes cell only the distance
 * changes, and the tasks that wait in its queue stay as far apart as they were.
 * The queues of one cell advance each at its own pace but on one scale: a queue with more weight per CPU falls behind, and
 * that is how it is found.
 *
 * Relies on: vtime_clamp() at every enqueue keeping times close together.
 * Does not handle: when a task's axis changes; that is placement.
 */
#ifndef CELL_SCHEDULER_AXIS_BPF_H
#define CELL_SCHEDULER_AXIS_BPF_H

#include "account.bpf.h"

/* Axes of CPUs come after those of queues. */
#define CPU_AXIS (1U << 20)

/* The time a queue has reached. */
static __always_inline u64 queue_now(u32 queue)
{
	struct queue_ctx *qctx = queue_ctx(queue);

	return qctx ? qctx->vtime_now : 0;
}

/* The time an axis has reached. */
static __always_inline u64 axis_now(u32 axis)
{
	struct cpu_ctx *cctx;

	if (axis < CPU_AXIS)
		return queue_now(axis);
	cctx = cpu_ctx(axis - CPU_AXIS);
	return cctx ? cctx->vtime_now : 0;
}

/* Brings the axis to at least that time. */
static __always_inline void axis_advance(u32 axis, u64 vtime)
{
	struct queue_ctx *qctx;
	struct cpu_ctx *cctx;
	u64 *now = NULL;

	if (axis < CPU_AXIS) {
		qctx = queue_ctx(axis);
		if (qctx)
			now = &qctx->vtime_now;
	} else {
		cctx = cpu_ctx(axis - CPU_AXIS);
		if (cctx)
			now = &cctx->vtime_now;
	}
	if (now && vtime_before(*now, vtime))
		*now = vtime;
}

/* Are both axes those of queues of one cell? Their times compare as they are: see run.bpf.h, lagging queues. */
static __always_inline bool same_cell(u32 a, u32 b)
{
	return a < CPU_AXIS && b < CPU_AXIS && a / conf.nr_llcs == b / conf.nr_llcs;
}

/*
 * Puts the task on another axis: as far from its time as it was from the old one's, within what vtime_forgive() allows, or where it
 * is within a cell.
 */
static __always_inline void change_axis(struct task_struct *p, struct task_ctx *tctx, u32 axis)
{
	u64 now, vtime;

	if (tctx->axis == axis)
		return;
	if (!same_cell(tctx->axis, axis)) {
		now = axis_now(axis);
		vtime = vtime_rebase(p->scx.dsq_vtime, axis_now(tctx->axis), now);
		scx_bpf_task_set_dsq_vtime(p, vtime_forgive(vtime, now, conf.slice_ns, tctx->weight));
	}
	tctx->axis = axis;
}

/*
 * At most one slice behind the axis, and no further ahead than VTIME_MAX_AHEAD_SLICES: what a change of weight or of axis, or
 * a long time alone at a low weight, leaves behind stays bounded.
 */
static __always_inline void clamp_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	u64 vtime = vtime_clamp(p->scx.dsq_vtime, axis_now(tctx->axis), conf.slice_ns);

	if (vtime != p->scx.dsq_vtime)
		scx_bpf_task_set_dsq_vtime(p, vtime);
}

/* For a task that used CPU time nobody else wanted, borrowed or alone at home: it owes nothing for that. */
static __always_inline void forgive_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	u64 vtime = vtime_forgive(p->scx.dsq_vtime, axis_now(tctx->axis), conf.slice_ns, tctx->weight);

	if (vtime != p->scx.dsq_vtime)
		scx_bpf_task_set_dsq_vtime(p, vtime);
}

/* Charges the CPU time used since the last charge: to the task's vtime and to its slot. */
static __always_inline void charge(struct task_struct *p, struct task_ctx *tctx, bool borrowed)
{
	u64 exec = p->se.sum_exec_runtime, used = exec - tctx->charged_ns;
	struct cs_figures *entry;

	tctx->charged_ns = exec;
	if ((s64)used <= 0)
		return;
	scx_bpf_task_set_dsq_vtime(p, p->scx.dsq_vtime + vtime_charge(used, conf.slice_ns, tctx->weight));
	entry = figures_of(tctx->slot);
	if (!entry)
		return;
	count_load(tctx, used);
	entry->used_ns += used;
	if (borrowed)
		entry->borrowed_ns += used;
}

#endif /* CELL_SCHEDULER_AXIS_BPF_H */
