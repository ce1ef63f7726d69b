/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel types as the model lays them out. Compiled for its type information (BTF) only: objects are relocated
 * against it, so a scheduler that needs a field which is not here fails to load, with the field's name.
 *
 * Relies on: names of structs, members and enumerators being the kernel's; offsets and sizes are the model's own.
 * Does not handle: anything the model does not keep up to date. Add a member only together with the code that does.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
typedef _Bool bool;

#define SIM_MAX_CPUS 4096

struct cpumask {
	unsigned long bits[SIM_MAX_CPUS / 64];
};
typedef struct cpumask cpumask_t;

typedef struct refcount_struct {
	int counter;
} refcount_t;

struct bpf_cpumask {
	cpumask_t cpumask;
	refcount_t usage;
};

struct kernfs_node {
	u64 id;
	const char *name;
	struct kernfs_node *__parent;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
	u64 serial_nr;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	int level;
	/* One a level, its own last. */
	struct cgroup *ancestors[];
};

struct task_group {
	struct cgroup_subsys_state css;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct sched_ext_entity {
	u64 slice;
	u64 dsq_vtime;
	u32 weight;
	u32 flags;
};

struct sched_entity {
	u64 sum_exec_runtime;
};

struct task_struct {
	struct sched_ext_entity scx;
	struct sched_entity se;
	/* Not the kernel's: the model finds the task by it. */
	u32 sim_index;
	u32 flags;
	int pid;
	int tgid;
	int prio;
	int static_prio;
	unsigned int policy;
	struct task_struct *group_leader;
	int nr_cpus_allowed;
	u16 migration_disabled;
	const cpumask_t *cpus_ptr;
	struct css_set *cgroups;
	struct task_group *sched_task_group;
	u64 start_time;
	char comm[16];
	cpumask_t cpus_mask;
};

struct rt_rq {
	unsigned int rt_nr_running;
};

/* Deadline tasks are not modelled: none is ever there. */
struct dl_rq {
	unsigned int dl_nr_running;
};

struct sched_dl_entity {
	u64 dl_runtime;
};

struct scx_rq {
	u32 nr_running;
};

/* The server is there from 7.0 on, and that is all that is said about it. The numbers of tasks mean something beside deadline tasks only. */
struct rq {
	unsigned int nr_running;
	struct scx_rq scx;
	struct rt_rq rt;
	struct dl_rq dl;
#ifndef OLDEST_KERNEL
	struct sched_dl_entity ext_server;
#endif
};

enum scx_exit_kind {
	SCX_EXIT_NONE = 0,
	SCX_EXIT_DONE = 1,
	SCX_EXIT_UNREG = 64,
	SCX_EXIT_UNREG_BPF = 65,
	SCX_EXIT_UNREG_KERN = 66,
	SCX_EXIT_SYSRQ = 67,
	SCX_EXIT_ERROR = 1024,
	SCX_EXIT_ERROR_BPF = 1025,
	SCX_EXIT_ERROR_STALL = 1026,
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s32 exit_cpu;
	s64 exit_code;
	const char *reason;
	char *msg;
	char *dump;
};

struct scx_init_task_args {
	bool fork;
	struct cgroup *cgroup;
};

struct scx_exit_task_args {
	bool cancelled;
};

enum scx_cpu_preempt_reason {
	SCX_CPU_PREEMPT_RT = 0,
	SCX_CPU_PREEMPT_DL = 1,
	SCX_CPU_PREEMPT_STOP = 2,
	SCX_CPU_PREEMPT_UNKNOWN = 3,
};

struct scx_cpu_acquire_args {
};

/* The task that takes the CPU is not one of the model's: there is no pointer to it here. */
struct scx_cpu_release_args {
	enum scx_cpu_preempt_reason reason;
};

struct scx_cgroup_init_args {
	u32 weight;
	u64 bw_period_us;
	u64 bw_quota_us;
	u64 bw_burst_us;
};

struct bpf_iter_css {
	u64 __opaque[3];
};

enum bpf_cgroup_iter_order {
	BPF_CGROUP_ITER_ORDER_UNSPEC = 0,
	BPF_CGROUP_ITER_SELF_ONLY = 1,
	BPF_CGROUP_ITER_DESCENDANTS_PRE = 2,
	BPF_CGROUP_ITER_DESCENDANTS_POST = 3,
	BPF_CGROUP_ITER_ANCESTORS_UP = 4,
	BPF_CGROUP_ITER_CHILDREN = 5,
};

/* The counters that the model keeps. */
struct scx_event_stats {
	s64 SCX_EV_SELECT_CPU_FALLBACK;
	s64 SCX_EV_DISPATCH_LOCAL_DSQ_OFFLINE;
	s64 SCX_EV_DISPATCH_KEEP_LAST;
	s64 SCX_EV_ENQ_SKIP_EXITING;
	s64 SCX_EV_ENQ_SKIP_MIGRATION_DISABLED;
	s64 SCX_EV_REFILL_SLICE_DFL;
};

struct scx_dump_ctx {
	u32 kind;
	u64 exit_code;
	u64 at_ns;
	u64 at_jiffies;
};

struct scx_bpf_select_cpu_and_args {
	s32 prev_cpu;
	u64 wake_flags;
	u64 flags;
};

struct scx_bpf_dsq_insert_vtime_args {
	u64 dsq_id;
	u64 slice;
	u64 vtime;
	u64 enq_flags;
};

struct bpf_iter_task {
	u64 opaque[3];
};

struct bpf_iter_scx_dsq {
	u64 opaque[6];
};

enum scx_public_consts {
	SCX_SLICE_DFL = 20 * 1000000,
	SCX_SLICE_INF = 0xffffffffffffffffULL,
};

enum scx_dsq_id_flags {
	SCX_DSQ_FLAG_BUILTIN = 1ULL << 63,
	SCX_DSQ_FLAG_LOCAL_ON = 1ULL << 62,
	SCX_DSQ_INVALID = SCX_DSQ_FLAG_BUILTIN | 0,
	SCX_DSQ_GLOBAL = SCX_DSQ_FLAG_BUILTIN | 1,
	SCX_DSQ_LOCAL = SCX_DSQ_FLAG_BUILTIN | 2,
	SCX_DSQ_LOCAL_ON = SCX_DSQ_FLAG_BUILTIN | SCX_DSQ_FLAG_LOCAL_ON,
	SCX_DSQ_LOCAL_CPU_MASK = 0xffffffffULL,
};

enum scx_ent_flags {
	SCX_TASK_QUEUED = 1 << 0,
};

/*
 * The flags of the scheduler core, HEAD and CPU_SELECTED, have the numbers of 6.18, while vmlinux.h has those of 7.3: code that does
 * not ask the kernel for them is told from code that does.
 */
enum scx_enq_flags {
	SCX_ENQ_WAKEUP = 1,
	SCX_ENQ_HEAD = 0x10,
	SCX_ENQ_CPU_SELECTED = 0x400,
	SCX_ENQ_PREEMPT = 1ULL << 32,
	SCX_ENQ_REENQ = 1ULL << 40,
	SCX_ENQ_LAST = 1ULL << 41,
	SCX_ENQ_CLEAR_OPSS = 1ULL << 56,
	SCX_ENQ_DSQ_PRIQ = 1ULL << 57,
};

enum scx_deq_flags {
	SCX_DEQ_SLEEP = 1,
	SCX_DEQ_SCHED_CHANGE = 1ULL << 33,
};

enum scx_wake_flags {
	SCX_WAKE_FORK = 4,
	SCX_WAKE_TTWU = 8,
	SCX_WAKE_SYNC = 16,
};

enum scx_kick_flags {
	SCX_KICK_IDLE = 1,
	SCX_KICK_PREEMPT = 2,
	SCX_KICK_WAIT = 4,
};

enum scx_pick_idle_cpu_flags {
	SCX_PICK_IDLE_CORE = 1,
	SCX_PICK_IDLE_IN_NODE = 2,
};

enum scx_ops_flags {
	SCX_OPS_KEEP_BUILTIN_IDLE = 1,
	SCX_OPS_ENQ_LAST = 2,
	SCX_OPS_ENQ_EXITING = 4,
	SCX_OPS_SWITCH_PARTIAL = 8,
	SCX_OPS_ENQ_MIGRATION_DISABLED = 16,
	SCX_OPS_ALLOW_QUEUED_WAKEUP = 32,
	SCX_OPS_BUILTIN_IDLE_PER_NODE = 64,
};

enum scx_exit_code {
	SCX_ECODE_RSN_HOTPLUG = 1ULL << 32,
	SCX_ECODE_ACT_RESTART = 1ULL << 48,
};

/* A variable of each type keeps it in the type information. */
#define KEEP(type) struct type keep_##type
#define KEEP_ENUM(type) enum type keep_##type

KEEP(bpf_cpumask);
KEEP(kernfs_node);
KEEP(cgroup);
KEEP(css_set);
KEEP(task_group);
KEEP(scx_cpu_acquire_args);
KEEP(scx_cpu_release_args);
KEEP(scx_cgroup_init_args);
KEEP(bpf_iter_css);
KEEP(scx_event_stats);
KEEP(rq);
KEEP(task_struct);
KEEP(scx_exit_info);
KEEP(scx_init_task_args);
KEEP(scx_exit_task_args);
KEEP(scx_dump_ctx);
KEEP(scx_bpf_select_cpu_and_args);
KEEP(scx_bpf_dsq_insert_vtime_args);
KEEP(bpf_iter_task);
KEEP(bpf_iter_scx_dsq);
KEEP_ENUM(scx_public_consts);
KEEP_ENUM(scx_cpu_preempt_reason);
KEEP_ENUM(bpf_cgroup_iter_order);
KEEP_ENUM(scx_dsq_id_flags);
KEEP_ENUM(scx_ent_flags);
KEEP_ENUM(scx_enq_flags);
KEEP_ENUM(scx_deq_flags);
KEEP_ENUM(scx_wake_flags);
KEEP_ENUM(scx_kick_flags);
KEEP_ENUM(scx_pick_idle_cpu_flags);
KEEP_ENUM(scx_ops_flags);
KEEP_ENUM(scx_exit_kind);
KEEP_ENUM(scx_exit_code);
