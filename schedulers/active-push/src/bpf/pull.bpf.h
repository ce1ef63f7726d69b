/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pulling: a CPU looks through its levels, from the inside out, for the busiest group, in it for the busiest queue, and takes
 * tasks from there. What cannot be pulled because it runs becomes a push request.
 *
 * Three kinds of rounds, as the kernel's: newly idle (takes one task, bounded by what idle periods are worth), idle (the CPU
 * was kicked because work waits or a round is due), not idle (a busy CPU whose interval has passed: up to the imbalance). Every
 * round ends as exactly one of balanced, failed or gained.
 *
 * Relies on: being called from ops.dispatch only (queue-to-queue moves are allowed there on all kernels); level_states of a
 * group being claimed by exchange, so that one CPU balances for it at a time.
 * Does not handle: tasks on local queues; the CPU that has them runs them next.
 */
#ifndef ACTIVE_PUSH_PULL_BPF_H
#define ACTIVE_PUSH_PULL_BPF_H

#include "groups.bpf.h"

/* What a pull from one queue found: numbers of tasks, and what it passed over. */
#define PULL_MOVED(result) ((result) & 0xff)
#define PULL_HOT_MOVED(result) ((result) >> 8 & 0xff)
#define PULL_ONE_HOT_MOVED (1U << 8)
#define PULL_SAW_HOT (1U << 16)
#define PULL_SAW_PINNED (1U << 17)
#define PULL_SAW_USELESS (1U << 18)

/* How a round ended. */
enum round_end {
	ROUND_BALANCED,
	/* Balanced as far as this CPU can tell: it is not the one that could help. */
	ROUND_NOT_OURS,
	/* Only tasks that may not come: waiting ones, or running ones where none waits. */
	ROUND_PINNED,
	ROUND_FAILED,
	ROUND_GAINED,
};

/*
 * Does it have a reason to be left where it waits? Its data may still be in that CPU's caches, unless a higher class holds that CPU, or
 * it has been put there a moment ago because the CPU was idle.
 */
static __always_inline bool is_hot(const struct task_ctx *tctx, bool held, u64 now)
{
	if (tctx->placed_ns && now - tctx->placed_ns < conf.migration_cost_ns)
		return true;
	return !held && tctx->last_ran_ns && now - tctx->last_ran_ns < conf.migration_cost_ns;
}

/* Takes a waiting task over, from within a walk over its queue. A macro: the walk cannot be handed to a function. */
#define TAKE_OVER(p, cpu)                                                                     \
	({                                                                                    \
		scx_bpf_dsq_move_set_vtime(BPF_FOR_EACH_ITER, vtime_on(p, cpu));              \
		scx_bpf_dsq_move_vtime(BPF_FOR_EACH_ITER, p, cpu_dsq(cpu), 0);                \
	})

/*
 * Takes up to `max` tasks out of the queue of `src` into that of `cpu`, and no more load than the search's budget. Skips what may not
 * come here and, unless `hot_too`, what is cache-hot. An idle CPU takes the first it may have.
 */
__noinline u32 pull_queue(u32 src, u32 cpu, u32 max, bool hot_too, bool idle)
{
	struct ap_cpu *from = cpu_ctx(src), *to = cpu_ctx(cpu);
	struct search *found = my_search();
	u64 now = scx_bpf_now(), dsq = cpu_dsq(src);
	bool held = higher_class_on(src);
	/* Not constants: a loop that counts from one has as many states as it may have turns. */
	u32 result = unknown_zero, moved = unknown_zero;
	struct task_struct *p;

	if (!from || !to || !found)
		return 0;
	bpf_for_each(scx_dsq, p, dsq, 0) {
		struct task_ctx *tctx;
		bool hot;

		if (moved >= max)
			break;
		if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || migration_disabled(p)) {
			result |= PULL_SAW_PINNED;
			continue;
		}
		tctx = task_ctx(p);
		if (!tctx)
			continue;
		hot = is_hot(tctx, held, now);
		if (hot && !hot_too) {
			result |= PULL_SAW_HOT;
			continue;
		}
		/* Half of it: a move changes the difference between two queues twice. */
		if (!(idle && !moved) &&
		    (tctx->weight / 2 > found->budget ||
		     !push_move_helps(from->load, capacity_of(src), to->load, capacity_of(cpu), tctx->weight))) {
			result |= PULL_SAW_USELESS;
			continue;
		}
		if (!TAKE_OVER(p, cpu))
			continue;
		arrived_on(p, cpu);
		found->budget -= tctx->weight < found->budget ? tctx->weight : found->budget;
		if (hot)
			result += PULL_ONE_HOT_MOVED;
		moved++;
	}
	return result + moved;
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
		/* A slower CPU is no place to even out with. */
		if (capacity_of(other) > capacity)
			continue;
		if (running_may_come(other, cpu))
			return other;
	}
	return AP_NONE;
}

/* Why a running task of the busiest group should come to this CPU: a counter of push reasons, or how the round ends without it. */
static __always_inline u32 push_reason(const struct search *found, u32 cpu, enum round_end *end)
{
	u32 kind = push_group_kind(&found->busiest);

	*end = ROUND_BALANCED;
	if (kind == PUSH_MISFIT_TASK)
		return AP_PUSH_MISFIT;
	if (kind != PUSH_SMT_OVERFULL && !push_evens_out(&found->local, &found->busiest))
		return AP_NONE;
	*end = ROUND_PINNED;
	if (!found->busiest.nr_free)
		return AP_NONE;
	*end = ROUND_NOT_OURS;
	if (!core_is_idle(cpu))
		return AP_NONE;
	return kind == PUSH_SMT_OVERFULL ? AP_PUSH_SPREAD : AP_PUSH_IMBALANCE;
}

/* Nothing waits in the busiest group: one of its running tasks is asked for if it should come here. How the round ends. */
__noinline int ask_for_running(u32 cpu, u32 level, u32 idle)
{
	struct level_state *state = group_state(cpu, level);
	struct search *found = my_search();
	enum round_end end;
	u32 source, reason;

	if (!found || !state || level >= AP_MAX_LEVELS || idle >= AP_NR_IDLE_TYPES)
		return ROUND_BALANCED;
	reason = push_reason(found, cpu, &end);
	if (reason == AP_NONE)
		return end;
	if (reason == AP_PUSH_IMBALANCE && !push_is_due(state->nr_failed + 1, level_conf(level)->push_failures))
		return ROUND_FAILED;
	source = find_push_source(found->first, found->nr, cpu, push_group_kind(&found->busiest));
	if (source == AP_NONE || !push_record(source, cpu, level, idle, scx_bpf_now()))
		return ROUND_FAILED;
	count(reason);
	push_prompt(source);
	/* As the kernel: the next failures may move hot tasks, and do not push again at once. */
	state->nr_failed = level_conf(level)->cache_nice_tries;
	return ROUND_FAILED;
}

/* Pulls from the queues of the busiest group, one after the other until one gives something. */
__noinline u32 pull_group(u32 cpu, u32 level, u32 idle)
{
	struct level_state *state = group_state(cpu, level);
	u32 src, result = 0, max, tries, saw = 0;
	struct search *found = my_search();
	bool hot_too;

	if (!state || !found || level >= AP_MAX_LEVELS || idle >= AP_NR_IDLE_TYPES)
		return 0;
	found->budget = push_imbalance(&found->local, &found->busiest, found->load, found->capacity);
	max = idle == AP_NOT_IDLE ? conf.max_moves : 1;
	hot_too = state->nr_failed > level_conf(level)->cache_nice_tries;
	bpf_for(tries, 0, MAX_TRIES) {
		src = find_busiest_queue(cpu);
		if (src == AP_NONE) {
			if (!tries)
				count_level(level, idle, AP_LB_NOBUSYQ, 1);
			break;
		}
		if (!tries)
			count_level(level, idle, AP_LB_IMBALANCE, found->budget);
		result = pull_queue(src, cpu, max, hot_too, idle != AP_NOT_IDLE);
		if (PULL_MOVED(result)) {
			count_level(level, idle, AP_LB_GAINED, PULL_MOVED(result));
			count_level(level, idle, AP_LB_HOT_GAINED, PULL_HOT_MOVED(result));
			return result;
		}
		/* A queue that has emptied meanwhile is not one of pinned tasks. */
		saw |= result ?: PULL_SAW_USELESS;
	}
	return saw;
}

/* The round is over: failures and interval of the group follow. */
static __always_inline void end_round(struct level_state *state, u32 level, u32 idle, enum round_end end)
{
	const volatile struct ap_level *params = level_conf(level);
	bool unbalanced = end == ROUND_FAILED || end == ROUND_GAINED;

	if (end == ROUND_FAILED)
		count_level(level, idle, AP_LB_FAILED, 1);
	else if (end != ROUND_GAINED)
		count_level(level, idle, AP_LB_BALANCED, 1);
	if (end == ROUND_PINNED)
		count_level(level, idle, AP_LB_ALL_PINNED, 1);
	/* Newly idle rounds are too many to count as failures, as in the kernel. */
	if (idle == AP_NEWLY_IDLE && end != ROUND_GAINED)
		return;
	if (end == ROUND_FAILED)
		state->nr_failed++;
	else if (end != ROUND_NOT_OURS)
		state->nr_failed = 0;
	state->interval_ns = push_next_interval(state->interval_ns, params->min_interval_ns, params->max_interval_ns, unbalanced,
						end == ROUND_PINNED);
}

/* How a look at queues ended that gave nothing. */
static __always_inline enum round_end vain_end(u32 result)
{
	/* What waited has gone meanwhile: no busiest queue, and as in the kernel that is balance. */
	if (!result)
		return ROUND_BALANCED;
	return (result & PULL_SAW_PINNED) && !(result & (PULL_SAW_HOT | PULL_SAW_USELESS)) ? ROUND_PINNED : ROUND_FAILED;
}

/* The busiest group has waiting tasks, and enough more load than this one's for the kind of round. */
__noinline int find_group_to_pull_from(u32 cpu, u32 level, u32 idle)
{
	struct search *found = my_search();

	if (!found || level >= AP_MAX_LEVELS || !find_busiest_group(cpu, level) || !found->busiest.nr_waiting)
		return 0;
	return idle != AP_NOT_IDLE || push_heavier(found->busiest.load, found->busiest.capacity, found->local.load,
						   found->local.capacity, level_conf(level)->imbalance_pct);
}

/* Nothing can be pulled: how the round ends. */
static __always_inline enum round_end end_without_pull(struct search *found, u32 cpu, u32 level, u32 idle)
{
	enum round_end end = ROUND_BALANCED;

	if (found->nr && !found->busiest.nr_waiting && idle != AP_NOT_IDLE)
		end = ask_for_running(cpu, level, idle);
	if (end == ROUND_BALANCED && found->nr_bound)
		end = ROUND_PINNED;
	if (end != ROUND_FAILED)
		count_level(level, idle, AP_LB_NOBUSYG, 1);
	return end;
}

/*
 * One round on one level: the busiest group and, while what waits there may not come, the next one, as the kernel does after
 * LBF_ALL_PINNED. Returns the number of tasks that are now in this CPU's queue because of it.
 */
__noinline u32 balance_level(u32 cpu, u32 level, u32 idle)
{
	struct level_state *state = group_state(cpu, level);
	struct search *found = my_search();
	enum round_end end = ROUND_BALANCED;
	u32 result = 0, tries;

	if (!state || !found || level >= AP_MAX_LEVELS || idle >= AP_NR_IDLE_TYPES)
		return 0;
	count_level(level, idle, AP_LB_COUNT, 1);
	bpf_for(tries, 0, MAX_TRIES + 1) {
		if (!find_group_to_pull_from(cpu, level, idle)) {
			if (!tries)
				end = end_without_pull(found, cpu, level, idle);
			break;
		}
		result = pull_group(cpu, level, idle);
		end = PULL_MOVED(result) ? ROUND_GAINED : vain_end(result);
		if (end == ROUND_GAINED || !(result & PULL_SAW_PINNED) || !skip_group(found))
			break;
	}
	found->nr_skipped = 0;
	end_round(state, level, idle, end);
	return PULL_MOVED(result);
}

static __always_inline bool is_due(u64 last, u64 interval, u64 now)
{
	return (s64)(now - last) >= (s64)interval;
}

/* The round of a group whose last one of that kind was then is due, and this CPU has just claimed it. */
static __always_inline bool claim_round(u64 *last_balance_ns, u64 interval, u64 now)
{
	u64 last = *last_balance_ns;

	return is_due(last, interval, now) && __sync_val_compare_and_swap(last_balance_ns, last, now) == last;
}

static __always_inline u64 round_interval(const struct level_state *state, u32 level, bool busy)
{
	const volatile struct ap_level *params = level_conf(level);

	if (level >= AP_MAX_LEVELS)
		return ~0ULL;
	return push_round_interval(state->interval_ns, params->min_interval_ns, params->max_interval_ns, params->busy_factor, busy);
}

/* The innermost level on which both CPUs are in one span: whose counters a move between them belongs to. */
static __always_inline u32 common_level(u32 a, u32 b)
{
	u32 nr_levels = conf.nr_levels, level, common = 0;

	bpf_for(level, 0, nr_levels) {
		common = level;
		if (span_of(a, level) == span_of(b, level))
			break;
	}
	return common;
}

/*
 * Takes one task of the CPU that has asked this one. A busy CPU does so only for one that a higher class holds: tasks there would wait
 * for as long as that pleases. Returns the number of tasks that came.
 */
__noinline u32 help_out(u32 cpu, u32 idle)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);
	struct search *found = my_search();
	u32 src, level, result;
	bool held;

	if (!cctx || !found || !cctx->help || idle >= AP_NR_IDLE_TYPES)
		return 0;
	src = cctx->help - 1;
	cctx->help = 0;
	held = higher_class_on(src);
	if (idle == AP_NOT_IDLE && !held)
		return 0;
	level = common_level(cpu, src);
	found->budget = ~0ULL;
	result = pull_queue(src, cpu, 1, false, true);
	count_level(level, idle, AP_LB_COUNT, 1);
	if (!PULL_MOVED(result)) {
		count_level(level, idle, AP_LB_FAILED, 1);
		return 0;
	}
	count_level(level, idle, AP_LB_GAINED, 1);
	if (held)
		count(AP_HELPED);
	return 1;
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
		if (!claim_round(&state->last_balance_ns, round_interval(state, level, false), now)) {
			/* Not due: only waiting work matters. */
			if (!somebody_waits || !find_busiest_group(cpu, level) || !found->busiest.nr_waiting)
				continue;
		}
		moved = balance_level(cpu, level, AP_IDLE);
		if (moved)
			return moved;
	}
	return 0;
}

/* A CPU that is about to become idle: as far out as its idle periods are worth, if anybody waits at all. */
__noinline u32 newidle_balance(u32 cpu)
{
	u64 now = scx_bpf_now(), begin = now, spent = 0;
	u32 nr_levels = conf.nr_levels, level;
	struct search *found = my_search();
	struct ap_cpu *cctx = cpu_ctx(cpu);

	if (!found || !cctx || !somebody_waits)
		return 0;
	bpf_for(level, 0, nr_levels) {
		struct level_state *state = group_state(cpu, level);
		u64 after, cost;
		u32 moved;

		if (!state)
			continue;
		/* Before it is asked for: an estimate that forbids every round would never fall. */
		if ((s64)(now - state->next_decay_ns) > 0) {
			state->next_decay_ns = now + level_conf(level)->newidle_decay_ns;
			state->newidle_cost_ns = push_decayed_cost(state->newidle_cost_ns);
		}
		if (cctx->avg_idle_ns < spent + state->newidle_cost_ns)
			break;
		moved = balance_level(cpu, level, AP_NEWLY_IDLE);
		after = scx_bpf_now();
		cost = after - now;
		spent = after - begin;
		state->newidle_cost_ns =
			push_newidle_cost(state->newidle_cost_ns, cost, level_conf(level)->newidle_cost_max_ns);
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
		u64 interval;

		if (!state)
			continue;
		interval = round_interval(state, level, true);
		if (!is_due(state->last_busy_balance_ns, interval, now) || !is_lightest(cpu, level))
			continue;
		if (claim_round(&state->last_busy_balance_ns, interval, now))
			moved += balance_level(cpu, level, AP_NOT_IDLE);
	}
	return moved;
}

#endif /* ACTIVE_PUSH_PULL_BPF_H */
