/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Running: a CPU that needs work chooses it, and what a task uses is charged.
 *
 * A CPU chooses among the task it was running, the tasks bound to it and its cell's queue at its cache: the earliest vtime
 * wins. With nothing there it takes from the cell's other queues, then, if its cell lends, from other cells. A task of
 * another cell never goes on by itself: it passes through enqueue, where an idle CPU at home comes first.
 *
 * Relies on: the kernel bringing sum_exec_runtime up to date before dispatch and stopping; ENQ_LAST being set, so
 * that a task of another cell passes through enqueue even when it is alone.
 * Does not handle: tasks bound to a CPU that a real-time task takes; the kernel keeps them at the head of its local queue.
 */
#ifndef CELL_SCHEDULER_RUN_BPF_H
#define CELL_SCHEDULER_RUN_BPF_H

#include "borrow.bpf.h"

void BPF_STRUCT_OPS(cell_scheduler_running, struct task_struct *p)
{
	struct cs_table *table = table_in_use();
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p);
	struct cpu_ctx *cctx = cpu_ctx(cpu);
	u64 slice = p->scx.slice;

	if (!tctx || !table || !cctx)
		return;
	tctx->charged_ns = p->se.sum_exec_runtime;
	count_wait(tctx, scx_bpf_now());
	if (is_borrowing(tctx, table, cpu)) {
		set_lent(cctx, cpu, cell_of_cpu(table, cpu));
		count(tctx, CS_BORROWED);
		if (slice > conf.borrow_slice_ns)
			slice = conf.borrow_slice_ns;
		prepay(cctx, table, tctx->host, slice);
	} else {
		/* Only tasks at home drive the time of their axis; per-CPU kernel threads do not queue by it. */
		if (tctx->axis < CPU_AXIS || !is_kthread(p))
			axis_advance(tctx->axis, p->scx.dsq_vtime);
		if (tctx->axis < CPU_AXIS && tctx->axis != cctx->queue)
			count(tctx, CS_STEAL);
	}
	if (slice > conf.shrink_slice_ns && nr_queued(cpu_dsq(cpu)))
		slice = conf.shrink_slice_ns;
	if (slice != p->scx.slice)
		scx_bpf_task_set_slice(p, slice);
}

/* Charges a task on its CPU, and its cell's lending. */
static __always_inline void charge_on_cpu(struct task_struct *p, struct task_ctx *tctx, struct cpu_ctx *cctx)
{
	u64 used = p->se.sum_exec_runtime - tctx->charged_ns;
	u32 lender = cctx->lent_by;
	struct cs_lending *lending;

	charge(p, tctx, lender);
	if (!lender || (s64)used < 0)
		return;
	settle_prepaid(cctx, tctx->host, used);
	lender--;
	lending = bpf_map_lookup_elem(&lendings, &lender);
	if (lending)
		lending->lent_ns += used;
}

void BPF_STRUCT_OPS(cell_scheduler_stopping, struct task_struct *p, bool runnable)
{
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p);
	struct cpu_ctx *cctx = cpu_ctx(cpu);

	stay_awake_while_coming_up(p, runnable, cpu, llc_of_cpu(cpu) < conf.nr_llcs);
	if (!tctx || !cctx)
		return;
	charge_on_cpu(p, tctx, cctx);
	if (cctx->lent_by) {
		/* It used what nobody at home could: that is not held against it. */
		forgive_vtime(p, tctx);
		clear_lent(cctx, cpu);
	}
	tctx->waiting_since = runnable ? scx_bpf_now() : 0;
	/*
	 * Slice left means that a higher class takes the CPU. The kernel would keep the task there, at the head of the local
	 * queue, for as long as that lasts; without a slice it passes through enqueue and may use another CPU at once.
	 */
	if (runnable && p->scx.slice && !is_pinned(p))
		scx_bpf_task_set_slice(p, 0);
}

/* The earliest vtime of a queue and whether that task may run on this CPU; false if the queue is empty. */
static __always_inline bool head_vtime(u64 dsq, s32 cpu, u64 *vtime, bool *here)
{
	struct task_struct *head;

	if (!nr_queued(dsq))
		return false;
	head = __COMPAT_scx_bpf_dsq_peek(dsq);
	if (!head)
		return false;
	*vtime = head->scx.dsq_vtime;
	*here = bpf_cpumask_test_cpu(cpu, head->cpus_ptr);
	return true;
}

/*
 * How far, in slices, another queue of the cell must be behind before a CPU that has work of its own takes from it: on its
 * node, on another. That evens out what the lengths of queues do not show: weights, and numbers that do not divide.
 */
#define LAG_SLICES 2
#define LAG_SLICES_X_NODE 4

/*
 * Takes a task from a queue of the cell that has fallen behind `vtime`, the earliest this CPU has. One queue is looked at each
 * time, going round.
 */
__noinline bool take_lagging(u32 cell, u32 llc, u64 vtime, struct cpu_ctx *cctx __arg_nonnull)
{
	u32 nr_llcs = conf.nr_llcs, other, queue;
	s32 cpu = bpf_get_smp_processor_id();
	u64 head, lag;
	bool here;

	if (nr_llcs < 2)
		return false;
	other = cctx->lag_cursor + 1;
	if (other >= nr_llcs)
		other = 0;
	cctx->lag_cursor = other;
	if (other == llc)
		return false;
	queue = queue_index(cell, other);
	lag = conf.slice_ns * (node_of_llc(other) == node_of_llc(llc) ? LAG_SLICES : LAG_SLICES_X_NODE);
	return head_vtime(queue, cpu, &head, &here) && here && vtime_before(head + lag, vtime) &&
	       scx_bpf_dsq_move_to_local(queue, 0);
}

/* Takes a task from another queue of the cell, one without CPUs included. */
__noinline bool steal_in_cell(u32 cell, u32 llc)
{
	u32 nr_llcs = conf.nr_llcs, i;

	bpf_for(i, 1, nr_llcs) {
		u32 other = llc + i >= nr_llcs ? llc + i - nr_llcs : llc + i;

		if (nr_queued(queue_index(cell, other)) && scx_bpf_dsq_move_to_local(queue_index(cell, other), 0))
			return true;
	}
	return false;
}

static __always_inline void keep(struct task_struct *prev, struct task_ctx *tctx, struct cpu_ctx *cctx, s32 cpu)
{
	u64 slice = slice_for(cctx->queue);

	if (slice > conf.shrink_slice_ns && nr_queued(cpu_dsq(cpu)))
		slice = conf.shrink_slice_ns;
	scx_bpf_task_set_slice(prev, slice);
	count(tctx, CS_KEPT);
}

/*
 * The runnable task that was running, brought up to date and charged, if it may go on without passing through enqueue: it is at
 * home here. NULL otherwise.
 */
static __always_inline struct task_ctx *keepable(struct task_struct *prev, const struct cs_table *table,
						 struct cpu_ctx *cctx, s32 cpu)
{
	struct task_ctx *tctx;

	if (!prev || !(prev->scx.flags & SCX_TASK_QUEUED))
		return NULL;
	tctx = task_ctx(prev);
	if (!tctx)
		return NULL;
	charge_on_cpu(prev, tctx, cctx);
	refresh_cell(prev, tctx, table);
	if (is_pinned(prev))
		return tctx->axis == CPU_AXIS + cpu ? tctx : NULL;
	/* A guest's host may have lost the CPU, and its affinity may name its own cell by now. */
	if (tctx->host != tctx->cell || tctx->axis >= CPU_AXIS || cell_of_cpu(table, cpu) != tctx->cell)
		return NULL;
	if (cctx->lent_by) {
		/* It borrowed the CPU, and a new table has given that to its cell. */
		forgive_vtime(prev, tctx);
		clear_lent(cctx, cpu);
	}
	return tctx;
}

/* What a CPU must choose from: times are those of the queue that its cell has at its cache. */
struct choice {
	u32 queue;
	u32 pad;
	/* The runnable task that was running, if it may go on. */
	struct task_ctx *running;
	u64 running_vtime;
	u64 pinned_vtime;
	u64 shared_vtime;
	bool pinned;
	bool shared;
};

static __always_inline void look(struct choice *choice, struct task_struct *prev, struct cpu_ctx *cctx, s32 cpu)
{
	bool bound = choice->running && choice->running->axis >= CPU_AXIS;
	bool here = true;
	u64 head;

	choice->running_vtime = choice->running ? prev->scx.dsq_vtime : 0;
	choice->pinned = head_vtime(cpu_dsq(cpu), cpu, &choice->pinned_vtime, &here);
	choice->shared = head_vtime(choice->queue, cpu, &choice->shared_vtime, &here);
	/* A first task that only crowded CPUs may run would win over and over for others behind it, which are near the queue's time. */
	if (choice->shared && !here)
		choice->shared_vtime = queue_now(choice->queue);
	if (!choice->pinned && !bound)
		return;
	head = choice->pinned_vtime;
	if (!choice->pinned || (bound && vtime_before(choice->running_vtime, head)))
		head = choice->running_vtime;
	cctx->base = vtime_base(cctx->base, head, queue_now(choice->queue), conf.slice_ns,
				!choice->shared && (bound || !choice->running));
	choice->pinned_vtime += cctx->base;
	if (bound)
		choice->running_vtime += cctx->base;
}

/* Serves one of those that the CPU must choose from: the earliest. True if it has something to run. */
static __always_inline bool serve(struct choice *choice, struct task_struct *prev, struct cpu_ctx *cctx, s32 cpu, u32 cell,
				  u32 llc)
{
	bool pinned = choice->pinned, shared = choice->shared, pinned_first, running_first;
	u64 earliest;

	pinned_first = pinned && (!shared || !vtime_before(choice->shared_vtime, choice->pinned_vtime));
	earliest = pinned_first ? choice->pinned_vtime : choice->shared_vtime;
	running_first = choice->running && (!(pinned || shared) || vtime_before(choice->running_vtime, earliest));
	if (running_first)
		earliest = choice->running_vtime;
	if ((choice->running || pinned || shared) && take_lagging(cell, llc, earliest, cctx))
		return true;
	if (running_first && (pinned || shared)) {
		keep(prev, choice->running, cctx, cpu);
		return true;
	}
	if (pinned_first && scx_bpf_dsq_move_to_local(cpu_dsq(cpu), 0))
		return true;
	if (shared && scx_bpf_dsq_move_to_local(choice->queue, 0))
		return true;
	return pinned && scx_bpf_dsq_move_to_local(cpu_dsq(cpu), 0);
}

/* Somebody who has waited far too long for this CPU gets it now. */
static __always_inline bool serve_starving(struct cpu_ctx *cctx, s32 cpu, u32 queue)
{
	if (!looks_for_starving(&cctx->next_starving_look_ns, scx_bpf_now()))
		return false;
	if (!feed_starving(cpu_dsq(cpu), cctx->vtime_now) && !feed_starving(queue, queue_now(queue)))
		return false;
	/* There may be more of them; between two of them comes somebody else's turn. */
	cctx->next_starving_look_ns = 0;
	return true;
}

void BPF_STRUCT_OPS(cell_scheduler_dispatch, s32 cpu, struct task_struct *prev)
{
	struct cs_table *table = table_in_use();
	struct cpu_ctx *cctx = cpu_ctx(cpu);
	u32 cell, llc = llc_of_cpu(cpu);
	struct choice choice = {};

	if (!table || !cctx || llc >= conf.nr_llcs || asked_in_vain())
		return;
	cell = cell_of_cpu(table, cpu);
	if (cell >= conf.nr_cells)
		return;
	choice.queue = queue_index(cell, llc);
	if (serve_starving(cctx, cpu, choice.queue))
		return;
	choice.running = keepable(prev, table, cctx, cpu);
	look(&choice, prev, cctx, cpu);
	if (serve(&choice, prev, cctx, cpu, cell, llc))
		return;
	if (choice.running) {
		/* Nobody else wants the CPU: what the task uses of it is not held against it. */
		forgive_vtime(prev, choice.running);
		keep(prev, choice.running, cctx, cpu);
		return;
	}
	if (steal_in_cell(cell, llc))
		return;
	if ((flags_of_cell(table, cell) & CS_CELL_LEND) && borrow_work(table, cell, llc, cctx, borrower(prev, cctx)))
		return;
	/* Wherever it is at home: it does not pass through enqueue, and must not be left beside an idle CPU. */
	if (prev && (prev->scx.flags & SCX_TASK_QUEUED) && passes_by_enqueue(prev))
		scx_bpf_task_set_slice(prev, conf.borrow_slice_ns);
}

#endif /* CELL_SCHEDULER_RUN_BPF_H */
