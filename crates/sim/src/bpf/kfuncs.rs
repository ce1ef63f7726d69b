// SPDX-License-Identifier: GPL-2.0-only
//! The functions of the kernel for BPF code, one row a function. Names with a flavour are those by which the scx headers
//! ask for a signature; a kernel of version 7.3 has the newest of each.

use bpf_vm::{Addr, Ctx, Fault, Field, Registry};

use crate::abi::{EBUSY, PF_IDLE, PF_KTHREAD, SCX_DSQ_LOCAL};
use crate::bpf::objects::{DsqWalk, Mask};
use crate::kernel::{Curr, Kernel};
use crate::task::{Place, TaskIdx};

/// Dispatches that one call of ops.dispatch may buffer.
const DISPATCH_SLOTS: u64 = 32;

type C<'a> = Ctx<'a, Kernel>;
type R = Result<u64, Fault>;

pub(super) fn register(registry: &mut Registry<Kernel>) {
    queues(registry);
    per_cpu(registry);
    registry.functions(&[
        ("__scx_bpf_select_cpu_and", select_cpu_and),
        ("scx_bpf_select_cpu_dfl", select_cpu_dfl),
        ("scx_bpf_kick_cpu", kick),
        ("scx_bpf_test_and_clear_cpu_idle", |ctx, a| {
            Ok(ctx.state.test_and_clear_cpu_idle(a[0] as i32).into())
        }),
        ("scx_bpf_pick_idle_cpu", |ctx, a| pick(ctx, a[0], |kernel, set| kernel.pick_idle_cpu(set, a[1]))),
        ("scx_bpf_pick_idle_cpu_node", |ctx, a| {
            pick(ctx, a[0], |kernel, set| kernel.pick_idle_cpu_node(set, a[1] as i32, a[2]))
        }),
        ("scx_bpf_pick_any_cpu", |ctx, a| pick(ctx, a[0], |kernel, set| kernel.pick_any_cpu(set, a[1]))),
        ("scx_bpf_pick_any_cpu_node", |ctx, a| {
            pick(ctx, a[0], |kernel, set| kernel.pick_any_cpu_node(set, a[1] as i32, a[2]))
        }),
        ("scx_bpf_get_idle_cpumask", |ctx, _| idle_mask(ctx, false)),
        ("scx_bpf_get_idle_smtmask", |ctx, _| idle_mask(ctx, true)),
        ("scx_bpf_put_idle_cpumask", |_, _| Ok(0)),
        ("scx_bpf_get_possible_cpumask", |ctx, _| kernel_mask(ctx, "possible")),
        ("scx_bpf_get_online_cpumask", |ctx, _| kernel_mask(ctx, "online")),
        ("scx_bpf_put_cpumask", |_, _| Ok(0)),
        ("scx_bpf_nr_cpu_ids", |ctx, _| Ok(ctx.state.machine.nr_cpu_ids() as u64)),
        ("scx_bpf_nr_node_ids", |ctx, _| Ok(ctx.state.machine.nodes.len() as u64)),
        ("scx_bpf_cpu_node", cpu_node),
        ("scx_bpf_cpuperf_cap", cpu_capacity),
        ("scx_bpf_cpuperf_cur", cpu_capacity),
        ("scx_bpf_cpuperf_set", |_, _| Ok(0)),
        ("scx_bpf_task_cpu", task_cpu),
        ("scx_bpf_task_running", task_running),
        ("scx_bpf_task_set_slice___new", set_slice),
        ("scx_bpf_task_set_dsq_vtime___new", set_vtime),
        ("scx_bpf_cpu_curr", cpu_curr),
        ("scx_bpf_dsq_reenq___compat", |ctx, a| {
            ctx.state.dsq_reenq(a[0], a[1]);
            Ok(0)
        }),
        ("scx_bpf_reenqueue_local___v2___compat", |ctx, _| {
            ctx.state.dsq_reenq(SCX_DSQ_LOCAL, 0);
            Ok(0)
        }),
        ("scx_bpf_dispatch_cancel", |ctx, _| {
            ctx.state.dispatch_buffer.pop();
            Ok(0)
        }),
        ("scx_bpf_get_idle_cpumask_node", |ctx, a| idle_mask_node(ctx, a[0], false)),
        ("scx_bpf_get_idle_smtmask_node", |ctx, a| idle_mask_node(ctx, a[0], true)),
        ("scx_bpf_events", events),
        ("bpf_local_irq_save", |_, _| Ok(0)),
        ("bpf_local_irq_restore", |_, _| Ok(0)),
        ("scx_bpf_error_bstr", error),
        ("scx_bpf_exit_bstr", exit),
        ("scx_bpf_dump_bstr", dump),
        ("bpf_iter_scx_dsq_new", walk_new),
        ("bpf_iter_scx_dsq_next", walk_next),
        ("bpf_iter_scx_dsq_destroy", walk_destroy),
        ("bpf_iter_task_new", tasks_new),
        ("bpf_iter_task_next", tasks_next),
        ("bpf_iter_task_destroy", |_, _| Ok(0)),
    ]);
    registry.clocks(
        &["scx_bpf_now"],
        &[(5, "bpf_ktime_get_ns"), (125, "bpf_ktime_get_boot_ns"), (160, "bpf_ktime_get_coarse_ns")],
    );
    registry.helpers(&[
        (118, "bpf_jiffies64", |ctx, _| Ok(ctx.state.now / ctx.state.config.tick_ns())),
        (7, "bpf_get_prandom_u32", |ctx, _| Ok(u64::from(ctx.state.rng.next() as u32))),
        (158, "bpf_get_current_task_btf", current),
    ]);
}

/// Variables that each CPU has a copy of: run queues are the only ones that the model has.
fn per_cpu(registry: &mut Registry<Kernel>) {
    registry.helpers(&[
        (153, "bpf_per_cpu_ptr", |ctx, a| run_queue(ctx, a[1] as u32 as usize)),
        (154, "bpf_this_cpu_ptr", |ctx, _| {
            let cpu = ctx.state.this_cpu;
            run_queue(ctx, cpu)
        }),
    ]);
}

fn queues(registry: &mut Registry<Kernel>) {
    registry.functions(&[
        ("scx_bpf_create_dsq", |ctx, a| signed(ctx.state.create_dsq(a[0]))),
        ("scx_bpf_destroy_dsq", destroy_dsq),
        ("scx_bpf_dsq_nr_queued", |ctx, a| signed(ctx.state.dsq_nr_queued(a[0]))),
        ("scx_bpf_dsq_peek", peek),
        ("scx_bpf_dsq_insert___v2___compat", insert),
        ("__scx_bpf_dsq_insert_vtime", insert_vtime),
        ("scx_bpf_dsq_move_to_local___v2___compat", move_to_local),
        ("scx_bpf_dsq_move___new", |ctx, a| dsq_move(ctx, a, false)),
        ("scx_bpf_dsq_move_vtime___new", |ctx, a| dsq_move(ctx, a, true)),
        ("scx_bpf_dsq_move_set_slice___new", |ctx, a| set_walk(ctx, a, true)),
        ("scx_bpf_dsq_move_set_vtime___new", |ctx, a| set_walk(ctx, a, false)),
        ("scx_bpf_dispatch_nr_slots", |ctx, _| {
            Ok(DISPATCH_SLOTS.saturating_sub(ctx.state.dispatch_buffer.len() as u64))
        }),
    ]);
}

fn signed(value: i32) -> R {
    Ok(i64::from(value).cast_unsigned())
}

fn destroy_dsq(ctx: &mut C<'_>, [id, ..]: [u64; 5]) -> R {
    ctx.state.destroy_dsq(id);
    Ok(0)
}

fn give(ctx: &mut C<'_>, task: Option<TaskIdx>) -> R {
    match task {
        Some(task) => ctx.state.hand_out(ctx.mem, task),
        None => Ok(0),
    }
}

fn peek(ctx: &mut C<'_>, [id, ..]: [u64; 5]) -> R {
    let task = ctx.state.dsq_peek(id);
    give(ctx, task)
}

fn insert(ctx: &mut C<'_>, [p, dsq, slice, flags, _]: [u64; 5]) -> R {
    let task = ctx.state.task_argument(ctx.mem, p)?;
    let done = ctx.state.dsq_insert(task, dsq, slice, flags);
    ctx.state.refresh(ctx.mem)?;
    Ok(done.into())
}

/// Reads fields of 4 and 8 bytes of a struct of arguments, checked with the program's rights.
fn arguments<const N: usize>(ctx: &C<'_>, addr: u64, fields: &[Field; N]) -> Result<[u64; N], Fault> {
    let end = fields.iter().map(|field| field.offset + field.size).max().unwrap_or(0);
    let bytes = ctx.mem.readable(Addr(addr), end)?;
    let mut values = [0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        let bytes = &bytes[field.offset as usize..];
        *value = match field.size {
            4 => u32::from_le_bytes(*bytes.first_chunk().expect("it ends before the end")).into(),
            _ => u64::from_le_bytes(*bytes.first_chunk().expect("it ends before the end")),
        };
    }
    Ok(values)
}

fn insert_vtime(ctx: &mut C<'_>, [p, args, ..]: [u64; 5]) -> R {
    let fields = ctx.state.objects.layout()?.insert_vtime_args;
    let [dsq, slice, vtime, flags] = arguments(&*ctx, args, &fields)?;
    let task = ctx.state.task_argument(ctx.mem, p)?;
    let done = ctx.state.dsq_insert_vtime(task, dsq, slice, vtime, flags);
    ctx.state.refresh(ctx.mem)?;
    Ok(done.into())
}

fn move_to_local(ctx: &mut C<'_>, [dsq, ..]: [u64; 5]) -> R {
    let moved = ctx.state.dsq_move_to_local(dsq);
    ctx.state.refresh(ctx.mem)?;
    Ok(moved.into())
}

fn dsq_move(ctx: &mut C<'_>, [walk, p, to, flags, _]: [u64; 5], by_vtime: bool) -> R {
    let task = ctx.state.task_argument(ctx.mem, p)?;
    let Some(entry) = ctx.state.objects.walks.get_mut(&walk) else { return Ok(0) };
    let (from, slice, vtime) = (entry.dsq, entry.slice.take(), entry.vtime.take());
    let vtime = by_vtime.then(|| vtime.unwrap_or(ctx.state.tasks[task].vtime));
    let moved = ctx.state.dsq_move(task, from, to, vtime, flags);
    if let Some(slice) = slice.filter(|_| moved) {
        ctx.state.tasks[task].slice = slice;
    }
    ctx.state.refresh(ctx.mem)?;
    Ok(moved.into())
}

fn set_walk(ctx: &mut C<'_>, [walk, value, ..]: [u64; 5], slice: bool) -> R {
    if let Some(entry) = ctx.state.objects.walks.get_mut(&walk) {
        *(if slice { &mut entry.slice } else { &mut entry.vtime }) = Some(value);
    }
    Ok(0)
}

fn select_cpu_and(ctx: &mut C<'_>, [p, mask, args, ..]: [u64; 5]) -> R {
    let fields = ctx.state.objects.layout()?.select_cpu_args;
    let [prev, wake, flags] = arguments(&*ctx, args, &fields)?;
    let prev = prev as u32 as usize;
    let mut allowed = Mask::new();
    ctx.state.objects.read_mask(ctx.mem, mask, &mut allowed)?;
    let task = ctx.state.task_argument(ctx.mem, p)?;
    signed(ctx.state.select_cpu_and(task, prev, wake, allowed.words(), flags))
}

fn select_cpu_dfl(ctx: &mut C<'_>, [p, prev, wake, is_idle, _]: [u64; 5]) -> R {
    let task = ctx.state.task_argument(ctx.mem, p)?;
    let tracked = ctx.state.needs_idle_tracking();
    let cpu =
        if tracked { ctx.state.select_cpu_dfl(task, prev as u32 as usize, wake, None, 0) } else { -EBUSY };
    ctx.mem.writable(Addr(is_idle), 1)?[0] = u8::from(cpu >= 0);
    if cpu >= 0 { signed(cpu) } else { Ok(prev) }
}

fn kick(ctx: &mut C<'_>, [cpu, flags, ..]: [u64; 5]) -> R {
    ctx.state.kick_cpu(cpu as i32, flags);
    Ok(0)
}

/// A choice among the CPUs of a mask that BPF code passes.
fn pick(ctx: &mut C<'_>, mask: u64, choose: impl FnOnce(&mut Kernel, &[u64]) -> i32) -> R {
    let mut allowed = Mask::new();
    ctx.state.objects.read_mask(ctx.mem, mask, &mut allowed)?;
    signed(choose(&mut *ctx.state, allowed.words()))
}

/// What the kernel gives instead of a mask that there is not.
fn no_mask(ctx: &mut C<'_>) -> R {
    ctx.state.objects.kernel_mask(ctx.mem, "none", &topology::CpuSet::new()).map(u64::from)
}

fn idle_mask(ctx: &mut C<'_>, cores: bool) -> R {
    if !ctx.state.needs_idle_tracking() {
        return no_mask(ctx);
    }
    let kernel = &mut *ctx.state;
    let (name, cpus) = match cores && kernel.machine.smt {
        true => ("idle cores", &kernel.idle.cores),
        false => ("idle", &kernel.idle.cpus),
    };
    kernel.objects.kernel_mask(ctx.mem, name, cpus).map(u64::from)
}

/// Idle CPUs of one node.
fn idle_mask_node(ctx: &mut C<'_>, node: u64, cores: bool) -> R {
    if !ctx.state.needs_idle_tracking() {
        return no_mask(ctx);
    }
    let kernel = &mut *ctx.state;
    let Some(span) = kernel.machine.nodes.get(node as u32 as usize) else {
        kernel.error(&format!("invalid node {}", node as i32));
        return no_mask(ctx);
    };
    let (name, cpus) = match cores && kernel.machine.smt {
        true => ("idle cores of a node", kernel.idle.cores.intersection(span)),
        false => ("idle CPUs of a node", kernel.idle.cpus.intersection(span)),
    };
    kernel.objects.kernel_mask(ctx.mem, name, &cpus).map(u64::from)
}

/// `(events, size)`: the counters that the model has; the others of the struct read 0.
fn events(ctx: &mut C<'_>, [to, size, ..]: [u64; 5]) -> R {
    let counters = ctx.state.metrics.kernel_events;
    let values = [
        ("SCX_EV_SELECT_CPU_FALLBACK", counters.select_cpu_fallback),
        ("SCX_EV_DISPATCH_LOCAL_DSQ_OFFLINE", counters.dispatch_offline),
        ("SCX_EV_DISPATCH_KEEP_LAST", counters.keep_last),
        ("SCX_EV_ENQ_SKIP_EXITING", counters.skip_exiting),
        ("SCX_EV_ENQ_SKIP_MIGRATION_DISABLED", counters.skip_migration_disabled),
        ("SCX_EV_REFILL_SLICE_DFL", counters.refill_slice),
    ];
    ctx.mem.writable(Addr(to), size as u32)?.fill(0);
    for (name, value) in values {
        let field = ctx.mem.field("scx_event_stats", name).map_err(|e| Fault::violation(e.to_string()))?;
        if u64::from(field.offset + field.size) <= size {
            ctx.mem.write_u64(Addr(to).offset(field.offset.into()), value)?;
        }
    }
    Ok(0)
}

fn kernel_mask(ctx: &mut C<'_>, name: &'static str) -> R {
    let kernel = &mut *ctx.state;
    let cpus = if name == "online" { &kernel.online } else { &*kernel.machine.all };
    kernel.objects.kernel_mask(ctx.mem, name, cpus).map(u64::from)
}

fn cpu_node(ctx: &mut C<'_>, [cpu, ..]: [u64; 5]) -> R {
    Ok(ctx.state.machine.places.get(cpu as u32 as usize).map_or(0, |place| place.node as u64))
}

fn cpu_capacity(ctx: &mut C<'_>, [cpu, ..]: [u64; 5]) -> R {
    Ok(ctx.state.machine.places.get(cpu as u32 as usize).map_or(1024, |place| place.capacity))
}

fn task_cpu(ctx: &mut C<'_>, [p, ..]: [u64; 5]) -> R {
    let task = ctx.state.objects.task_at(ctx.mem, p)?;
    Ok(ctx.state.tasks[task].cpu as u64)
}

fn task_running(ctx: &mut C<'_>, [p, ..]: [u64; 5]) -> R {
    let task = ctx.state.objects.task_at(ctx.mem, p)?;
    Ok((ctx.state.tasks[task].place == Place::Running).into())
}

fn set_slice(ctx: &mut C<'_>, [p, slice, ..]: [u64; 5]) -> R {
    let task = ctx.state.task_argument(ctx.mem, p)?;
    ctx.state.tasks[task].slice = slice;
    ctx.state.hand_out(ctx.mem, task)?;
    Ok(1)
}

fn set_vtime(ctx: &mut C<'_>, [p, vtime, ..]: [u64; 5]) -> R {
    let task = ctx.state.task_argument(ctx.mem, p)?;
    ctx.state.tasks[task].vtime = vtime;
    ctx.state.hand_out(ctx.mem, task)?;
    Ok(1)
}

/// The task that a CPU runs; the idle task and real-time tasks are stand-ins.
fn cpu_curr(ctx: &mut C<'_>, [cpu, ..]: [u64; 5]) -> R {
    let cpu = cpu as u32 as usize;
    let Some(curr) = ctx.state.cpus.get(cpu).map(|cpu| cpu.curr) else {
        ctx.state.error(&format!("invalid CPU {cpu}"));
        return Ok(0);
    };
    give_current(ctx, curr)
}

fn current(ctx: &mut C<'_>, _: [u64; 5]) -> R {
    let curr = ctx.state.cpus[ctx.state.this_cpu].curr;
    give_current(ctx, curr)
}

fn give_current(ctx: &mut C<'_>, curr: Curr) -> R {
    let (name, mut fields) = match curr {
        Curr::Task(task) => return give(ctx, Some(task)),
        Curr::Idle => {
            ("swapper", vec![("flags", u64::from(PF_IDLE | PF_KTHREAD)), ("prio", 120), ("static_prio", 120)])
        }
        // SCHED_FIFO of priority 50.
        Curr::Rt => ("real-time", vec![("pid", 1 << 22), ("prio", 49), ("static_prio", 120), ("policy", 1)]),
    };
    fields.push(("cpus_ptr", kernel_mask(ctx, "possible")?));
    ctx.state.objects.outsider(ctx.mem, name, &fields).map(u64::from)
}

/// A CPU's run queue; NULL for a CPU that is not there.
fn run_queue(ctx: &mut C<'_>, cpu: usize) -> R {
    let kernel = &mut *ctx.state;
    let Some(busy) = kernel.cpus.get(cpu).map(|cpu| cpu.rt_wanted_ns > 0) else { return Ok(0) };
    kernel.objects.run_queue(ctx.mem, cpu, busy).map(u64::from)
}

fn error(ctx: &mut C<'_>, [format, data, length, ..]: [u64; 5]) -> R {
    let text = ctx.mem.format(Addr(format), Addr(data), length as u32)?;
    ctx.state.bpf_error(text.trim_end());
    Ok(0)
}

fn exit(ctx: &mut C<'_>, [code, format, data, length, _]: [u64; 5]) -> R {
    let text = ctx.mem.format(Addr(format), Addr(data), length as u32)?;
    ctx.state.bpf_exit(code.cast_signed(), text.trim_end());
    Ok(0)
}

fn dump(ctx: &mut C<'_>, [format, data, length, ..]: [u64; 5]) -> R {
    let text = ctx.mem.format(Addr(format), Addr(data), length as u32)?;
    ctx.state.dump.push_str(&text);
    Ok(0)
}

fn walk_new(ctx: &mut C<'_>, [walk, dsq, ..]: [u64; 5]) -> R {
    let Some(index) = ctx.state.dsqs.find(dsq) else { return signed(-crate::abi::ENOENT) };
    let tasks = ctx.state.dsqs[index].iter().collect();
    ctx.state.objects.walks.insert(walk, DsqWalk { dsq, tasks, ..DsqWalk::default() });
    Ok(0)
}

fn walk_next(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    let kernel = &mut *ctx.state;
    let Some(entry) = kernel.objects.walks.get_mut(&walk) else { return Ok(0) };
    let Some(index) = kernel.dsqs.find(entry.dsq) else { return Ok(0) };
    while let Some(&task) = entry.tasks.get(entry.at) {
        entry.at += 1;
        if kernel.tasks[task].place == Place::Queue(index) {
            return kernel.hand_out(ctx.mem, task);
        }
    }
    Ok(0)
}

fn walk_destroy(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    ctx.state.objects.walks.remove(&walk);
    Ok(0)
}

fn tasks_new(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    ctx.mem.writable(Addr(walk), 8)?.fill(0);
    Ok(0)
}

fn tasks_next(ctx: &mut C<'_>, [walk, ..]: [u64; 5]) -> R {
    let from = ctx.mem.read_u64(Addr(walk))? as usize;
    let next = ctx.state.tasks.live_from(from);
    ctx.mem.write_u64(Addr(walk), next.map_or(u64::from(u32::MAX), |task| task as u64 + 1))?;
    give(ctx, next)
}
