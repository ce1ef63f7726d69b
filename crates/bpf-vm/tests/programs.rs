// SPDX-License-Identifier: GPL-2.0-only
//! Compiled programs: maps, callbacks, iterators, kernel functions and variables.

mod common;

use bpf_vm::{Ctx, Fault, KconfigValue, LoadError, LoadOptions, Machine, Object, Registry};
use common::{ENGINE, clang, compile, kernel_types, no_types};

/// A kernel with one counter and tasks.
#[derive(Default)]
struct Kernel {
    calls: Vec<[u64; 2]>,
}

fn note(ctx: &mut Ctx<'_, Kernel>, args: [u64; 5]) -> Result<u64, Fault> {
    ctx.state.calls.push([args[0], args[1]]);
    Ok(args[0] + 1)
}

const KERNEL: &str = "
struct scx { u64 slice; u64 vtime; };
struct task_struct { u32 flags; int pid; struct scx scx; char comm[16]; };
struct task_struct *keep(struct task_struct *t) { return t; }
extern int note(int a, u64 b) __ksym;
int use_note(void) { return note(1, 2); }
";

fn registry() -> Registry<Kernel> {
    let mut registry = Registry::new();
    registry.functions(&[("note", note)]);
    registry
}

fn load(clang: &str, source: &str) -> Machine<Kernel> {
    let object = Object::parse(&compile(clang, source)).unwrap();
    let target = kernel_types(clang, KERNEL);
    let options = LoadOptions { nr_cpus: 4, ..LoadOptions::default() };
    let mut machine = object.load(&target, &registry(), &options).unwrap_or_else(|error| panic!("{error}"));
    machine.set_engine(ENGINE);
    machine
}

fn run(machine: &mut Machine<Kernel>, program: &str, context: &mut [u8]) -> Result<u64, Fault> {
    let id = machine.program(program).unwrap_or_else(|| panic!("no program {program}"));
    machine.call_bytes(id, context, &mut Kernel::default())
}

const MAPS: &str = r#"
struct value { u64 count; struct bpf_spin_lock lock; u32 pad; };
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, u32); __type(value, struct value); } array SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 2); __type(key, u32); __type(value, u64); } percpu SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 2); __type(key, u64); __type(value, u64); } hash SEC(".maps");

struct args { u64 key, value; s64 result; };

SEC("syscall") int array_add(struct args *args)
{
	u32 key = args->key;
	struct value *value = bpf_map_lookup_elem(&array, &key);
	if (!value)
		return -1;
	bpf_spin_lock(&value->lock);
	value->count += args->value;
	bpf_spin_unlock(&value->lock);
	return 0;
}

SEC("syscall") int beyond(struct args *args)
{
	u32 key = args->key;
	u64 *value = bpf_map_lookup_elem(&array, &key);
	return value ? value[args->value] : -1;
}

SEC("syscall") int unchecked(struct args *args)
{
	u32 key = args->key;
	struct value *value = bpf_map_lookup_elem(&array, &key);
	return value->count;
}

SEC("syscall") int count_here(void *ctx)
{
	u32 key = 1;
	u64 *value = bpf_map_lookup_elem(&percpu, &key);
	if (value)
		*value += 1 + bpf_get_smp_processor_id();
	return 0;
}

SEC("syscall") int hash_set(struct args *args)
{
	args->result = bpf_map_update_elem(&hash, &args->key, &args->value, 0);
	return 0;
}

SEC("syscall") int hash_delete(struct args *args)
{
	args->result = bpf_map_delete_elem(&hash, &args->key);
	return 0;
}

static long sum(void *map, u64 *key, u64 *value, u64 *total) { *total += *key * 100 + *value; return 0; }

SEC("syscall") int hash_sum(struct args *args)
{
	u64 total = 0;
	args->result = bpf_for_each_map_elem(&hash, sum, &total, 0);
	args->value = total;
	return 0;
}

SEC("syscall") int lock_and_leave(struct args *args)
{
	u32 key = 0;
	struct value *value = bpf_map_lookup_elem(&array, &key);
	if (value)
		bpf_spin_lock(&value->lock);
	return 0;
}
char _license[] SEC("license") = "GPL";
"#;

/// `struct args` of the C code.
fn args(key: u64, value: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    bytes[8..16].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn result(args: &[u8; 24]) -> (u64, i64) {
    let word = |at: usize| args[at..at + 8].try_into().unwrap();
    (u64::from_le_bytes(word(8)), i64::from_le_bytes(word(16)))
}

#[test]
fn arrays() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    for (key, add) in [(0u64, 5), (2, 7), (2, 8)] {
        assert_eq!(run(&mut machine, "array_add", &mut args(key, add)), Ok(0));
    }
    assert_eq!(
        run(&mut machine, "array_add", &mut args(3, 1)).unwrap() as i32,
        -1,
        "there are three elements"
    );
    let counts: Vec<u64> =
        machine.memory().map_entries("array").unwrap().iter().map(|(_, value)| value[0].into()).collect();
    assert_eq!(counts, [5, 0, 15]);

    // From outside: values in and out, the lock is nobody's data.
    let memory = machine.memory_mut();
    memory.map_update("array", &1u32.to_le_bytes(), &[0xff; 16]).unwrap();
    let mut expected = vec![0xff; 16];
    expected[8..12].fill(0);
    assert_eq!(memory.map_lookup("array", &1u32.to_le_bytes()).unwrap(), Some(expected));
    assert_eq!(memory.map_lookup("array", &3u32.to_le_bytes()).unwrap(), None);
    assert_eq!(
        memory.map_update("array", &3u32.to_le_bytes(), &[0; 16]).unwrap_err().to_string(),
        "update of 'array' refused: it is full, or the index is beyond its end"
    );
    assert!(memory.map_delete("array", &1u32.to_le_bytes()).is_err());
    assert!(memory.map_lookup("array", &[0; 8]).unwrap_err().to_string().contains("takes 4 bytes, not 8"));
    assert!(memory.map_lookup("arrow", &[0; 4]).unwrap_err().to_string().contains("no map named 'arrow'"));
    assert_eq!(run(&mut machine, "array_add", &mut args(1, 1)), Ok(0), "the lock is still free");
}

#[test]
fn a_value_ends_where_it_ends() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    let fault = run(&mut machine, "beyond", &mut args(1, 2)).unwrap_err();
    let text = fault.to_string();
    // Element 2 follows at once, but a pointer to element 1 does not reach it.
    assert!(text.contains("read of 4 bytes") || text.contains("read of 8 bytes"), "{text}");
    assert!(text.contains("'map array' (3 elements of 16 bytes)"), "{text}");
    assert!(text.contains("in beyond at instruction") && text.contains("value[args->value]"), "{text}");
    assert_eq!(fault.trace().len(), 1);
    let before = run(&mut machine, "beyond", &mut args(0, u64::MAX)).unwrap_err().to_string();
    assert!(before.contains("offset 24 of element -1 of 'map array'"), "{before}");
}

#[test]
fn what_a_look_up_did_not_find_cannot_be_read() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    assert_eq!(run(&mut machine, "array_add", &mut args(2, 9)), Ok(0));
    assert_eq!(run(&mut machine, "unchecked", &mut args(2, 0)), Ok(9));
    let fault = run(&mut machine, "unchecked", &mut args(3, 0)).unwrap_err().to_string();
    assert!(fault.contains("a NULL pointer plus 0") && fault.contains("in unchecked"), "{fault}");
}

#[test]
fn per_cpu_values() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    for cpu in [0, 2, 2, 3] {
        machine.memory_mut().set_cpu(cpu);
        run(&mut machine, "count_here", &mut []).unwrap();
    }
    let values = machine.memory().map_lookup_percpu("percpu", &1u32.to_le_bytes()).unwrap().unwrap();
    let values: Vec<u64> =
        values.iter().map(|value| u64::from_le_bytes(value.as_slice().try_into().unwrap())).collect();
    assert_eq!(values, [1, 0, 6, 4]);
    assert!(machine.memory().map_lookup("percpu", &1u32.to_le_bytes()).is_err(), "it has many values");
    assert!(machine.memory().map_lookup_percpu("array", &1u32.to_le_bytes()).is_err(), "it has one");
    let new: Vec<u8> = (0..4u64).flat_map(|cpu| (cpu * 10).to_le_bytes()).collect();
    machine.memory_mut().map_update("percpu", &0u32.to_le_bytes(), &new).unwrap();
    let values = machine.memory().map_lookup_percpu("percpu", &0u32.to_le_bytes()).unwrap().unwrap();
    assert_eq!(values[3], 30u64.to_le_bytes());
    assert_eq!(machine.memory().cpu(), 3, "an update from outside does not move the code");
}

#[test]
fn hashes() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    let set = |machine: &mut Machine<Kernel>, program: &str, key, value| {
        let mut context = args(key, value);
        run(machine, program, &mut context).unwrap();
        result(&context)
    };
    assert_eq!(set(&mut machine, "hash_set", 7, 1).1, 0);
    assert_eq!(set(&mut machine, "hash_set", 9, 2).1, 0);
    assert_eq!(set(&mut machine, "hash_set", 9, 3).1, 0, "an update needs no room");
    assert_eq!(set(&mut machine, "hash_set", 8, 1).1, -7, "full");
    assert_eq!(set(&mut machine, "hash_sum", 0, 0), (7 * 100 + 1 + 900 + 3, 2));
    assert_eq!(set(&mut machine, "hash_delete", 7, 0).1, 0);
    assert_eq!(set(&mut machine, "hash_delete", 7, 0).1, -2);
    assert_eq!(set(&mut machine, "hash_set", 8, 4).1, 0);
    let entries = machine.memory().map_entries("hash").unwrap();
    let entry = |key: u64, value: u64| (key.to_le_bytes().to_vec(), value.to_le_bytes().to_vec());
    assert_eq!(entries, [entry(8, 4), entry(9, 3)], "in the order of the slots");
    assert_eq!(machine.memory_mut().map_delete("hash", &9u64.to_le_bytes()), Ok(true));
    assert_eq!(machine.memory_mut().map_delete("hash", &9u64.to_le_bytes()), Ok(false));
}

#[test]
fn a_lock_must_be_released() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, MAPS);
    let fault = run(&mut machine, "lock_and_leave", &mut args(0, 0)).unwrap_err();
    assert!(
        fault.to_string().contains("ended with a lock held: offset 8 of element 0 of 'map array'"),
        "{fault}"
    );
    assert_eq!(run(&mut machine, "array_add", &mut args(0, 1)), Ok(0), "the next call starts clean");
}

const CODE: &str = r#"
extern int note(int a, u64 b) __ksym;
extern int gone(int a) __weak __ksym;
extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern _Bool CONFIG_ABSENT __kconfig __weak;
const volatile u64 limit = 10;
u64 total = 40, step = 1, seen;
char big[1] SEC(".data.big");

static __noinline int deeper(u64 depth)
{
	volatile u64 place[4] = { depth, 0, 0, 0 };
	return depth ? deeper(depth - 1) + place[0] : 0;
}

SEC("syscall") int depth(u64 *depth) { return deeper(*depth); }

static long body(u32 index, u64 *sum) { *sum += index; return index == 20; }

SEC("syscall") int loop(u64 *n)
{
	u64 sum = 0;
	n[1] = bpf_loop(*n, body, &sum, 0);
	return sum;
}

SEC("syscall") int iterate(u64 *n)
{
	struct bpf_iter_num it;
	u64 sum = 0;
	int *value;

	bpf_iter_num_new(&it, -2, *n);
	while ((value = bpf_iter_num_next(&it)))
		sum += *value + 100;
	bpf_iter_num_destroy(&it);
	return sum;
}

SEC("syscall") int call(u64 *n)
{
	if (ksym_exists(gone))
		return gone(1);
	return note(n[0], n[1]) + limit;
}

SEC("syscall") int versions(void *ctx)
{
	seen = total;
	total += step;
	return LINUX_KERNEL_VERSION * 1000 + CONFIG_HZ + CONFIG_ABSENT;
}

SEC("syscall") int endless(void *ctx) { for (;;) asm volatile(""); return 0; }
char _license[] SEC("license") = "GPL";
"#;

fn load_code(clang: &str, options: &LoadOptions) -> Result<Machine<Kernel>, LoadError> {
    let object = Object::parse(&compile(clang, CODE))?;
    let mut machine = object.load(&kernel_types(clang, KERNEL), &registry(), options)?;
    machine.set_engine(ENGINE);
    Ok(machine)
}

fn options() -> LoadOptions {
    let kconfig = [("CONFIG_HZ".to_owned(), KconfigValue::Number(250))].into();
    LoadOptions { kernel_version: 3, kconfig, ..LoadOptions::default() }
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn calls_nest_as_deep_as_in_the_kernel() {
    let Some(clang) = clang() else { return };
    let mut machine = load_code(&clang, &options()).unwrap();
    // The program and seven functions below it: frames 1 to 8.
    assert_eq!(run(&mut machine, "depth", &mut words(&[6])), Ok(21));
    let fault = run(&mut machine, "depth", &mut words(&[7])).unwrap_err();
    assert!(fault.to_string().starts_with("calls nested too deeply"), "{fault}");
    assert_eq!(fault.trace().len(), 8, "{fault}");
    assert_eq!(fault.trace()[7].function, "depth");
    assert_eq!(run(&mut machine, "depth", &mut words(&[6])), Ok(21), "a fault leaves nothing behind");
}

#[test]
fn loops_and_iterators() {
    let Some(clang) = clang() else { return };
    let mut machine = load_code(&clang, &options()).unwrap();
    for (n, done, sum) in [(0u64, 0u64, 0u64), (5, 5, 10), (100, 21, 210)] {
        let mut context = words(&[n, 0]);
        assert_eq!(run(&mut machine, "loop", &mut context), Ok(sum));
        assert_eq!(context[8..], done.to_le_bytes());
    }
    let mut context = words(&[(8 << 20) + 1, 0]);
    run(&mut machine, "loop", &mut context).unwrap();
    assert_eq!(context[8..], (-7i64).to_le_bytes(), "too many iterations are refused");
    assert_eq!(run(&mut machine, "iterate", &mut words(&[3])), Ok(98 + 99 + 100 + 101 + 102));
    assert_eq!(run(&mut machine, "iterate", &mut words(&[(-2i64).cast_unsigned()])), Ok(0), "empty");
    assert_eq!(run(&mut machine, "iterate", &mut words(&[(-3i64).cast_unsigned()])), Ok(0), "refused");
    machine.set_budget(1000);
    let fault = run(&mut machine, "endless", &mut []).unwrap_err();
    assert!(fault.to_string().starts_with("more than 1000 instructions in one call; in endless"), "{fault}");
}

#[test]
fn functions_variables_and_configuration() {
    let Some(clang) = clang() else { return };
    let mut machine = load_code(&clang, &options()).unwrap();
    let mut kernel = Kernel::default();
    let call = machine.program("call").unwrap();
    assert_eq!(machine.call_bytes(call, &mut words(&[7, 8]), &mut kernel), Ok(18));
    assert_eq!(kernel.calls, [[7, 8]]);
    assert_eq!(run(&mut machine, "versions", &mut []), Ok(3250));
    assert_eq!(machine.read_global("seen").unwrap(), words(&[40]));
    assert_eq!(machine.read_global("total").unwrap(), words(&[41]));
    machine.set_global("total", &words(&[7])).unwrap();
    run(&mut machine, "versions", &mut []).unwrap();
    assert_eq!(machine.read_global("seen").unwrap(), words(&[7]));
    assert!(machine.set_global("total", &[0; 4]).is_err());
    assert!(machine.read_global("totally").is_err());

    let mut object = Object::parse(&compile(&clang, CODE)).unwrap();
    object.set_global("limit", &words(&[100])).unwrap();
    object.resize_global("big", 100).unwrap();
    assert!(object.resize_global("total", 100).is_err(), "it is not alone");
    let mut machine = object.load(&kernel_types(&clang, KERNEL), &registry(), &options()).unwrap();
    assert_eq!(run(&mut machine, "call", &mut words(&[1, 0])), Ok(102));
    assert_eq!(machine.read_global("big").unwrap().len(), 100);
}

#[test]
fn what_is_missing_is_named() {
    let Some(clang) = clang() else { return };
    let error = load_code(&clang, &LoadOptions::default()).err().expect("CONFIG_HZ is not there");
    assert!(matches!(&error, LoadError::MissingSymbol(name) if name == "CONFIG_HZ"), "{error}");

    let object = Object::parse(&compile(&clang, CODE)).unwrap();
    let error = object.load(&no_types(), &Registry::<Kernel>::new(), &options()).err().expect("no note");
    let LoadError::MissingFunction { function, caller } = &error else { panic!("{error}") };
    assert_eq!(function, "note");
    assert!(caller.starts_with("call at instruction"), "{caller}");

    // Same name, other signature: it does not fit.
    let other = kernel_types(&clang, "extern int note(int a) __ksym; int use(void) { return note(1); }");
    let error = object.load(&other, &registry(), &options()).err().expect("another signature");
    assert!(matches!(&error, LoadError::MissingFunction { function, .. } if function == "note"), "{error}");
}

const FLAVOURS: &str = r#"
extern void insert___one(u64 a) __weak __ksym;
extern _Bool insert___two(u64 a, u64 b) __weak __ksym;
SEC("syscall") int which(void *ctx)
{
	if (ksym_exists(insert___two))
		return insert___two(2, 2);
	insert___one(3);
	return 9;
}
char _license[] SEC("license") = "GPL";
"#;

#[test]
fn flavours_are_told_apart_by_their_signature() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(&clang, FLAVOURS)).unwrap();
    let mut registry = Registry::<Kernel>::new();
    registry.functions(&[("insert", note)]);
    let one = "extern void insert(u64 a) __ksym; void use(void) { insert(1); }";
    let two = "extern _Bool insert(u64 a, u64 b) __ksym; int use(void) { return insert(1, 2); }";
    for (kernel, expected, arguments) in [(one, 9, 3), (two, 1, 2)] {
        let mut machine =
            object.load(&kernel_types(&clang, kernel), &registry, &LoadOptions::default()).unwrap();
        let mut state = Kernel::default();
        let which = machine.program("which").unwrap();
        assert_eq!(machine.call_bytes(which, &mut [], &mut state), Ok(expected), "{kernel}");
        assert_eq!(state.calls[0][0], arguments, "{kernel}");
    }
    // Neither: the call of the last resort is reachable and has nobody to go to.
    let error = object.load(&no_types(), &Registry::<Kernel>::new(), &LoadOptions::default()).err();
    let error = error.expect("nothing to call").to_string();
    assert!(error.contains("'insert___one'"), "{error}");
    let lax = LoadOptions { strict: false, ..LoadOptions::default() };
    let mut machine = object.load(&no_types(), &Registry::<Kernel>::new(), &lax).unwrap();
    let fault = run(&mut machine, "which", &mut []).unwrap_err();
    assert!(
        fault.to_string().starts_with("call of missing weak function 'insert___one'; in which"),
        "{fault}"
    );
}

const ODD_MAPS: &str = r#"
struct { __uint(type, 27); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, u64); } array SEC(".maps");
struct lock { struct bpf_spin_lock lock; } lock;
static void *(*bpf_ringbuf_reserve)(void *map, u64 size, u64 flags) = (void *)131;
struct link { struct link *next; u64 value; };

SEC("syscall") int good(u64 *ctx)
{
	u32 key = 0;
	return bpf_map_lookup_elem(&array, &key) != NULL;
}

SEC("syscall") int chase(struct link *ctx) { return ctx->next->next->value; }
SEC("syscall") int twice(void *ctx)
{
	bpf_spin_lock(&lock.lock);
	bpf_spin_lock(&lock.lock);
	return 0;
}
static long bad(u32 index, u64 *place) { return index == 2 ? *place : 0; }
SEC("syscall") int calls_back(void *ctx) { return bpf_loop(5, bad, NULL, 0); }
SEC("?syscall") int odd(u64 *ctx) { return bpf_ringbuf_reserve(&ring, 8, 0) != NULL; }
char _license[] SEC("license") = "GPL";
"#;

#[test]
fn what_is_not_used_may_be_unsupported() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(&clang, ODD_MAPS)).unwrap();
    let load = |programs: Vec<String>| {
        let options = LoadOptions { programs, ..LoadOptions::default() };
        object.load(&no_types(), &registry(), &options)
    };
    assert_eq!(run(&mut load(Vec::new()).unwrap(), "good", &mut []), Ok(1));
    let error = load(vec!["odd".to_owned()]).err().expect("ring buffers are not supported").to_string();
    assert_eq!(error, "unsupported: map 'ring' of type 27");
    let error = load(vec!["even".to_owned()]).err().expect("no such program").to_string();
    assert_eq!(error, "the BPF object has no program named 'even'");
}

#[test]
fn reads_through_null_are_faults_unless_asked_for() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(&clang, ODD_MAPS)).unwrap();
    for (null_reads_zero, expected) in [(false, None), (true, Some(0))] {
        let options = LoadOptions { null_reads_zero, ..LoadOptions::default() };
        let mut machine = object.load(&no_types(), &registry(), &options).unwrap();
        assert_eq!(run(&mut machine, "chase", &mut words(&[0, 0])).ok(), expected);
        assert!(run(&mut machine, "chase", &mut words(&[4096, 0])).is_err(), "only the first page");
    }
}

#[test]
fn a_fault_names_the_function_that_found_it_and_counts_what_ran() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, ODD_MAPS);
    let fault = run(&mut machine, "twice", &mut []).unwrap_err();
    assert_eq!(fault.function(), Some("bpf_spin_lock"));
    let text = fault.to_string();
    assert!(text.starts_with("bpf_spin_lock: lock already held: offset 0 of '.bss'"), "{text}");
    assert!(text.contains("in twice at instruction"), "{text}");
    // Two loads of the address, two calls.
    assert_eq!(machine.stats().instructions, 4, "{text}");
    let fault = run(&mut machine, "twice", &mut []).unwrap_err().to_string();
    assert_eq!(fault, text, "a fault releases the lock");
}

#[test]
fn a_fault_in_a_callback_shows_the_way_there() {
    let Some(clang) = clang() else { return };
    let mut machine = load(&clang, ODD_MAPS);
    let fault = run(&mut machine, "calls_back", &mut []).unwrap_err();
    let functions: Vec<&str> = fault.trace().iter().map(|location| location.function.as_str()).collect();
    assert_eq!(functions, ["bad", "calls_back"], "{fault}");
    assert_eq!(fault.function(), None, "the program is at fault, not bpf_loop");
    assert!(fault.to_string().contains(", called by calls_back at instruction"), "{fault}");
    assert!(
        fault.trace()[0]
            .source
            .as_ref()
            .is_some_and(|(file, line)| file.ends_with("test.bpf.c") && *line > 40)
    );
}
