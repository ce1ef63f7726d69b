/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement: where a task that becomes runnable, or whose slice ended, goes.
 *
 * Order for a wake-up: the previous CPU, an idle core at home, an idle CPU at home, an idle CPU elsewhere (if stealing is
 * on), the home queue. Tasks bound to one CPU use that CPU's own queue and compete with the home queue by vtime;
 * per-CPU kernel threads go straight to the local queue, ahead of both.
 *
 * Relies on: the kernel's built-in idle tracking; select_cpu_and (kernel 6.16).
 * Does not handle: migration-disabled tasks; the kernel keeps them on their CPU by itself.
 */
#ifndef DOMAIN_BALANCER_PLACE_BPF_H
#define DOMAIN_BALANCER_PLACE_BPF_H

#include "home.bpf.h"

/* A slice shrinks as its domain's queue grows, so that everybody is served within about one full slice. */
static __always_inline u64 slice_for(u32 domain)
{
	struct domain_ctx *dom = domain_ctx(domain);
	u64 slice = conf.slice_ns, waiting;

	if (!dom || !dom->nr_cpus)
		return slice;
	waiting = scx_bpf_dsq_nr_queued(domain_dsq(domain)) / dom->nr_cpus;
	if (waiting)
		slice /= waiting + 1;
	return slice > conf.slice_min_ns ? slice : conf.slice_min_ns;
}

static __always_inline void insert_shared(struct task_struct *p, u64 dsq, u64 slice, u64 enq_flags)
{
	if (conf.fifo)
		scx_bpf_dsq_insert(p, dsq, slice, enq_flags);
	else
		scx_bpf_dsq_insert_vtime(p, dsq, slice, p->scx.dsq_vtime, enq_flags);
}

/* Sleeping earns at most one slice of credit; long debts of low weights stay bounded. */
static __always_inline void clamp_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	struct domain_ctx *dom = domain_ctx(tctx->domain);

	if (dom && !conf.fifo)
		scx_bpf_task_set_dsq_vtime(p, vtime_clamp(p->scx.dsq_vtime, dom->vtime_now, conf.slice_ns));
}

/* Would the task be one of at least `threshold` waiting at home? A threshold of 0 means never. */
static __always_inline bool enough_waiting(u32 domain, u32 threshold)
{
	return threshold && scx_bpf_dsq_nr_queued(domain_dsq(domain)) + 1 >= threshold;
}

/*
 * An idle CPU for the task, claimed: at home first, then, if stealing is on and home has enough waiting, anywhere on
 * the node, then anywhere. Negative if none.
 */
static __always_inline s32 claim_idle_cpu(struct task_struct *p, struct task_ctx *tctx, s32 prev_cpu, u64 wake_flags,
					  bool *greedy)
{
	struct domain_ctx *dom = domain_ctx(tctx->domain);
	const struct cpumask *home = dom ? domain_cpumask(dom) : NULL, *node;
	s32 cpu;

	*greedy = false;
	if (!home)
		return -ENOENT;
	cpu = scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, home, 0);
	/* Both thresholds count from `greedy_threshold`: 0 there switches all stealing off. */
	if (cpu >= 0 || !enough_waiting(tctx->domain, conf.greedy_threshold))
		return cpu;
	*greedy = true;
	node = node_cpumask(dom);
	cpu = node ? scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, node, 0) : -ENOENT;
	if (cpu >= 0 || !enough_waiting(tctx->domain, conf.greedy_threshold_x_node))
		return cpu;
	return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);
}

static __always_inline void count_direct(s32 cpu, s32 prev_cpu, bool greedy)
{
	count(greedy ? DB_DIRECT_GREEDY : cpu == prev_cpu ? DB_DIRECT_PREV : DB_DIRECT_IDLE);
}

/* A CPU at home the affinity allows: its rq is where the kernel attaches the waking task. */
static __always_inline s32 any_home_cpu(struct task_struct *p, u32 domain)
{
	struct domain_ctx *dom = domain_ctx(domain);
	const struct cpumask *mask = dom ? domain_cpumask(dom) : NULL;
	u32 cpu;

	if (!mask)
		return -ENOENT;
	cpu = bpf_cpumask_any_and_distribute(affinity(p), mask);
	return cpu < conf.nr_cpu_ids ? (s32)cpu : -ENOENT;
}

s32 BPF_STRUCT_OPS(domain_balancer_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	u64 now = scx_bpf_now();
	bool greedy;
	s32 cpu;

	if (!tctx || !ensure_home(p, tctx, now))
		return prev_cpu;
	apply_planned_move(p, tctx, now);

	cpu = claim_idle_cpu(p, tctx, prev_cpu, wake_flags, &greedy);
	if (cpu < 0 && (wake_flags & SCX_WAKE_FORK)) {
		/* A new task has no cache to lose: start it where the fewest run. */
		u32 domain = least_loaded_domain(p, tctx->domain, HOME_SCAN_MAX);

		if (domain < DB_MAX_DOMAINS && domain != tctx->domain) {
			set_home(p, tctx, domain, now);
			count(DB_FORK_SPREAD);
			cpu = claim_idle_cpu(p, tctx, prev_cpu, 0, &greedy);
		}
	}
	if (cpu >= 0) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(tctx->domain), 0);
		count_direct(cpu, prev_cpu, greedy);
		return cpu;
	}
	if (domain_of_cpu(prev_cpu) == tctx->domain && bpf_cpumask_test_cpu(prev_cpu, affinity(p)))
		return prev_cpu;
	cpu = any_home_cpu(p, tctx->domain);
	return cpu >= 0 ? cpu : prev_cpu;
}

/* Waits in the queue of the only CPU the task may use. */
static __always_inline void enqueue_pinned(struct task_struct *p, struct task_ctx *tctx, u64 enq_flags)
{
	u32 cpu = bpf_cpumask_first(affinity(p));

	if (is_kthread(p)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(tctx->domain), enq_flags);
		count(DB_KTHREAD);
		return;
	}
	insert_shared(p, cpu_dsq(cpu), slice_for(tctx->domain), enq_flags);
	count(DB_PINNED);
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

/*
 * Waits in the home queue. The kick is by name and only acts on an idle CPU, under that CPU's rq lock: a CPU that was about
 * to go idle without having seen the task is woken, whichever came first.
 */
static __always_inline void enqueue_home(struct task_struct *p, struct task_ctx *tctx, u64 enq_flags)
{
	s32 cpu = scx_bpf_task_cpu(p);

	insert_shared(p, domain_dsq(tctx->domain), slice_for(tctx->domain), enq_flags);
	count(DB_ENQUEUED);
	if (domain_of_cpu(cpu) != tctx->domain) {
		cpu = any_home_cpu(p, tctx->domain);
		if (cpu >= 0)
			scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
	}
}

void BPF_STRUCT_OPS(domain_balancer_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	u64 now = scx_bpf_now();
	bool moved, greedy;
	s32 cpu;

	if (!tctx || !ensure_home(p, tctx, now)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, conf.slice_ns, enq_flags);
		count(DB_NO_CONTEXT);
		return;
	}
	moved = apply_planned_move(p, tctx, now);
	clamp_vtime(p, tctx);
	if (p->nr_cpus_allowed == 1) {
		enqueue_pinned(p, tctx, enq_flags);
		return;
	}
	/* Nothing else wants this CPU: stay, unless home is elsewhere now. Up to 7.2 the CPU needs a kick to notice. */
	if ((enq_flags & SCX_ENQ_LAST) && !moved) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(tctx->domain), enq_flags);
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), 0);
		return;
	}
	/* A wake-up has just been offered to the idle CPUs by select_cpu; every other path has not. */
	if (!(enq_flags & SCX_ENQ_CPU_SELECTED)) {
		cpu = claim_idle_cpu(p, tctx, scx_bpf_task_cpu(p), 0, &greedy);
		if (cpu >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | cpu, slice_for(tctx->domain), enq_flags);
			count_direct(cpu, scx_bpf_task_cpu(p), greedy);
			return;
		}
	}
	enqueue_home(p, tctx, enq_flags);
}

#endif /* DOMAIN_BALANCER_PLACE_BPF_H */
