/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What domain-balancer's BPF side and its userspace side both know: limits, the configuration, snapshots and the
 * arguments of the syscall programs.
 *
 * Plain types only, read by the BPF compiler and by bindgen. Every struct is free of padding, so that its bytes
 * are fully defined on both sides. Times are nanoseconds of the BPF clock (scx_bpf_now), never of another one.
 */
#ifndef DOMAIN_BALANCER_ABI_H
#define DOMAIN_BALANCER_ABI_H

#include "plain_types.h"
#include "ravg.h"
#include "weight.h"

enum db_limits {
	DB_MAX_CPUS = 4096,
	DB_MAX_DOMAINS = 1024,
	/* Tasks one snapshot can hold; what exceeds it is counted. */
	DB_MAX_TASK_SNAPSHOTS = 32768,
	/* Cgroups whose share can be published; tasks of others keep their own weight. */
	DB_MAX_CGROUPS = 16384,
	DB_COMM_LEN = 16,
	/* A cgroup's factor is in 1 / 2^16. */
	DB_FACTOR_BITS = 16,
};

/* Set once before the object is loaded. */
struct db_config {
	u64 slice_ns;
	u64 slice_min_ns;
	u64 load_half_life_ns;
	u32 nr_domains;
	u32 nr_cpu_ids;
	/* Queued tasks a domain must have before another may take one: 0 switches stealing off. */
	u32 greedy_threshold;
	/* The same for a domain on another node; 0 switches stealing across nodes off. */
	u32 greedy_threshold_x_node;
	/* 1: queues in order of arrival, weights are ignored. */
	u32 fifo;
	u32 pad;
};

/* Counters, summed over CPUs by userspace. The order is the wire order of the `counters` map. */
enum db_counter {
	/* Wake-ups placed on the idle previous CPU, or on another idle CPU of the home domain. */
	DB_DIRECT_PREV,
	DB_DIRECT_IDLE,
	/* Placed on an idle CPU of another domain. */
	DB_DIRECT_GREEDY,
	/* Queued on the home domain's queue. */
	DB_ENQUEUED,
	/* Queued on the queue of the only CPU the task may use. */
	DB_PINNED,
	/* Per-CPU kernel threads, inserted straight into their CPU's local queue. */
	DB_KTHREAD,
	/* A CPU took a task from another domain's queue: same node, other node. */
	DB_STEAL,
	DB_STEAL_X_NODE,
	/* The running task kept its CPU because its vtime was still the earliest, or nobody waited. */
	DB_KEPT,
	/* New tasks that started in another domain than their parent. */
	DB_FORK_SPREAD,
	/* Tasks that woke in a crowded home and made another domain theirs. */
	DB_WAKE_SPREAD,
	/* Home domain changed because the affinity excluded it. */
	DB_REHOMED,
	/* Planned moves by what became of them. */
	DB_MOVE_APPLIED,
	DB_MOVE_EXPIRED,
	DB_MOVE_REFUSED,
	/* A callback met a task without context: it was sent to the global queue. */
	DB_NO_CONTEXT,
	DB_NR_COUNTERS,
};

enum db_task_flags {
	DB_TASK_KTHREAD = 1 << 0,
	/* May run on one CPU only (affinity). */
	DB_TASK_PINNED = 1 << 1,
	/* Affinity names every CPU of every domain: `domains` is left empty. */
	DB_TASK_ANY_DOMAIN = 1 << 2,
};

/* One domain as seen at `at_ns`; buckets are indexed by weight_bucket(). */
struct db_domain_snapshot {
	u64 at_ns;
	/* Planned moves applied so far, by direction. */
	u64 nr_moved_in;
	u64 nr_moved_out;
	u32 nr_runnable;
	u32 nr_queued;
	struct ravg duty[WEIGHT_BUCKETS];
};

/* One task as seen during a snapshot. */
struct db_task_snapshot {
	u64 generation;
	u64 last_moved_ns;
	/* When it last left a CPU; the time of the snapshot for a task that is on one; 0 if it never ran. */
	u64 last_ran_ns;
	struct ravg duty;
	u64 cgroup_id;
	s32 pid;
	u32 domain;
	/* Effective: its own times the factor of its cgroup. */
	u32 weight;
	u32 own_weight;
	u32 flags;
	u32 pad;
	char comm[DB_COMM_LEN];
	/* Domains in which the affinity leaves the task a CPU, 64 to a word; see DB_TASK_ANY_DOMAIN. */
	u64 domains[DB_MAX_DOMAINS / 64];
};

/* `snapshot_domains`: writes domain_snapshots[0 .. nr_domains). */
struct db_snapshot_domains_args {
	/* out: time of the snapshot */
	u64 at_ns;
	/* out: tasks that have a context */
	u64 nr_tasks;
};

/* `snapshot_tasks`: writes task_snapshots[0 .. nr_written) with the tasks that carry load. */
struct db_snapshot_tasks_args {
	/* out */
	u64 at_ns;
	u32 nr_written;
	/* out: tasks that carried load and found no room */
	u32 nr_dropped;
	/* in: room in the map */
	u32 capacity;
	/* in: tasks below this duty cycle, in 1/1024, are left out: they carry no load worth a move */
	u32 min_duty;
};

/* `plan_move`: asks that the task change its home at its next enqueue. */
struct db_plan_move_args {
	/* in */
	u64 generation;
	u64 expires_ns;
	s32 pid;
	u32 target;
};

/* `renew_weights`: lets every task look its cgroup's factor up again, after a change of cgroup_factors. */
struct db_renew_weights_args {
	/* out: how often this was asked for */
	u64 epoch;
};

/* What `plan_move` answers. */
enum db_plan_result {
	DB_PLAN_ACCEPTED = 0,
	/* The task is gone, or its pid belongs to another task now. */
	DB_PLAN_STALE = 1,
	/* Not movable to there: unknown domain, already at home there, affinity excludes it. */
	DB_PLAN_REFUSED = 2,
};

#endif /* DOMAIN_BALANCER_ABI_H */
