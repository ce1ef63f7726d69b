/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Configuration: how a new table becomes the one in use, and what happens to tasks in queues that lose their CPUs by it.
 *
 * Userspace writes tables[(sequence + 1) & 1], which nobody reads, and runs `apply_table`. That checks it, makes the masks and
 * queues it needs, and then stores the new sequence number: from that store on every CPU and slot is in its new cell. CPUs
 * that changed cell are made to choose anew at once. Tasks of queues that no CPU serves any more are moved by `drain_queue`, which
 * userspace runs right afterwards for each that `find_orphans` finds, and again now and then for what came late.
 *
 * Relies on: one caller at a time (the scheduler's own loop), and callbacks that still read the former table being over
 * when the next but one is written; a late reader decides by a mix of both, which the next decision corrects.
 * Does not handle: which CPUs a cell gets; that is userspace's.
 */
#ifndef CELL_SCHEDULER_CONFIG_BPF_H
#define CELL_SCHEDULER_CONFIG_BPF_H

#include "task.bpf.h"

static __always_inline struct cs_table *table_at(u32 index)
{
	index &= 1;
	return bpf_map_lookup_elem(&tables, &index);
}

/* Every CPU that is online at start is in one cell that can be, and no other CPU is. */
static __noinline bool table_is_valid(struct cs_table *table)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, nr_slots = conf.nr_slots, i;

	if (!table)
		return false;
	if (table->nr_cells > conf.nr_cells || table->nr_slots > nr_slots)
		return false;
	bpf_for(i, 0, nr_cpu_ids) {
		u32 cell = cell_of_cpu(table, i);

		if (llc_of_cpu(i) < conf.nr_llcs ? cell >= table->nr_cells : cell != CS_NONE)
			return false;
	}
	bpf_for(i, 0, nr_slots) {
		if (i < CS_MAX_SLOTS && table->slot_cell[BOUNDED(i, CS_MAX_SLOTS)] >= conf.nr_cells)
			return false;
	}
	return true;
}

static __noinline s32 ensure_queue(u32 queue)
{
	struct queue_ctx *qctx = queue_ctx(queue);
	s32 err;

	if (!qctx)
		return -ENOENT;
	if (qctx->created)
		return 0;
	err = scx_bpf_create_dsq(queue, -1);
	if (!err)
		qctx->created = 1;
	return err;
}

/* Queues for every CPU's cell. */
static __noinline s32 ensure_queues(struct cs_table *table)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, i;
	s32 err = 0;

	if (!table)
		return -ENOENT;
	bpf_for(i, 0, nr_cpu_ids) {
		u32 llc = llc_of_cpu(i);

		if (llc >= conf.nr_llcs)
			continue;
		err = ensure_queue(queue_index(cell_of_cpu(table, i), llc));
		if (err)
			break;
	}
	return err;
}

/*
 * A queue that no CPU serves has a clock that stood still. Before CPUs come to it, it is brought to the time that the cell's other queues
 * have reached (all queues of a cell are on one scale), or for a cell without CPUs to the latest that any of its queues ever had.
 * Tasks that wait in it keep their order, and its clock never goes back under them.
 */
static __noinline void align_queue(u32 cell, u32 llc)
{
	struct queue_ctx *own = queue_ctx(queue_index(cell, llc));
	u32 nr_llcs = conf.nr_llcs, i;
	bool serves = false;
	u64 latest;

	if (!own || own->nr_cpus)
		return;
	latest = own->vtime_now;
	bpf_for(i, 0, nr_llcs) {
		struct queue_ctx *other = queue_ctx(queue_index(cell, i));

		if (!other || (serves && !other->nr_cpus))
			continue;
		if (other->nr_cpus && !serves) {
			serves = true;
			latest = other->vtime_now;
		} else if (vtime_before(latest, other->vtime_now)) {
			latest = other->vtime_now;
		}
	}
	if (!nr_queued(queue_index(cell, llc)) || vtime_before(own->vtime_now, latest))
		own->vtime_now = latest;
}

static __noinline void align_queues(struct cs_table *table)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, i;

	if (!table)
		return;
	bpf_for(i, 0, nr_cpu_ids) {
		u32 cell = cell_of_cpu(table, i), llc = llc_of_cpu(i);

		if (cell < conf.nr_cells && llc < conf.nr_llcs)
			align_queue(cell, llc);
	}
}

static __noinline void clear_masks(u32 index)
{
	struct cell_masks *entry = bpf_map_lookup_elem(&masks, &index);
	struct bpf_cpumask *mask;

	if (!entry)
		return;
	bpf_rcu_read_lock();
	mask = entry->cpus;
	if (mask)
		bpf_cpumask_clear(mask);
	mask = entry->lendable;
	if (mask)
		bpf_cpumask_clear(mask);
	bpf_rcu_read_unlock();
}

static __noinline void add_to_masks(u32 cpu, u32 cell, u32 parity, bool lends)
{
	u32 index = cell * 2 + parity;
	struct cell_masks *entry = bpf_map_lookup_elem(&masks, &index);
	struct bpf_cpumask *mask;

	bpf_rcu_read_lock();
	mask = entry ? entry->cpus : NULL;
	if (mask)
		bpf_cpumask_set_cpu(cpu, mask);
	index = parity;
	entry = bpf_map_lookup_elem(&masks, &index);
	mask = entry && lends ? entry->lendable : NULL;
	if (mask)
		bpf_cpumask_set_cpu(cpu, mask);
	bpf_rcu_read_unlock();
}

/* Fills the masks that belong to a table from it. */
static __noinline void build_masks(struct cs_table *table)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, nr_cells = conf.nr_cells, parity, i;

	if (!table)
		return;
	parity = table->sequence & 1;
	bpf_for(i, 0, nr_cells)
		clear_masks(i * 2 + parity);
	bpf_for(i, 0, nr_cpu_ids) {
		u32 cell = cell_of_cpu(table, i);

		if (cell < nr_cells)
			add_to_masks(i, cell, parity, flags_of_cell(table, cell) & CS_CELL_LEND);
	}
}

/* The CPU serves another queue from now on; those who wait in its own keep their distance to it. */
static __noinline void adopt_queue(u32 cpu, u32 queue)
{
	struct cpu_ctx *cctx = cpu_ctx(cpu);
	struct queue_ctx *from, *to;

	if (!cctx || cctx->queue == queue)
		return;
	from = queue_ctx(cctx->queue);
	to = queue_ctx(queue);
	if (!from || !to)
		return;
	cctx->base += to->vtime_now - from->vtime_now;
	cctx->queue = queue;
	__sync_fetch_and_add(&from->nr_cpus, -1);
	__sync_fetch_and_add(&to->nr_cpus, 1);
}

/* Makes the CPUs follow the table; those that changed cell choose anew at once. Returns how many did. */
static __noinline u32 adopt_table(struct cs_table *table)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, nr = 0, i;

	if (!table)
		return 0;
	bpf_for(i, 0, nr_cpu_ids) {
		u32 cell = cell_of_cpu(table, i), llc = llc_of_cpu(i), queue;
		struct cpu_ctx *cctx = cpu_ctx(i);

		if (!cctx || cell >= conf.nr_cells || llc >= conf.nr_llcs)
			continue;
		queue = queue_index(cell, llc);
		if (cctx->queue == queue)
			continue;
		adopt_queue(i, queue);
		scx_bpf_kick_cpu(i, SCX_KICK_PREEMPT);
		nr++;
	}
	return nr;
}

/*
 * Moves one waiting task to the queue it would choose now. Its slot is the one last looked up: if its cgroup has changed since,
 * its next enqueue finds that out.
 */
static __always_inline bool drain_task(struct bpf_iter_scx_dsq *it, struct task_struct *p, struct cs_table *table,
				       u32 from)
{
	struct task_ctx *tctx = task_ctx(p);
	u32 queue;

	if (!tctx)
		return false;
	tctx->cell = table->slot_cell[BOUNDED(tctx->slot, CS_MAX_SLOTS)];
	queue = choose_host_queue(p, tctx, table, false);
	if (queue == NO_QUEUE || queue == from)
		return false;
	scx_bpf_dsq_move_set_vtime(it, vtime_rebase(p->scx.dsq_vtime, axis_now(tctx->axis), axis_now(queue)));
	if (!scx_bpf_dsq_move_vtime(it, p, queue, 0))
		return false;
	tctx->axis = queue;
	count(tctx, CS_DRAINED);
	scx_bpf_kick_cpu(any_host_cpu(p, tctx, table, scx_bpf_task_cpu(p)), SCX_KICK_IDLE);
	return true;
}

SEC("syscall")
int apply_table(struct cs_apply_args *args)
{
	u64 next = sequence + 1;
	struct cs_table *table = table_at(next);

	args->nr_moved_cpus = 0;
	if (!table || args->sequence != next || table->sequence != next)
		return CS_APPLY_STALE;
	if (!table_is_valid(table))
		return CS_APPLY_INVALID;
	if (ensure_queues(table))
		return CS_APPLY_NO_QUEUE;
	build_masks(table);
	align_queues(table);
	/* A full barrier: the table and its masks are complete before the number that points to them. */
	__sync_fetch_and_add(&sequence, 1);
	note_event(CS_EVENT_TABLE, 0, next);
	args->nr_moved_cpus = adopt_table(table);
	return CS_APPLY_OK;
}

/* Looks for a queue that tasks wait in and no CPU serves, from args->queue on. */
SEC("syscall")
int find_orphans(struct cs_orphans_args *args)
{
	u32 nr_queues = conf.nr_cells * conf.nr_llcs, start = args->queue, i;

	args->found = 0;
	bpf_for(i, start, nr_queues) {
		struct queue_ctx *qctx = queue_ctx(i);

		if (qctx && qctx->created && !qctx->nr_cpus && nr_queued(i)) {
			args->queue = i;
			args->found = 1;
			break;
		}
	}
	return 0;
}

/* Moves the tasks of one queue; those that find no other stay. */
SEC("syscall")
int drain_queue(struct cs_drain_args *args)
{
	struct cs_table *table = table_at(sequence);
	u32 queue = args->queue, nr = 0;
	struct task_struct *p;

	args->nr_drained = 0;
	if (!table)
		return 0;
	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, queue, 0) {
		/* Not compared with any limit: the verifier would follow every value of the number. */
		if (drain_task(BPF_FOR_EACH_ITER, p, table, queue))
			nr++;
	}
	bpf_rcu_read_unlock();
	args->nr_drained = nr;
	return 0;
}

/* Makes the factors in cgroup_factors count. */
SEC("syscall")
int renew_factors(void *unused)
{
	__sync_fetch_and_add(&factor_epoch, 1);
	return 0;
}

SEC("syscall")
int read_totals(struct cs_totals_args *args)
{
	args->at_ns = scx_bpf_now();
	args->sequence = sequence;
	args->nr_tasks = nr_tasks;
	args->nr_no_context = nr_no_context;
	return 0;
}

#endif /* CELL_SCHEDULER_CONFIG_BPF_H */
