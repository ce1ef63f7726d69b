/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small scheduler that touches what larger ones do not: direct writes of slice and vtime, walks over tasks and queues,
 * masks, dispatch out of ops.dispatch.
 *
 * Relies on: its own declarations, relocated against the model's types.
 * Does not handle: fairness; it only has to get every task to a CPU.
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define CORE __attribute__((preserve_access_index))

struct cpumask;
struct bpf_cpumask;
struct sched_ext_entity {
	u64 slice;
	u64 dsq_vtime;
} CORE;
struct task_struct {
	int pid;
	int nr_cpus_allowed;
	const struct cpumask *cpus_ptr;
	struct sched_ext_entity scx;
#ifdef WANTS_UNKNOWN_FIELD
	u64 no_such_field;
#endif
} CORE;
struct bpf_iter_task {
	u64 opaque[3];
};
struct bpf_iter_scx_dsq {
	u64 opaque[6];
};

extern s32 scx_bpf_create_dsq(u64 id, s32 node) __ksym;
extern _Bool scx_bpf_dsq_insert___v2___compat(struct task_struct *p, u64 dsq, u64 slice, u64 flags) __ksym __weak;
extern _Bool scx_bpf_dsq_move_to_local___v2___compat(u64 dsq, u64 flags) __ksym __weak;
extern s32 scx_bpf_dsq_nr_queued(u64 id) __ksym;
extern s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym;
extern void scx_bpf_error_bstr(char *fmt, u64 *data, u32 size) __ksym;
extern void scx_bpf_exit_bstr(s64 exit_code, char *fmt, u64 *data, u32 size) __ksym;
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym;
extern void bpf_cpumask_release(struct bpf_cpumask *mask) __ksym;
extern void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask *mask) __ksym;
extern u32 bpf_cpumask_weight(const struct cpumask *mask) __ksym;
extern _Bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *mask) __ksym;
extern u32 scx_bpf_nr_cpu_ids(void) __ksym;
extern int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *p, u32 flags) __ksym;
extern struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it) __ksym;
extern void bpf_iter_task_destroy(struct bpf_iter_task *it) __ksym;
extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq, u64 flags) __ksym;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym;
#ifdef WANTS_UNKNOWN_FUNCTION
extern void no_such_function(void) __ksym;
#endif

const volatile u32 wanted = 7;
u64 inserted, walked, weights;

SEC("struct_ops/tiny_enqueue") void tiny_enqueue(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];

	scx_bpf_dsq_insert___v2___compat(p, wanted, 0, ctx[1]);
	inserted++;
#ifdef WANTS_UNKNOWN_FIELD
	inserted += p->no_such_field;
#endif
#ifdef WANTS_UNKNOWN_FUNCTION
	no_such_function();
#endif
}

SEC("struct_ops/tiny_dispatch") void tiny_dispatch(u64 *ctx)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	bpf_iter_scx_dsq_new(&it, wanted, 0);
	while ((p = bpf_iter_scx_dsq_next(&it)))
		walked += bpf_cpumask_test_cpu(scx_bpf_task_cpu(p), p->cpus_ptr);
	bpf_iter_scx_dsq_destroy(&it);
	scx_bpf_dsq_move_to_local___v2___compat(wanted, 0);
}

/* A slice of 1 ms, written straight into the task. */
SEC("struct_ops/tiny_running") void tiny_running(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];

	p->scx.slice = 1000000;
	p->scx.dsq_vtime += 5;
#ifdef FAULTS
	/* No pointer: what a verifier would never let through. */
	if (inserted >= 20)
		walked += ((struct task_struct *)inserted)->pid;
#endif
#ifdef LEAVES
	/* Asks for its own end, with that code. */
	if (inserted >= 20) {
		static char farewell[] = "done after %d";
		u64 data[1] = { inserted };

		scx_bpf_exit_bstr(LEAVES, farewell, data, sizeof(data));
	}
#endif
}

SEC("struct_ops/tiny_init_task") s32 tiny_init_task(u64 *ctx)
{
	struct task_struct *p = (void *)ctx[0];
	static char words[] = "task %d is not welcome";
	u64 data[1] = { p->pid };

	if (p->pid != 13)
		return 0;
	scx_bpf_error_bstr(words, data, sizeof(data));
	return -1;
}

SEC("struct_ops.s/tiny_init") s32 tiny_init(u64 *ctx)
{
	struct bpf_cpumask *mask = bpf_cpumask_create();

	if (!mask)
		return -12;
	for (u32 cpu = 0; cpu < 4096 && cpu < scx_bpf_nr_cpu_ids(); cpu++)
		bpf_cpumask_set_cpu(cpu, mask);
	weights = bpf_cpumask_weight((const struct cpumask *)mask);
#ifndef LEAKS
	bpf_cpumask_release(mask);
#endif
	return scx_bpf_create_dsq(wanted, -1);
}

SEC("syscall") int count_tasks(u64 *args)
{
	struct bpf_iter_task it;
	struct task_struct *p;
	u64 count = 0;

	bpf_iter_task_new(&it, 0, 0);
	while ((p = bpf_iter_task_next(&it)))
		count += p->nr_cpus_allowed;
	bpf_iter_task_destroy(&it);
	*args = count;
	return scx_bpf_dsq_nr_queued(wanted);
}

struct sched_ext_ops {
	void (*enqueue)(u64 *);
	void (*dispatch)(u64 *);
	void (*running)(u64 *);
	s32 (*init_task)(u64 *);
	s32 (*init)(u64 *);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

SEC(".struct_ops.link") struct sched_ext_ops tiny = {
	.enqueue = tiny_enqueue,
	.dispatch = tiny_dispatch,
	.running = tiny_running,
	.init_task = tiny_init_task,
	.init = tiny_init,
#ifdef FLAGS
	.flags = FLAGS,
#endif
	.timeout_ms = 5000,
	.name = "tiny",
};

char _license[] SEC("license") = "GPL";
