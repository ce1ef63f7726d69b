/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of cell-scheduler in the kernel: configuration, maps, and the look-ups every other file uses.
 *
 * A cell has one queue (DSQ) for each block of CPUs that share a cache, ordered by vtime, and each CPU has one for tasks that may
 * use nothing else. Every queue has a time axis: see axis.bpf.h.
 *
 * Which CPU and which slot belongs to which cell is in a table, of which there are two. The one in use is never written;
 * the other is written by userspace as a whole and becomes the one in use by a single store of the sequence number.
 *
 * Relies on: configuration and the CPU → cache table being final before load.
 * Does not handle: CPU hotplug in place; hotplug ends the scheduler with the restart code and userspace comes back with the
 * new topology.
 */
#ifndef CELL_SCHEDULER_STATE_BPF_H
#define CELL_SCHEDULER_STATE_BPF_H

#include <scx/common.bpf.h>

#include "abi.h"
#include "enq_flags.bpf.h"
#include "exempt.bpf.h"
#include "forced_stall.h"
#include "higher_class.bpf.h"
#include "hotplug.bpf.h"
#include "starving.bpf.h"
#include "vtime.h"
#include "weight.h"

/* DSQ ids: queues of cells first, then one per CPU. */
#define CPU_DSQ_BASE (1ULL << 20)

const volatile struct cs_config conf;
/* Cache block of each CPU; CS_MAX_LLCS for a CPU that is offline at start. */
const volatile u32 cpu_llc[CS_MAX_CPUS];
/* Node of each cache block. */
const volatile u32 llc_node[CS_MAX_LLCS];

UEI_DEFINE(uei);

/* The table in use is tables[sequence & 1]. */
u64 sequence;
/* Tasks that have a context; callbacks that met a task without one. */
u64 nr_tasks;
u64 nr_no_context;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cs_table);
	__uint(max_entries, 2);
} tables SEC(".maps");

/* CPUs of each cell as masks, for both tables: index is cell * 2 + table. */
struct cell_masks {
	struct bpf_cpumask __kptr *cpus;
	/* In cell 0's entry only: the CPUs of all cells that lend. */
	struct bpf_cpumask __kptr *lendable;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cell_masks);
	__uint(max_entries, 2 * CS_MAX_CELLS);
} masks SEC(".maps");

/* What a cell has at run time, whatever table is in use. */
struct cell_state {
	/* Its CPUs that run a task of another cell at the moment. */
	struct bpf_cpumask __kptr *lent;
	/* CPU time its tasks have borrowed, over its weight: who has least is served first. */
	u64 borrow_vtime;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cell_state);
	__uint(max_entries, CS_MAX_CELLS);
} cells SEC(".maps");

struct queue_ctx {
	/* The vtime the queue has reached. */
	u64 vtime_now;
	/* 1 once the DSQ exists */
	u32 created;
	/* CPUs of the table in use that serve it */
	u32 nr_cpus;
};

/* Index: queue_index(). Userspace sets the number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct queue_ctx);
	__uint(max_entries, 1);
} queues SEC(".maps");

struct cpu_ctx {
	/* The vtime that the queue of tasks bound to the CPU has reached. */
	u64 vtime_now;
	/* Time of the cell's queue = time of the CPU + base. */
	u64 base;
	/* What the cell whose task borrows the CPU has paid for in advance. */
	u64 prepaid_ns;
	/* The queue of its cell at its cache. */
	u32 queue;
	/* Cell that lends the CPU to the task that runs, plus 1; 0 if that task is at home. */
	u32 lent_by;
	/* Where looking for other cells' work begins next time. */
	u32 borrow_cursor;
	/* The cache whose queue was looked at last for having fallen behind. */
	u32 lag_cursor;
	/* Next time it looks for a task that starves in the queues it serves. */
	u64 next_starving_look_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct cpu_ctx);
	__uint(max_entries, CS_MAX_CPUS);
} cpus SEC(".maps");

/* Cells that may have work waiting at a cache block, as bits: a hint for CPUs that look for work to borrow. */
struct waiting {
	u64 words[CS_CELL_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct waiting);
	__uint(max_entries, CS_MAX_LLCS);
} waitings SEC(".maps");

/* Slots by cgroup id; kept by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct cs_member);
	__uint(max_entries, CS_MAX_MEMBERS);
} members SEC(".maps");

/*
 * What the tasks directly in a cgroup claimed: runnable time times own weight / 100, in ns, by cgroup id. Entries are made
 * here and removed by userspace once the cgroup is gone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u64);
	__uint(max_entries, CS_MAX_CGROUPS);
} cgroup_loads SEC(".maps");

/* What cpu.weight makes of the weight of a cgroup's tasks, by cgroup id; kept by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u32);
	__uint(max_entries, CS_MAX_CGROUPS);
} cgroup_factors SEC(".maps");

/* Grows with every change of the factors. */
u64 factor_epoch;

/* Userspace sets the number of slots. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, struct cs_figures);
	__uint(max_entries, 1);
} figures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, u32);
	__type(value, struct cs_lending);
	__uint(max_entries, CS_MAX_CELLS);
} lendings SEC(".maps");

struct task_ctx {
	/* Cgroup and table that `slot` and `cell` were found with. */
	u64 cgroup_id;
	u64 sequence;
	/* sum_exec_runtime up to which the task has been charged */
	u64 charged_ns;
	/* Since when it waits for a CPU; 0 while it runs or sleeps. */
	u64 waiting_since;
	u64 factor_epoch;
	/* Axis of its vtime: a queue, or CPU_AXIS + its only CPU. */
	u32 axis;
	/* What it is charged by: its own weight times the factor of its cgroup. */
	u32 weight;
	u32 own_weight;
	u32 pad;
	u16 slot;
	/* Its own cell, and the cell it queues in: another one if its affinity names no CPU of its own. */
	u16 cell;
	u16 host;
	u16 pad2;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} task_ctxs SEC(".maps");

static __always_inline struct task_ctx *task_ctx(struct task_struct *p)
{
	return bpf_task_storage_get(&task_ctxs, p, 0, 0);
}

static __always_inline u64 waiting_since_ns(struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	return tctx ? tctx->waiting_since : 0;
}

static __always_inline struct cs_table *table_in_use(void)
{
	u32 index = sequence & 1;

	return bpf_map_lookup_elem(&tables, &index);
}

/*
 * An index that has been compared with `size`, a power of two, as the verifier can follow it: the comparison may have been made
 * with another copy of the value than the one that is used.
 */
#define BOUNDED(index, size)			\
	({					\
		u32 __index = (index);		\
						\
		barrier_var(__index);		\
		__index & ((size) - 1);		\
	})

static __always_inline u32 cell_of_cpu(const struct cs_table *table, s32 cpu)
{
	u32 index = cpu;

	return index < CS_MAX_CPUS ? table->cpu_cell[BOUNDED(index, CS_MAX_CPUS)] : CS_NONE;
}

static __always_inline u32 flags_of_cell(const struct cs_table *table, u32 cell)
{
	return cell < CS_MAX_CELLS ? table->cell_flags[BOUNDED(cell, CS_MAX_CELLS)] : 0;
}

static __always_inline u32 llc_of_cpu(s32 cpu)
{
	u32 index = cpu;

	return index < CS_MAX_CPUS ? cpu_llc[BOUNDED(index, CS_MAX_CPUS)] : CS_MAX_LLCS;
}

static __always_inline u32 node_of_llc(u32 llc)
{
	return llc < CS_MAX_LLCS ? llc_node[BOUNDED(llc, CS_MAX_LLCS)] : 0;
}

static __always_inline u32 queue_index(u32 cell, u32 llc)
{
	return cell * conf.nr_llcs + llc;
}

static __always_inline struct queue_ctx *queue_ctx(u32 queue)
{
	return bpf_map_lookup_elem(&queues, &queue);
}

static __always_inline struct cpu_ctx *cpu_ctx(s32 cpu)
{
	u32 index = cpu;

	return bpf_map_lookup_elem(&cpus, &index);
}

static __always_inline u64 cpu_dsq(s32 cpu)
{
	return CPU_DSQ_BASE + (u32)cpu;
}

/* Tasks in a queue. While the scheduler is being taken down the queues are gone and the kernel answers with an error. */
static __always_inline u32 nr_queued(u64 dsq)
{
	s32 nr = scx_bpf_dsq_nr_queued(dsq);

	return nr > 0 ? nr : 0;
}

/* The CPUs of a cell in a table, for kfuncs that take a plain cpumask. Valid inside the callback. */
static __always_inline const struct cpumask *cell_cpumask(const struct cs_table *table, u32 cell)
{
	u32 index = cell * 2 + (table->sequence & 1);
	struct cell_masks *entry = bpf_map_lookup_elem(&masks, &index);
	struct bpf_cpumask *mask = entry ? entry->cpus : NULL;

	return mask ? (const struct cpumask *)mask : NULL;
}

/* The CPUs of all cells that lend. */
static __always_inline const struct cpumask *lendable_cpumask(const struct cs_table *table)
{
	u32 index = table->sequence & 1;
	struct cell_masks *entry = bpf_map_lookup_elem(&masks, &index);
	struct bpf_cpumask *mask = entry ? entry->lendable : NULL;

	return mask ? (const struct cpumask *)mask : NULL;
}

static __always_inline bool is_kthread(const struct task_struct *p)
{
	return p->flags & PF_KTHREAD;
}

/* May use one CPU only. */
static __always_inline bool is_pinned(const struct task_struct *p)
{
	return p->nr_cpus_allowed == 1;
}

#endif /* CELL_SCHEDULER_STATE_BPF_H */
