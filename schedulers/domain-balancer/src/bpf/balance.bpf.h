/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The doors userspace uses: copies of the load and of the tasks, and planned moves in return.
 *
 * Snapshots are written into maps of plain values; nothing userspace holds points into live state. A planned move
 * names a task by pid and generation and is only noted here; home.bpf.h checks it again and carries it out when the task
 * is next enqueued. Factors of cgroups come through their map; `renew_weights` makes the tasks look.
 *
 * Relies on: one caller at a time (the scheduler's own loop).
 * Does not handle: more tasks than the snapshot map holds; they are counted in nr_dropped.
 */
#ifndef DOMAIN_BALANCER_BALANCE_BPF_H
#define DOMAIN_BALANCER_BALANCE_BPF_H

#include "task.bpf.h"

/* The kernel's task iterator; the scx headers do not declare it. */
int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task__nullable, unsigned int flags) __ksym;
struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct db_domain_snapshot);
	/* Userspace sets the number of domains. */
	__uint(max_entries, 1);
} domain_snapshots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, u32);
	__type(value, struct db_task_snapshot);
	__uint(max_entries, DB_MAX_TASK_SNAPSHOTS);
} task_snapshots SEC(".maps");

static __noinline int copy_bucket(struct db_domain_snapshot *out, u32 domain, u32 index)
{
	u32 key = domain * WEIGHT_BUCKETS + index;
	struct load_bucket *bucket = bpf_map_lookup_elem(&load_buckets, &key);

	if (!bucket || !out || index >= WEIGHT_BUCKETS)
		return 0;
	bpf_spin_lock(&bucket->lock);
	out->duty[index] = bucket->duty;
	bpf_spin_unlock(&bucket->lock);
	return 0;
}

SEC("syscall")
int snapshot_domains(struct db_snapshot_domains_args *args)
{
	u32 nr_domains = conf.nr_domains, domain, index;
	u64 now = scx_bpf_now();

	bpf_for(domain, 0, nr_domains) {
		struct db_domain_snapshot *out = bpf_map_lookup_elem(&domain_snapshots, &domain);
		struct domain_ctx *dom = domain_ctx(domain);

		if (!out || !dom)
			continue;
		out->at_ns = now;
		out->nr_moved_in = dom->nr_moved_in;
		out->nr_moved_out = dom->nr_moved_out;
		out->nr_runnable = dom->nr_runnable;
		out->nr_queued = nr_queued(domain_dsq(domain));
		bpf_for(index, 0, WEIGHT_BUCKETS)
			copy_bucket(out, domain, index);
	}
	args->at_ns = now;
	args->nr_tasks = nr_tasks;
	return 0;
}

/* The domains the affinity leaves the task, as bits; most tasks may go anywhere and need none. */
static __noinline void copy_domains(struct task_struct *p __arg_trusted, struct db_task_snapshot *out)
{
	u32 nr_domains = conf.nr_domains, domain;

	if (!p || !out)
		return;
	bpf_for(domain, 0, DB_MAX_DOMAINS / 64)
		out->domains[domain] = 0;
	bpf_for(domain, 0, nr_domains) {
		struct domain_ctx *dom = domain_ctx(domain);
		u32 word = domain / 64;

		if (dom && word < DB_MAX_DOMAINS / 64 && may_run_in(p, dom))
			out->domains[word] |= 1ULL << (domain % 64);
	}
}

static __always_inline void copy_task(struct task_struct *p, struct task_ctx *tctx, struct db_task_snapshot *out, u64 now)
{
	out->generation = tctx->generation;
	out->last_moved_ns = tctx->last_moved_ns;
	out->last_ran_ns = scx_bpf_task_running(p) ? now : tctx->last_ran_ns;
	out->duty = tctx->duty;
	out->pid = p->pid;
	out->domain = tctx->domain;
	out->weight = tctx->weight;
	out->own_weight = tctx->own_weight;
	out->pad = 0;
	out->flags = (is_kthread(p) ? DB_TASK_KTHREAD : 0) |
		     (p->nr_cpus_allowed == 1 || migration_disabled(p) ? DB_TASK_PINNED : 0);
	out->cgroup_id = cgroup_id_of(p);
	bpf_probe_read_kernel_str(out->comm, sizeof(out->comm), p->comm);
	if (p->nr_cpus_allowed >= conf.nr_cpu_ids)
		out->flags |= DB_TASK_ANY_DOMAIN;
	else
		copy_domains(p, out);
}

/*
 * The task's duty cycle in 1/1024. Comparing the full 32.32 average with a 32-bit number would be as good, but the
 * verifier of 6.18 then meets an average of whole units, contradicts itself about its lower half, and prints a WARNING.
 */
static __always_inline u32 duty_1024(struct task_ctx *tctx, u64 now)
{
	struct ravg duty = tctx->duty;

	duty_settle(&duty, now);
	return duty.avg >> 22;
}

SEC("syscall")
int snapshot_tasks(struct db_snapshot_tasks_args *args)
{
	u32 nr = 0, dropped = 0, capacity = args->capacity;
	u32 min_duty = args->min_duty;
	u64 now = scx_bpf_now();
	struct task_struct *p;

	bpf_rcu_read_lock();
	bpf_for_each(task, p, NULL, BPF_TASK_ITER_ALL_THREADS) {
		struct task_ctx *tctx = bpf_task_storage_get(&task_ctxs, p, 0, 0);
		struct db_task_snapshot *out;
		u32 key = nr;

		if (!tctx || duty_1024(tctx, now) < min_duty)
			continue;
		out = key < capacity ? bpf_map_lookup_elem(&task_snapshots, &key) : NULL;
		if (!out) {
			dropped++;
			continue;
		}
		copy_task(p, tctx, out, now);
		nr++;
	}
	bpf_rcu_read_unlock();
	args->at_ns = now;
	args->nr_written = nr;
	args->nr_dropped = dropped;
	return 0;
}

SEC("syscall")
int plan_move(struct db_plan_move_args *args)
{
	struct task_struct *p = bpf_task_from_pid(args->pid);
	int result = DB_PLAN_STALE;
	struct task_ctx *tctx;

	if (!p)
		return result;
	tctx = bpf_task_storage_get(&task_ctxs, p, 0, 0);
	if (tctx && tctx->generation == args->generation) {
		if (args->target >= conf.nr_domains || args->target == tctx->domain) {
			result = DB_PLAN_REFUSED;
		} else {
			tctx->move_expires_ns = args->expires_ns;
			/* A plan that still waited is replaced: it will never be applied. */
			if (__sync_lock_test_and_set(&tctx->move_target, args->target + 1))
				count(DB_MOVE_EXPIRED);
			result = DB_PLAN_ACCEPTED;
		}
	}
	bpf_task_release(p);
	return result;
}

SEC("syscall")
int renew_weights(struct db_renew_weights_args *args)
{
	args->epoch = __sync_fetch_and_add(&weight_epoch, 1) + 1;
	return 0;
}

#endif /* DOMAIN_BALANCER_BALANCE_BPF_H */
