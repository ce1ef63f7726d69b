// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks that the kernel puts back on their CPU by itself: ops.enqueue is not called for them.
 *
 * ops.dispatch has to keep such a task when nothing else is there to run. If it does not, and SCX_OPS_ENQ_LAST is set, the
 * kernel puts the task on the local queue of a CPU that then idles beside it; up to 7.2 nobody looks again.
 *
 * Relies on: the includer for the names of vmlinux.h; SCX_OPS_ENQ_MIGRATION_DISABLED not being set. Does not handle: tasks of a CPU
 * that comes up; see hotplug.bpf.h.
 */
#ifndef BPF_COMMON_EXEMPT_BPF_H
#define BPF_COMMON_EXEMPT_BPF_H

#ifndef PF_EXITING
#define PF_EXITING 0x00000004
#endif

/*
 * May not change its CPU at the moment. A program that runs keeps the current task from migrating, by a count of one, so that count
 * tells nothing about the current task; the kernel itself does not offer migration-disabled tasks to ops.enqueue. The scx headers'
 * helper needs the kernel's configuration file, and a missing file would keep the object from loading.
 */
static __always_inline bool migration_disabled(const struct task_struct *p)
{
	if (!bpf_core_field_exists(p->migration_disabled) || !p->migration_disabled)
		return false;
	return p->migration_disabled > 1 || p != bpf_get_current_task_btf();
}

/* Without SCX_OPS_ENQ_EXITING tasks that exit are exempt, too. */
static __always_inline bool passes_by_enqueue(const struct task_struct *p)
{
	return (p->flags & PF_EXITING) || migration_disabled(p);
}

#endif /* BPF_COMMON_EXEMPT_BPF_H */
