/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Axes: in what time a task's vtime counts.
 *
 * A domain's queue has one, and so has each CPU, for the tasks bound to it. They must not share: a light task runs far ahead
 * in vtime within one slice, and whoever is bound to another CPU of the domain would seem to lag behind it, be clamped, and lose
 * what its weight is worth. A CPU's axis lies a distance, its `base`, from the domain's, so that the tasks of both compete for
 * the CPU. The distance gives way when the head of the CPU's queue has fallen back by more than a slice, or is ahead although
 * nobody of the domain wants the CPU; the tasks of the CPU stay as far apart as they are.
 *
 * Relies on: the CPU's rq lock, held wherever its axis is used but for a look at its time.
 * Does not handle: which axis is right when home changes; home.bpf.h does.
 */
#ifndef DOMAIN_BALANCER_AXIS_BPF_H
#define DOMAIN_BALANCER_AXIS_BPF_H

#include "share.bpf.h"

struct cpu_axis {
	/* The vtime the CPU's own queue has reached. */
	u64 vtime_now;
	/* Time of the domain = time of the CPU + base. */
	u64 base;
	/* Next time the CPU looks for a task that starves in the queues it serves. */
	u64 next_starving_look_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cpu_axis);
	/* Userspace sets the number of CPUs. */
	__uint(max_entries, 1);
} cpu_axes SEC(".maps");

static __always_inline struct cpu_axis *cpu_axis(u32 cpu)
{
	return bpf_map_lookup_elem(&cpu_axes, &cpu);
}

/* The time that the axis of the task has reached. */
static __always_inline u64 axis_now(struct task_ctx *tctx)
{
	struct domain_ctx *dom;
	struct cpu_axis *axis;

	if (tctx->axis) {
		axis = cpu_axis(tctx->axis - 1);
		return axis ? axis->vtime_now : 0;
	}
	dom = domain_ctx(tctx->domain);
	return dom ? dom->vtime_now : 0;
}

/* The axis has reached the vtime of a task that runs now. */
static __always_inline void axis_advance(struct task_ctx *tctx, u64 vtime)
{
	struct domain_ctx *dom;
	struct cpu_axis *axis;

	if (tctx->axis) {
		axis = cpu_axis(tctx->axis - 1);
		if (axis && vtime_before(axis->vtime_now, vtime))
			axis->vtime_now = vtime;
		return;
	}
	/* Only home tasks drive a domain's time: a visitor's vtime is that of its own home. */
	dom = domain_ctx(tctx->domain);
	if (dom && vtime_before(dom->vtime_now, vtime))
		dom->vtime_now = vtime;
}

/* The task's vtime as a time of its domain. */
static __always_inline u64 domain_time(struct task_struct *p, struct task_ctx *tctx)
{
	struct cpu_axis *axis = tctx->axis ? cpu_axis(tctx->axis - 1) : NULL;

	return p->scx.dsq_vtime + (axis ? axis->base : 0);
}

/* The vtime at the head of the CPU's own queue as a time of its domain, which has reached `now`: see vtime_base(). */
static __always_inline u64 pinned_time(struct cpu_axis *axis, u64 head, u64 now, bool alone)
{
	axis->base = vtime_base(axis->base, head, now, conf.slice_ns, alone);
	return head + axis->base;
}

/* Puts the task on the axis that its affinity asks for, as far ahead of it or behind as it was on the old one. */
static __always_inline void settle_axis(struct task_struct *p, struct task_ctx *tctx)
{
	u32 axis = p->nr_cpus_allowed == 1 && !is_kthread(p) ? bpf_cpumask_first(affinity(p)) + 1 : 0;
	u64 from, to;

	if (likely(tctx->axis == axis))
		return;
	from = axis_now(tctx);
	tctx->axis = axis;
	to = axis_now(tctx);
	scx_bpf_task_set_dsq_vtime(p, vtime_forgive(vtime_rebase(p->scx.dsq_vtime, from, to), to, conf.slice_ns,
						    tctx->weight));
}

#endif /* DOMAIN_BALANCER_AXIS_BPF_H */
