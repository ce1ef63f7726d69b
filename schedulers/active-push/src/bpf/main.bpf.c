/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * active-push: a vtime queue per CPU, balanced over scheduling domains by pulling, and by pushing running tasks when they schedule
 * out.
 *
 * The topics are headers, included below in the order of their dependence and compiled as one unit: the callbacks share maps
 * and inlined helpers, and the verifier sees each callback whole.
 *
 *   push_policy  the decisions, pure
 *   state        configuration, maps, look-ups
 *   account      which CPU a task counts for, virtual time
 *   push         the push protocol
 *   help         who takes a task that waits on a CPU held by a higher class
 *   place        select_cpu and enqueue
 *   groups       the busiest group and queue
 *   pull         balancing rounds
 *   run          dispatch, tick, running, stopping
 *   task         life of a task
 *
 * Relies on: sched_ext of kernel 6.18 or newer.
 * Does not handle: cgroup weights; all tasks share the machine by their own weight.
 */
#include "task.bpf.h"

char _license[] SEC("license") = "GPL";

void BPF_STRUCT_OPS(active_push_cpu_online, s32 cpu)
{
	restart_for_hotplug(cpu, true);
}

void BPF_STRUCT_OPS(active_push_cpu_offline, s32 cpu)
{
	restart_for_hotplug(cpu, false);
}

void BPF_STRUCT_OPS(active_push_dump_cpu, struct scx_dump_ctx *dctx, s32 cpu, bool idle)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);

	if (cctx && !idle)
		scx_bpf_dump("running %u pinned %u load %u queued %u vtime %llu request %u to %u incoming %u",
			     cctx->nr_running, cctx->nr_pinned, cctx->load, nr_queued(cpu), cctx->vtime_now,
			     cctx->request_state, cctx->request_target, cctx->incoming);
}

void BPF_STRUCT_OPS(active_push_dump_task, struct scx_dump_ctx *dctx, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	if (tctx)
		scx_bpf_dump("accounted to %d clock of %u weight %u generation %llu push target %d\n",
			     (s32)tctx->account_cpu - 1, tctx->clock_cpu, tctx->weight, tctx->generation,
			     (s32)tctx->push_target - 1);
}

/* Stores the mask of the CPUs of one last-level cache, or of those of at least a capacity. */
static __always_inline s32 init_mask(void *map, u32 index, u32 llc, u32 min_capacity)
{
	struct mask_entry *entry = bpf_map_lookup_elem(map, &index);
	u32 nr_cpu_ids = conf.nr_cpu_ids, cpu;
	struct bpf_cpumask *mask;

	if (!entry)
		return -ENOENT;
	mask = bpf_cpumask_create();
	if (!mask)
		return -ENOMEM;
	bpf_for(cpu, 0, nr_cpu_ids) {
		if (is_online(cpu) && (llc == AP_NONE || place_of(cpu)->llc == llc) && capacity_of(cpu) >= min_capacity)
			bpf_cpumask_set_cpu(cpu, mask);
	}
	mask = bpf_kptr_xchg(&entry->mask, mask);
	if (mask)
		bpf_cpumask_release(mask);
	return 0;
}

static __always_inline s32 init_cpu(u32 cpu)
{
	struct ap_cpu *cctx = cpu_ctx(cpu);

	if (!cctx)
		return -ENOENT;
	cctx->avg_idle_ns = 2 * conf.migration_cost_ns;
	return scx_bpf_create_dsq(cpu_dsq(cpu), -1);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(active_push_init)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, nr_llcs = conf.nr_llcs, nr_classes = conf.nr_classes, i;
	s32 err;

	bpf_for(i, 0, nr_cpu_ids) {
		err = init_cpu(i);
		if (err) {
			scx_bpf_error("queue of cpu %u cannot be created: error %d", i, err);
			return err;
		}
	}
	bpf_for(i, 0, nr_llcs) {
		err = init_mask(&llc_masks, i, i, 0);
		if (err) {
			scx_bpf_error("cache %u cannot be set up: error %d", i, err);
			return err;
		}
	}
	bpf_for(i, 0, nr_classes) {
		err = init_mask(&class_masks, i, AP_NONE, class_capacity(i));
		if (err) {
			scx_bpf_error("kind of cpus %u cannot be set up: error %d", i, err);
			return err;
		}
	}
	err = start_watch();
	if (err)
		scx_bpf_error("the watch over held cpus cannot be started: error %d", err);
	return err;
}

void BPF_STRUCT_OPS(active_push_exit, struct scx_exit_info *ei)
{
	UEI_RECORD(uei, ei);
}

/* Flags are set from userspace: their values come from the running kernel. */
SCX_OPS_DEFINE(active_push,
	       .select_cpu = (void *)active_push_select_cpu,
	       .enqueue = (void *)active_push_enqueue,
	       .dispatch = (void *)active_push_dispatch,
	       .tick = (void *)active_push_tick,
	       .runnable = (void *)active_push_runnable,
	       .running = (void *)active_push_running,
	       .stopping = (void *)active_push_stopping,
	       .quiescent = (void *)active_push_quiescent,
	       .enable = (void *)active_push_enable,
	       .set_weight = (void *)active_push_set_weight,
	       .init_task = (void *)active_push_init_task,
	       .exit_task = (void *)active_push_exit_task,
	       .cpu_online = (void *)active_push_cpu_online,
	       .cpu_offline = (void *)active_push_cpu_offline,
	       .dump_cpu = (void *)active_push_dump_cpu,
	       .dump_task = (void *)active_push_dump_task,
	       .init = (void *)active_push_init,
	       .exit = (void *)active_push_exit,
	       .timeout_ms = 30000,
	       .name = "active_push");
