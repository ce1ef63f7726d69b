/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What active-push's BPF side and its userspace side both know: limits, the configuration, the machine as ranges, and the
 * order of the counters.
 *
 * Plain types only, read by the BPF compiler and by bindgen. Every struct is free of padding, so that its bytes are fully
 * defined on both sides. Times are nanoseconds of the BPF clock (scx_bpf_now), never of another one.
 * Does not handle: how the levels are found; userspace derives them from the topology before load.
 */
#ifndef ACTIVE_PUSH_ABI_H
#define ACTIVE_PUSH_ABI_H

#include "plain_types.h"
#include "ravg.h"

enum ap_limits {
	AP_MAX_CPUS = 4096,
	/* SMT, LLC, node, machine. */
	AP_MAX_LEVELS = 4,
	/* Spans of all levels together. */
	AP_MAX_SPANS = 8192,
	AP_MAX_LLCS = 1024,
	/* Kinds of CPUs by capacity. */
	AP_MAX_CLASSES = 8,
	/* Powers of two of microseconds. */
	AP_LATENCY_BUCKETS = 24,
};

/* One level of scheduling domains; the meanings of the kernel's struct sched_domain. */
struct ap_level {
	u64 min_interval_ns;
	u64 max_interval_ns;
	/* Most that a newly idle round is taken to cost, and how often that estimate falls by one percent. */
	u64 newidle_cost_max_ns;
	u64 newidle_decay_ns;
	/* Intervals of a busy CPU are this many times as long. */
	u32 busy_factor;
	/* Percent by which a group must exceed another before load is evened out: 117 means 17 % more. */
	u32 imbalance_pct;
	/* Failed attempts before cache-hot tasks are moved, too. */
	u32 cache_nice_tries;
	/* Failed attempts before a running task is pushed. */
	u32 push_failures;
};

/* Set once before the object is loaded. */
struct ap_config {
	u64 slice_ns;
	/* A task that ran on its CPU more recently than this is cache-hot. */
	u64 migration_cost_ns;
	/* A request that was not taken in this time is withdrawn. */
	u64 request_expiry_ns;
	/* A waking task preempts one that is ahead by more than this in virtual time. */
	u64 wakeup_granularity_ns;
	/* How long a core must have been overfull before a thread of it is pushed away. */
	u64 spread_after_ns;
	/* Half-life of a task's utilisation. */
	u64 util_half_life_ns;
	/* How often somebody looks for tasks that wait on a CPU that a higher class holds. */
	u64 watch_ns;
	u32 nr_cpu_ids;
	u32 nr_levels;
	u32 nr_llcs;
	/* More than one: CPUs differ in capacity, and misfit tasks are looked for. */
	u32 nr_classes;
	/* Most tasks one balancing round moves. */
	u32 max_moves;
	/* 1: a request ends the running task's slice by a kick. */
	u32 prompt;
	/* 1: nothing is pushed, only pulled; tasks that lose their CPU to a higher class stay behind it. */
	u32 no_push;
	/* 1: some core has several threads. */
	u32 smt;
	struct ap_level levels[AP_MAX_LEVELS];
	/* Capacities by kind, ascending; unused ones 0. */
	u32 classes[AP_MAX_CLASSES];
};

/* Where a CPU stands. CPUs are numbered again in `cpu_order` so that every span of every level is a range there. */
struct ap_place {
	u32 capacity;
	/* 1: online at load. */
	u32 online;
	u32 llc;
	/* Its core as a range of cpu_order. */
	u32 core_first;
	u32 core_nr;
	/* Its span on each level. */
	u32 spans[AP_MAX_LEVELS];
};

/* A set of CPUs balanced among its groups, as ranges. */
struct ap_span {
	/* CPUs: a range of cpu_order. */
	u32 first;
	u32 nr;
	/* Groups: a range of spans (of the next inner level), or of cpu_order on the innermost level. */
	u32 first_group;
	u32 nr_groups;
};

/* How idle a CPU is that balances: the kernel's cpu_idle_type. */
enum ap_idle {
	/* Was idle already and was kicked. */
	AP_IDLE,
	AP_NOT_IDLE,
	/* About to become idle. */
	AP_NEWLY_IDLE,
	AP_NR_IDLE_TYPES,
};

/* Per level and idle type, under the names of the kernel's /proc/schedstat. */
enum ap_lb {
	AP_LB_COUNT,
	AP_LB_FAILED,
	AP_LB_BALANCED,
	/* Sum of the imbalances found, as load: 100 is one task of nice 0. */
	AP_LB_IMBALANCE,
	AP_LB_GAINED,
	AP_LB_HOT_GAINED,
	AP_LB_NOBUSYG,
	AP_LB_NOBUSYQ,
	/* Rounds that met only tasks which may not come here. */
	AP_LB_ALL_PINNED,
	/* Push requests recorded, withdrawn, arrived. */
	AP_ALB_COUNT,
	AP_ALB_FAILED,
	AP_ALB_PUSHED,
	AP_NR_LB,
};

/* Counters of the whole scheduler, summed over CPUs by userspace. */
enum ap_counter {
	/* Wake-ups by where they went. */
	AP_WAKE_PREV,
	AP_WAKE_LLC,
	AP_WAKE_FAR,
	AP_WAKE_SPREAD_FORK,
	AP_WAKE_MISFIT,
	/* To the waker's CPU, none being idle. */
	AP_WAKE_AFFINE,
	/* Away from the previous CPU because a higher class holds it. */
	AP_WAKE_EVADED,
	/* Queued on a CPU. */
	AP_ENQUEUED,
	AP_PINNED,
	AP_KTHREAD,
	/* The waking task's CPU was asked to switch to it. */
	AP_WAKE_PREEMPT,
	/* Slices renewed. */
	AP_KEPT,
	/* Tasks that had to give up their CPU and went straight to an idle one. */
	AP_REQUEUED_IDLE,
	/* The same, because a higher class took the CPU. */
	AP_RESCUED,
	/* A higher class took the CPU and no CPU was idle. */
	AP_RESCUE_NO_CPU,
	/* Idle CPUs kicked because work waited, or because a round was due. */
	AP_KICKED_FOR_WORK,
	AP_KICKED_FOR_BALANCE,
	/* CPUs asked to take a task that waits where a higher class holds the CPU, and tasks taken for it. */
	AP_CALLED_FOR_HELP,
	AP_HELPED,
	/* Push requests by reason. */
	AP_PUSH_SPREAD,
	AP_PUSH_MISFIT,
	AP_PUSH_IMBALANCE,
	/* Push requests by what became of them; the causes of enum push_cause follow. */
	AP_PUSH_ARRIVED,
	AP_STALE_SLEPT,
	AP_STALE_OTHER_TASK,
	AP_STALE_AFFINITY,
	AP_STALE_MIGRATION_DISABLED,
	AP_STALE_TARGET_OFFLINE,
	AP_STALE_TARGET_BUSY,
	AP_STALE_EXPIRED,
	/* Not recorded: the source or the target had one already. */
	AP_PUSH_COLLISION,
	AP_PROMPT_KICKS,
	AP_NO_CONTEXT,
	AP_NR_COUNTERS,
};

/* What is kept per CPU; `cpus` map, by CPU number. Userspace only reads. */
struct ap_cpu {
	/* The vtime the CPU's queue has reached. */
	u64 vtime_now;
	/* vtime of the running task when it came, and when that was. */
	u64 running_vtime;
	u64 running_since_ns;
	/* Generation of the running sched_ext task; 0 for none. */
	u64 running_generation;
	/* Since when the CPU looks for work in vain; 0 while it has some. */
	u64 idle_since_ns;
	/* Average length of an idle period. */
	u64 avg_idle_ns;
	/* Since when its core runs more than one task; 0 while it does not. */
	u64 overfull_since_ns;
	/* Next time an idle CPU is kicked on behalf of this one. */
	u64 next_kick_ns;
	/* Next time it looks for rounds that are due without a slice having ended. */
	u64 next_look_ns;
	/* Next time it looks for a task that starves in its queue. */
	u64 next_starving_look_ns;
	/* The request to push its running task away: see push.bpf.h. */
	u64 request_generation;
	u64 request_at_ns;
	u32 request_state;
	u32 request_target;
	u32 request_level;
	u32 request_idle;
	/* CPU + 1 whose running task is to come here; 0 for none. */
	u32 incoming;
	/* Sum of the weights of its runnable tasks. */
	u32 load;
	u32 nr_running;
	/* Of these, tasks that may run nowhere else. */
	u32 nr_pinned;
	u32 running_pinned;
	/* The running task needs a faster CPU: its utilisation, else 0. */
	u32 misfit_util;
	/* CPU + 1 that asks this one to take a task which waits there; 0 for none. */
	u32 help;
	/* Weight of the running sched_ext task. */
	u32 running_weight;
};

#endif /* ACTIVE_PUSH_ABI_H */
