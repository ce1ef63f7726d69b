/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Accounting: which CPU a runnable task counts for, its virtual time, and its utilisation.
 *
 * Relies on: callbacks about one task never running at once (they hold its rq lock); sums over tasks being atomic.
 * Does not handle: decisions.
 */
#ifndef ACTIVE_PUSH_ACCOUNT_BPF_H
#define ACTIVE_PUSH_ACCOUNT_BPF_H

#include "state.bpf.h"

static __always_inline void account_leave(struct task_ctx *tctx)
{
	struct ap_cpu *cctx;

	if (!tctx->account_cpu)
		return;
	cctx = cpu_ctx(tctx->account_cpu - 1);
	tctx->account_cpu = 0;
	if (!cctx)
		return;
	__sync_fetch_and_add(&cctx->nr_running, -1);
	__sync_fetch_and_add(&cctx->load, -tctx->accounted_load);
	if (tctx->accounted_pinned)
		__sync_fetch_and_add(&cctx->nr_pinned, -1);
}

/* The task counts for this CPU from now on. */
static __always_inline void account_to(struct task_struct *p, struct task_ctx *tctx, u32 cpu)
{
	u32 pinned = p->nr_cpus_allowed == 1;
	struct ap_cpu *cctx;

	if (tctx->account_cpu == cpu + 1 && tctx->accounted_pinned == pinned && tctx->accounted_load == tctx->weight)
		return;
	account_leave(tctx);
	cctx = cpu_ctx(cpu);
	if (!cctx)
		return;
	tctx->account_cpu = cpu + 1;
	tctx->accounted_load = tctx->weight;
	tctx->accounted_pinned = pinned;
	__sync_fetch_and_add(&cctx->nr_running, 1);
	__sync_fetch_and_add(&cctx->load, tctx->accounted_load);
	if (pinned)
		__sync_fetch_and_add(&cctx->nr_pinned, 1);
}

/* The task's vtime by another CPU's clock: as far from that as it was from its own. */
static __always_inline u64 rebased_vtime(struct task_struct *p, struct task_ctx *tctx, u32 cpu)
{
	struct ap_cpu *from = cpu_ctx(tctx->clock_cpu), *to = cpu_ctx(cpu);
	u64 vtime = p->scx.dsq_vtime;

	if (!from || !to)
		return vtime;
	if (tctx->clock_cpu != cpu)
		vtime = vtime_rebase(vtime, from->vtime_now, to->vtime_now);
	/* Sleeping earns at most one slice of credit; the debt of low weights stays bounded. */
	return vtime_clamp(vtime, to->vtime_now, conf.slice_ns);
}

/* Brings the task's vtime to the clock of this CPU. Not for a task that waits in a queue: its place there depends on it. */
static __always_inline void follow_clock(struct task_struct *p, struct task_ctx *tctx, u32 cpu)
{
	u64 vtime = rebased_vtime(p, tctx, cpu);

	tctx->clock_cpu = cpu;
	if (vtime != p->scx.dsq_vtime)
		scx_bpf_task_set_dsq_vtime(p, vtime);
}

/* Charges the CPU time used since the last charge. */
static __always_inline void charge_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	u64 exec = p->se.sum_exec_runtime, used = exec - tctx->charged_ns;

	tctx->charged_ns = exec;
	if ((s64)used > 0)
		scx_bpf_task_set_dsq_vtime(p, p->scx.dsq_vtime + vtime_charge(used, conf.slice_ns, tctx->weight));
}

/* The vtime with which a task that waits elsewhere would wait here. Global, so that the verifier looks at it once. */
__noinline u64 vtime_on(struct task_struct *p __arg_trusted, u32 cpu)
{
	struct task_ctx *tctx = task_ctx(p);

	return tctx ? rebased_vtime(p, tctx, cpu) : 0;
}

/* A waiting task has come into the queue of this CPU. */
__noinline int arrived_on(struct task_struct *p __arg_trusted, u32 cpu)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return 0;
	tctx->clock_cpu = cpu;
	/* If it was being pushed, it will not run where it was pushed to. */
	tctx->pushed_at_ns = 0;
	account_to(p, tctx, cpu);
	return 1;
}

/*
 * The task goes to the queue of a CPU whose idle bit has been claimed for it, and is about to run there. Not to its local queue: should
 * a real-time task get there first, others can still take it away.
 */
static __always_inline void put_on_idle(struct task_struct *p, struct task_ctx *tctx, u32 cpu, u64 enq_flags)
{
	tctx->placed_ns = scx_bpf_now();
	account_to(p, tctx, cpu);
	follow_clock(p, tctx, cpu);
	scx_bpf_dsq_insert_vtime(p, cpu_dsq(cpu), conf.slice_ns, p->scx.dsq_vtime, enq_flags);
}

static __always_inline void advance_clock(struct ap_cpu *cctx, u64 vtime)
{
	if (vtime_before(cctx->vtime_now, vtime))
		cctx->vtime_now = vtime;
}

/* Capacities differ: how much of one the task uses is worth knowing. The branch is a constant. */
static __always_inline bool asymmetric(void)
{
	return conf.nr_classes > 1;
}

static __noinline u64 update_util(struct task_ctx *tctx, u32 value, u64 now)
{
	if (!tctx)
		return 0;
	ravg_update(&tctx->util, value, now, conf.util_half_life_ns);
	return tctx->util.avg >> RAVG_FRACTION_BITS;
}

#endif /* ACTIVE_PUSH_ACCOUNT_BPF_H */
