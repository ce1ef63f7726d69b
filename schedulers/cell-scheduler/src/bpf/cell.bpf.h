/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which cell a task belongs to, and which queue it waits in.
 *
 * A task belongs to the slot of the nearest of its cgroup's ancestors that has one, and to the cell of that slot. Both are
 * looked up again when the cgroup or the table differs from the last time, at the next wake-up, enqueue or renewal
 * of its slice; so is the factor by which cpu.weight along the path of cgroups scales the task's weight. The cgroup is that of the default hierarchy, so the cpu controller may be on or off.
 *
 * Relies on: the caller being in an RCU read-side section, as every callback of a running scheduler is.
 * Does not handle: a cgroup that appears: until userspace has found it, its tasks belong to the slot of what lies above.
 */
#ifndef CELL_SCHEDULER_CELL_BPF_H
#define CELL_SCHEDULER_CELL_BPF_H

#include "axis.bpf.h"

/* No queue at all. */
#define NO_QUEUE (~0U)

/* The slot of a cgroup: that of the nearest ancestor, itself included, which has one; else 0. */
static __noinline u32 slot_of_cgroup(struct cgroup *cgrp)
{
	u32 level = cgrp->level, i;

	if (level > conf.member_level_max)
		level = conf.member_level_max;
	bpf_for(i, 0, CS_MAX_LEVELS) {
		struct cgroup *ancestor;
		struct cs_member *member;
		u64 id;

		if (level < conf.member_level_min || !level)
			break;
		ancestor = bpf_cgroup_ancestor(cgrp, level);
		if (!ancestor)
			break;
		id = ancestor->kn->id;
		bpf_cgroup_release(ancestor);
		member = bpf_map_lookup_elem(&members, &id);
		if (member && member->slot < conf.nr_slots)
			return member->slot;
		level--;
	}
	return 0;
}

static __always_inline void change_slot(struct task_ctx *tctx, u32 slot)
{
	struct cs_figures *entry;

	if (tctx->slot == slot)
		return;
	entry = figures_of(tctx->slot);
	if (entry)
		__sync_fetch_and_add(&entry->nr_tasks, -1);
	entry = figures_of(slot);
	if (entry)
		__sync_fetch_and_add(&entry->nr_tasks, 1);
	tctx->slot = slot;
}

/* Works out what the task is charged by. A cgroup without a factor has factor one. */
static __always_inline void weigh(struct task_ctx *tctx)
{
	u64 id = tctx->cgroup_id, weight = tctx->own_weight;
	u32 *factor;

	/* Before the look-up: factors that change meanwhile make the task look again. */
	tctx->factor_epoch = factor_epoch;
	factor = bpf_map_lookup_elem(&cgroup_factors, &id);
	if (factor)
		weight = (weight * *factor + (1 << (CS_FACTOR_BITS - 1))) >> CS_FACTOR_BITS;
	tctx->weight = weight_clamp(weight < WEIGHT_MAX ? weight : WEIGHT_MAX);
}

/* Makes sure that slot and cell of the task are those of the table in use and of its present cgroup. */
static __always_inline void refresh_cell(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table)
{
	struct cgroup *cgrp = p->cgroups->dfl_cgrp;
	u64 id = cgrp ? cgrp->kn->id : 0;
	u32 slot, cell;

	if (unlikely(tctx->cgroup_id != id)) {
		/* What it claimed until now, it claimed in its former cgroup: the figures follow within a slice. */
		tctx->cgroup_id = id;
		tctx->sequence = ~0ULL;
		weigh(tctx);
	} else if (unlikely(tctx->factor_epoch != factor_epoch)) {
		weigh(tctx);
	}
	if (likely(tctx->sequence == table->sequence))
		return;
	slot = cgrp ? slot_of_cgroup(cgrp) : 0;
	change_slot(tctx, slot);
	cell = slot < CS_MAX_SLOTS ? table->slot_cell[BOUNDED(slot, CS_MAX_SLOTS)] : 0;
	if (cell != tctx->cell) {
		if (tctx->cell != CS_NONE)
			count(tctx, CS_MOVED);
		tctx->cell = cell;
	}
	tctx->sequence = table->sequence;
}

/* CPUs that serve a queue, at least 1. */
static __always_inline u32 servers(u32 queue)
{
	struct queue_ctx *qctx = queue_ctx(queue);
	u32 nr_cpus = qctx ? qctx->nr_cpus : 0;

	return nr_cpus ?: 1;
}

/* Tasks that wait in a queue, per CPU that serves it. */
static __always_inline u32 crowding(u32 queue)
{
	return nr_queued(queue) / servers(queue);
}

/*
 * Would a task wait less in the other queue than in its own? Strictly so, per CPU and counting itself in either: then
 * nothing moves forth and back. A task that wakes has a cache to lose for a short wait: it leaves for a queue shorter by one
 * more task, and its node for one shorter by another task per CPU on top.
 */
static __always_inline bool is_shorter(u32 other, u32 own, bool same_node, bool wakes)
{
	u32 slack = !wakes ? 1 : same_node ? 2 : 2 + servers(other);

	return (u64)(nr_queued(own) + 1) * servers(other) > (u64)(nr_queued(other) + slack) * servers(own);
}

/*
 * The queue a task of `cell` waits in: that of the cache it ran at last, if a CPU of the cell there is allowed. Another
 * of the cell's that is shorter is taken instead; one is looked at each time, chosen by the kernel going round
 * the allowed CPUs. NO_QUEUE if the affinity names no CPU of the cell.
 */
static __noinline u32 choose_queue(struct task_struct *p, const struct cs_table *table, u32 cell, bool wakes)
{
	const struct cpumask *mask = cell_cpumask(table, cell);
	s32 cpu = scx_bpf_task_cpu(p), other;
	u32 llc, other_llc, own;

	if (!mask)
		return NO_QUEUE;
	other = bpf_cpumask_any_and_distribute(p->cpus_ptr, mask);
	other_llc = llc_of_cpu(other);
	if ((u32)other >= conf.nr_cpu_ids || other_llc >= conf.nr_llcs)
		return NO_QUEUE;
	llc = llc_of_cpu(cpu);
	if (cell_of_cpu(table, cpu) != cell || llc >= conf.nr_llcs || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return queue_index(cell, other_llc);
	own = queue_index(cell, llc);
	if (llc != other_llc &&
	    is_shorter(queue_index(cell, other_llc), own, node_of_llc(llc) == node_of_llc(other_llc), wakes))
		return queue_index(cell, other_llc);
	return own;
}

/*
 * The same with a fallback: a task whose affinity names no CPU of its cell is the guest of a cell that has one, and waits and
 * counts there as one of its own. NO_QUEUE if the affinity names no CPU of any cell.
 */
static __always_inline u32 choose_host_queue(struct task_struct *p, struct task_ctx *tctx,
					     const struct cs_table *table, bool wakes)
{
	u32 queue = choose_queue(p, table, tctx->cell, wakes), cell;

	if (likely(queue != NO_QUEUE)) {
		tctx->host = tctx->cell;
		return queue;
	}
	cell = cell_of_cpu(table, bpf_cpumask_any_distribute(p->cpus_ptr));
	if (cell >= conf.nr_cells)
		return NO_QUEUE;
	queue = choose_queue(p, table, cell, wakes);
	if (queue != NO_QUEUE) {
		tctx->host = cell;
		count(tctx, CS_VIOLATION);
	}
	return queue;
}

#endif /* CELL_SCHEDULER_CELL_BPF_H */
