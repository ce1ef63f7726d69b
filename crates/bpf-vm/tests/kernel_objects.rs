// SPDX-License-Identifier: GPL-2.0-only
//! Objects of the kernel: callback tables, storage attached to tasks, kernel pointers in map values, and misuse of all.

mod common;

use bpf_vm::{Addr, LoadOptions, Machine, Object, Registry};
use common::{ENGINE, clang, compile, kernel_types};

const KERNEL: &str = "
struct scx { u64 slice; u64 vtime; };
struct task_struct { u32 flags; int pid; struct scx scx; char comm[16]; };
struct task_struct *keep(struct task_struct *t) { return t; }
";

const TASKS: &str = r#"
struct scx { u64 slice; u64 vtime; } RELOCATED;
struct task_struct { int pid; struct scx scx; char comm[16]; } RELOCATED;
struct mask;
struct ctx { u64 runs; u32 last; struct mask __kptr *mask; };
struct { __uint(type, 29); __uint(map_flags, 1); __type(key, int); __type(value, struct ctx); } tasks SEC(".maps");
u64 freed_task;

SEC("struct_ops/enqueue") int enqueue(u64 *args)
{
	struct task_struct *p = (void *)args[0];
	struct ctx *ctx = bpf_task_storage_get(&tasks, p, 0, args[1]);
	if (!ctx)
		return -1;
	ctx->runs++;
	ctx->last = p->pid;
	p->scx.slice = 1000 + args[1];
	return ctx->runs;
}

SEC("struct_ops/hold") u64 hold(u64 *args)
{
	struct ctx *ctx = bpf_task_storage_get(&tasks, (void *)args[0], 0, 1);
	return ctx ? (u64)bpf_kptr_xchg(&ctx->mask, (void *)args[1]) : 0;
}

SEC("struct_ops/rename") int rename(u64 *args)
{
	struct task_struct *p = (void *)args[0];
	p->pid = 1;
	return 0;
}

SEC("struct_ops/leave") int leave(u64 *args)
{
	return bpf_task_storage_delete(&tasks, (void *)args[0]);
}

SEC("struct_ops/unused") int unused(u64 *args) { return 0; }

struct ops {
	int (*enqueue)(u64 *args);
	u64 (*hold)(u64 *args);
	int (*rename)(u64 *args);
	int (*leave)(u64 *args);
	int (*nothing)(u64 *args);
	u64 flags;
	char name[8];
};
SEC(".struct_ops.link") struct ops table = {
	.enqueue = (void *)enqueue, .hold = (void *)hold, .rename = (void *)rename, .leave = (void *)leave,
	.flags = 6, .name = "tasks",
};
char _license[] SEC("license") = "GPL";
"#;

fn task_machine(clang: &str) -> Machine<()> {
    let target = kernel_types(clang, KERNEL);
    let mut object = Object::parse(&compile(clang, TASKS)).unwrap();
    assert_eq!(object.ops_field("table", "flags"), Ok(6));
    object.set_ops_field("table", "flags", 7).unwrap();
    assert_eq!(object.ops_field("table", "flags"), Ok(7));
    assert_eq!(object.ops_bytes("table", "name").unwrap(), b"tasks\0\0\0");
    let table = &object.struct_ops()[0];
    assert_eq!((table.name.as_str(), table.type_name.as_str()), ("table", "ops"));
    assert_eq!(table.programs[1], ("hold".to_owned(), "hold".to_owned()));
    let mut machine = object.load(&target, &Registry::new(), &LoadOptions::default()).unwrap();
    machine.memory_mut().allow_write("task_struct", "scx.slice").unwrap();
    machine.set_engine(ENGINE);
    machine
}

#[test]
fn callbacks_storage_and_kernel_objects() {
    let Some(clang) = clang() else { return };
    let mut machine = task_machine(&clang);
    assert_eq!(machine.program("unused"), None, "no table names it");
    assert_eq!(machine.ops_program("table", "nothing"), None);
    let enqueue = machine.ops_program("table", "enqueue").unwrap();
    let memory = machine.memory_mut();
    let (pid, slice) =
        (memory.field("task_struct", "pid").unwrap(), memory.field("task_struct", "scx.slice").unwrap());
    let tasks: Vec<Addr> = (0..2).map(|_| memory.alloc("task_struct").unwrap()).collect();
    memory.write(tasks[1], &pid, (-5i64).cast_unsigned()).unwrap();
    assert_eq!(memory.read(tasks[1], &pid), Ok((-5i64).cast_unsigned()), "signed");
    assert_eq!(machine.call(enqueue, &[tasks[1].0, 0], &mut ()).unwrap() as i32, -1, "no storage yet");
    for round in 1..=3 {
        assert_eq!(machine.call(enqueue, &[tasks[1].0, 1], &mut ()), Ok(round));
    }
    assert_eq!(machine.call(enqueue, &[tasks[0].0, 1], &mut ()), Ok(1));
    let memory = machine.memory();
    assert_eq!(memory.read(tasks[1], &slice), Ok(1001));
    let storage = memory.storage("tasks", tasks[1]).unwrap().unwrap();
    assert_eq!(memory.read_u64(storage), Ok(3));
    assert_eq!(memory.read_u32(storage.offset(8)), Ok((-5i32).cast_unsigned()));
    let leave = machine.ops_program("table", "leave").unwrap();
    assert_eq!(machine.call(leave, &[tasks[0].0], &mut ()), Ok(0));
    assert_eq!(machine.call(leave, &[tasks[0].0], &mut ()).unwrap() as i32, -2);
    assert_eq!(machine.memory().storage("tasks", tasks[0]), Ok(None));
}

#[test]
fn misuse_of_kernel_objects_is_found() {
    let Some(clang) = clang() else { return };
    let mut machine = task_machine(&clang);
    let [enqueue, rename] = ["enqueue", "rename"].map(|name| machine.ops_program("table", name).unwrap());
    let task = machine.memory_mut().alloc("task_struct").unwrap();
    let fault = machine.call(rename, &[task.0], &mut ()).unwrap_err().to_string();
    assert!(fault.contains("write of 4 bytes"), "{fault}");
    assert!(fault.contains("offset 4 (pid) of 'struct task_struct' (40 bytes, read-only)"), "{fault}");
    assert!(fault.contains("in rename") && fault.contains("p->pid = 1"), "{fault}");

    let fault = machine.call(rename, &[0], &mut ()).unwrap_err().to_string();
    assert!(fault.contains("a NULL pointer plus 4"), "{fault}");
    let fault = machine.call(rename, &[task.0 - 100], &mut ()).unwrap_err().to_string();
    assert!(fault.contains("offset -96"), "{fault}");
    let fault = machine.call(rename, &[1 << 63], &mut ()).unwrap_err().to_string();
    assert!(fault.contains("is a number, not a pointer"), "{fault}");

    machine.call(enqueue, &[task.0, 1], &mut ()).unwrap();
    let storage = machine.memory().storage("tasks", task).unwrap().unwrap();
    let live = machine.memory().live_regions();
    machine.memory_mut().free(task).unwrap();
    assert_eq!(machine.memory().live_regions(), live - 2, "its storage goes with it");
    assert!(machine.memory().read_u64(storage).is_err());
    assert!(machine.memory_mut().free(task).is_err(), "only once");
    for _ in 0..1000 {
        let other = machine.memory_mut().alloc("task_struct").unwrap();
        let fault = machine.call(rename, &[task.0], &mut ()).unwrap_err().to_string();
        assert!(fault.contains("freed region"), "{fault}");
        machine.memory_mut().free(other).unwrap();
    }
    let fault = machine.call(enqueue, &[task.0, 1], &mut ()).unwrap_err().to_string();
    assert!(fault.contains("storage of") && fault.contains("freed region"), "{fault}");
}

#[test]
fn kernel_pointers_in_values() {
    let Some(clang) = clang() else { return };
    let mut machine = task_machine(&clang);
    let hold = machine.ops_program("table", "hold").unwrap();
    let memory = machine.memory_mut();
    let task = memory.alloc("task_struct").unwrap();
    let masks: Vec<Addr> = (0..2).map(|_| memory.alloc("scx").unwrap()).collect();
    assert_eq!(machine.call(hold, &[task.0, masks[0].0], &mut ()), Ok(0));
    assert_eq!(machine.call(hold, &[task.0, masks[1].0], &mut ()), Ok(masks[0].0));
    machine.memory_mut().free(task).unwrap();
    assert_eq!(machine.memory_mut().take_dropped_kptrs(), [masks[1]], "for the model to release");
    assert!(machine.memory_mut().take_dropped_kptrs().is_empty());
}

#[test]
fn two_runs_are_alike() {
    let Some(clang) = clang() else { return };
    let history = || {
        let mut machine = task_machine(&clang);
        let enqueue = machine.ops_program("table", "enqueue").unwrap();
        let mut history = Vec::new();
        for round in 0..600 {
            let task = machine.memory_mut().alloc("task_struct").unwrap();
            history.push((task.0, machine.call(enqueue, &[task.0, 1], &mut ()).unwrap()));
            history.push((machine.stats().instructions, 0));
            if round % 3 == 0 {
                machine.memory_mut().free(task).unwrap();
            }
        }
        history
    };
    assert_eq!(history(), history());
}
