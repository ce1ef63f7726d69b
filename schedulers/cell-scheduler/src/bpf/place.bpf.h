/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement: where a task that becomes runnable, or whose slice ended, goes.
 *
 * In this order: an idle CPU of the own cell; a CPU of the own cell that runs a borrower, which is preempted for it; an idle
 * CPU of a cell that lends; the queue of the own cell. Tasks bound to one CPU use that CPU's own queue and compete with
 * the cell's by vtime; per-CPU kernel threads go straight to the local queue, ahead of both.
 *
 * Relies on: the kernel's built-in idle tracking; select_cpu_and (kernel 6.16).
 * Does not handle: migration-disabled tasks; the kernel keeps them on their CPU by itself.
 */
#ifndef CELL_SCHEDULER_PLACE_BPF_H
#define CELL_SCHEDULER_PLACE_BPF_H

#include "cell.bpf.h"

/* A slice shrinks as the queue grows, so that everybody is served within about one full slice. */
static __always_inline u64 slice_for(u32 queue)
{
	u32 waiting = crowding(queue);
	u64 slice = conf.slice_ns;

	if (waiting)
		slice /= waiting + 1;
	return slice > conf.slice_min_ns ? slice : conf.slice_min_ns;
}

static __always_inline void settle_axis(struct task_struct *p, struct task_ctx *tctx, u32 axis)
{
	change_axis(p, tctx, axis);
	clamp_vtime(p, tctx);
}

/* Does a CPU of another cell than the task's host run it? A task bound to its CPU is never a borrower. */
static __always_inline bool is_borrowing(struct task_ctx *tctx, const struct cs_table *table, s32 cpu)
{
	return tctx->axis < CPU_AXIS && cell_of_cpu(table, cpu) != tctx->host;
}

/* An idle CPU of the cell, claimed. Negative if none. */
static __always_inline s32 claim_own(struct task_struct *p, const struct cs_table *table, u32 cell, s32 prev_cpu,
				     u64 wake_flags)
{
	const struct cpumask *mask = cell_cpumask(table, cell);

	return mask ? scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, mask, 0) : -ENOENT;
}

/*
 * A CPU of the cell that runs a borrower, claimed: whoever clears its bit may preempt it, so that of two tasks that wake
 * at once each gets another one. Negative if none.
 */
static __always_inline s32 claim_lent(struct task_struct *p, const struct cs_table *table, u32 cell)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	struct bpf_cpumask *lent = state ? state->lent : NULL;
	u32 cpu;

	if (!lent)
		return -ENOENT;
	cpu = bpf_cpumask_any_and_distribute(p->cpus_ptr, (const struct cpumask *)lent);
	if (cpu >= conf.nr_cpu_ids || !bpf_cpumask_test_and_clear_cpu(cpu, lent))
		return -ENOENT;
	return cell_of_cpu(table, cpu) == cell ? (s32)cpu : -ENOENT;
}

/* An idle CPU that another cell lends, claimed. Guests may use any CPU their affinity names. Negative if none. */
static __always_inline s32 claim_foreign(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					 s32 prev_cpu, u64 wake_flags)
{
	const struct cpumask *mask = lendable_cpumask(table);

	/* The waker's own CPU, to which a synchronous wake-up would go, is no idle one. */
	wake_flags &= ~SCX_WAKE_SYNC;
	if (tctx->host != tctx->cell)
		return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, p->cpus_ptr, 0);
	if (!mask || !(flags_of_cell(table, tctx->cell) & CS_CELL_BORROW))
		return -ENOENT;
	return scx_bpf_select_cpu_and(p, prev_cpu, wake_flags, mask, 0);
}

/*
 * With no idle CPU in the own cell: takes a lent one back, or borrows. Inserts the task and returns the CPU, or a
 * negative number if there is none. Without `by_name` it goes to the local queue of the CPU that the caller returns.
 */
static __always_inline s32 claim_elsewhere(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					   s32 prev_cpu, u64 wake_flags, u64 enq_flags, bool by_name)
{
	s32 cpu = claim_lent(p, table, tctx->host);

	if (cpu >= 0) {
		scx_bpf_dsq_insert(p, by_name ? SCX_DSQ_LOCAL_ON | cpu : SCX_DSQ_LOCAL, slice_for(tctx->axis),
				   enq_flags | SCX_ENQ_PREEMPT);
		count(tctx, CS_RECLAIMED);
		return cpu;
	}
	cpu = claim_foreign(p, tctx, table, prev_cpu, wake_flags);
	if (cpu >= 0)
		scx_bpf_dsq_insert(p, by_name ? SCX_DSQ_LOCAL_ON | cpu : SCX_DSQ_LOCAL, conf.borrow_slice_ns, enq_flags);
	return cpu;
}

/* A CPU of the host cell that the affinity allows: its rq is where the kernel attaches the waking task. */
static __always_inline s32 any_host_cpu(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					s32 prev_cpu)
{
	const struct cpumask *mask = cell_cpumask(table, tctx->host);
	u32 cpu;

	if (!mask || (cell_of_cpu(table, prev_cpu) == tctx->host && bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr)))
		return prev_cpu;
	cpu = bpf_cpumask_any_and_distribute(p->cpus_ptr, mask);
	return cpu < conf.nr_cpu_ids ? (s32)cpu : prev_cpu;
}

/* Does a task wait for the CPU that executes, in a queue of ours? */
static __always_inline bool somebody_waits_here(void)
{
	s32 here = bpf_get_smp_processor_id();
	struct cpu_ctx *cctx = cpu_ctx(here);

	return nr_queued(cpu_dsq(here)) || (cctx && nr_queued(cctx->queue));
}

s32 BPF_STRUCT_OPS(cell_scheduler_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct cs_table *table = table_in_use();
	struct task_ctx *tctx = task_ctx(p);
	u32 queue;
	s32 cpu;

	if (!tctx || !table)
		return prev_cpu;
	refresh_cell(p, tctx, table);
	/*
	 * The kernel keeps a synchronous wake-up on the waker's CPU if its local queue is empty and some CPU is idle, wherever. Two tasks
	 * that wake each other would pass by whoever waits in our queues, for ever.
	 */
	if ((wake_flags & SCX_WAKE_SYNC) && somebody_waits_here())
		wake_flags &= ~SCX_WAKE_SYNC;
	cpu = claim_own(p, table, tctx->cell, prev_cpu, wake_flags);
	if (cpu >= 0) {
		queue = queue_index(tctx->cell, llc_of_cpu(cpu));
		tctx->host = tctx->cell;
		settle_axis(p, tctx, queue);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(queue), 0);
		count(tctx, CS_LOCAL);
		return cpu;
	}
	queue = choose_host_queue(p, tctx, table, true);
	if (queue == NO_QUEUE)
		return prev_cpu;
	settle_axis(p, tctx, queue);
	cpu = claim_elsewhere(p, tctx, table, prev_cpu, wake_flags, 0, false);
	return cpu >= 0 ? cpu : any_host_cpu(p, tctx, table, prev_cpu);
}

/* Cuts the slice of whatever task runs on a CPU that single-CPU work waits for. */
static __always_inline void shrink_running(struct task_struct *p, struct task_ctx *tctx, s32 cpu)
{
	struct task_struct *curr = __COMPAT_scx_bpf_cpu_curr(cpu);

	if (!curr || curr->pid == p->pid || !(curr->scx.flags & SCX_TASK_QUEUED))
		return;
	if (curr->scx.slice <= conf.shrink_slice_ns)
		return;
	scx_bpf_task_set_slice(curr, conf.shrink_slice_ns);
	count(tctx, CS_SHRUNK);
}

/* Waits in the queue of the only CPU the task may use. */
static __always_inline void enqueue_pinned(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					   u64 enq_flags)
{
	u32 cpu = bpf_cpumask_first(p->cpus_ptr);
	struct cpu_ctx *cctx = cpu_ctx(cpu);
	u32 queue = cctx ? cctx->queue : 0;

	settle_axis(p, tctx, CPU_AXIS + cpu);
	tctx->host = cell_of_cpu(table, cpu);
	count(tctx, CS_CPU_QUEUE);
	if (is_kthread(p) || (enq_flags & SCX_ENQ_LAST)) {
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice_for(queue), enq_flags);
		if (enq_flags & SCX_ENQ_LAST)
			scx_bpf_kick_cpu(cpu, 0);
		return;
	}
	if (tctx->host != tctx->cell)
		count(tctx, CS_VIOLATION);
	scx_bpf_dsq_insert_vtime(p, cpu_dsq(cpu), slice_for(queue), p->scx.dsq_vtime, enq_flags);
	if (cctx && cctx->lent_by) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
		return;
	}
	shrink_running(p, tctx, cpu);
	scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

/* Tells CPUs of other cells that work of this cell waits at that cache. */
static __always_inline void mark_waiting(u32 llc, u32 cell)
{
	struct waiting *entry = bpf_map_lookup_elem(&waitings, &llc);
	u32 word = cell / 64;
	u64 bit = 1ULL << (cell & 63);

	if (entry && word < CS_CELL_WORDS && !(entry->words[word] & bit))
		__sync_fetch_and_or(&entry->words[word], bit);
}

/*
 * Waits in the cell's queue. An idle CPU that serves the queue is woken even if there was none a moment ago: one that was
 * about to go idle may have looked before the task was there.
 */
static __always_inline void enqueue_cell(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					 u32 queue, u64 enq_flags)
{
	const struct cpumask *mask = cell_cpumask(table, tctx->host);
	s32 cpu = -1;

	scx_bpf_dsq_insert_vtime(p, queue, slice_for(queue), p->scx.dsq_vtime, enq_flags);
	count(tctx, CS_CELL_QUEUE);
	mark_waiting(queue - queue_index(tctx->host, 0), tctx->host);
	if (mask)
		cpu = scx_bpf_pick_idle_cpu(mask, 0);
	if (cpu < 0 && (flags_of_cell(table, tctx->host) & CS_CELL_BORROW)) {
		mask = lendable_cpumask(table);
		if (mask)
			cpu = scx_bpf_pick_idle_cpu(mask, 0);
	}
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
}

/*
 * The task ran and nothing else wants its CPU. At home it goes on. On a CPU of another cell it goes on as a borrower if it may;
 * true if it was inserted. Up to 7.2 the CPU needs a kick to notice.
 */
static __always_inline bool enqueue_last(struct task_struct *p, struct task_ctx *tctx, const struct cs_table *table,
					 s32 cpu, u64 enq_flags)
{
	u64 slice = slice_for(tctx->axis);

	if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return false;
	if (is_borrowing(tctx, table, cpu)) {
		if (!(flags_of_cell(table, tctx->host) & CS_CELL_BORROW) ||
		    !(flags_of_cell(table, cell_of_cpu(table, cpu)) & CS_CELL_LEND))
			return false;
		slice = conf.borrow_slice_ns;
	}
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, slice, enq_flags);
	scx_bpf_kick_cpu(cpu, 0);
	return true;
}

void BPF_STRUCT_OPS(cell_scheduler_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct cs_table *table = table_in_use();
	struct task_ctx *tctx = task_ctx(p);
	s32 cpu = scx_bpf_task_cpu(p), idle_cpu;
	u32 queue = NO_QUEUE;

	if (is_forced_to_stall(p->pid))
		return;
	if (tctx && table) {
		refresh_cell(p, tctx, table);
		if (is_pinned(p)) {
			enqueue_pinned(p, tctx, table, enq_flags);
			return;
		}
		queue = choose_host_queue(p, tctx, table, enq_flags & SCX_ENQ_WAKEUP);
	}
	if (!tctx || !table || queue == NO_QUEUE) {
		scx_bpf_dsq_insert(p, SCX_DSQ_GLOBAL, conf.slice_ns, enq_flags);
		__sync_fetch_and_add(&nr_no_context, 1);
		return;
	}
	settle_axis(p, tctx, queue);
	if ((enq_flags & SCX_ENQ_LAST) && !is_borrowing(tctx, table, cpu) &&
	    enqueue_last(p, tctx, table, cpu, enq_flags))
		return;
	/* A wake-up has just been offered to the idle CPUs by select_cpu; every other path has not. */
	if (!cpu_was_selected(enq_flags)) {
		idle_cpu = claim_own(p, table, tctx->host, cpu, 0);
		if (idle_cpu >= 0) {
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL_ON | idle_cpu, slice_for(queue), enq_flags);
			count(tctx, CS_LOCAL);
			return;
		}
		if ((enq_flags & SCX_ENQ_LAST) && enqueue_last(p, tctx, table, cpu, enq_flags))
			return;
		if (claim_elsewhere(p, tctx, table, cpu, 0, enq_flags, true) >= 0)
			return;
	}
	enqueue_cell(p, tctx, table, queue, enq_flags);
}

#endif /* CELL_SCHEDULER_PLACE_BPF_H */
