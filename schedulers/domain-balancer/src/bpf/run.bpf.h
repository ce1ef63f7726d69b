/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Running: virtual time is charged here, and a CPU that needs work chooses it.
 *
 * A CPU chooses among the task it was running, the tasks pinned to it and its domain's queue: the earliest vtime wins. The
 * running task takes part on purpose: with two tasks on one CPU, always switching to the waiting one would give
 * both the same time whatever their weights. With nothing at home, it takes from other domains: same node first.
 *
 * Relies on: the kernel bringing sum_exec_runtime up to date before dispatch and stopping; ENQ_LAST being set, so
 * that a task with a planned move passes through enqueue even when it is alone.
 * Does not handle: tasks bound to a CPU that a real-time task takes; the kernel keeps them at the head of its local queue.
 */
#ifndef DOMAIN_BALANCER_RUN_BPF_H
#define DOMAIN_BALANCER_RUN_BPF_H

#include "place.bpf.h"

/* Charges the CPU time used since the last charge to the task's vtime. */
static __always_inline void charge_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	u64 exec = p->se.sum_exec_runtime, used = exec - tctx->charged_ns;

	tctx->charged_ns = exec;
	if ((s64)used > 0 && !conf.fifo)
		scx_bpf_task_set_dsq_vtime(p, p->scx.dsq_vtime + vtime_charge(used, conf.slice_ns, tctx->weight));
}

void BPF_STRUCT_OPS(domain_balancer_running, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	if (!tctx)
		return;
	tctx->charged_ns = p->se.sum_exec_runtime;
	axis_advance(tctx, p->scx.dsq_vtime);
}

void BPF_STRUCT_OPS(domain_balancer_stopping, struct task_struct *p, bool runnable)
{
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p);

	stay_awake_while_coming_up(p, runnable, cpu, domain_of_cpu(cpu) < conf.nr_domains);
	if (!tctx)
		return;
	charge_vtime(p, tctx);
	tctx->last_ran_ns = scx_bpf_now();
	tctx->waiting_since_ns = runnable ? tctx->last_ran_ns : 0;
	reweigh(p, tctx);
	/*
	 * Slice left means that a higher class takes the CPU. The kernel would keep the task there, at the head of the local
	 * queue, for as long as that lasts; without a slice it passes through enqueue and may use another CPU at once.
	 */
	if (runnable && p->scx.slice && p->nr_cpus_allowed > 1)
		scx_bpf_task_set_slice(p, 0);
}

/*
 * The time at which a queue competes for this CPU; false if it is empty. That of its first task or, if that one may not run here, the time
 * `now` which the queue has reached: a first task that only crowded CPUs may run would win over and over for others behind it.
 */
static __always_inline bool head_vtime(u64 dsq, s32 cpu, u64 now, u64 *vtime)
{
	struct task_struct *head;

	if (!nr_queued(dsq))
		return false;
	head = __COMPAT_scx_bpf_dsq_peek(dsq);
	if (!head)
		return false;
	*vtime = bpf_cpumask_test_cpu(cpu, head->cpus_ptr) ? head->scx.dsq_vtime : now;
	return true;
}

static __always_inline bool take_from(u32 domain, u32 home, u32 threshold, u32 counter)
{
	if (domain == home || !threshold || nr_queued(domain_dsq(domain)) < threshold)
		return false;
	if (!scx_bpf_dsq_move_to_local(domain_dsq(domain), 0))
		return false;
	count(counter);
	return true;
}

/* Takes a task of another domain: same node first, then any. True if one is on the local queue now. */
static __noinline bool steal(u32 home)
{
	u32 nr_domains = conf.nr_domains, node = node_of_domain(home), i;
	bool taken = false;

	if (!conf.greedy_threshold)
		return false;
	bpf_for(i, 1, nr_domains) {
		u32 domain = home + i >= nr_domains ? home + i - nr_domains : home + i;

		if (node_of_domain(domain) == node && take_from(domain, home, conf.greedy_threshold, DB_STEAL)) {
			taken = true;
			break;
		}
	}
	if (taken || !conf.greedy_threshold_x_node)
		return taken;
	bpf_for(i, 1, nr_domains) {
		u32 domain = home + i >= nr_domains ? home + i - nr_domains : home + i;

		if (node_of_domain(domain) != node &&
		    take_from(domain, home, conf.greedy_threshold_x_node, DB_STEAL_X_NODE)) {
			taken = true;
			break;
		}
	}
	return taken;
}

/* May prev simply go on? Not with a planned move: that needs a pass through enqueue, which some tasks do not get. */
static __always_inline struct task_ctx *keepable(struct task_struct *prev)
{
	struct task_ctx *tctx;

	if (!prev || !(prev->scx.flags & SCX_TASK_QUEUED))
		return NULL;
	tctx = task_ctx(prev);
	if (!tctx || (tctx->move_target && !passes_by_enqueue(prev)))
		return NULL;
	/* Who goes on and on never stops. */
	reweigh(prev, tctx);
	return tctx;
}

static __always_inline void keep(struct task_struct *prev, struct task_ctx *tctx)
{
	scx_bpf_task_set_slice(prev, slice_for(tctx->domain));
	count(DB_KEPT);
}

/* Nobody else wants the CPU: what the task uses of it is not held against it. */
static __always_inline void keep_alone(struct task_struct *prev, struct task_ctx *tctx)
{
	if (!conf.fifo) {
		charge_vtime(prev, tctx);
		scx_bpf_task_set_dsq_vtime(prev, vtime_forgive(prev->scx.dsq_vtime, axis_now(tctx), conf.slice_ns,
						       tctx->weight));
	}
	keep(prev, tctx);
}

/* Somebody who has waited far too long for this CPU gets it now. */
static __always_inline bool serve_starving(struct domain_ctx *dom, struct cpu_axis *axis, u32 domain, s32 cpu)
{
	if (conf.fifo || !looks_for_starving(&axis->next_starving_look_ns, scx_bpf_now()))
		return false;
	if (!feed_starving(cpu_dsq(cpu), axis->vtime_now) && !feed_starving(domain_dsq(domain), dom->vtime_now))
		return false;
	/* There may be more of them; between two of them comes somebody else's turn. */
	axis->next_starving_look_ns = 0;
	return true;
}

void BPF_STRUCT_OPS(domain_balancer_dispatch, s32 cpu, struct task_struct *prev)
{
	u32 domain = domain_of_cpu(cpu);
	struct domain_ctx *dom = domain_ctx(domain);
	struct cpu_axis *axis = cpu_axis(cpu);
	u64 pinned_vtime = 0, shared_vtime = 0;
	struct task_ctx *tctx;
	bool pinned, shared;

	if (!dom || !axis || asked_in_vain() || serve_starving(dom, axis, domain, cpu))
		return;
	tctx = keepable(prev);
	pinned = head_vtime(cpu_dsq(cpu), cpu, axis->vtime_now, &pinned_vtime);
	/* The order only matters when there is a choice. */
	if (!pinned && !tctx) {
		if (!scx_bpf_dsq_move_to_local(domain_dsq(domain), 0))
			steal(domain);
		return;
	}
	shared = head_vtime(domain_dsq(domain), cpu, dom->vtime_now, &shared_vtime);
	if (pinned)
		pinned_vtime = pinned_time(axis, pinned_vtime, dom->vtime_now, !shared && !(tctx && !tctx->axis));
	if (tctx && !conf.fifo && (pinned || shared)) {
		u64 earliest = !pinned || (shared && vtime_before(shared_vtime, pinned_vtime)) ? shared_vtime :
											       pinned_vtime;

		charge_vtime(prev, tctx);
		/* vtimes of different homes do not compare: a visitor yields. */
		if (tctx->domain == domain && vtime_before(domain_time(prev, tctx), earliest)) {
			keep(prev, tctx);
			return;
		}
	}
	if (pinned && (!shared || !vtime_before(shared_vtime, pinned_vtime))) {
		if (scx_bpf_dsq_move_to_local(cpu_dsq(cpu), 0) || scx_bpf_dsq_move_to_local(domain_dsq(domain), 0))
			return;
	} else {
		if (scx_bpf_dsq_move_to_local(domain_dsq(domain), 0) || scx_bpf_dsq_move_to_local(cpu_dsq(cpu), 0))
			return;
	}
	if (tctx)
		keep_alone(prev, tctx);
	else
		steal(domain);
}

#endif /* DOMAIN_BALANCER_RUN_BPF_H */
