/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A net below virtual time: who has waited very long in a queue goes next, whatever its weight.
 *
 * Virtual time is fair in the long run, and the run may be longer than the kernel's watchdog waits before it ends the scheduler (30 s). A
 * task of weight 1 that has used one slice beside one of weight 8668 (nice 19 and nice -20) is due again after 8668 slices, 43 s or more.
 * So now and then each CPU looks for such a task in the queues it serves and lets it run at once, at the time that its queue has
 * reached: to the others it costs one slice, and the lead it has after that is again its own.
 *
 * Relies on: the includer for waiting_since_ns() of a queued task (0: unknown) and for exempt.bpf.h; being called from ops.dispatch.
 * Does not handle: queues that nobody serves; tasks that wait behind a higher class.
 */
#ifndef BPF_COMMON_STARVING_BPF_H
#define BPF_COMMON_STARVING_BPF_H

#include "unknown_zero.bpf.h"

/* Well below the watchdog's patience, and far above what a slice or a crowd makes anybody wait. */
#define STARVING_NS (10ULL * 1000 * 1000 * 1000)

/* A CPU looks this often. */
#define STARVING_LOOK_NS (1000ULL * 1000 * 1000)

/* Tasks at the front of a queue that are looked at. The light ones stand behind all heavier ones, the longest waiting first. */
#define STARVING_LOOKS 1024

static __always_inline u64 waiting_since_ns(struct task_struct *p);

/* Time for another look: `next_look_ns` is the CPU's own. */
static __always_inline bool looks_for_starving(u64 *next_look_ns, u64 now)
{
	if ((s64)(now - *next_look_ns) < 0)
		return false;
	*next_look_ns = now + STARVING_LOOK_NS;
	return true;
}

/*
 * The first task of a queue that has waited too long and may run here comes to this CPU's local queue. `vtime` is the time that the queue
 * has reached. True if there was one. Global, so that the verifier looks at it once.
 */
__noinline bool feed_starving(u64 dsq, u64 vtime)
{
	u32 cpu = bpf_get_smp_processor_id(), looked = unknown_zero;
	u64 now = scx_bpf_now();
	struct task_struct *p;
	bool fed = false;

	bpf_for_each(scx_dsq, p, dsq, 0) {
		u64 since;

		if (looked++ >= STARVING_LOOKS)
			break;
		since = waiting_since_ns(p);
		if (!since || (s64)(now - since) < (s64)STARVING_NS || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ||
		    migration_disabled(p))
			continue;
		fed = scx_bpf_dsq_move(BPF_FOR_EACH_ITER, p, SCX_DSQ_LOCAL, 0);
		if (!fed)
			continue;
		scx_bpf_task_set_dsq_vtime(p, vtime);
		break;
	}
	return fed;
}

#endif /* BPF_COMMON_STARVING_BPF_H */
