/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Borrowing: which other cell's work an idle CPU takes, and what is known of lent CPUs.
 *
 * Of the cells whose tasks wait, the one that has borrowed least for its weight is served. That is a vtime of cells, in
 * CPU time of a cell of weight 100: who had nothing to borrow for is a few slices behind at most, as a task that slept is.
 *
 * Functions with loops are global: the verifier walks each of them once, and not once for every path that leads to it.
 *
 * Relies on: the hints in `waitings`, set by whoever queues and cleared by whoever finds nothing; weights from the table.
 * Does not handle: two CPUs that charge one cell at once; one of the charges may be lost.
 */
#ifndef CELL_SCHEDULER_BORROW_BPF_H
#define CELL_SCHEDULER_BORROW_BPF_H

#include "place.bpf.h"

/* The vtime at which cells are served. */
u64 borrow_now;

static __always_inline void set_lent(struct cpu_ctx *cctx, s32 cpu, u32 cell)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	struct bpf_cpumask *lent = state ? state->lent : NULL;

	cctx->lent_by = cell + 1;
	if (lent)
		bpf_cpumask_set_cpu(cpu, lent);
}

static __always_inline void clear_lent(struct cpu_ctx *cctx, s32 cpu)
{
	u32 cell = cctx->lent_by - 1;
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	struct bpf_cpumask *lent = state ? state->lent : NULL;

	cctx->lent_by = 0;
	if (lent)
		bpf_cpumask_clear_cpu(cpu, lent);
}

static __always_inline u32 weight_of_cell(const struct cs_table *table, u32 cell)
{
	return cell < CS_MAX_CELLS ? table->cell_weight[BOUNDED(cell, CS_MAX_CELLS)] : VTIME_WEIGHT_ONE;
}

/*
 * How far, in slices, a cell may be behind the others: credit for as long as it had nothing to borrow for. How far it may be ahead: debt
 * from when nobody else wanted to borrow; what many CPUs have prepaid at once fits. And how far it must be behind before a CPU of
 * another cache serves it first.
 */
#define BORROW_LAG_SLICES 4
#define BORROW_LEAD_SLICES 50
#define BORROW_LAG_SLICES_X_LLC 1

/* What the cell has borrowed for its weight, within those bounds. */
static __always_inline u64 borrowed_by(u32 cell)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	u64 earliest = borrow_now - BORROW_LAG_SLICES * conf.slice_ns;
	u64 latest = borrow_now + BORROW_LEAD_SLICES * conf.slice_ns;

	if (!state || vtime_before(state->borrow_vtime, earliest))
		return earliest;
	return vtime_before(latest, state->borrow_vtime) ? latest : state->borrow_vtime;
}

/*
 * A cell pays for a slice when its task begins it, and has back what the task leaves of it: CPUs that look for work at the same
 * moment must not all find the same cell the neediest.
 */
static __always_inline void prepay(struct cpu_ctx *cctx, const struct cs_table *table, u32 cell, u64 slice)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);

	cctx->prepaid_ns = slice;
	if (state)
		state->borrow_vtime = borrowed_by(cell) + vtime_delta(slice, weight_of_cell(table, cell));
}

static __always_inline void settle_prepaid(struct cpu_ctx *cctx, u32 cell, u64 used)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	struct cs_table *table = table_in_use();
	u64 prepaid = cctx->prepaid_ns;
	u32 weight;

	cctx->prepaid_ns = 0;
	if (!state || !table)
		return;
	weight = weight_of_cell(table, cell);
	if (used > prepaid)
		state->borrow_vtime += vtime_charge(used - prepaid, conf.slice_ns, weight);
	else
		state->borrow_vtime -= vtime_delta(prepaid - used, weight);
}

/* Has the cell work at that cache, for others to take? A hint that has come to nothing is withdrawn. */
static __always_inline bool waits_at(struct cs_table *table, struct waiting *entry, u32 cell, u32 llc)
{
	u32 word = cell / 64;
	u64 bit = 1ULL << (cell & 63);

	if (word >= CS_CELL_WORDS || !(entry->words[word] & bit) || !(flags_of_cell(table, cell) & CS_CELL_BORROW))
		return false;
	if (nr_queued(queue_index(cell, llc)))
		return true;
	__sync_fetch_and_and(&entry->words[word], ~bit);
	return false;
}

static __always_inline struct waiting *waiting_at(u32 llc)
{
	struct waiting *entry = bpf_map_lookup_elem(&waitings, &llc);

	return entry && (entry->words[0] | entry->words[1] | entry->words[2] | entry->words[3]) ? entry : NULL;
}

/* Of the cells whose work waits at that cache, the one that has borrowed least for its weight; CS_NONE if there is none. */
__noinline u32 neediest_at(struct cs_table *table __arg_nonnull, u32 cell, u32 llc)
{
	struct waiting *entry = waiting_at(llc);
	u32 nr_cells = conf.nr_cells, best = CS_NONE, other;
	u64 best_vtime = 0, vtime;

	if (!entry)
		return CS_NONE;
	bpf_for(other, 0, nr_cells) {
		if (other == cell || !waits_at(table, entry, other, llc))
			continue;
		vtime = borrowed_by(other);
		if (best == CS_NONE || vtime_before(vtime, best_vtime)) {
			best = other;
			best_vtime = vtime;
		}
	}
	return best;
}

static __always_inline bool take_for(u32 cell, u32 llc)
{
	u64 vtime;

	if (!scx_bpf_dsq_move_to_local(queue_index(cell, llc), 0))
		return false;
	vtime = borrowed_by(cell);
	if (vtime_before(borrow_now, vtime))
		borrow_now = vtime;
	return true;
}

/* The same whoever comes first: the neediest cell's tasks may all be barred from this CPU. */
__noinline bool take_any_at(struct cs_table *table __arg_nonnull, u32 cell, u32 llc, struct cpu_ctx *cctx __arg_nonnull)
{
	struct waiting *entry = waiting_at(llc);
	u32 nr_cells = conf.nr_cells, start, i;

	if (!entry)
		return false;
	start = cctx->borrow_cursor;
	if (start >= nr_cells)
		start = 0;
	bpf_for(i, 0, nr_cells) {
		u32 other = start + i >= nr_cells ? start + i - nr_cells : start + i;

		if (other != cell && waits_at(table, entry, other, llc) && take_for(other, llc)) {
			cctx->borrow_cursor = other + 1;
			return true;
		}
	}
	return false;
}

/* The cell whose task borrows the CPU and could go on; CS_NONE if that is not so. */
static __always_inline u32 borrower(struct task_struct *prev, struct cpu_ctx *cctx)
{
	struct task_ctx *tctx;

	if (!prev || !cctx->lent_by || !(prev->scx.flags & SCX_TASK_QUEUED))
		return CS_NONE;
	tctx = task_ctx(prev);
	return tctx ? tctx->host : CS_NONE;
}

/*
 * Takes a task of another cell, the nearest cache's first. One more cache is looked at each time, going round: its neediest cell
 * is served if it lags by enough. Nothing is taken if `present`, the cell that borrows the CPU now, has had less than them all:
 * its task goes on, by way of enqueue.
 */
__noinline bool borrow_work(struct cs_table *table __arg_nonnull, u32 cell, u32 llc, struct cpu_ctx *cctx __arg_nonnull,
			    u32 present)
{
	u32 nr_llcs = conf.nr_llcs, from = llc, best = CS_NONE, other, i;

	bpf_for(i, 0, nr_llcs) {
		from = llc + i >= nr_llcs ? llc + i - nr_llcs : llc + i;
		best = neediest_at(table, cell, from);
		if (best != CS_NONE)
			break;
	}
	if (best == CS_NONE)
		return false;
	other = cctx->lag_cursor + 1;
	if (other >= nr_llcs)
		other = 0;
	cctx->lag_cursor = other;
	if (other != from) {
		u32 there = neediest_at(table, cell, other);

		if (there != CS_NONE && vtime_before(borrowed_by(there) + BORROW_LAG_SLICES_X_LLC * conf.slice_ns,
						     borrowed_by(best))) {
			best = there;
			from = other;
		}
	}
	if (present != CS_NONE && vtime_before(borrowed_by(present), borrowed_by(best)))
		return false;
	if (take_for(best, from))
		return true;
	bpf_for(i, 0, nr_llcs) {
		other = llc + i >= nr_llcs ? llc + i - nr_llcs : llc + i;
		if (take_any_at(table, cell, other, cctx))
			return true;
	}
	return false;
}

#endif /* CELL_SCHEDULER_BORROW_BPF_H */
