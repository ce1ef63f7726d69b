/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cell-scheduler's BPF side and its userspace side both know: limits, the configuration, the cell table, figures and the
 * arguments of the syscall programs.
 *
 * Two kinds of cells are told apart everywhere. A *slot* is a cell as the operator means it: one child cgroup, or one named
 * cell of a configuration file; slot 0 is everything else. A *cell* is a set of CPUs with its queues. Several slots share a
 * cell when they are merged.
 *
 * Plain types only, read by the BPF compiler and by bindgen. Every struct is free of padding, so that its bytes are
 * fully defined on both sides. Times are nanoseconds of the BPF clock (scx_bpf_now), never of another one.
 */
#ifndef CELL_SCHEDULER_ABI_H
#define CELL_SCHEDULER_ABI_H

#include "plain_types.h"

enum cs_limits {
	CS_MAX_CPUS = 4096,
	/* Cells with CPUs of their own; more slots than that share cells. */
	CS_MAX_CELLS = 256,
	CS_MAX_SLOTS = 4096,
	/* Blocks of CPUs that share a last-level cache, large caches split. */
	CS_MAX_LLCS = 1024,
	/* Words of a bit set over cells. */
	CS_CELL_WORDS = CS_MAX_CELLS / 64,
	/* Cgroups that belong to slots. */
	CS_MAX_MEMBERS = 16384,
	/* Levels of cgroups below the root that are looked at. */
	CS_MAX_LEVELS = 32,
	CS_WAIT_BUCKETS = 32,
	CS_NR_EVENTS = 256,
	/* Cgroups whose load is kept and whose weights count. */
	CS_MAX_CGROUPS = 16384,
	/* A factor of one is 1 << CS_FACTOR_BITS. */
	CS_FACTOR_BITS = 10,
	/* A CPU in no cell (offline), a task in no slot yet. */
	CS_NONE = 0xffff,
};

/* Set once before the object is loaded. */
struct cs_config {
	u64 slice_ns;
	u64 slice_min_ns;
	/* Longest run of a task on a CPU that its cell has borrowed. */
	u64 borrow_slice_ns;
	/* Slice of whatever runs on a CPU that a single-CPU task waits for. */
	u64 shrink_slice_ns;
	u32 nr_cpu_ids;
	u32 nr_llcs;
	/* Cells that can exist at a time, at most CS_MAX_CELLS. */
	u32 nr_cells;
	/* Slots that can exist at a time, at most CS_MAX_SLOTS. */
	u32 nr_slots;
	/* Cgroup levels at which the roots of slots lie: first and last, the root of the hierarchy being 0. */
	u32 member_level_min;
	u32 member_level_max;
	/* 1: cpu.weight along the path of cgroups scales what a task is charged. */
	u32 cgroup_weights;
	u32 pad;
};

enum cs_cell_flags {
	/* Idle CPUs of the cell may be used by others. */
	CS_CELL_LEND = 1 << 0,
	/* Tasks of the cell may use idle CPUs of others. */
	CS_CELL_BORROW = 1 << 1,
};

/* One configuration. There are two in the map `tables`; the lowest bit of the sequence number says which one counts. */
struct cs_table {
	u64 sequence;
	u32 nr_cells;
	u32 nr_slots;
	/* Cell of each CPU; CS_NONE for a CPU that is in none (offline at start). */
	u16 cpu_cell[CS_MAX_CPUS];
	/* Cell of each slot. */
	u16 slot_cell[CS_MAX_SLOTS];
	/* Weight of each cell among those who borrow: the sum of its members'. */
	u32 cell_weight[CS_MAX_CELLS];
	/* enum cs_cell_flags of each cell. */
	u8 cell_flags[CS_MAX_CELLS];
};

/* Value of the map `members`: the slot of a cgroup, by its id. */
struct cs_member {
	u32 slot;
	u32 pad;
};

/* Counters per slot, summed over CPUs by userspace. */
enum cs_counter {
	/* Woken on an idle CPU of the own cell. */
	CS_LOCAL,
	/* Queued on the queue of the only CPU the task may use; per-CPU kernel threads straight to it. */
	CS_CPU_QUEUE,
	/* Queued on the cell's queue. */
	CS_CELL_QUEUE,
	/* Placed on, or taken by, an idle CPU of another cell. */
	CS_BORROWED,
	/* A wake-up took back a CPU that another cell had borrowed. */
	CS_RECLAIMED,
	/* The affinity names no CPU of the own cell: run as a guest of another. */
	CS_VIOLATION,
	/* Taken by a CPU of the own cell that belongs to another cache. */
	CS_STEAL,
	/* Taken out of a queue that its cell no longer serves. */
	CS_DRAINED,
	/* A running task's slice was cut because single-CPU work waits. */
	CS_SHRUNK,
	/* The running task went on. */
	CS_KEPT,
	/* The cell of a task changed. */
	CS_MOVED,
	CS_NR_COUNTERS,
};

/* What a slot's tasks did on one CPU, in the per-CPU map `figures`; ever growing. */
struct cs_figures {
	/* CPU time used, and what of it on CPUs of other cells. */
	u64 used_ns;
	u64 borrowed_ns;
	/* Time between becoming runnable (or losing the CPU) and running. */
	u64 waited_ns;
	/* Tasks that came minus tasks that left, as seen by this CPU. */
	s64 nr_tasks;
	u64 counters[CS_NR_COUNTERS];
	/* Waits by length: bucket i holds those of [2^i, 2^(i+1)) µs, the first everything shorter, the last all longer. */
	u32 waits[CS_WAIT_BUCKETS];
};

/* What a cell's CPUs did for others, in the per-CPU map `lendings`. */
struct cs_lending {
	u64 lent_ns;
};

/* `apply_table`: makes the table that is not in use the one that counts. */
struct cs_apply_args {
	/* in: the sequence number the table was written for; must be the present one plus 1 */
	u64 sequence;
	/* out: CPUs that changed cell */
	u32 nr_moved_cpus;
	u32 pad;
};

/* What `apply_table` answers. */
enum cs_apply_result {
	CS_APPLY_OK = 0,
	/* Not the next sequence number, or a table that names a cell or CPU that cannot be. Nothing has changed. */
	CS_APPLY_STALE = 1,
	CS_APPLY_INVALID = 2,
	/* A queue could not be created. Nothing has changed. */
	CS_APPLY_NO_QUEUE = 3,
};

/* `find_orphans`: a queue that tasks wait in and no CPU serves, as a change of the table leaves it. */
struct cs_orphans_args {
	/* in: where to begin; out: the queue */
	u32 queue;
	/* out: 1 if there is one */
	u32 found;
};

/* `drain_queue`: moves the tasks of such a queue to where CPUs serve them. */
struct cs_drain_args {
	/* in */
	u32 queue;
	/* out: tasks moved */
	u32 nr_drained;
};

/* `read_totals`. */
struct cs_totals_args {
	/* out: time of the figures, present sequence number, tasks that have a context, callbacks without one */
	u64 at_ns;
	u64 sequence;
	u64 nr_tasks;
	u64 nr_no_context;
};

enum cs_event_kind {
	CS_EVENT_NONE,
	CS_EVENT_TASK_INIT,
	CS_EVENT_TASK_EXIT,
	CS_EVENT_CGROUP_INIT,
	CS_EVENT_CGROUP_EXIT,
	CS_EVENT_CGROUP_MOVE,
	CS_EVENT_TABLE,
};

/* One entry of the debug ring. */
struct cs_event {
	u64 at_ns;
	u64 number;
	/* Cgroup id, or sequence number of a table. */
	u64 subject;
	s32 pid;
	u32 kind;
};

#endif /* CELL_SCHEDULER_ABI_H */
