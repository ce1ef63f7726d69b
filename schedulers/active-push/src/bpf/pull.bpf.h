/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pulling: a CPU looks through its levels, from the inside out, for the busiest group, in it for the busiest queue, and takes
 * tasks from there. What cannot be pulled because it runs becomes a push request.
 *
 * Three kinds of rounds, as the kernel's: newly idle (takes one task, bounded by what idle periods are worth), idle (the CPU
 * was kicked because work waits or a round is due), not idle (a busy CPU whose interval has passed: up to the imbalance).
 *
 * Relies on: being called from ops.dispatch only (queue-to-queue moves are allowed there on all kernels); level_states of a
 * group being claimed by exchange, so that one CPU balances for it at a time.
 * Does not handle: tasks on local queues; the CPU that has them runs them next.
 */
#ifndef ACTIVE_PUSH_PULL_BPF_H
#define ACTIVE_PUSH_PULL_BPF_H

#include "place.bpf.h"

/* What a pull from one queue found. */
#define PULL_HOT (1U << 16)
#define PULL_PINNED (1U << 17)
#define PULL_HOT_GAINED (1U << 18)
#define PULL_MOVED(result) ((result) & 0xffff)

/* Index of the level_state of the group of `cpu` on `level`. */
static __always_inline u32 group_state_index(u32 cpu, u32 level)
{
	return level ? conf.nr_cpu_ids + span_of(cpu, level - 1) : cpu;
}

static __always_inline struct level_state *group_state(u32 cpu, u32 level)
{
	u32 index = group_state_index(cpu, level);

	return bpf_map_lookup_elem(&level_states, &index);
}

/* Does more than one thread of the core run something? Only tasks of this scheduler are seen. */
__noinline int core_is_overfull(u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 i, end = place->core_nr;
	bool one = false;

	bpf_for(i, 0, end) {
		struct ap_cpu *cctx = cpu_ctx(ordered_cpu(place->core_first + i));

		if (!cctx || !cctx->running_generation)
			continue;
		if (one)
			return 1;
		one = true;
	}
	return 0;
}

/*
 * On an overfull core, the CPU from which to push: every running thread but the first. The rule is the same for whoever asks, so
 * two CPUs that become idle at once never empty a core between them.
 */
__noinline int is_extra_thread(u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 i, end;

	if (place->core_nr < 2)
		return 0;
	end = place->core_nr;
	bpf_for(i, 0, end) {
		u32 other = ordered_cpu(place->core_first + i);
		struct ap_cpu *cctx;

		if (other == cpu)
			return 0;
		cctx = cpu_ctx(other);
		if (cctx && cctx->running_generation)
			return 1;
	}
	return 0;
}

/* No thread of the core runs or has anything. */
__noinline int core_is_idle(u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 i, end;

	end = place->core_nr;
	bpf_for(i, 0, end) {
		struct ap_cpu *cctx = cpu_ctx(ordered_cpu(place->core_first + i));

		if (cctx && cctx->nr_running)
			return 0;
	}
	return 1;
}

/* One look at the groups of a span. */
struct search {
	struct push_group local;
	struct push_group busiest;
	struct push_group current;
	/* Range of the busiest group; nr 0 when there is none. */
	u32 first;
	u32 nr;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, struct search);
	__uint(max_entries, 1);
} searches SEC(".maps");

static __always_inline struct search *my_search(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&searches, &zero);
}

/* Sums up a range of CPUs in `current`. */
__noinline int sum_group(u32 first, u32 nr, u32 dst_capacity)
{
	struct search *found = my_search();
	struct push_group *sum;
	u32 i;

	if (!found)
		return 0;
	sum = &found->current;
	__builtin_memset(sum, 0, sizeof(*sum));
	bpf_for(i, 0, nr) {
		u32 cpu = ordered_cpu(first + i);
		struct ap_cpu *cctx = cpu_ctx(cpu);

		if (!cctx)
			continue;
		sum->nr_cpus++;
		sum->capacity += capacity_of(cpu);
		sum->load += cctx->load;
		sum->nr_running += cctx->nr_running;
		sum->nr_waiting += nr_waiting_movable(cctx);
		if (!cctx->nr_running)
			sum->nr_idle++;
		if (cctx->overfull_since_ns && cctx->running_generation)
			sum->nr_overfull++;
		if (asymmetric() && cctx->misfit_util && capacity_of(cpu) < dst_capacity)
			sum->nr_misfit++;
	}
	return 0;
}

/* A group of a span as a range of cpu_order. */
static __always_inline void group_range(u32 level, u32 group, u32 *first, u32 *nr)
{
	if (!level) {
		*first = group;
		*nr = 1;
	} else {
		*first = span_at(group)->first;
		*nr = span_at(group)->nr;
	}
}

__noinline int find_busiest_group(u32 cpu, u32 level)
{
	struct search *found = my_search();
	u32 span = span_of(cpu, level), own = level ? span_of(cpu, level - 1) : AP_NONE;
	u32 begin = span_at(span)->first_group, end = begin + span_at(span)->nr_groups;
	u32 dst_capacity = capacity_of(cpu), group;

	if (!found)
		return 0;
	__builtin_memset(found, 0, sizeof(*found));
	bpf_for(group, begin, end) {
		bool local = false;
		u32 first, nr;

		group_range(level, group, &first, &nr);
		if (!level)
			local = ordered_cpu(group) == cpu;
		else
			local = own == group;
		sum_group(first, nr, dst_capacity);
		if (local) {
			found->local = found->current;
			continue;
		}
		if (!found->current.nr_running)
			continue;
		if (!found->nr || push_busier(&found->current, &found->busiest)) {
			found->busiest = found->current;
			found->first = first;
			found->nr = nr;
		}
	}
	return found->nr;
}

/* The CPU with the most load per capacity that has something to take; AP_NONE if there is none. */
__noinline u32 find_busiest_queue(u32 first, u32 nr, u32 cpu, u32 skip)
{
	u64 best_load = 0, best_capacity = 1;
	u32 best = AP_NONE, i;

	bpf_for(i, 0, nr) {
		u32 other = ordered_cpu(first + i);
		struct ap_cpu *cctx = cpu_ctx(other);

		if (!cctx || other == cpu || other == skip || !nr_waiting_movable(cctx))
			continue;
		if (best == AP_NONE || push_heavier(cctx->load, capacity_of(other), best_load, best_capacity, 100)) {
			best = other;
			best_load = cctx->load;
			best_capacity = capacity_of(other);
		}
	}
	return best;
}

/*
 * Takes up to `max` tasks out of the queue of `src` into that of `cpu`. Skips what may not come here and, unless `hot_too`, what
 * is cache-hot. An idle CPU takes the first it may have.
 */
__noinline u32 pull_queue(u32 src, u32 cpu, u32 max, bool hot_too, bool idle)
{
	struct ap_cpu *from = cpu_ctx(src), *to = cpu_ctx(cpu);
	u64 now = scx_bpf_now(), dsq = cpu_dsq(src);
	/* Not a constant: a loop that counts from one has as many states as it may have turns. */
	u32 result = unknown_zero, moved = unknown_zero;
	struct task_struct *p;

	if (!from || !to)
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		struct task_ctx *tctx;
		bool hot;

		if (moved >= max)
			break;
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || migration_disabled(p)) {
			result |= PULL_PINNED;
			continue;
		}
		tctx = task_ctx(p);
		if (!tctx)
			continue;
		hot = tctx->last_ran_ns && now - tctx->last_ran_ns < conf.migration_cost_ns;
		if (hot && !hot_too) {
			result |= PULL_HOT;
			continue;
		}
		if (!(idle && !moved) &&
		    !push_move_helps(from->load, capacity_of(src), to->load, capacity_of(cpu), tctx->weight))
			continue;
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, vtime_on(p, cpu));
		if (!scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, cpu_dsq(cpu), 0))
			continue;
		arrived_on(p, cpu);
		if (hot)
			result |= PULL_HOT_GAINED;
		moved++;
	}
	return result | moved;
}

/* The task that runs on `src` may run on `dst`: asking for one that may not would only end its slice for nothing. */
__noinline int running_may_come(u32 src, u32 dst)
{
	struct task_struct *p;
	int may = 0;

	bpf_rcu_read_lock();
	p = __COMPAT_scx_bpf_cpu_curr(src);
	if (p)
		may = bpf_cpumask_test_cpu(dst, p->cpus_ptr);
	bpf_rcu_read_unlock();
	return may;
}

/* A running task of the busiest group for this idle CPU. Returns the CPU that was asked, AP_NONE if none. */
__noinline u32 find_push_source(u32 first, u32 nr, u32 cpu, u32 kind)
{
	u32 i, capacity = capacity_of(cpu);

	bpf_for(i, 0, nr) {
		u32 other = ordered_cpu(first + i);
		struct ap_cpu *cctx = cpu_ctx(other);

		if (!cctx || !cctx->running_generation || cctx->running_pinned || cctx->request_state != PUSH_NONE)
			continue;
		if (kind == PUSH_SMT_OVERFULL && !is_extra_thread(other))
			continue;
		if (kind == PUSH_MISFIT_TASK && (!cctx->misfit_util || capacity_of(other) >= capacity))
			continue;
		if (running_may_come(other, cpu))
			return other;
	}
	return AP_NONE;
}

/* Nothing waits in the busiest group: should one of its running tasks come here? Returns 1 if it was asked for. */
__noinline int consider_push(u32 cpu, u32 level, u32 idle)
{
	struct level_state *state = group_state(cpu, level);
	struct search *found = my_search();
	u32 kind, source, reason;
	u64 now = scx_bpf_now();

	if (!found || !state || level >= AP_MAX_LEVELS || idle >= AP_NR_IDLE_TYPES)
		return 0;
	kind = push_group_kind(&found->busiest);
	if (kind == PUSH_MISFIT_TASK) {
		reason = AP_PUSH_MISFIT;
	} else if (!core_is_idle(cpu)) {
		return 0;
	} else if (kind == PUSH_SMT_OVERFULL) {
		reason = AP_PUSH_SPREAD;
	} else if (push_evens_out(&found->local, &found->busiest)) {
		reason = AP_PUSH_IMBALANCE;
		state->nr_failed++;
		count_level(level, idle, AP_LB_FAILED, 1);
		count_level(level, idle, AP_LB_IMBALANCE, 1);
		if (!push_is_due(state->nr_failed, level_conf(level)->push_failures))
			return 0;
	} else {
		return 0;
	}
	source = find_push_source(found->first, found->nr, cpu, kind);
	if (source == AP_NONE || !push_record(source, cpu, level, idle, now))
		return 0;
	count(reason);
	/* As the kernel: the next failures may move hot tasks, and do not push again at once. */
	state->nr_failed = level_conf(level)->cache_nice_tries;
	push_prompt(source);
	return 1;
}

/* One round on one level. Returns the number of tasks that are now in this CPU's queue because of it. */
__noinline u32 balance_level(u32 cpu, u32 level, u32 idle)
{
	struct search *found = my_search();
	struct level_state *state = group_state(cpu, level);
	u32 src, result, max, skip = AP_NONE, tries;
	bool hot_too, pinned = false;

	if (!state || !found || level >= AP_MAX_LEVELS || idle >= AP_NR_IDLE_TYPES)
		return 0;
	count_level(level, idle, AP_LB_COUNT, 1);
	if (!find_busiest_group(cpu, level)) {
		count_level(level, idle, AP_LB_NOBUSYG, 1);
		goto balanced;
	}
	if (!found->busiest.nr_waiting) {
		if (idle == AP_NOT_IDLE || !consider_push(cpu, level, idle))
			count_level(level, idle, AP_LB_NOBUSYQ, 1);
		goto balanced;
	}
	if (idle == AP_NOT_IDLE && !push_heavier(found->busiest.load, found->busiest.capacity, found->local.load,
						 found->local.capacity, level_conf(level)->imbalance_pct))
		goto balanced;
	max = idle == AP_NOT_IDLE ? conf.max_moves : 1;
	hot_too = state->nr_failed > level_conf(level)->cache_nice_tries;
	/* A queue with nothing for this CPU must not hide the next one. */
	bpf_for(tries, 0, 2) {
		src = find_busiest_queue(found->first, found->nr, cpu, skip);
		if (src == AP_NONE) {
			count_level(level, idle, AP_LB_NOBUSYQ, 1);
			break;
		}
		result = pull_queue(src, cpu, max, hot_too, idle != AP_NOT_IDLE);
		if (PULL_MOVED(result)) {
			count_level(level, idle, AP_LB_GAINED, PULL_MOVED(result));
			count_level(level, idle, AP_LB_IMBALANCE, PULL_MOVED(result));
			if (result & PULL_HOT_GAINED)
				count_level(level, idle, AP_LB_HOT_GAINED, 1);
			state->nr_failed = 0;
			state->interval_ns = level_conf(level)->min_interval_ns;
			return PULL_MOVED(result);
		}
		pinned |= (result & PULL_PINNED) && !(result & PULL_HOT);
		skip = src;
	}
	/* Newly idle rounds are too many to count as failures, as in the kernel. */
	if (idle != AP_NEWLY_IDLE)
		state->nr_failed++;
	count_level(level, idle, AP_LB_FAILED, 1);
	if (pinned)
		count_level(level, idle, AP_LB_ALL_PINNED, 1);
	goto out;
balanced:
	count_level(level, idle, AP_LB_BALANCED, 1);
out:
	if (idle != AP_NEWLY_IDLE)
		state->interval_ns = push_next_interval(state->interval_ns, level_conf(level)->min_interval_ns,
							level_conf(level)->max_interval_ns, false, pinned);
	return 0;
}

/* The round of this group is due, and this CPU has just claimed it. */
static __always_inline bool claim_round(struct level_state *state, u64 interval, u64 now)
{
	u64 last = state->last_balance_ns;

	return (s64)(now - last) >= (s64)interval &&
	       __sync_val_compare_and_swap(&state->last_balance_ns, last, now) == last;
}

static __always_inline u64 round_interval(const struct level_state *state, u32 level, bool busy)
{
	u64 interval = state->interval_ns;

	if (level >= AP_MAX_LEVELS)
		return ~0ULL;
	if (interval < level_conf(level)->min_interval_ns)
		interval = level_conf(level)->min_interval_ns;
	return busy ? interval * level_conf(level)->busy_factor : interval;
}

/* A CPU that was idle already and was kicked: work that waits is taken at once, pushes are considered when a round is due. */
__noinline u32 idle_balance(u32 cpu)
{
	u32 nr_levels = conf.nr_levels, level;
	struct search *found = my_search();
	u64 now = scx_bpf_now();

	if (!found)
		return 0;
	bpf_for(level, 0, nr_levels) {
		struct level_state *state = group_state(cpu, level);
		u32 moved;

		if (!state)
			continue;
		if (!claim_round(state, round_interval(state, level, false), now)) {
			/* Not due: only waiting work matters. */
			if (!find_busiest_group(cpu, level) || !found->busiest.nr_waiting)
				continue;
		}
		moved = balance_level(cpu, level, AP_IDLE);
		if (moved)
			return moved;
	}
	return 0;
}

/* A CPU that is about to become idle: as far out as its idle periods are worth. */
__noinline u32 newidle_balance(u32 cpu)
{
	u64 now = scx_bpf_now(), begin = now, spent = 0;
	u32 nr_levels = conf.nr_levels, level;
	struct search *found = my_search();
	struct ap_cpu *cctx = cpu_ctx(cpu);

	if (!found || !cctx)
		return 0;
	bpf_for(level, 0, nr_levels) {
		struct level_state *state = group_state(cpu, level);
		u64 after, cost;
		u32 moved;
		bool decay;

		if (!state)
			continue;
		if (cctx->avg_idle_ns < spent + state->newidle_cost_ns)
			break;
		moved = balance_level(cpu, level, AP_NEWLY_IDLE);
		after = scx_bpf_now();
		cost = after - now;
		spent = after - begin;
		decay = (s64)(after - state->next_decay_ns) > 0;
		if (decay)
			state->next_decay_ns = after + 1000 * 1000 * 1000;
		state->newidle_cost_ns =
			push_newidle_cost(state->newidle_cost_ns, cost, conf.migration_cost_ns + 200 * 1000, decay);
		now = after;
		if (moved)
			return moved;
	}
	return 0;
}

/* A busy CPU between two slices: rounds that are due. */
__noinline u32 busy_balance(u32 cpu)
{
	u32 nr_levels = conf.nr_levels, level, moved = 0;
	struct search *found = my_search();
	u64 now = scx_bpf_now();

	if (!found)
		return 0;
	bpf_for(level, 0, nr_levels) {
		struct level_state *state = group_state(cpu, level);

		if (state && claim_round(state, round_interval(state, level, true), now))
			moved += balance_level(cpu, level, AP_NOT_IDLE);
	}
	return moved;
}

#endif /* ACTIVE_PUSH_PULL_BPF_H */
