// SPDX-License-Identifier: GPL-2.0-only
//! Whatever the bytes are: parsing, loading and running end with a result or an error, never with a panic, and soon.

mod common;

use std::sync::{Arc, OnceLock};

use bpf_vm::{Btf, LoadOptions, Object, Registry};
use common::asm::*;
use common::{ENGINE, clang, compile, object_of};
use proptest::prelude::*;

const PROGRAM: &str = r#"
struct inner { u32 a; u64 b[4]; } RELOCATED;
struct thing { u64 first; struct inner inner; u32 bits:3; struct { int deep; }; } RELOCATED;
enum state { IDLE, BUSY = 5 };
extern int LINUX_KERNEL_VERSION __kconfig;
extern int missing(int a) __weak __ksym;
struct value { u64 n; struct bpf_spin_lock lock; struct thing __kptr *thing; };
struct { __uint(type, 2); __uint(max_entries, 3); __type(key, u32); __type(value, struct value); } array SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 3); __type(key, u32); __type(value, u64); } hash SEC(".maps");
const volatile u32 limit = 3;
u64 total = 7;
static long each(void *map, u32 *key, u64 *value, u64 *sum) { *sum += *value; return 0; }
static __noinline u64 below(u64 n) { return n > limit ? n * 3 : n + total; }
SEC("syscall") int run(u64 *ctx)
{
	struct thing *t = (void *)ctx[1];
	struct bpf_iter_num it;
	u32 key = 1, *next;
	u64 sum = 0;
	struct value *value = bpf_map_lookup_elem(&array, &key);

	if (value)
		value->n += below(ctx[0]);
	bpf_map_update_elem(&hash, &key, &sum, 0);
	bpf_for_each_map_elem(&hash, each, &sum, 0);
	bpf_iter_num_new(&it, 0, 5);
	while ((next = (void *)bpf_iter_num_next(&it)))
		sum += *next;
	bpf_iter_num_destroy(&it);
	if (ksym_exists(missing))
		sum += missing(1);
	if (LINUX_KERNEL_VERSION > 5 && field_exists(t->deep))
		bpf_probe_read_kernel(&sum, 4, &t->deep);
	return sum + __builtin_preserve_enum_value(*(typeof(enum state) *)BUSY, 1);
}
SEC("struct_ops/op") u64 op(u64 *ctx) { struct thing *t = (void *)ctx[0]; return t->inner.b[2]; }
struct ops { u64 (*op)(u64 *); u64 flags; };
SEC(".struct_ops.link") struct ops ops = { .op = (void *)op, .flags = 1 };
char _license[] SEC("license") = "GPL";
"#;

/// Objects to damage: a minimal one always, a compiled one where there is a compiler.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let minimal = code(&[&mov(0, 1), &store(DW, 10, -8, 0), &load(DW, 0, 10, -8), &exit()]);
        let compiled = clang().map(|clang| compile(&clang, PROGRAM));
        [object_of("syscall", &minimal)].into_iter().chain(compiled).collect()
    })
}

/// Parses, loads strictly and not, and runs everything for a while.
fn exercise(bytes: &[u8], target: &Arc<Btf>) -> bool {
    let Ok(mut object) = Object::parse(bytes) else { return false };
    let names: Vec<String> = object.variables().map(str::to_owned).collect();
    for name in names {
        let _set = object.set_global_field(&name, "flags", 1);
        let _got = object.global(&name).map(<[u8]>::len);
    }
    let tables: Vec<String> = object.struct_ops().iter().map(|ops| ops.name.clone()).collect();
    for table in tables {
        let _set = object.set_ops_field(&table, "flags", 3);
        let _got = object.ops_field(&table, "flags");
    }
    let mut ran = false;
    for strict in [true, false] {
        let options = LoadOptions { strict, ..LoadOptions::default() };
        let Ok(mut machine) = object.load(target, &Registry::<()>::new(), &options) else { continue };
        machine.set_budget(20_000);
        machine.set_engine(ENGINE);
        let programs: Vec<_> = machine.programs().map(|(_, _, id)| id).collect();
        for id in programs {
            for result in [machine.call(id, &[1, 2], &mut ()), machine.call_bytes(id, &mut [0; 64], &mut ())]
            {
                // The report of a fault must hold for anything as well.
                ran |= result.map_err(|fault| fault.to_string()).is_ok();
            }
        }
    }
    ran
}

#[derive(Debug, Clone)]
enum Damage {
    Byte(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    /// Copies one piece over another.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let word = prop_oneof![any::<u32>(), 0u32..64, Just(u32::MAX), Just(0x7fff_ffff), Just(0x8000_0000)];
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        4 => (any::<prop::sample::Index>(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..64)
            .prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.len() < 8 {
        return;
    }
    match damage {
        Damage::Byte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Word(at, word) => {
            let at = at.index(bytes.len() - 4) / 4 * 4;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Copy(from, to, len) => {
            let len = *len.min(&(bytes.len() / 2));
            let (from, to) = (from.index(bytes.len() - len), to.index(bytes.len() - len));
            bytes.copy_within(from..from + len, to);
        }
    }
}

fn target_of(seed: &[u8]) -> Arc<Btf> {
    Arc::new(Btf::from_elf(seed).expect("seeds are whole"))
}

#[test]
fn whole_objects_run() {
    for seed in seeds() {
        assert!(exercise(seed, &target_of(seed)), "a seed that does not even run tests nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn damaged_objects_never_panic(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..12),
        own_types in any::<bool>(),
    ) {
        let seed = &seeds()[seed.index(seeds().len())];
        let mut bytes = seed.clone();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        // The types of the target may be damaged too.
        let target = if own_types { Btf::from_elf(&bytes).ok().map(Arc::new) } else { None };
        exercise(&bytes, &target.unwrap_or_else(|| target_of(seed)));
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _parsed = Object::parse(&bytes);
        let _types = Btf::parse(&bytes);
        let mut headed = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        headed.extend(&bytes);
        let _types = Btf::parse(&headed);
    }

    #[test]
    fn any_instructions_never_panic(words in prop::collection::vec((any::<u64>(), 0u8..14), 0..24)) {
        let mut code = Vec::new();
        for (word, kind) in words {
            let mut bytes = word.to_le_bytes();
            // Mostly codes that exist, with registers that exist and jumps that stay near.
            let codes = [0x07, 0x0f, 0x17, 0x2f, 0x3f, 0x67, 0x79, 0x7b, 0xdb, 0x15, 0x5d, 0x85, 0x95, word as u8];
            bytes[0] = codes[kind as usize];
            bytes[1] = (bytes[1] % 11) | ((bytes[1] >> 4) % 11) << 4;
            bytes[2] %= 8;
            bytes[3] = 0;
            code.extend(bytes);
        }
        code.extend(mov(0, 0));
        code.extend(exit());
        let object = object_of("syscall", &code);
        exercise(&object, &common::no_types());
    }
}
