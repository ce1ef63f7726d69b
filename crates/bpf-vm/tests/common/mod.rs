// SPDX-License-Identifier: GPL-2.0-only
//! What the tests share: an assembler, a writer of minimal objects, and the compiler.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::process::Command;
use std::sync::Arc;

use bpf_vm::{Btf, Engine, Fault, LoadError, LoadOptions, Machine, Object, ProgramId, Registry};

pub mod asm;

/// How programs run in these tests: compiled, except in the test program that has them all once more for the interpreter.
pub const ENGINE: Engine = match env!("CARGO_CRATE_NAME").as_bytes() {
    b"interpreted" => Engine::Interpret,
    _ => Engine::Compile,
};

/// ELF section header: name, type, flags, file offset, size, link, info, alignment, entry size.
struct Header(u32, u32, u64, u64, u64, u32, u32, u64, u64);

/// A type section without types: enough for code that asks nothing about types.
pub fn empty_btf() -> Vec<u8> {
    let mut btf = vec![0x9f, 0xeb, 1, 0];
    for word in [24u32, 0, 0, 0, 1] {
        btf.extend(word.to_le_bytes());
    }
    btf.push(0);
    btf
}

/// A relocatable object with one program `prog` in `section`.
pub fn object_of(section: &str, code: &[u8]) -> Vec<u8> {
    let names = format!("\0{section}\0.symtab\0.strtab\0.BTF\0");
    let name_at = |name: &str| names.find(&format!("\0{name}\0")).expect("listed above") as u32 + 1;
    let strings = b"\0prog\0";
    let mut symbols = vec![0u8; 24];
    symbols.extend(1u32.to_le_bytes());
    // A global function in section 1.
    symbols.extend([0x12, 0, 1, 0]);
    symbols.extend(0u64.to_le_bytes());
    symbols.extend((code.len() as u64).to_le_bytes());
    let mut file = vec![0u8; 64];
    let mut place = |bytes: &[u8]| {
        file.resize(file.len().next_multiple_of(8), 0);
        let offset = file.len() as u64;
        file.extend(bytes);
        (offset, bytes.len() as u64)
    };
    let mut all_strings = names.clone().into_bytes();
    let string_start = all_strings.len() as u32;
    all_strings.extend(strings);
    let (code_off, code_len) = place(code);
    // The symbol's name lies behind the section names.
    symbols[24..28].copy_from_slice(&(string_start + 1).to_le_bytes());
    let (sym_off, sym_len) = place(&symbols);
    let (str_off, str_len) = place(&all_strings);
    let (btf_off, btf_len) = place(&empty_btf());
    let headers = [
        Header(0, 0, 0, 0, 0, 0, 0, 0, 0),
        Header(name_at(section), 1, 6, code_off, code_len, 0, 0, 8, 0),
        Header(name_at(".symtab"), 2, 0, sym_off, sym_len, 3, 1, 8, 24),
        Header(name_at(".strtab"), 3, 0, str_off, str_len, 0, 0, 1, 0),
        Header(name_at(".BTF"), 1, 0, btf_off, btf_len, 0, 0, 8, 0),
    ];
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    for Header(name, kind, flags, offset, size, link, info, align, entry) in headers {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for word in [flags, 0, offset, size] {
            file.extend(word.to_le_bytes());
        }
        file.extend(link.to_le_bytes());
        file.extend(info.to_le_bytes());
        file.extend(align.to_le_bytes());
        file.extend(entry.to_le_bytes());
    }
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Relocatable, BPF, version 1; table offset; header sizes, counts and the section of the names.
    file[16..18].copy_from_slice(&1u16.to_le_bytes());
    file[18..20].copy_from_slice(&247u16.to_le_bytes());
    file[20..24].copy_from_slice(&1u32.to_le_bytes());
    file[40..48].copy_from_slice(&table.to_le_bytes());
    for (at, value) in [(52, 64u16), (58, 64), (60, 5), (62, 3)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file
}

/// Types for code that asks nothing about types.
pub fn no_types() -> Arc<Btf> {
    Arc::new(Btf::parse(&empty_btf()).expect("a valid empty type section"))
}

pub fn load_code(code: &[u8]) -> Result<(Machine<()>, ProgramId), LoadError> {
    let object = Object::parse(&object_of("socket", code))?;
    let mut machine = object.load(&no_types(), &Registry::new(), &LoadOptions::default())?;
    machine.set_engine(ENGINE);
    let program = machine.program("prog").expect("the only program");
    Ok((machine, program))
}

/// Loads and runs code with `context` as its context; r0 and the context afterwards.
pub fn run_code(code: &[u8], context: &mut [u8]) -> Result<u64, Fault> {
    let (mut machine, program) = load_code(code).unwrap_or_else(|error| panic!("{error}"));
    machine.call_bytes(program, context, &mut ())
}

fn clang_major(clang: &str) -> Option<u32> {
    let output = Command::new(clang).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("clang version ").nth(1)?;
    version.split('.').next()?.trim().parse().ok()
}

/// The clang to test with; `None` only outside CI.
pub fn clang() -> Option<String> {
    let named = std::env::var("BPF_CLANG").ok();
    let usual = ["clang-19", "clang-20", "clang-21", "clang-22", "clang"].map(str::to_owned);
    let found =
        named.into_iter().chain(usual).find(|clang| clang_major(clang).is_some_and(|major| major >= 18));
    if found.is_none() {
        let missing = "no clang 18 or later for BPF: install clang-19 or set BPF_CLANG";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
    }
    found
}

/// What programs of these tests include: the macros of the BPF headers, written out.
pub const PRELUDE: &str = r#"
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64; typedef _Bool bool;
#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define __weak __attribute__((weak))
#define __noinline __attribute__((noinline))
#define __kptr __attribute__((btf_type_tag("kptr")))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define RELOCATED __attribute__((preserve_access_index))
#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define field_size(field) __builtin_preserve_field_info(field, 1)
#define ksym_exists(sym) ({ _Static_assert(!__builtin_constant_p(!!sym), #sym); !!sym; })
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static long (*bpf_loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;
static long (*bpf_for_each_map_elem)(void *map, void *callback, void *ctx, u64 flags) = (void *)164;
static void *(*bpf_task_storage_get)(void *map, void *task, void *value, u64 flags) = (void *)156;
static long (*bpf_task_storage_delete)(void *map, void *task) = (void *)157;
static void *(*bpf_kptr_xchg)(void *place, void *ptr) = (void *)194;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *dst, u32 size, const void *src) = (void *)115;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
struct bpf_spin_lock { u32 val; };
static long (*bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
struct bpf_iter_num { u64 opaque; } __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;
"#;

/// Compiles C for BPF, with the prelude in front.
pub fn compile(clang: &str, source: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a writable temporary folder");
    // From a file: only then does the compiler record the text of the lines.
    let [input, output] = ["test.bpf.c", "test.bpf.o"].map(|name| dir.path().join(name));
    let whole = format!("{PRELUDE}\n{source}");
    fs::write(&input, &whole).expect("a writable temporary folder");
    let done = Command::new(clang)
        .args([
            "-target",
            "bpf",
            "-mcpu=v4",
            "-g",
            "-O2",
            "-std=gnu11",
            "-Wall",
            "-Werror",
            "-Wno-unused-variable",
        ])
        .arg("-c")
        .arg(&input)
        .arg("-o")
        .arg(&output)
        .output()
        .expect("clang answered --version before");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{clang} on\n{whole}\n{errors}");
    fs::read(&output).expect("clang wrote the object")
}

/// Compiles the C that describes the kernel of a test.
pub fn kernel_types(clang: &str, source: &str) -> Arc<Btf> {
    Arc::new(Btf::from_elf(&compile(clang, source)).expect("clang writes type information"))
}
