/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement: where a task that becomes runnable, or has to leave its CPU, goes.
 *
 * A wake-up looks for an idle CPU near its previous one (that CPU, an idle core, an idle CPU of the last-level cache), then
 * anywhere, and else waits in the queue of its previous CPU, or of the least loaded one if a higher class holds that. A task that
 * leaves its CPU runnable and not by its own choice looks the same way; when a higher class took the CPU this is a rescue. Per-CPU
 * kernel threads go straight to the head of the local queue.
 *
 * Relies on: the kernel's built-in idle tracking; select_cpu_and (kernel 6.16), which also honours synchronous wake-ups.
 * Does not handle: migration-disabled tasks; the kernel keeps them on their CPU by itself.
 */
#ifndef ACTIVE_PUSH_PLACE_BPF_H
#define ACTIVE_PUSH_PLACE_BPF_H

#include "help.bpf.h"

/* An idle CPU in the cache of `near`, claimed. Negative if none. */
static __always_inline s32 claim_in_llc(struct task_struct *p, s32 near, u64 wake_flags, u64 pick_flags)
{
	const volatile struct ap_place *place = place_of(near);
	const struct cpumask *llc = mask_of(&llc_masks, place->llc);

	return llc ? scx_bpf_select_cpu_and(p, near, wake_flags, llc, pick_flags) : -ENOENT;
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

/*
 * Nobody is idle: the previous CPU, or the waker's, whose data is at hand there. The waker is taken to sleep soon, so it does not
 * count; who wakes many draws only as many as make its CPU no fuller than theirs.
 */
static __always_inline s32 wake_affine(struct task_struct *p, s32 prev_cpu)
{
	u32 here = bpf_get_smp_processor_id();
	struct ap_cpu *cctx = cpu_ctx(here), *prev = cpu_ctx(prev_cpu);
	u32 load;

	if (here == prev_cpu || !cctx || !prev || !cctx->running_generation || !is_online(here) || higher_class_on(here) ||
	    !bpf_cpumask_test_cpu(here, p->cpus_ptr))
		return prev_cpu;
	load = cctx->load > cctx->running_weight ? cctx->load - cctx->running_weight : 0;
	if (push_heavier(load, capacity_of(here), prev->load, capacity_of(prev_cpu), 100))
		return prev_cpu;
	count(AP_WAKE_AFFINE);
	return here;
}

s32 BPF_STRUCT_OPS(active_push_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 where = AP_WAKE_LLC, lightest;
	s32 cpu;

	if (!tctx)
		return prev_cpu;
	/* The kernel keeps a synchronous wake-up here if the local queue is empty; what waits here waits in our own queue. */
	if (nr_queued(bpf_get_smp_processor_id()))
		wake_flags &= ~SCX_WAKE_SYNC;
	cpu = claim_fitting(p, tctx, prev_cpu);
	if (cpu >= 0) {
		where = AP_WAKE_MISFIT;
	} else {
		cpu = claim_in_llc(p, prev_cpu, wake_flags, 0);
		if (cpu < 0) {
			cpu = claim_anywhere(p, prev_cpu, wake_flags);
			where = AP_WAKE_FAR;
		}
	}
	if (cpu >= 0) {
		tctx->claimed = cpu + 1;
		count(cpu == prev_cpu ? AP_WAKE_PREV : where);
		return cpu;
	}
	if (!(wake_flags & SCX_WAKE_FORK) && !higher_class_on(prev_cpu))
		return wake_affine(p, prev_cpu);
	lightest = lightest_cpu(p, prev_cpu);
	if (lightest == AP_NONE || lightest == prev_cpu)
		return prev_cpu;
	count(wake_flags & SCX_WAKE_FORK ? AP_WAKE_SPREAD_FORK : AP_WAKE_EVADED);
	return lightest;
}

/* Does the waking task come so much earlier that the running one should stop? */
static __always_inline bool should_preempt(struct task_struct *p, struct ap_cpu *cctx, u64 now)
{
	u64 ran = now - cctx->running_since_ns;

	if (!cctx->running_generation || (s64)ran < 0)
		return false;
	return vtime_before(p->scx.dsq_vtime + conf.wakeup_granularity_ns, cctx->running_vtime + ran);
}

/* Waits in the queue of a CPU; somebody idle is asked to help if it may. */
static __always_inline void enqueue_on(struct task_struct *p, u32 cpu, u64 enq_flags)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);

	scx_bpf_dsq_insert_vtime(p, cpu_dsq(cpu), conf.slice_ns, p->scx.dsq_vtime, enq_flags);
	if (p->nr_cpus_allowed == 1) {
		count(AP_PINNED);
	} else {
		count(AP_ENQUEUED);
		note_waiting();
		if (wake_helper(p, cpu)) {
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

/* An idle thread of the same core, claimed; negative if there is none. */
static __always_inline s32 claim_sibling(struct task_struct *p, u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 end = place->core_nr, i;

	bpf_for(i, 0, end) {
		u32 other = ordered_cpu(place->core_first + i);

		if (other != cpu && is_online(other) && bpf_cpumask_test_cpu(other, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(other))
			return other;
	}
	return -ENOENT;
}

/*
 * An idle CPU for a task that a higher class drives out, claimed: an idle core of its cache, the other thread of its own core (one
 * beside another task would slow that one down, too), an idle CPU of its cache, any idle CPU.
 */
static __always_inline s32 claim_refuge(struct task_struct *p, u32 cpu)
{
	s32 idle = -ENOENT;

	if (conf.smt) {
		idle = claim_in_llc(p, cpu, 0, SCX_PICK_IDLE_CORE);
		if (idle < 0)
			idle = claim_sibling(p, cpu);
	}
	if (idle < 0)
		idle = claim_in_llc(p, cpu, 0, 0);
	if (idle < 0)
		idle = claim_anywhere(p, cpu, 0);
	return idle;
}

/* A task that had to leave its CPU goes on at once if a CPU is idle: true if one was claimed and has the task now. */
static __always_inline bool requeue_idle(struct task_struct *p, struct task_ctx *tctx, u32 cpu, bool rescue, u64 enq_flags)
{
	s32 idle = rescue ? claim_refuge(p, cpu) : claim_in_llc(p, cpu, 0, 0);

	if (idle < 0) {
		if (rescue)
			count(AP_RESCUE_NO_CPU);
		return false;
	}
	put_on_idle(p, tctx, idle, enq_flags);
	scx_bpf_kick_cpu(idle, SCX_KICK_IDLE);
	count(rescue ? AP_RESCUED : AP_REQUEUED_IDLE);
	return true;
}

/* A per-CPU kernel thread comes before everything that waits, and before what runs unless that is behind it. */
static __always_inline void enqueue_kthread(struct task_struct *p, u32 cpu, u64 enq_flags)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);

	enq_flags |= SCX_ENQ_HEAD;
	if (cctx && should_preempt(p, cctx, scx_bpf_now()))
		enq_flags |= SCX_ENQ_PREEMPT;
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, conf.slice_ns, enq_flags);
	count(AP_KTHREAD);
}

void BPF_STRUCT_OPS(active_push_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p);
	bool rescue, stays;
	u32 claimed;

	if (is_forced_to_stall(p->pid))
		return;
	if (!tctx) {
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, conf.slice_ns, enq_flags);
		count(AP_NO_CONTEXT);
		return;
	}
	rescue = tctx->stopped && tctx->preempted && !conf.no_push;
	/* A task of ours comes next: the waiting is ordinary, and whoever is idle may pull. */
	stays = tctx->stopped && !rescue;
	claimed = tctx->claimed;
	tctx->stopped = 0;
	tctx->preempted = 0;
	tctx->claimed = 0;
	if (tctx->push_target && push_arrive(p, tctx, cpu, enq_flags))
		return;
	if (claimed == cpu + 1) {
		put_on_idle(p, tctx, cpu, enq_flags);
		return;
	}
	/* The kernel chose another CPU than the idle one that was claimed: that one must become idle again. */
	if (claimed)
		scx_bpf_kick_cpu(claimed - 1, SCX_KICK_IDLE);
	account_to(p, tctx, cpu);
	follow_clock(p, tctx, cpu);
	if (p->nr_cpus_allowed == 1 && is_kthread(p)) {
		enqueue_kthread(p, cpu, enq_flags);
		return;
	}
	/* Nothing else wants this CPU: stay. Up to 7.2 the CPU needs a kick to notice. */
	if (enq_flags & SCX_ENQ_LAST) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, conf.slice_ns, enq_flags);
		scx_bpf_kick_cpu(cpu, 0);
		return;
	}
	/* A wake-up has just been offered to the idle CPUs by select_cpu; every other path has not. */
	if (!cpu_was_selected(enq_flags) && !stays && may_move(p) && requeue_idle(p, tctx, cpu, rescue, enq_flags))
		return;
	enqueue_on(p, cpu, enq_flags);
}

#endif /* ACTIVE_PUSH_PLACE_BPF_H */
