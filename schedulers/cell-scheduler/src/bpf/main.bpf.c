/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cell-scheduler: cgroups as cells with CPUs of their own, lent while they are idle.
 *
 * The topics are headers, included below in the order of their dependence and compiled as one unit: the callbacks share
 * maps and inlined helpers, and the verifier sees each callback whole.
 *
 *   state    configuration, maps, look-ups
 *   account  figures per slot, debug events
 *   axis     virtual time: one axis per queue and per CPU
 *   cell     which cell a task belongs to, and which queue it waits in
 *   place    select_cpu and enqueue
 *   borrow   which other cell's work an idle CPU takes
 *   run      dispatch, charging
 *   task     life of a task and of cgroups
 *   config   tables: the programs userspace calls
 *
 * Relies on: sched_ext of kernel 6.18 or newer.
 * Does not handle: which CPUs a cell has; userspace decides that and hands over tables.
 */
#include "config.bpf.h"

char _license[] SEC("license") = "GPL";

void BPF_STRUCT_OPS(cell_scheduler_cpu_online, s32 cpu)
{
	restart_for_hotplug(cpu, true);
}

void BPF_STRUCT_OPS(cell_scheduler_cpu_offline, s32 cpu)
{
	restart_for_hotplug(cpu, false);
}

void BPF_STRUCT_OPS(cell_scheduler_dump, struct scx_dump_ctx *dctx)
{
	u32 nr_queues = conf.nr_cells * conf.nr_llcs, i;

	scx_bpf_dump("table %llu, tasks %llu\n", sequence, nr_tasks);
	bpf_for(i, 0, nr_queues) {
		struct queue_ctx *qctx = queue_ctx(i);

		if (qctx && qctx->created && (qctx->nr_cpus || nr_queued(i)))
			scx_bpf_dump("cell %u llc %u: cpus %u queued %u vtime %llu\n", i / conf.nr_llcs, i % conf.nr_llcs,
				     qctx->nr_cpus, nr_queued(i), qctx->vtime_now);
	}
	dump_events();
}

void BPF_STRUCT_OPS(cell_scheduler_dump_cpu, struct scx_dump_ctx *dctx, s32 cpu, bool idle)
{
	struct cpu_ctx *cctx = cpu_ctx(cpu);

	if (cctx && llc_of_cpu(cpu) < conf.nr_llcs)
		scx_bpf_dump("  cell %u lent %u pinned %u\n", cctx->queue / conf.nr_llcs, cctx->lent_by,
			     nr_queued(cpu_dsq(cpu)));
}

void BPF_STRUCT_OPS(cell_scheduler_dump_task, struct scx_dump_ctx *dctx, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	if (tctx)
		scx_bpf_dump("  slot %u cell %u host %u axis %u weight %u table %llu\n", tctx->slot, tctx->cell, tctx->host,
			     tctx->axis, tctx->weight, tctx->sequence);
}

static __noinline s32 init_cell(u32 cell)
{
	struct cell_state *state = bpf_map_lookup_elem(&cells, &cell);
	struct bpf_cpumask *mask;
	u32 i;

	if (!state)
		return -ENOENT;
	mask = bpf_cpumask_create();
	if (!mask)
		return -ENOMEM;
	mask = bpf_kptr_xchg(&state->lent, mask);
	if (mask)
		bpf_cpumask_release(mask);
	bpf_for(i, 0, 2) {
		u32 index = cell * 2 + i;
		struct cell_masks *entry = bpf_map_lookup_elem(&masks, &index);

		if (!entry)
			return -ENOENT;
		mask = bpf_cpumask_create();
		if (!mask)
			return -ENOMEM;
		mask = bpf_kptr_xchg(&entry->cpus, mask);
		if (mask)
			bpf_cpumask_release(mask);
		if (cell)
			continue;
		mask = bpf_cpumask_create();
		if (!mask)
			return -ENOMEM;
		mask = bpf_kptr_xchg(&entry->lendable, mask);
		if (mask)
			bpf_cpumask_release(mask);
	}
	return 0;
}

/* The first table: every CPU in cell 0. */
static __noinline s32 init_table(void)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, i;
	struct cs_table *table = table_at(0);

	if (!table)
		return -ENOENT;
	table->sequence = 0;
	table->nr_cells = 1;
	table->nr_slots = 1;
	table->cell_weight[0] = VTIME_WEIGHT_ONE;
	table->cell_flags[0] = CS_CELL_LEND | CS_CELL_BORROW;
	bpf_for(i, 0, nr_cpu_ids) {
		u32 llc = llc_of_cpu(i);
		struct cpu_ctx *cctx = cpu_ctx(i);
		struct queue_ctx *qctx = queue_ctx(llc);

		if (i < CS_MAX_CPUS)
			table->cpu_cell[BOUNDED(i, CS_MAX_CPUS)] = llc < conf.nr_llcs ? 0 : CS_NONE;
		if (llc >= conf.nr_llcs || !cctx || !qctx)
			continue;
		cctx->queue = llc;
		qctx->nr_cpus++;
	}
	return ensure_queues(table);
}

s32 BPF_STRUCT_OPS_SLEEPABLE(cell_scheduler_init)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, nr_cells = conf.nr_cells, i;
	s32 err;

	bpf_for(i, 0, nr_cells) {
		err = init_cell(i);
		if (err) {
			scx_bpf_error("cell %u cannot be set up: error %d", i, err);
			return err;
		}
	}
	bpf_for(i, 0, nr_cpu_ids) {
		err = scx_bpf_create_dsq(cpu_dsq(i), -1);
		if (err) {
			scx_bpf_error("queue of cpu %u cannot be created: error %d", i, err);
			return err;
		}
	}
	err = init_table();
	if (err) {
		scx_bpf_error("the first table cannot be set up: error %d", err);
		return err;
	}
	build_masks(table_at(0));
	return 0;
}

void BPF_STRUCT_OPS(cell_scheduler_exit, struct scx_exit_info *ei)
{
	UEI_RECORD(uei, ei);
}

/* Flags are set from userspace: their values come from the running kernel. */
SCX_OPS_DEFINE(cell_scheduler,
	       .select_cpu = (void *)cell_scheduler_select_cpu,
	       .enqueue = (void *)cell_scheduler_enqueue,
	       .dispatch = (void *)cell_scheduler_dispatch,
	       .runnable = (void *)cell_scheduler_runnable,
	       .running = (void *)cell_scheduler_running,
	       .stopping = (void *)cell_scheduler_stopping,
	       .enable = (void *)cell_scheduler_enable,
	       .set_weight = (void *)cell_scheduler_set_weight,
	       .init_task = (void *)cell_scheduler_init_task,
	       .exit_task = (void *)cell_scheduler_exit_task,
	       .cgroup_init = (void *)cell_scheduler_cgroup_init,
	       .cgroup_exit = (void *)cell_scheduler_cgroup_exit,
	       .cgroup_move = (void *)cell_scheduler_cgroup_move,
	       .cgroup_set_weight = (void *)cell_scheduler_cgroup_set_weight,
	       .cpu_online = (void *)cell_scheduler_cpu_online,
	       .cpu_offline = (void *)cell_scheduler_cpu_offline,
	       .dump = (void *)cell_scheduler_dump,
	       .dump_cpu = (void *)cell_scheduler_dump_cpu,
	       .dump_task = (void *)cell_scheduler_dump_task,
	       .init = (void *)cell_scheduler_init,
	       .exit = (void *)cell_scheduler_exit,
	       .timeout_ms = 30000,
	       .name = "cell_scheduler");
