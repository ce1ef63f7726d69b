/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Running: virtual time is charged here, a CPU that needs work chooses it, and the tick looks for reasons to push.
 *
 * A CPU chooses between the task it was running and its own queue: the earlier vtime wins. With nothing of its own it pulls. A
 * running task that was asked to go is never kept: it must pass through stopping and enqueue.
 *
 * Relies on: the kernel bringing sum_exec_runtime up to date before dispatch and stopping; ENQ_LAST being set, so that a task
 * that is alone on its CPU passes through enqueue when dispatch does not renew its slice.
 * Does not handle: real-time tasks themselves; they are seen only by what they do to ours.
 */
#ifndef ACTIVE_PUSH_RUN_BPF_H
#define ACTIVE_PUSH_RUN_BPF_H

#include "pull.bpf.h"

/* At most this often an idle CPU is kicked for the rounds of its groups, and a CPU between two tasks looks whether its own are due. */
#define BALANCE_KICK_NS (1000 * 1000)

/* Idle cores that are looked at for a thread that shares its core. */
#define SPREAD_TRIES 4

/* Notes since when the CPU's core has more than one running thread. */
__noinline int note_core(u32 cpu, u64 now)
{
	const volatile struct ap_place *place = place_of(cpu);
	bool overfull;
	u32 i, end;

	if (!conf.smt || place->core_nr < 2)
		return 0;
	overfull = core_is_overfull(cpu);
	end = place->core_nr;
	bpf_for(i, 0, end) {
		struct ap_cpu *cctx = cpu_ctx(ordered_cpu(place->core_first + i));

		if (!cctx)
			continue;
		if (!overfull)
			cctx->overfull_since_ns = 0;
		else if (!cctx->overfull_since_ns)
			cctx->overfull_since_ns = now;
	}
	return 0;
}

void BPF_STRUCT_OPS(active_push_running, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct ap_cpu *cctx = cpu_ctx(cpu);
	u64 now = scx_bpf_now();

	if (!tctx || !cctx)
		return;
	push_abandon(tctx);
	tctx->stopped = 0;
	tctx->preempted = 0;
	tctx->charged_ns = p->se.sum_exec_runtime;
	account_to(p, tctx, cpu);
	if (tctx->clock_cpu != cpu)
		follow_clock(p, tctx, cpu);
	if (cctx->idle_since_ns) {
		u64 period = now - cctx->idle_since_ns;

		if ((s64)period > 0)
			cctx->avg_idle_ns = push_average_idle(cctx->avg_idle_ns, period, 2 * conf.migration_cost_ns);
		cctx->idle_since_ns = 0;
	}
	push_running(tctx, cpu, cctx, now);
	cctx->running_generation = tctx->generation;
	cctx->running_pinned = p->nr_cpus_allowed == 1;
	cctx->running_weight = tctx->weight;
	cctx->running_vtime = p->scx.dsq_vtime;
	cctx->running_since_ns = now;
	advance_clock(cctx, p->scx.dsq_vtime);
	if (asymmetric())
		update_util(tctx, capacity_of(cpu), now);
	note_core(cpu, now);
}

void BPF_STRUCT_OPS(active_push_stopping, struct task_struct *p, bool runnable)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 cpu = scx_bpf_task_cpu(p);
	struct ap_cpu *cctx = cpu_ctx(cpu);
	u64 now = scx_bpf_now();
	bool movable, taken;

	stay_awake_while_coming_up(p, runnable, cpu, is_online(cpu));
	if (!tctx || !cctx)
		return;
	charge_vtime(p, tctx);
	tctx->last_ran_ns = now;
	tctx->waiting_since_ns = runnable ? now : 0;
	cctx->running_generation = 0;
	cctx->misfit_util = 0;
	if (asymmetric())
		update_util(tctx, 0, now);
	note_core(cpu, now);
	movable = may_move(p);
	if (runnable && !movable && request_waits_for(cctx, tctx))
		withdraw_unmovable(p, cpu);
	push_take(tctx, cpu, cctx, runnable, now);
	taken = higher_class_here();
	/* What waits here must not wait for the higher class. */
	if (taken && nr_queued(cpu))
		call_for_help(cpu);
	if (!runnable || !movable)
		return;
	tctx->stopped = 1;
	tctx->preempted = taken;
	/* Without a slice the kernel lets the task pass through enqueue, where it can go elsewhere. */
	if (tctx->push_target || (taken && !conf.no_push))
		scx_bpf_task_set_slice(p, 0);
}

/* An idle CPU for the first task that waits on this one; any idle CPU if that may use none of them. Not claimed. */
static __always_inline u32 helper_for_waiting(u32 cpu)
{
	struct task_struct *head = __COMPAT_scx_bpf_dsq_peek(cpu_dsq(cpu));
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	u32 helper = AP_NONE;

	if (head)
		helper = near_idle(head, cpu, idle);
	if (helper == AP_NONE)
		helper = bpf_cpumask_any_distribute(idle);
	scx_bpf_put_idle_cpumask(idle);
	return helper;
}

/* An idle CPU for a round of its groups, of a wholly idle core if there is one. Not claimed. */
static __always_inline u32 helper_for_round(void)
{
	const struct cpumask *idle;
	u32 helper;

	idle = scx_bpf_get_idle_smtmask();
	helper = bpf_cpumask_any_distribute(idle);
	scx_bpf_put_idle_cpumask(idle);
	if (is_online(helper))
		return helper;
	idle = scx_bpf_get_idle_cpumask();
	helper = bpf_cpumask_any_distribute(idle);
	scx_bpf_put_idle_cpumask(idle);
	return helper;
}

static __always_inline void kick_idle_for_balance(u32 cpu, struct ap_cpu *cctx, u64 now)
{
	u32 nr_levels = conf.nr_levels, level, helper;

	if ((s64)(now - cctx->next_kick_ns) < 0)
		return;
	cctx->next_kick_ns = now + BALANCE_KICK_NS;
	if (nr_waiting_movable(cctx)) {
		note_waiting();
		helper = helper_for_waiting(cpu);
		if (!is_online(helper))
			return;
		ask_to_help(helper, cpu);
		scx_bpf_kick_cpu(helper, SCX_KICK_IDLE);
		count(AP_KICKED_FOR_WORK);
		return;
	}
	helper = helper_for_round();
	if (!is_online(helper))
		return;
	bpf_for(level, 0, nr_levels) {
		struct level_state *state = group_state(helper, level);

		if (!state || (s64)(now - state->last_balance_ns) < (s64)round_interval(state, level, false))
			continue;
		scx_bpf_kick_cpu(helper, SCX_KICK_IDLE);
		count(AP_KICKED_FOR_BALANCE);
		return;
	}
}

/* A wholly idle core for a task that shares its core; negative if the task is well where it is. */
static __always_inline s32 spread_target(struct task_struct *p, u32 cpu, struct ap_cpu *cctx, u64 now)
{
	const struct cpumask *idle;
	u32 target, tries;

	if (!conf.smt || !cctx->overfull_since_ns || (s64)(now - cctx->overfull_since_ns) < (s64)conf.spread_after_ns)
		return -ENOENT;
	if (!is_extra_thread(cpu))
		return -ENOENT;
	/* Each look finds another core: the first one may be somebody else's target. */
	bpf_for(tries, 0, SPREAD_TRIES) {
		idle = scx_bpf_get_idle_smtmask();
		target = near_idle(p, cpu, idle);
		scx_bpf_put_idle_cpumask(idle);
		if (target == AP_NONE)
			break;
		if (capacity_of(target) >= capacity_of(cpu) && core_is_idle(target))
			return target;
	}
	return -ENOENT;
}

/* An idle CPU that is larger than this one, for a task that does not fit here. */
static __always_inline s32 misfit_target(struct task_struct *p, struct task_ctx *tctx, u32 cpu, struct ap_cpu *cctx, u64 now)
{
	const struct cpumask *idle;
	s32 target = -ENOENT;
	u64 util;
	u32 i;

	if (!asymmetric())
		return -ENOENT;
	util = update_util(tctx, capacity_of(cpu), now);
	if (push_fits(util, capacity_of(cpu))) {
		cctx->misfit_util = 0;
		return -ENOENT;
	}
	cctx->misfit_util = util;
	idle = scx_bpf_get_idle_cpumask();
	bpf_for(i, 0, conf.nr_cpu_ids) {
		u32 other = ordered_cpu(i);
		struct ap_cpu *octx = cpu_ctx(other);

		/* Nobody's target yet: ticks come at the same moment everywhere, and each should find another one. */
		if (octx && !octx->incoming && is_online(other) && capacity_of(other) > capacity_of(cpu) &&
		    bpf_cpumask_test_cpu(other, idle) && bpf_cpumask_test_cpu(other, p->cpus_ptr)) {
			target = other;
			break;
		}
	}
	scx_bpf_put_idle_cpumask(idle);
	return target;
}

void BPF_STRUCT_OPS(active_push_tick, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 cpu = scx_bpf_task_cpu(p), reason = AP_PUSH_SPREAD;
	struct ap_cpu *cctx = cpu_ctx(cpu);
	u64 now = scx_bpf_now();
	s32 target;

	if (!tctx || !cctx)
		return;
	withdraw_expired(cpu, cctx, now);
	if (request_waits_for(cctx, tctx)) {
		if (may_move(p)) {
			/* Asked for by an idle CPU: it goes now, however long its slice still is. */
			scx_bpf_task_set_slice(p, 0);
			return;
		}
		withdraw_unmovable(p, cpu);
	}
	if (!conf.no_push && may_move(p) && cctx->request_state == PUSH_NONE) {
		target = spread_target(p, cpu, cctx, now);
		if (target < 0) {
			target = misfit_target(p, tctx, cpu, cctx, now);
			reason = AP_PUSH_MISFIT;
		}
		if (target >= 0 && push_record(cpu, target, common_level(cpu, target), AP_NOT_IDLE, now)) {
			count(reason);
			scx_bpf_task_set_slice(p, 0);
			return;
		}
	}
	kick_idle_for_balance(cpu, cctx, now);
}

/* The earliest vtime of the CPU's queue; false if it is empty. */
static __always_inline bool head_vtime(u32 cpu, u64 *vtime)
{
	struct task_struct *head;

	if (!nr_queued(cpu))
		return false;
	head = __COMPAT_scx_bpf_dsq_peek(cpu_dsq(cpu));
	if (!head)
		return false;
	*vtime = head->scx.dsq_vtime;
	return true;
}

static __always_inline void keep(struct task_struct *prev, struct ap_cpu *cctx, u64 now)
{
	scx_bpf_task_set_slice(prev, conf.slice_ns);
	advance_clock(cctx, prev->scx.dsq_vtime);
	cctx->running_vtime = prev->scx.dsq_vtime;
	cctx->running_since_ns = now;
	count(AP_KEPT);
}

/* Puts the next task of the CPU's queue on its local queue. */
static __always_inline bool take_own(u32 cpu)
{
	return scx_bpf_dsq_move_to_local(cpu_dsq(cpu), 0);
}

/* Nothing to run: looks elsewhere. What was pulled is in the CPU's own queue. */
static __always_inline void pull_or_idle(u32 cpu, struct ap_cpu *cctx)
{
	bool newly = !cctx->idle_since_ns;
	u32 moved;

	/* The recorded task cannot be running here any more. */
	push_withdraw(cpu, AP_STALE_SLEPT, AP_NONE);
	if (!newly) {
		moved = help_out(cpu, AP_IDLE) ?: idle_balance(cpu);
	} else {
		/* Noted before the look around: whoever queues a task from now on sees that this CPU may have missed it. */
		cctx->idle_since_ns = scx_bpf_now();
		moved = help_out(cpu, AP_NEWLY_IDLE) ?: newidle_balance(cpu);
	}
	/* It never was idle: a search that found work must not count as an idle period of no length. */
	if (moved && take_own(cpu) && newly)
		cctx->idle_since_ns = 0;
}

/* At the end of a slice always. Where tasks sleep before that there may be thousands of looks a second, and now and then is enough. */
static __always_inline bool looks_for_rounds(struct ap_cpu *cctx, const struct task_ctx *running, u64 now)
{
	if (!running && (s64)(now - cctx->next_look_ns) < 0)
		return false;
	cctx->next_look_ns = now + BALANCE_KICK_NS;
	return true;
}

void BPF_STRUCT_OPS(active_push_dispatch, s32 cpu, struct task_struct *prev)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);
	struct task_ctx *tctx = NULL;
	u64 earliest = 0, now = scx_bpf_now();

	if (!cctx || asked_in_vain())
		return;
	if (!is_online(cpu)) {
		/* It has just come online; the restart that makes it one of ours is under way. */
		take_own(cpu);
		return;
	}
	if (prev && (prev->scx.flags & SCX_TASK_QUEUED))
		tctx = task_ctx(prev);
	if (tctx || nr_queued(cpu)) {
		help_out(cpu, AP_NOT_IDLE);
		if (looks_for_rounds(cctx, tctx, now))
			busy_balance(cpu);
	}
	if (nr_queued(cpu) && looks_for_starving(&cctx->next_starving_look_ns, now) &&
	    feed_starving(cpu_dsq(cpu), cctx->vtime_now)) {
		/* There may be more of them; between two of them comes somebody else's turn. */
		cctx->next_starving_look_ns = 0;
		return;
	}
	if (!tctx) {
		if (!take_own(cpu))
			pull_or_idle(cpu, cctx);
		return;
	}
	if (request_waits_for(cctx, tctx) && !migration_disabled(prev)) {
		/* It has to pass through enqueue; what waits here goes first. */
		take_own(cpu);
		return;
	}
	charge_vtime(prev, tctx);
	if (head_vtime(cpu, &earliest) && !vtime_before(prev->scx.dsq_vtime, earliest) && take_own(cpu))
		return;
	keep(prev, cctx, now);
}

#endif /* ACTIVE_PUSH_RUN_BPF_H */
