/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement: where a task that becomes runnable, or has to leave its CPU, goes.
 *
 * A wake-up looks for an idle CPU near its previous one (that CPU, an idle core, an idle CPU of the last-level cache), then
 * anywhere, and else waits in the queue of its previous CPU. A task that leaves its CPU runnable and not by its own choice looks the
 * same way; when a higher class took the CPU this is a rescue. Per-CPU kernel threads go straight to the local queue.
 *
 * Relies on: the kernel's built-in idle tracking; select_cpu_and (kernel 6.16), which also honours synchronous wake-ups.
 * Does not handle: migration-disabled tasks; the kernel keeps them on their CPU by itself.
 */
#ifndef ACTIVE_PUSH_PLACE_BPF_H
#define ACTIVE_PUSH_PLACE_BPF_H

#include "push.bpf.h"

/* CPUs a new task looks at when none is idle. */
#define FORK_SCAN_MAX 64

/* An idle CPU in the cache of `near`, claimed. Negative if none. */
static __always_inline s32 claim_in_llc(struct task_struct *p, s32 near, u64 wake_flags)
{
	const volatile struct ap_place *place = place_of(near);
	const struct cpumask *llc = mask_of(&llc_masks, place->llc);

	return llc ? scx_bpf_select_cpu_and(p, near, wake_flags, llc, 0) : -ENOENT;
}

static __always_inline s32 claim_anywhere(struct task_struct *p, s32 near, u64 wake_flags)
{
	return scx_bpf_select_cpu_and(p, near, wake_flags, p->cpus_ptr, 0);
}

/* An idle CPU that is large enough for what the task used lately, claimed. Negative if none, or if all CPUs are alike. */
static __always_inline s32 claim_fitting(struct task_struct *p, struct task_ctx *tctx, s32 near)
{
	const struct cpumask *largest;
	u64 util;
	u32 i;

	if (!asymmetric())
		return -ENOENT;
	util = update_util(tctx, tctx->util.val, scx_bpf_now());
	if (push_fits(util, class_capacity(0)))
		return -ENOENT;
	bpf_for(i, 1, conf.nr_classes) {
		const struct cpumask *mask;

		if (!push_fits(util, class_capacity(i)))
			continue;
		mask = mask_of(&class_masks, i);
		return mask ? scx_bpf_select_cpu_and(p, near, 0, mask, 0) : -ENOENT;
	}
	/* Too large for all: the largest it is. */
	largest = mask_of(&class_masks, conf.nr_classes - 1);
	return largest ? scx_bpf_select_cpu_and(p, near, 0, largest, 0) : -ENOENT;
}

/* The CPU with the least load per capacity among the next ones to `prev_cpu`: for new tasks, which have no cache to lose. */
static __always_inline s32 lightest_cpu(struct task_struct *p, s32 prev_cpu)
{
	const volatile struct ap_place *place = place_of(prev_cpu);
	struct ap_cpu *cctx = cpu_ctx(prev_cpu);
	u32 nr = conf.nr_cpu_ids < FORK_SCAN_MAX ? conf.nr_cpu_ids : FORK_SCAN_MAX, i;
	u64 best_load, best_capacity;
	s32 best = prev_cpu;

	if (!cctx)
		return prev_cpu;
	best_load = cctx->load;
	best_capacity = place->capacity;
	bpf_for(i, 1, nr) {
		u32 at = place->core_first + i, cpu;

		cpu = ordered_cpu(at < conf.nr_cpu_ids ? at : at - conf.nr_cpu_ids);
		cctx = cpu_ctx(cpu);
		if (!cctx || !is_online(cpu) || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (push_heavier(best_load, best_capacity, cctx->load, capacity_of(cpu), 100)) {
			best = cpu;
			best_load = cctx->load;
			best_capacity = capacity_of(cpu);
		}
	}
	return best;
}

s32 BPF_STRUCT_OPS(active_push_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 where = AP_WAKE_LLC;
	s32 cpu;

	if (!tctx)
		return prev_cpu;
	cpu = claim_fitting(p, tctx, prev_cpu);
	if (cpu >= 0) {
		where = AP_WAKE_MISFIT;
	} else {
		cpu = claim_in_llc(p, prev_cpu, wake_flags);
		if (cpu < 0) {
			cpu = claim_anywhere(p, prev_cpu, wake_flags);
			where = AP_WAKE_FAR;
		}
	}
	if (cpu >= 0) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, conf.slice_ns, 0);
		count(cpu == prev_cpu ? AP_WAKE_PREV : where);
		return cpu;
	}
	if (wake_flags & SCX_WAKE_FORK) {
		cpu = lightest_cpu(p, prev_cpu);
		if (cpu != prev_cpu)
			count(AP_WAKE_SPREAD_FORK);
		return cpu;
	}
	return prev_cpu;
}

/* Does the waking task come so much earlier that the running one should stop? */
static __always_inline bool should_preempt(struct task_struct *p, struct ap_cpu *cctx, u64 now)
{
	u64 ran = now - cctx->running_since_ns;

	if (!cctx->running_generation || (s64)ran < 0)
		return false;
	return vtime_before(p->scx.dsq_vtime + conf.wakeup_granularity_ns, cctx->running_vtime + ran);
}

/* CPUs that are kicked because they may have gone idle a moment ago. */
#define LOOKING_MAX 8

/*
 * The CPU where the task waits is held by a higher class: no tick there will ever ask for help. A CPU that looked for work just
 * before the task was queued, and is not marked idle yet, must look again. A kick acts only on a CPU that has become idle.
 */
__noinline int kick_looking(u32 held)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, cpu, nr = 0;

	bpf_for(cpu, 0, nr_cpu_ids) {
		struct ap_cpu *cctx = cpu_ctx(cpu);

		if (!cctx || cpu == held || !cctx->idle_since_ns)
			continue;
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		if (++nr >= LOOKING_MAX)
			break;
	}
	return nr;
}

/* Waits in the queue of a CPU; somebody idle is asked to help if it may. */
static __always_inline void enqueue_on(struct task_struct *p, u32 cpu, u64 enq_flags)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);
	s32 helper;

	scx_bpf_dsq_insert_vtime(p, cpu_dsq(cpu), conf.slice_ns, p->scx.dsq_vtime, enq_flags);
	if (p->nr_cpus_allowed == 1) {
		count(AP_PINNED);
	} else {
		count(AP_ENQUEUED);
		helper = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (helper >= 0) {
			scx_bpf_kick_cpu(helper, SCX_KICK_IDLE);
			count(AP_KICKED_FOR_WORK);
			return;
		}
		if (cctx && !cctx->running_generation)
			kick_looking(cpu);
	}
	if (cctx && (enq_flags & SCX_ENQ_WAKEUP) && should_preempt(p, cctx, scx_bpf_now())) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		count(AP_WAKE_PREEMPT);
	}
}

/* A task that had to leave its CPU goes on at once if a CPU is idle: true if one was claimed and has the task now. */
static __always_inline bool requeue_idle(struct task_struct *p, struct task_ctx *tctx, s32 cpu, bool rescue, u64 enq_flags)
{
	s32 idle = claim_in_llc(p, cpu, 0);

	if (idle < 0 && rescue)
		idle = claim_anywhere(p, cpu, 0);
	if (idle < 0) {
		if (rescue)
			count(AP_RESCUE_NO_CPU);
		return false;
	}
	account_to(p, tctx, idle);
	follow_clock(p, tctx, idle);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | idle, conf.slice_ns, enq_flags);
	count(rescue ? AP_RESCUED : AP_REQUEUED_IDLE);
	return true;
}

void BPF_STRUCT_OPS(active_push_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p);
	bool rescue, stays;

	if (is_forced_to_stall(p->pid))
		return;
	if (!tctx) {
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, conf.slice_ns, enq_flags);
		count(AP_NO_CONTEXT);
		return;
	}
	rescue = tctx->stopped && tctx->preempted && !conf.no_push;
	stays = tctx->stopped && tctx->own_successor && !rescue;
	tctx->stopped = 0;
	tctx->preempted = 0;
	if (tctx->push_target && push_arrive(p, tctx, cpu, enq_flags))
		return;
	account_to(p, tctx, cpu);
	follow_clock(p, tctx, cpu);
	if (p->nr_cpus_allowed == 1 && is_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, conf.slice_ns, enq_flags);
		count(AP_KTHREAD);
		return;
	}
	/* Nothing else wants this CPU: stay. Up to 7.2 the CPU needs a kick to notice. */
	if (enq_flags & SCX_ENQ_LAST) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, conf.slice_ns, enq_flags);
		scx_bpf_kick_cpu(cpu, 0);
		return;
	}
	/* A wake-up has just been offered to the idle CPUs by select_cpu; every other path has not. */
	if (!(enq_flags & SCX_ENQ_CPU_SELECTED) && !stays && may_move(p) && requeue_idle(p, tctx, cpu, rescue, enq_flags))
		return;
	enqueue_on(p, cpu, enq_flags);
}

#endif /* ACTIVE_PUSH_PLACE_BPF_H */
