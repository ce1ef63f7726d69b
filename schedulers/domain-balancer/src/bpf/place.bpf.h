/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement: where a task that becomes runnable, or whose slice ended, goes.
 *
 * Order for a wake-up: the previous CPU, an idle core at home, an idle CPU at home, an idle CPU elsewhere (if stealing is
 * on), the home queue. If nothing at home is idle and home is crowded, home may change first (home.bpf.h). Tasks bound to one CPU use that CPU's own queue and compete with the home queue by vtime;
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
	waiting = nr_queued(domain_dsq(domain)) / dom->nr_cpus;
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

/* Sleeping earns at most one slice of credit; long debts of low weights stay bounded, those of visitors short. */
static __always_inline void clamp_vtime(struct task_struct *p, struct task_ctx *tctx)
{
	u64 vtime, now;

	if (conf.fifo)
		return;
	settle_axis(p, tctx);
	vtime = p->scx.dsq_vtime;
	now = axis_now(tctx);
	if (!tctx->axis && domain_of_cpu(scx_bpf_task_cpu(p)) != tctx->domain)
		vtime = vtime_forgive(vtime, now, conf.slice_ns, tctx->weight);
	scx_bpf_task_set_dsq_vtime(p, vtime_clamp(vtime, now, conf.slice_ns));
}

/* Would the task be one of at least `threshold` waiting at home? A threshold of 0 means never. */
static __always_inline bool enough_waiting(u32 domain, u32 threshold)
{
	return threshold && nr_queued(domain_dsq(domain)) + 1 >= threshold;
}

/* An idle CPU at home, claimed. Negative if none. */
static __always_inline s32 claim_home_cpu(struct task_struct *p, u32 domain, s32 prev_cpu, u64 wake_flags)
{
	struct domain_ctx *dom = domain_ctx(domain);
	const struct cpumask *home = dom ? domain_cpumask(dom) : NULL;

	return home ? scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, home, 0) : -ENOENT;
}

/*
 * An idle CPU of another domain, claimed, if stealing is on and enough wait at home: on the node first, then anywhere.
 * Negative if none. A `greedy_threshold` of 0 switches both off.
 */
static __always_inline s32 claim_greedy_cpu(struct task_struct *p, u32 domain, s32 prev_cpu, u64 wake_flags)
{
	struct domain_ctx *dom = domain_ctx(domain);
	const struct cpumask *node = dom ? node_cpumask(dom) : NULL;
	s32 cpu;

	if (!node || !enough_waiting(domain, conf.greedy_threshold))
		return -ENOENT;
	/* The waker's own CPU, to which a synchronous wake-up would go, is no idle one. */
	wake_flags &= ~SCX_WAKE_SYNC;
	cpu = scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, node, 0);
	if (cpu >= 0 || !enough_waiting(domain, conf.greedy_threshold_x_node))
		return cpu;
	return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);
}

static __always_inline void count_direct(s32 cpu, s32 prev_cpu, u32 home)
{
	count(domain_of_cpu(cpu) != home ? DB_DIRECT_GREEDY : cpu == prev_cpu ? DB_DIRECT_PREV : DB_DIRECT_IDLE);
}

/*
 * A new task has no cache to lose, and where it starts is where it stays: if no CPU at home is idle, it makes its home
 * where the fewest run. Left to stealing, a burst of new tasks would all keep their parent's home.
 */
static __always_inline s32 place_new_task(struct task_struct *p, struct task_ctx *tctx, s32 prev_cpu, u64 now)
{
	u32 domain = least_loaded_domain(p, tctx->domain, HOME_SCAN_MAX);

	if (domain >= DB_MAX_DOMAINS || domain == tctx->domain)
		return -ENOENT;
	set_home(p, tctx, domain, now);
	count(DB_FORK_SPREAD);
	return claim_home_cpu(p, domain, prev_cpu, 0);
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

/* Does a task wait for the CPU that executes, in a queue of ours? */
static __always_inline bool somebody_waits_here(void)
{
	s32 here = bpf_get_smp_processor_id();

	return nr_queued(cpu_dsq(here)) || nr_queued(domain_dsq(domain_of_cpu(here)));
}

s32 BPF_STRUCT_OPS(domain_balancer_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_ctx *tctx = task_ctx(p);
	u64 now = scx_bpf_now();
	s32 cpu;

	if (!tctx || !ensure_home(p, tctx, now))
		return prev_cpu;
	settle_axis(p, tctx);
	apply_planned_move(p, tctx, now);
	/*
	 * The kernel keeps a synchronous wake-up on the waker's CPU if its local queue is empty and some CPU is idle, wherever. Two tasks
	 * that wake each other would pass by whoever waits in our queues, for ever.
	 */
	if ((wake_flags & SCX_WAKE_SYNC) && somebody_waits_here())
		wake_flags &= ~SCX_WAKE_SYNC;

	cpu = claim_home_cpu(p, tctx->domain, prev_cpu, wake_flags);
	if (cpu < 0 && (wake_flags & SCX_WAKE_FORK))
		cpu = place_new_task(p, tctx, prev_cpu, now);
	else if (cpu < 0)
		leave_crowded_home(p, tctx, now);
	if (cpu < 0)
		cpu = claim_greedy_cpu(p, tctx->domain, prev_cpu, wake_flags);
	if (cpu >= 0) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(tctx->domain), 0);
		count_direct(cpu, prev_cpu, tctx->domain);
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
	s32 cpu = scx_bpf_task_cpu(p), idle_cpu;
	bool moved;

	if (is_forced_to_stall(p->pid))
		return;
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
		scx_bpf_kick_cpu(cpu, 0);
		return;
	}
	/* A wake-up has just been offered to the idle CPUs by select_cpu; every other path has not. */
	if (!cpu_was_selected(enq_flags)) {
		idle_cpu = claim_home_cpu(p, tctx->domain, cpu, 0);
		if (idle_cpu < 0)
			idle_cpu = claim_greedy_cpu(p, tctx->domain, cpu, 0);
		if (idle_cpu >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | idle_cpu, slice_for(tctx->domain), enq_flags);
			count_direct(idle_cpu, cpu, tctx->domain);
			return;
		}
	}
	enqueue_home(p, tctx, enq_flags);
}

#endif /* DOMAIN_BALANCER_PLACE_BPF_H */
