/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Home: which domain a task belongs to, and every way that changes.
 *
 * Relies on: load_transfer() carrying the task's load along; the kernel's rq lock, held in every callback that gets here.
 * Does not handle: choosing *which* tasks to move to even out load; userspace plans that (balance.bpf.c).
 */
#ifndef DOMAIN_BALANCER_HOME_BPF_H
#define DOMAIN_BALANCER_HOME_BPF_H

#include "axis.bpf.h"

/* Domains looked at when a new home is sought; beyond it the first fit is good enough. */
#define HOME_SCAN_MAX 128
/* The same for a task that wakes, which happens far more often. */
#define HOME_WAKE_SCAN 8
/* How much more crowded home must be for a waking task to leave: one task per CPU, in crowding()'s unit. */
#define HOME_GAP 1024

/* Makes `domain` the task's home. Global for the verifier's sake, as the load functions. */
__noinline int set_home(struct task_struct *p __arg_trusted, struct task_ctx *tctx __arg_nonnull, u32 domain, u64 now)
{
	struct domain_ctx *from = domain_ctx(tctx->domain), *to = domain_ctx(domain);

	if (!to)
		return 0;
	/* Keep the task as far ahead of or behind its queue as it was, within bounds; the axis of a CPU knows no home. */
	if (from && !tctx->axis) {
		u64 vtime = vtime_rebase(p->scx.dsq_vtime, from->vtime_now, to->vtime_now);

		scx_bpf_task_set_dsq_vtime(p, vtime_forgive(vtime, to->vtime_now, conf.slice_ns, tctx->weight));
	}
	load_transfer(tctx, domain, tctx->weight, now);
	return 0;
}

/* Runnable tasks per CPU, in 1/1024. */
static __always_inline u64 crowding(struct domain_ctx *dom)
{
	return ((u64)dom->nr_runnable << 10) / (dom->nr_cpus ?: 1);
}

/*
 * The allowed domain with the fewest runnable tasks per CPU; `preferred` wins ties. DB_MAX_DOMAINS if the affinity
 * leaves none. `scan` bounds how many domains are compared.
 */
static __noinline u32 least_loaded_domain(struct task_struct *p __arg_trusted, u32 preferred, u32 scan)
{
	u32 best = DB_MAX_DOMAINS, nr_domains = conf.nr_domains, i;
	u64 best_load = 0;

	if (!p || preferred >= DB_MAX_DOMAINS)
		return DB_MAX_DOMAINS;
	bpf_for(i, 0, nr_domains) {
		u32 domain = preferred + i;
		struct domain_ctx *dom;
		u64 load;

		if (domain >= nr_domains)
			domain -= nr_domains;
		dom = domain_ctx(domain);
		if (!dom || !may_run_in(p, dom))
			continue;
		load = crowding(dom);
		if (best == DB_MAX_DOMAINS || load < best_load) {
			best = domain;
			best_load = load;
		}
		if (i >= scan && best != DB_MAX_DOMAINS)
			break;
	}
	return best;
}

/* Makes sure the affinity leaves the task a CPU at home. False if there is no such domain at all. */
static __always_inline bool ensure_home(struct task_struct *p, struct task_ctx *tctx, u64 now)
{
	struct domain_ctx *dom = domain_ctx(tctx->domain);
	u32 domain;

	if (dom && may_run_in(p, dom))
		return true;
	domain = domain_of_cpu(scx_bpf_task_cpu(p));
	if (domain >= DB_MAX_DOMAINS)
		domain = 0;
	domain = least_loaded_domain(p, domain, 0);
	if (domain >= DB_MAX_DOMAINS)
		return false;
	set_home(p, tctx, domain, now);
	count(DB_REHOMED);
	return true;
}

/*
 * A task that wakes while its home is more crowded than another domain, by at least one more task per CPU, makes its home
 * there. Bursts of wake-ups spread at once this way, and what remains is for the balancer, which sees load and not just
 * numbers. A few domains are looked at, beginning at a random one, so the cost does not grow with the machine. Part of
 * stealing: off with it, within a node or altogether.
 */
static __always_inline void leave_crowded_home(struct task_struct *p, struct task_ctx *tctx, u64 now)
{
	u32 nr_domains = conf.nr_domains, best = DB_MAX_DOMAINS, start, i;
	struct domain_ctx *home = domain_ctx(tctx->domain);
	u64 least;

	if (!conf.greedy_threshold || nr_domains < 2 || !home || crowding(home) < HOME_GAP)
		return;
	least = crowding(home) - HOME_GAP;
	/* Scaled rather than by remainder: the verifier of 6.18 loses all bounds at a 32-bit remainder. */
	start = ((u64)bpf_get_prandom_u32() * nr_domains) >> 32;
	bpf_for(i, 0, HOME_WAKE_SCAN) {
		u32 domain = start + i >= nr_domains ? start + i - nr_domains : start + i;
		struct domain_ctx *other;

		if (i >= nr_domains)
			break;
		if (!conf.greedy_threshold_x_node && node_of_domain(domain) != node_of_domain(tctx->domain))
			continue;
		other = domain_ctx(domain);
		if (other && crowding(other) <= least && may_run_in(p, other)) {
			best = domain;
			/* Only a strictly better one replaces it. */
			least = crowding(other);
			if (!least--)
				break;
		}
	}
	if (best < DB_MAX_DOMAINS && best != tctx->domain) {
		set_home(p, tctx, best, now);
		count(DB_WAKE_SPREAD);
	}
}

/* Carries out a planned move, if one waits: the plan is old by now, so everything is checked again. */
static __always_inline bool apply_planned_move(struct task_struct *p, struct task_ctx *tctx, u64 now)
{
	struct domain_ctx *dom, *from;
	u32 target;

	if (likely(!tctx->move_target))
		return false;
	target = __sync_lock_test_and_set(&tctx->move_target, 0);
	if (!target)
		return false;
	target--;
	if (!vtime_before(now, tctx->move_expires_ns)) {
		count(DB_MOVE_EXPIRED);
		return false;
	}
	dom = domain_ctx(target);
	if (!dom || target == tctx->domain || !may_run_in(p, dom)) {
		count(DB_MOVE_REFUSED);
		return false;
	}
	from = domain_ctx(tctx->domain);
	if (from)
		__sync_fetch_and_add(&from->nr_moved_out, 1);
	__sync_fetch_and_add(&dom->nr_moved_in, 1);
	set_home(p, tctx, target, now);
	tctx->last_moved_ns = now;
	count(DB_MOVE_APPLIED);
	return true;
}

#endif /* DOMAIN_BALANCER_HOME_BPF_H */
