/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * domain-balancer: one vtime queue per cache domain, load tracked here, balanced from userspace.
 *
 * The topics are headers, included below in the order of their dependence and compiled as one unit: the callbacks share
 * maps and inlined helpers, and the verifier sees each callback whole.
 *
 *   state    configuration, maps, look-ups
 *   load     running averages per task and per (domain, weight bucket)
 *   share    effective weights: a task's own times the share of its cgroup
 *   axis     in what time a task's vtime counts: its domain's or its CPU's
 *   home     which domain a task belongs to, and planned moves
 *   place    select_cpu and enqueue
 *   run      vtime, dispatch, stealing
 *   task     life of a task
 *   balance  snapshots and plans: the programs userspace calls
 *
 * Relies on: sched_ext of kernel 6.18 or newer.
 * Does not handle: cgroup bandwidth limits (cpu.max).
 */
#include "balance.bpf.h"

char _license[] SEC("license") = "GPL";

void BPF_STRUCT_OPS(domain_balancer_cpu_online, s32 cpu)
{
	restart_for_hotplug(cpu, true);
}

void BPF_STRUCT_OPS(domain_balancer_cpu_offline, s32 cpu)
{
	restart_for_hotplug(cpu, false);
}

void BPF_STRUCT_OPS(domain_balancer_dump, struct scx_dump_ctx *dctx)
{
	u32 nr_domains = conf.nr_domains, i;

	bpf_for(i, 0, nr_domains) {
		struct domain_ctx *dom = domain_ctx(i);

		if (dom)
			scx_bpf_dump("domain %u: node %u cpus %u runnable %u queued %u vtime %llu\n", i, node_of_domain(i),
				     dom->nr_cpus, dom->nr_runnable, nr_queued(domain_dsq(i)), dom->vtime_now);
	}
}

void BPF_STRUCT_OPS(domain_balancer_dump_task, struct scx_dump_ctx *dctx, struct task_struct *p)
{
	struct task_ctx *tctx = task_ctx(p);

	if (tctx)
		scx_bpf_dump("  home %u weight %u own %u generation %llu move_target %u last_moved %llu\n", tctx->domain,
			     tctx->weight, tctx->own_weight, tctx->generation, tctx->move_target, tctx->last_moved_ns);
}

/* A new mask of the CPUs of one domain, or of all domains of its node. */
static __always_inline struct bpf_cpumask *create_mask(u32 domain, bool whole_node, u32 *nr_cpus)
{
	u32 nr_cpu_ids = conf.nr_cpu_ids, node = node_of_domain(domain), cpu;
	struct bpf_cpumask *mask = bpf_cpumask_create();

	if (!mask)
		return NULL;
	*nr_cpus = 0;
	bpf_for(cpu, 0, nr_cpu_ids) {
		u32 other = domain_of_cpu(cpu);

		if (other < DB_MAX_DOMAINS && (whole_node ? node_of_domain(other) == node : other == domain)) {
			bpf_cpumask_set_cpu(cpu, mask);
			(*nr_cpus)++;
		}
	}
	return mask;
}

static __noinline s32 init_domain(u32 domain)
{
	struct domain_ctx *dom = domain_ctx(domain);
	struct bpf_cpumask *mask;
	u32 nr_cpus = 0;
	s32 err;

	if (!dom)
		return -ENOENT;
	err = scx_bpf_create_dsq(domain_dsq(domain), -1);
	if (err)
		return err;
	mask = create_mask(domain, true, &nr_cpus);
	if (!mask)
		return -ENOMEM;
	mask = bpf_kptr_xchg(&dom->node_cpumask, mask);
	if (mask)
		bpf_cpumask_release(mask);
	mask = create_mask(domain, false, &nr_cpus);
	if (!mask)
		return -ENOMEM;
	dom->nr_cpus = nr_cpus;
	mask = bpf_kptr_xchg(&dom->cpumask, mask);
	if (mask)
		bpf_cpumask_release(mask);
	return 0;
}

s32 BPF_STRUCT_OPS_SLEEPABLE(domain_balancer_init)
{
	u32 nr_domains = conf.nr_domains, nr_cpu_ids = conf.nr_cpu_ids, i;
	s32 err;

	bpf_for(i, 0, nr_domains) {
		err = init_domain(i);
		if (err) {
			scx_bpf_error("domain %u cannot be set up: error %d", i, err);
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
	return 0;
}

void BPF_STRUCT_OPS(domain_balancer_exit, struct scx_exit_info *ei)
{
	UEI_RECORD(uei, ei);
}

/* Flags are set from userspace: their values come from the running kernel. */
SCX_OPS_DEFINE(domain_balancer,
	       .select_cpu = (void *)domain_balancer_select_cpu,
	       .enqueue = (void *)domain_balancer_enqueue,
	       .dispatch = (void *)domain_balancer_dispatch,
	       .runnable = (void *)domain_balancer_runnable,
	       .running = (void *)domain_balancer_running,
	       .stopping = (void *)domain_balancer_stopping,
	       .quiescent = (void *)domain_balancer_quiescent,
	       .enable = (void *)domain_balancer_enable,
	       .set_weight = (void *)domain_balancer_set_weight,
	       .set_cpumask = (void *)domain_balancer_set_cpumask,
	       .init_task = (void *)domain_balancer_init_task,
	       .exit_task = (void *)domain_balancer_exit_task,
	       .cpu_online = (void *)domain_balancer_cpu_online,
	       .cpu_offline = (void *)domain_balancer_cpu_offline,
	       .dump = (void *)domain_balancer_dump,
	       .dump_task = (void *)domain_balancer_dump_task,
	       .init = (void *)domain_balancer_init,
	       .exit = (void *)domain_balancer_exit,
	       .timeout_ms = 30000,
	       .name = "domain_balancer");
