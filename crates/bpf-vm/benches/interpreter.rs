// SPDX-License-Identifier: GPL-2.0-only
//! How fast programs run: throughput is in BPF instructions.

#[path = "../tests/common/mod.rs"]
mod common;

use bpf_vm::{Ctx, Fault, LoadOptions, Machine, Object, ProgramId, Registry};
use common::asm::*;
use common::{clang, compile, load_code, no_types};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROUNDS: i32 = 100_000;

/// What a scheduler's callback does all day: look-ups, a lock, arithmetic, a call, a kernel function.
const PROGRAM: &str = r#"
struct value { struct bpf_spin_lock lock; u32 pad; u64 sum, at; };
struct { __uint(type, 2); __uint(max_entries, 64); __type(key, u32); __type(value, struct value); } array SEC(".maps");
extern u64 now(void) __ksym;
static __noinline u64 decay(u64 sum, u64 delta) { return sum - (sum >> 3) * (delta & 7) / ((delta | 1) & 15); }
SEC("syscall") int run(u64 *ctx)
{
	for (u64 i = 0; i < ctx[0]; i++) {
		u32 key = i & 63;
		struct value *value = bpf_map_lookup_elem(&array, &key);
		u64 at = now();
		if (!value)
			continue;
		bpf_spin_lock(&value->lock);
		value->sum = decay(value->sum + 100 * i, at - value->at);
		value->at = at;
		bpf_spin_unlock(&value->lock);
	}
	return 0;
}
char _license[] SEC("license") = "GPL";
"#;

fn now(ctx: &mut Ctx<'_, ()>, _: [u64; 5]) -> Result<u64, Fault> {
    Ok(ctx.instructions())
}

fn measure(criterion: &mut Criterion, name: &str, (mut machine, program): (Machine<()>, ProgramId)) {
    machine.set_budget(u64::MAX);
    let mut context = (ROUNDS as u64).to_le_bytes();
    machine.call_bytes(program, &mut context, &mut ()).expect("a working program");
    let mut group = criterion.benchmark_group("interpreter");
    group.throughput(Throughput::Elements(machine.stats().instructions));
    group.bench_function(name, |bencher| {
        bencher.iter(|| machine.call_bytes(program, &mut context, &mut ()).expect("a working program"));
    });
    group.finish();
}

fn programs(criterion: &mut Criterion) {
    // r0 = (r0 + r1 ^ 7) << 1, for r1 from ROUNDS down to 1
    let arithmetic = code(&[
        &mov(0, 0),
        &mov(1, ROUNDS),
        &insn(0x0f, 0, 1, 0, 0),
        &insn(0xa7, 0, 0, 0, 7),
        &insn(0x67, 0, 0, 0, 1),
        &insn(0x17, 1, 0, 0, 1),
        &insn(0x55, 1, 0, -5, 0),
        &exit(),
    ]);
    measure(criterion, "arithmetic", load_code(&arithmetic).expect("valid code"));
    let stack = code(&[
        &mov(0, 0),
        &mov(1, ROUNDS),
        &store(DW, 10, -8, 1),
        &load(DW, 2, 10, -8),
        &store(W, 10, -16, 1),
        &load(B, 3, 10, -16),
        &insn(0x0f, 0, 2, 0, 0),
        &insn(0x17, 1, 0, 0, 1),
        &insn(0x55, 1, 0, -7, 0),
        &exit(),
    ]);
    measure(criterion, "stack", load_code(&stack).expect("valid code"));
    if let Some(clang) = clang() {
        let object = Object::parse(&compile(&clang, PROGRAM)).expect("a valid object");
        let mut registry = Registry::new();
        registry.functions(&[("now", now)]);
        let machine = object.load(&no_types(), &registry, &LoadOptions::default()).expect("it links");
        let program = machine.program("run").expect("it is there");
        measure(criterion, "scheduler", (machine, program));
    }
}

criterion_group!(benches, programs);
criterion_main!(benches);
