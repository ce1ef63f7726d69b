/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Active push: a running task is asked to go to an idle CPU, and goes when it schedules out. No helper thread, and nothing of a
 * higher class is preempted for it.
 *
 * The request lives with the source CPU. Its states and transitions have the same names in the model that is checked
 * exhaustively: tests/protocol_model/steps.rs; change both together.
 *
 *   NONE ──record──► RECORDING ──publish──► REQUESTED ──take──► TAKEN ──arrive──► NONE
 *                        ▲                     │                  └──refuse───► NONE
 *                        └──────withdraw───────┘   (then NONE)
 *
 *   record    anyone: the source has no request, and the target is nobody's target (its `incoming` is claimed)
 *   publish   the recorder: generation, target and time are written
 *   take      the source, in stopping: the recorded task leaves it still runnable
 *   arrive    the source, in enqueue: everything holds, the target's idle bit is claimed, the task goes to its queue
 *   refuse    the source, in enqueue: something does not hold any more; the cause is counted
 *   withdraw  the source when the task is not the recorded one or sleeps; the target when it runs something else; anyone after
 *             the expiry
 *
 * `incoming` of the target is released by whoever ends the request, so a target is in at most one request at any time.
 * RECORDING is short and belongs to one CPU; TAKEN lasts from stopping to enqueue of the same task, under one rq lock.
 *
 * Relies on: compare-and-exchange on the state; a claimed idle CPU looking into its queue when it is kicked.
 * Does not handle: tasks that wait; those are pulled.
 *
 * Functions with loops or many branches are global: the verifier then looks at each once, not along every path that calls it.
 */
#ifndef ACTIVE_PUSH_PUSH_BPF_H
#define ACTIVE_PUSH_PUSH_BPF_H

#include "account.bpf.h"

enum push_state {
	PUSH_NONE,
	PUSH_RECORDING,
	PUSH_REQUESTED,
	PUSH_TAKEN,
};

static __always_inline bool change_state(struct ap_cpu *source, u32 from, u32 to)
{
	return __sync_val_compare_and_swap(&source->request_state, from, to) == from;
}

static __always_inline void release_target(u32 target, u32 source)
{
	struct ap_cpu *tctx = cpu_ctx(target);

	if (tctx)
		__sync_val_compare_and_swap(&tctx->incoming, source + 1, 0);
}

/*
 * withdraw: the request of `source`, if it is still waiting, ends with `cause` counted. With a `meant_for` other than AP_NONE only one to
 * that target: the source may have a newer one by now.
 */
__noinline int push_withdraw(u32 source, u32 cause, u32 meant_for)
{
	struct ap_cpu *cctx = cpu_ctx(source);
	u32 target, level, idle;

	if (!cctx || !change_state(cctx, PUSH_REQUESTED, PUSH_RECORDING))
		return 0;
	target = cctx->request_target;
	if (meant_for != AP_NONE && target != meant_for) {
		__sync_lock_test_and_set(&cctx->request_state, PUSH_REQUESTED);
		return 0;
	}
	level = cctx->request_level;
	idle = cctx->request_idle;
	cctx->request_generation = 0;
	release_target(target, source);
	cctx->request_state = PUSH_NONE;
	count(cause);
	count_level(level, idle, AP_ALB_FAILED, 1);
	return 1;
}

static __always_inline bool request_expired(const struct ap_cpu *cctx, u64 now)
{
	return cctx->request_state == PUSH_REQUESTED &&
	       (s64)(now - cctx->request_at_ns) > (s64)conf.request_expiry_ns;
}

/* An old request must not keep its source or target from new ones. */
static __always_inline void withdraw_expired(u32 source, struct ap_cpu *cctx, u64 now)
{
	if (request_expired(cctx, now))
		push_withdraw(source, AP_STALE_EXPIRED, AP_NONE);
}

/*
 * record and publish: the task that runs on `source` shall go to `target`. Returns 1 if the request stands.
 * `idle` and `level` say on whose account it is counted.
 */
__noinline int push_record(u32 source, u32 target, u32 level, u32 idle, u64 now)
{
	struct ap_cpu *cctx = cpu_ctx(source), *dst = cpu_ctx(target), *other;
	u64 generation;
	u32 incoming;

	if (!cctx || !dst || source == target || conf.no_push)
		return 0;
	withdraw_expired(source, cctx, now);
	incoming = dst->incoming;
	if (incoming) {
		other = cpu_ctx(incoming - 1);
		if (other)
			withdraw_expired(incoming - 1, other, now);
	}
	if (!change_state(cctx, PUSH_NONE, PUSH_RECORDING)) {
		count(AP_PUSH_COLLISION);
		return 0;
	}
	generation = cctx->running_generation;
	if (!generation || cctx->running_pinned) {
		cctx->request_state = PUSH_NONE;
		return 0;
	}
	if (__sync_val_compare_and_swap(&dst->incoming, 0, source + 1)) {
		cctx->request_state = PUSH_NONE;
		count(AP_PUSH_COLLISION);
		return 0;
	}
	cctx->request_target = target;
	cctx->request_level = level;
	cctx->request_idle = idle;
	cctx->request_at_ns = now;
	cctx->request_generation = generation;
	/* publish: the exchange orders it after the fields. */
	__sync_lock_test_and_set(&cctx->request_state, PUSH_REQUESTED);
	count_level(level, idle, AP_ALB_COUNT, 1);
	return 1;
}

/* Prompt mode: the slice of the recorded task ends now, not at a tick. Nothing else than a sched_ext task is ever asked. */
static __always_inline void push_prompt(u32 source)
{
	struct ap_cpu *cctx = cpu_ctx(source);

	if (conf.prompt && cctx && cctx->running_generation) {
		scx_bpf_kick_cpu(source, SCX_KICK_PREEMPT);
		count(AP_PROMPT_KICKS);
	}
}

static __always_inline bool request_waits_for(const struct ap_cpu *cctx, const struct task_ctx *tctx)
{
	return cctx->request_state == PUSH_REQUESTED && cctx->request_generation == tctx->generation;
}

/* withdraw: the recorded task must stay where it is. */
static __always_inline void withdraw_unmovable(const struct task_struct *p, u32 cpu)
{
	push_withdraw(cpu, migration_disabled(p) ? AP_STALE_MIGRATION_DISABLED : AP_STALE_AFFINITY, AP_NONE);
}

/* take, or withdraw what does not fit: the task leaves the CPU. */
static __always_inline void push_take(struct task_ctx *tctx, u32 cpu, struct ap_cpu *cctx, bool runnable, u64 now)
{
	if (cctx->request_state != PUSH_REQUESTED)
		return;
	if (cctx->request_generation != tctx->generation) {
		push_withdraw(cpu, AP_STALE_OTHER_TASK, AP_NONE);
		return;
	}
	if (!runnable) {
		push_withdraw(cpu, AP_STALE_SLEPT, AP_NONE);
		return;
	}
	if (!change_state(cctx, PUSH_REQUESTED, PUSH_TAKEN))
		return;
	tctx->push_target = cctx->request_target + 1;
	tctx->push_source = cpu;
	tctx->pushed_at_ns = cctx->request_at_ns;
	count_latency(0, now - cctx->request_at_ns);
}

/* TAKEN ends: the caller is the source CPU, in the task's own enqueue or dequeue. */
static __always_inline void push_finish(struct task_ctx *tctx, u32 source, struct ap_cpu *cctx)
{
	u32 target = tctx->push_target - 1;

	tctx->push_target = 0;
	cctx->request_generation = 0;
	release_target(target, source);
	__sync_lock_test_and_set(&cctx->request_state, PUSH_NONE);
}

/* Why the task cannot go there; AP_PUSH_ARRIVED if it can. The claim of the idle bit comes last: it must not be lost. */
static __always_inline u32 push_verdict(struct task_struct *p, u32 source, u32 target)
{
	if (target == source || !is_online(target))
		return AP_STALE_TARGET_OFFLINE;
	if (migration_disabled(p))
		return AP_STALE_MIGRATION_DISABLED;
	if (!bpf_cpumask_test_cpu(target, p->cpus_ptr))
		return AP_STALE_AFFINITY;
	/* A task that waits there already is about to run: its CPU was kicked and has not looked yet. */
	if (higher_class_on(target) || nr_queued(target) || !scx_bpf_test_and_clear_cpu_idle(target))
		return AP_STALE_TARGET_BUSY;
	return AP_PUSH_ARRIVED;
}

/* arrive or refuse: true if the task has been inserted on its target. */
static __always_inline bool push_arrive(struct task_struct *p, struct task_ctx *tctx, u32 cpu, u64 enq_flags)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);
	u32 target = tctx->push_target - 1, level, idle, verdict;

	if (!cctx)
		return false;
	level = cctx->request_level;
	idle = cctx->request_idle;
	verdict = push_verdict(p, cpu, target);
	push_finish(tctx, cpu, cctx);
	count(verdict);
	if (verdict != AP_PUSH_ARRIVED) {
		tctx->pushed_at_ns = 0;
		count_level(level, idle, AP_ALB_FAILED, 1);
		return false;
	}
	count_level(level, idle, AP_ALB_PUSHED, 1);
	put_on_idle(p, tctx, target, enq_flags);
	scx_bpf_kick_cpu(target, SCX_KICK_IDLE);
	return true;
}

/*
 * A task that was taken shows up without having passed through enqueue: it left the run queue in between, or the kernel put it on
 * its own CPU by itself (scheduler being taken down, CPU going offline). The request must not outlive that.
 */
static __always_inline void push_abandon(struct task_ctx *tctx)
{
	u32 source = tctx->push_source;
	struct ap_cpu *cctx;

	if (!tctx->push_target)
		return;
	cctx = cpu_ctx(source);
	if (!cctx)
		return;
	count_level(cctx->request_level, cctx->request_idle, AP_ALB_FAILED, 1);
	push_finish(tctx, source, cctx);
	tctx->pushed_at_ns = 0;
	count(AP_STALE_SLEPT);
}

/* A task starts on a CPU: requests that this contradicts are withdrawn, and an arrival is timed. */
static __always_inline void push_running(struct task_ctx *tctx, u32 cpu, struct ap_cpu *cctx, u64 now)
{
	u32 incoming = cctx->incoming;

	if (tctx->pushed_at_ns) {
		count_latency(1, now - tctx->pushed_at_ns);
		tctx->pushed_at_ns = 0;
	}
	if (incoming)
		push_withdraw(incoming - 1, AP_STALE_TARGET_BUSY, cpu);
	if (cctx->request_state == PUSH_REQUESTED && cctx->request_generation != tctx->generation)
		push_withdraw(cpu, AP_STALE_OTHER_TASK, AP_NONE);
}

#endif /* ACTIVE_PUSH_PUSH_BPF_H */
