/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Help: who takes a task that waits, when its own CPU cannot see to it.
 *
 * A CPU that a higher class holds has no tick of ours and makes no round, so nobody there asks for help. Three things do instead: the
 * task that loses the CPU asks for those that wait behind it, a task that is queued there asks for itself, and a timer looks at
 * such CPUs now and then (an idle CPU that may have the task is kicked; if there is none, the least loaded one takes it between two
 * slices).
 *
 * Relies on: `help` of a CPU being read by that CPU only; losing one of two requests at once, which the timer makes good.
 * The timer is set up by a program that may sleep, and up to 6.18 the verifier takes what it calls for part of that: hence the RCU
 * locks here.
 * Does not handle: tasks bound to the held CPU; from 7.0 on the kernel gives those a share, before it nobody can.
 */
#ifndef ACTIVE_PUSH_HELP_BPF_H
#define ACTIVE_PUSH_HELP_BPF_H

#include "push.bpf.h"

/* CPUs that are looked at for the least loaded one. */
#define LIGHTEST_SCAN_MAX 64

/* Waiting tasks for which help is looked for at a time. */
#define HELP_LOOKS 8

/* CPUs that are kicked because they may have gone idle a moment ago. */
#define LOOKING_MAX 8

#define WATCH_CLOCK 1 /* CLOCK_MONOTONIC */

struct watch {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct watch);
	__uint(max_entries, 1);
} watches SEC(".maps");

/* An idle CPU that the task may use, in the cache of `cpu` first. Not claimed. AP_NONE if there is none. */
static __always_inline u32 near_idle(struct task_struct *p, u32 cpu, const struct cpumask *idle)
{
	const struct cpumask *llc = mask_of(&llc_masks, place_of(cpu)->llc);
	u32 found = AP_NONE;

	if (llc)
		found = bpf_cpumask_any_and_distribute(llc, idle);
	if (is_online(found) && bpf_cpumask_test_cpu(found, p->cpus_ptr))
		return found;
	found = bpf_cpumask_any_and_distribute(p->cpus_ptr, idle);
	return is_online(found) ? found : AP_NONE;
}

/* The CPU with the least load per capacity among the next ones to `near`, held ones aside. AP_NONE if there is none. */
__noinline u32 lightest_cpu(struct task_struct *p __arg_trusted, u32 near)
{
	u32 nr = conf.nr_cpu_ids < LIGHTEST_SCAN_MAX ? conf.nr_cpu_ids : LIGHTEST_SCAN_MAX, i;
	u32 best = AP_NONE, first = place_of(near)->core_first;
	u64 best_load = 0, best_capacity = 1;

	bpf_rcu_read_lock();
	bpf_for(i, 0, nr) {
		u32 at = first + i, cpu = ordered_cpu(at < conf.nr_cpu_ids ? at : at - conf.nr_cpu_ids);
		struct ap_cpu *cctx = cpu_ctx(cpu);

		if (!cctx || !is_online(cpu) || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr) || higher_class_on(cpu))
			continue;
		if (best == AP_NONE || push_heavier(best_load, best_capacity, cctx->load, capacity_of(cpu), 100) ||
		    (cpu == near && !push_heavier(cctx->load, capacity_of(cpu), best_load, best_capacity, 100))) {
			best = cpu;
			best_load = cctx->load;
			best_capacity = capacity_of(cpu);
		}
	}
	bpf_rcu_read_unlock();
	return best;
}

static __always_inline void ask_to_help(u32 helper, u32 cpu)
{
	struct ap_cpu *hctx = cpu_ctx(helper);

	if (hctx)
		hctx->help = cpu + 1;
}

/* An idle CPU is claimed and kicked for a task that waits on `cpu`. */
static __always_inline bool wake_helper(struct task_struct *p, u32 cpu)
{
	s32 helper = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);

	if (helper < 0)
		return false;
	ask_to_help(helper, cpu);
	scx_bpf_kick_cpu(helper, SCX_KICK_IDLE);
	return true;
}

/* Tasks wait on a CPU that a higher class holds: somebody is asked to take one. */
__noinline int call_for_help(u32 held)
{
	u64 dsq = cpu_dsq(held);
	/* Not a constant: a loop that counts from one has as many states as it may have turns. */
	u32 looked = unknown_zero;
	struct task_struct *p;
	bool asked = false;

	bpf_rcu_read_lock();
	bpf_for_each(scx_dsq, p, dsq, 0) {
		u32 lightest;

		if (asked || looked++ >= HELP_LOOKS)
			break;
		asked = wake_helper(p, held);
		if (asked)
			continue;
		lightest = lightest_cpu(p, held);
		if (lightest == AP_NONE)
			continue;
		ask_to_help(lightest, held);
		asked = true;
	}
	bpf_rcu_read_unlock();
	if (asked)
		count(AP_CALLED_FOR_HELP);
	return asked;
}

/*
 * The CPU where a task has just been queued runs nothing of ours: no tick there will ever ask for help. A CPU that looked for work just
 * before the task was queued, and is not marked idle yet, must look again. A kick acts only on a CPU that has become idle.
 */
__noinline int kick_looking(u32 held)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, cpu, nr = 0;

	bpf_for(cpu, 0, nr_cpu_ids) {
		struct ap_cpu *cctx = cpu_ctx(cpu);

		if (!cctx || cpu == held || !cctx->idle_since_ns)
			continue;
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		if (++nr >= LOOKING_MAX)
			break;
	}
	return nr;
}

static int watch_held(void *map, u32 *key, struct watch *watch)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, cpu;

	bpf_for(cpu, 0, nr_cpu_ids) {
		struct ap_cpu *cctx = cpu_ctx(cpu);

		if (cctx && !cctx->running_generation && nr_waiting_movable(cctx) && higher_class_on(cpu))
			call_for_help(cpu);
	}
	bpf_timer_start(&watch->timer, conf.watch_ns, 0);
	return 0;
}

static __always_inline s32 start_watch(void)
{
	u32 zero = 0;
	struct watch *watch = bpf_map_lookup_elem(&watches, &zero);
	s32 err;

	if (!watch)
		return -ENOENT;
	err = bpf_timer_init(&watch->timer, &watches, WATCH_CLOCK);
	if (err)
		return err;
	err = bpf_timer_set_callback(&watch->timer, watch_held);
	if (err)
		return err;
	return bpf_timer_start(&watch->timer, conf.watch_ns, 0);
}

#endif /* ACTIVE_PUSH_HELP_BPF_H */
