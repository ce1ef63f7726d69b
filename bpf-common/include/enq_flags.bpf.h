/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Flags of ops.enqueue whose bits differ between kernels.
 *
 * SCX_ENQ_CPU_SELECTED is one of the scheduler core's own flags, which were renumbered: 0x400 in 6.18, 0x100000 in 7.3.
 * vmlinux.h knows the number of one kernel, and the constants that the scx headers ask the running kernel for do not include this
 * one. So it is asked for here, with CO-RE, and named nowhere else. (The headers' own helper for it is announced to go, and takes
 * every wake-up as selected where it does not know the flag; this does not load there.)
 *
 * Relies on: the includer for the names of vmlinux.h and bpf_core_read.h; a kernel that has the flag, as all supported ones have.
 * Does not handle: forks, for which the kernel calls ops.select_cpu and sets no flag.
 */
#ifndef BPF_COMMON_ENQ_FLAGS_BPF_H
#define BPF_COMMON_ENQ_FLAGS_BPF_H

/* Was ops.select_cpu just called for this wake-up, so that whatever is idle has been offered the task? */
static __always_inline bool cpu_was_selected(u64 enq_flags)
{
	return enq_flags & bpf_core_enum_value(enum scx_enq_flags, SCX_ENQ_CPU_SELECTED);
}

#endif /* BPF_COMMON_ENQ_FLAGS_BPF_H */
