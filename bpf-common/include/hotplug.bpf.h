// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU hotplug, the same for every scheduler: leave for a new picture of the machine, and do not strand the threads that bring a
 * CPU up meanwhile.
 *
 * Relies on: the includer for the names of vmlinux.h and the scx headers. Does not handle: CPUs that come or go in place.
 */
#ifndef BPF_COMMON_HOTPLUG_BPF_H
#define BPF_COMMON_HOTPLUG_BPF_H

/* Hotplug changes groups of CPUs, masks and capacities at once; the safe way is to leave and come back with a new picture. */
static __always_inline void restart_for_hotplug(s32 cpu, bool online)
{
	if (online)
		scx_bpf_exit(SCX_ECODE_ACT_RESTART | SCX_ECODE_RSN_HOTPLUG, "cpu %d came online, restarting", cpu);
	else
		scx_bpf_exit(SCX_ECODE_ACT_RESTART | SCX_ECODE_RSN_HOTPLUG, "cpu %d went offline, restarting", cpu);
}

/*
 * For ops.stopping. A CPU that comes up runs the kernel's hotplug thread before it counts as online for sched_ext, and until
 * then neither ops.dispatch nor ops.enqueue is called for it. When the thread's slice ends in that time and SCX_OPS_ENQ_LAST is
 * set, balance_one() does not keep it and do_enqueue_task() puts it into the CPU's local queue; up to 7.2 the CPU then idles
 * beside it and nobody looks again, so the CPU never comes up. This makes the CPU look again.
 * `known`: the CPU was online when the scheduler was loaded.
 */
static __always_inline void stay_awake_while_coming_up(struct task_struct *p, bool runnable, s32 cpu, bool known)
{
	if (unlikely(!known) && runnable && !p->scx.slice)
		scx_bpf_kick_cpu(cpu, 0);
}

#endif /* BPF_COMMON_HOTPLUG_BPF_H */
