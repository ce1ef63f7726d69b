/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether tasks of a higher class (real-time, deadline; in partial mode ordinary ones, too) have a CPU, or are about to: what waits in
 * its local queue waits behind them, where no scheduler can take it away.
 *
 * Relies on: the includer for the scx headers, which declare `runqueues`. Does not handle: real-time groups that are throttled; they
 * count as if they ran.
 */
#ifndef BPF_COMMON_HIGHER_CLASS_BPF_H
#define BPF_COMMON_HIGHER_CLASS_BPF_H

static __always_inline bool has_higher_class(const struct rq *rq)
{
	if (rq->rt.rt_nr_running)
		return true;
	/* The fair class is above sched_ext; it has tasks only where a scheduler does not have them all. */
	if (bpf_core_field_exists(rq->cfs.h_nr_queued) && rq->cfs.h_nr_queued)
		return true;
	/* The kernel's servers of lower classes are deadline entities, too, but no tasks. */
	return rq->dl.dl_nr_running && rq->nr_running > rq->scx.nr_running;
}

/*
 * Tasks of a higher class run on this CPU or are about to. The stopper does not count: it is short, and nobody should move for
 * it.
 */
static __always_inline bool higher_class_here(void)
{
	return has_higher_class(bpf_this_cpu_ptr(&runqueues));
}

/* The same of another CPU, as seen without its lock. */
static __always_inline bool higher_class_on(u32 cpu)
{
	const struct rq *rq = bpf_per_cpu_ptr(&runqueues, cpu);

	return rq && has_higher_class(rq);
}

/*
 * Before 7.0 the kernel asks for work even when a real-time task is next: what dispatch then puts on the local queue waits behind
 * that task, where nobody can take it away. From 7.0 on it asks only when something will run (then there is a server, too).
 */
static __always_inline bool asked_in_vain(void)
{
	const struct rq *rq = bpf_this_cpu_ptr(&runqueues);

	return !bpf_core_field_exists(rq->ext_server) && rq->rt.rt_nr_running;
}

#endif /* BPF_COMMON_HIGHER_CLASS_BPF_H */
