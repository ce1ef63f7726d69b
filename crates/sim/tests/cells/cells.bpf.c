/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A scheduler that sees cgroups, keeps timers and has queued tasks enqueued again, to test what the model gives it.
 *
 * Relies on: its own declarations, relocated against the model's types.
 * Does not handle: fairness; it only has to get every task to a CPU.
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;

#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define CORE __attribute__((preserve_access_index))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) __typeof__(val) *name

struct kernfs_node {
	u64 id;
	const char *name;
	struct kernfs_node *__parent;
} CORE;
struct cgroup;
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} CORE;
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	int level;
	struct cgroup *ancestors[];
} CORE;
struct css_set {
	struct cgroup *dfl_cgrp;
} CORE;
struct task_struct {
	int pid;
	u32 flags;
	struct css_set *cgroups;
} CORE;
struct scx_init_task_args {
	_Bool fork;
	struct cgroup *cgroup;
} CORE;
struct scx_cgroup_init_args {
	u32 weight;
} CORE;
struct bpf_timer {
	u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_iter_css {
	u64 opaque[3];
};

extern s32 scx_bpf_create_dsq(u64 id, s32 node) __ksym;
extern _Bool scx_bpf_dsq_insert___v2___compat(struct task_struct *p, u64 dsq, u64 slice, u64 flags) __ksym __weak;
extern _Bool scx_bpf_dsq_move_to_local___v2___compat(u64 dsq, u64 flags) __ksym __weak;
extern void scx_bpf_dsq_reenq___compat(u64 dsq, u64 flags) __ksym __weak;
extern struct task_struct *scx_bpf_cpu_curr(s32 cpu) __ksym __weak;
extern struct cgroup *scx_bpf_task_cgroup___new(struct task_struct *p) __ksym __weak;
extern struct cgroup *bpf_cgroup_from_id(u64 id) __ksym;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym;
extern void bpf_cgroup_release(struct cgroup *cgrp) __ksym;
extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern int bpf_iter_css_new(struct bpf_iter_css *it, struct cgroup_subsys_state *start, u32 flags) __ksym;
extern struct cgroup_subsys_state *bpf_iter_css_next(struct bpf_iter_css *it) __ksym;
extern void bpf_iter_css_destroy(struct bpf_iter_css *it) __ksym;

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_timer_init)(struct bpf_timer *timer, void *map, u64 flags) = (void *)169;
static long (*bpf_timer_set_callback)(struct bpf_timer *timer, void *callback) = (void *)170;
static long (*bpf_timer_start)(struct bpf_timer *timer, u64 nsecs, u64 flags) = (void *)171;
static long (*bpf_timer_cancel)(struct bpf_timer *timer) = (void *)172;
static void *(*bpf_cgrp_storage_get)(void *map, struct cgroup *cgrp, void *value, u64 flags) = (void *)210;

#define QUEUE 7
#define PERIOD_NS 5000000

struct account {
	u64 weight;
	u64 enqueued;
};

struct {
	__uint(type, 32); /* BPF_MAP_TYPE_CGRP_STORAGE */
	__uint(map_flags, 1);
	__type(key, int);
	__type(value, struct account);
} accounts SEC(".maps");

struct alarm {
	u64 fired;
	struct bpf_timer timer;
};

struct {
	__uint(type, 2); /* BPF_MAP_TYPE_ARRAY */
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct alarm);
} alarms SEC(".maps");

u64 moves, last_from, last_to, inits, exits, known_tasks, wrong, reenqueued, left, changed, fires, last_key;

/* Counts the enqueue for the task's cgroup. */
SEC("struct_ops/cells_enqueue") void cells_enqueue(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	struct cgroup *cgrp = scx_bpf_task_cgroup___new(p);
	struct account *account = bpf_cgrp_storage_get(&accounts, cgrp, 0, 0);

	if (account)
		account->enqueued++;
	else
		wrong++;
	wrong += p->cgroups->dfl_cgrp != cgrp;
	bpf_cgroup_release(cgrp);
	reenqueued += (ctx[1] >> 40) & 1;
	scx_bpf_dsq_insert___v2___compat(p, QUEUE, 0, ctx[1]);
}

SEC("struct_ops/cells_dispatch") void cells_dispatch(u64 *ctx)
{
	scx_bpf_dsq_move_to_local___v2___compat(QUEUE, 0);
}

SEC("struct_ops/cells_dequeue") void cells_dequeue(u64 *ctx)
{
	if (ctx[1])
		changed++;
	else
		left++;
}

SEC("struct_ops/cells_init_task") s32 cells_init_task(u64 *ctx)
{
	struct scx_init_task_args *args = (void *)ctx[1];

	known_tasks += args->cgroup->kn->id;
	return 0;
}

SEC("struct_ops.s/cells_cgroup_init") s32 cells_cgroup_init(u64 *ctx)
{
	struct cgroup *cgrp = (void *)ctx[0];
	struct scx_cgroup_init_args *args = (void *)ctx[1];
	struct account *account = bpf_cgrp_storage_get(&accounts, cgrp, 0, 1);

	if (!account)
		return -12;
	account->weight = args->weight;
	inits++;
	return 0;
}

SEC("struct_ops/cells_cgroup_exit") void cells_cgroup_exit(u64 *ctx)
{
	exits++;
}

SEC("struct_ops/cells_cgroup_move") void cells_cgroup_move(u64 *ctx)
{
	moves++;
	last_from = ((struct cgroup *)ctx[1])->kn->id;
	last_to = ((struct cgroup *)ctx[2])->kn->id;
}

/* Every period: all queued tasks are enqueued again; the fourth time is the last. */
static int ring(void *map, u32 *key, struct alarm *alarm)
{
	alarm->fired++;
	fires = alarm->fired;
	last_key = *key;
	scx_bpf_dsq_reenq___compat(QUEUE, 0);
	if (alarm->fired < 4)
		bpf_timer_start(&alarm->timer, PERIOD_NS, 0);
	return 0;
}

SEC("struct_ops.s/cells_init") s32 cells_init(u64 *ctx)
{
	u32 key = 1;
	struct alarm *alarm = bpf_map_lookup_elem(&alarms, &key);

	if (!alarm)
		return -22;
	wrong += bpf_timer_start(&alarm->timer, 1, 0) == 0;
	wrong += bpf_timer_init(&alarm->timer, &alarms, 1) != 0;
	wrong += bpf_timer_init(&alarm->timer, &alarms, 1) == 0;
	wrong += bpf_timer_set_callback(&alarm->timer, ring) != 0;
	wrong += bpf_timer_start(&alarm->timer, 1000, 0) != 0;
	wrong += bpf_timer_cancel(&alarm->timer) != 1;
	wrong += bpf_timer_start(&alarm->timer, PERIOD_NS, 0) != 0;
	return scx_bpf_create_dsq(QUEUE, -1);
}

/* In: kernel id. Out: level, id of the parent, first letter, cgroups below, weight kept, enqueues counted. */
SEC("syscall") int look(u64 *args)
{
	struct cgroup *cgrp = bpf_cgroup_from_id(args[0]), *above;
	struct cgroup_subsys_state *css;
	struct bpf_iter_css it;
	struct account *account;

	if (!cgrp)
		return -2;
	args[1] = cgrp->level;
	above = bpf_cgroup_ancestor(cgrp, cgrp->level - 1);
	if (above) {
		args[2] = above->kn->id;
		wrong += cgrp->ancestors[cgrp->level - 1] != above;
		wrong += cgrp->kn->__parent != above->kn;
		wrong += cgrp->self.parent->cgroup != above;
		bpf_cgroup_release(above);
	}
	args[3] = cgrp->kn->name[0];
	args[4] = 0;
	bpf_iter_css_new(&it, &cgrp->self, 2);
	while ((css = bpf_iter_css_next(&it)))
		args[4] += css->cgroup->level > cgrp->level;
	bpf_iter_css_destroy(&it);
	account = bpf_cgrp_storage_get(&accounts, cgrp, 0, 0);
	if (account) {
		args[5] = account->weight;
		args[6] = account->enqueued;
	}
	bpf_cgroup_release(cgrp);
	return 0;
}

/* Takes a reference to a cgroup (0) or a task (1) and does not give it back, or gives one back that it does not have (2). */
SEC("syscall") int misuse(u64 *args)
{
	struct cgroup *cgrp = 0;

	if (args[0] == 1)
		bpf_task_from_pid(args[1]);
	else
		cgrp = bpf_cgroup_from_id(args[1]);
	if (args[0] == 2 && cgrp) {
		bpf_cgroup_release(cgrp);
		bpf_cgroup_release(cgrp);
	}
	return 0;
}

/* In: a CPU. Out: pid and flags of what runs there. */
SEC("syscall") int who_runs(u64 *args)
{
	struct task_struct *p = scx_bpf_cpu_curr(args[0]);

	if (!p)
		return -2;
	args[1] = p->pid;
	args[2] = p->flags;
	return 0;
}

struct sched_ext_ops {
	void (*enqueue)(u64 *);
	void (*dequeue)(u64 *);
	void (*dispatch)(u64 *);
#ifdef WANTS_UNKNOWN_CALLBACK
	void (*no_such_callback)(u64 *);
#endif
	s32 (*init_task)(u64 *);
	s32 (*cgroup_init)(u64 *);
	void (*cgroup_exit)(u64 *);
	void (*cgroup_move)(u64 *);
	s32 (*init)(u64 *);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

SEC(".struct_ops.link") struct sched_ext_ops cells = {
	.enqueue = cells_enqueue,
	.dequeue = cells_dequeue,
	.dispatch = cells_dispatch,
#ifdef WANTS_UNKNOWN_CALLBACK
	.no_such_callback = cells_dispatch,
#endif
	.init_task = cells_init_task,
	.cgroup_init = cells_cgroup_init,
	.cgroup_exit = cells_cgroup_exit,
	.cgroup_move = cells_cgroup_move,
	.init = cells_init,
	.timeout_ms = 5000,
	.name = "cells",
};

char _license[] SEC("license") = "GPL";
