/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The busiest group of a span, and the busiest queue of a group: sums over ranges of CPUs, compared by push_policy.h.
 *
 * Relies on: sums of tasks per CPU being kept by account.bpf.h; they are read without locks, a wrong choice costs a round.
 * Does not handle: what is done about it; see pull.bpf.h.
 */
#ifndef ACTIVE_PUSH_GROUPS_BPF_H
#define ACTIVE_PUSH_GROUPS_BPF_H

#include "place.bpf.h"

/* Queues of the busiest group that are tried in one round, and groups. */
#define MAX_TRIES 4

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
 * On an overfull core, the CPU from which to push: every running thread but one. A thread whose task is bound stays, else the first
 * that runs. The rule is the same for whoever asks, so two CPUs that become idle at once never empty a core between them.
 */
__noinline int is_extra_thread(u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 i, end, stays = AP_NONE;

	end = place->core_nr;
	bpf_for(i, 0, end) {
		u32 other = ordered_cpu(place->core_first + i);
		struct ap_cpu *cctx = cpu_ctx(other);

		if (!cctx || !cctx->running_generation)
			continue;
		if (stays == AP_NONE || cctx->running_pinned)
			stays = other;
		if (cctx->running_pinned)
			break;
	}
	return stays != AP_NONE && stays != cpu;
}

/* No thread of the core runs or has anything, and nothing is on the way to one but to this CPU itself. */
__noinline int core_is_idle(u32 cpu)
{
	const volatile struct ap_place *place = place_of(cpu);
	u32 i, end;

	end = place->core_nr;
	bpf_for(i, 0, end) {
		u32 thread = ordered_cpu(place->core_first + i);
		struct ap_cpu *cctx = cpu_ctx(thread);

		if (cctx && (cctx->nr_running || (cctx->incoming && thread != cpu)))
			return 0;
	}
	return 1;
}

/* One look at the groups of a span. */
struct search {
	struct push_group local;
	struct push_group busiest;
	struct push_group current;
	/* Of the whole span. */
	u64 load;
	u64 capacity;
	/* Load that may still come over in this round. */
	u64 budget;
	/* Range of the busiest group; nr 0 when there is none. */
	u32 first;
	u32 nr;
	/* Waiting tasks of the span: those that may move, and those that are bound to their CPU. */
	u32 nr_waiting;
	u32 nr_bound;
	u32 nr_tried;
	u32 tried[MAX_TRIES];
	u32 group;
	/* Groups that this round is done with: what waits there may not come. Kept from one look to the next, and emptied by the round. */
	u32 nr_skipped;
	u32 skipped[MAX_TRIES];
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

static __always_inline u32 nr_waiting_bound(const struct ap_cpu *cctx)
{
	s32 bound = (s32)cctx->nr_pinned - (cctx->running_generation && cctx->running_pinned);

	return bound > 0 ? bound : 0;
}

/* Sums up a range of CPUs in `current`, and in the figures of the whole span. */
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
		sum->capacity += capacity_of(cpu);
		sum->load += cctx->load;
		sum->nr_running += cctx->nr_running;
		if (cctx->running_generation && !cctx->running_pinned)
			sum->nr_free++;
		sum->nr_waiting += nr_waiting_movable(cctx);
		found->nr_waiting += nr_waiting_movable(cctx);
		found->nr_bound += nr_waiting_bound(cctx);
		if (!cctx->nr_running)
			sum->nr_idle++;
		if (cctx->overfull_since_ns && cctx->running_generation && !cctx->running_pinned && is_extra_thread(cpu))
			sum->nr_overfull++;
		if (asymmetric() && cctx->misfit_util && capacity_of(cpu) < dst_capacity)
			sum->nr_misfit++;
	}
	found->load += sum->load;
	found->capacity += sum->capacity;
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

static __always_inline bool is_skipped(const struct search *found, u32 group)
{
	u32 i;

	bpf_for(i, 0, MAX_TRIES) {
		if (i < found->nr_skipped && found->skipped[i] == group)
			return true;
	}
	return false;
}

/* The round goes on without the busiest group; false if it has done so too often. */
static __always_inline bool skip_group(struct search *found)
{
	if (found->nr_skipped >= MAX_TRIES)
		return false;
	found->skipped[found->nr_skipped++ & (MAX_TRIES - 1)] = found->group;
	return true;
}

__noinline int find_busiest_group(u32 cpu, u32 level)
{
	struct search *found = my_search();
	u32 span = span_of(cpu, level), own = level ? span_of(cpu, level - 1) : AP_NONE;
	u32 begin = span_at(span)->first_group, end = begin + span_at(span)->nr_groups;
	u32 dst_capacity = capacity_of(cpu), group;

	if (!found)
		return 0;
	__builtin_memset(found, 0, offsetof(struct search, nr_skipped));
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
		if (!found->current.nr_running || is_skipped(found, group))
			continue;
		if (!found->nr || push_busier(&found->current, &found->busiest)) {
			found->busiest = found->current;
			found->group = group;
			found->first = first;
			found->nr = nr;
		}
	}
	if (level + 1 == conf.nr_levels && !found->nr_waiting)
		somebody_waits = 0;
	return found->nr;
}

/*
 * Of its group, is this the busy CPU that a task from outside would help most? Only that one takes a busy round: for a fuller one, no
 * move would even anything out, and CPUs whose ticks keep their order would spend the group's rounds like that for ever. The kernel's
 * should_we_balance() decides the same. CPUs that a higher class holds make no rounds, and idle ones do not count: they are asked at
 * every tick beside waiting work, and what still waits when a busy round is due is what they may not have.
 */
__noinline int is_lightest(u32 cpu, u32 level)
{
	struct ap_cpu *own = cpu_ctx(cpu);
	u32 first, nr, i;

	if (!own || !level || level >= AP_MAX_LEVELS)
		return 1;
	group_range(level, span_of(cpu, level - 1), &first, &nr);
	bpf_for(i, 0, nr) {
		u32 other = ordered_cpu(first + i);
		struct ap_cpu *cctx = cpu_ctx(other);

		if (cctx && cctx->nr_running && is_online(other) &&
		    push_heavier(own->load, capacity_of(cpu), cctx->load, capacity_of(other), 100) && !higher_class_on(other))
			return 0;
	}
	return 1;
}

static __always_inline bool was_tried(const struct search *found, u32 cpu)
{
	u32 i;

	bpf_for(i, 0, MAX_TRIES) {
		if (i < found->nr_tried && found->tried[i] == cpu)
			return true;
	}
	return false;
}

/* The CPU of the busiest group with the most load per capacity that has something to take and was not tried; AP_NONE if none. */
__noinline u32 find_busiest_queue(u32 cpu)
{
	struct search *found = my_search();
	u64 best_load = 0, best_capacity = 1;
	u32 best = AP_NONE, i, nr;

	if (!found)
		return AP_NONE;
	nr = found->nr;
	bpf_for(i, 0, nr) {
		u32 other = ordered_cpu(found->first + i);
		struct ap_cpu *cctx = cpu_ctx(other);

		if (!cctx || other == cpu || !nr_waiting_movable(cctx) || was_tried(found, other))
			continue;
		if (best == AP_NONE || push_heavier(cctx->load, capacity_of(other), best_load, best_capacity, 100)) {
			best = other;
			best_load = cctx->load;
			best_capacity = capacity_of(other);
		}
	}
	if (best != AP_NONE && found->nr_tried < MAX_TRIES)
		found->tried[found->nr_tried++ & (MAX_TRIES - 1)] = best;
	return best;
}

#endif /* ACTIVE_PUSH_GROUPS_BPF_H */
