// SPDX-License-Identifier: GPL-2.0-only
//! The headers compiled for BPF: every one alone, and all functions together, whose code must need no helper
//! functions of the compiler, little stack, and few instructions.
//!
//! Needs clang 18 or later (`BPF_CLANG`, else clang-19 to clang-22, else clang). Without one the tests fail in CI
//! and say why they are skipped elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use bpf_common::include_dir;

/// The names that vmlinux.h would bring.
const VMLINUX: &str = "
#define __VMLINUX_H__
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64; typedef _Bool bool;
";

/// Every function of the headers, with inputs that the compiler cannot know.
const ALL_FUNCTIONS: &str = r#"
#include "ravg.h"
#include "vtime.h"
#include "weight.h"
void update(struct ravg *r, u32 val, u64 now, u64 half_life) { ravg_update(r, val, now, half_life); }
u64 read(struct ravg *r, u64 now, u64 half_life) { return ravg_read(r, now, half_life); }
void add(struct ravg *a, struct ravg *b, u64 now, u64 half_life) { ravg_add(a, b, now, half_life); }
void sub(struct ravg *a, struct ravg *b, u64 now, u64 half_life) { ravg_sub(a, b, now, half_life); }
void transfer(struct ravg *a, struct ravg *b, struct ravg *c, u64 now, u64 half_life)
{
	ravg_transfer(a, b, c, now, half_life);
}
u32 bucket(u32 weight) { return weight_bucket(weight); }
u32 representative(u32 bucket) { return weight_bucket_rep(bucket); }
u64 delta(u64 used, u32 weight) { return vtime_delta(used, weight); }
u64 clamp(u64 vtime, u64 now, u64 slice) { return vtime_clamp(vtime, now, slice); }
u64 rebase(u64 vtime, u64 from, u64 to) { return vtime_rebase(vtime, from, to); }
bool before(u64 a, u64 b) { return vtime_before(a, b); }
"#;

/// Most instructions a function may have: about a third above what clang 19 makes of it.
const INSTRUCTION_LIMITS: [(&str, usize); 11] = [
    ("update", 310),
    ("read", 300),
    ("add", 680),
    ("sub", 680),
    ("transfer", 1030),
    ("bucket", 50),
    ("representative", 40),
    ("delta", 30),
    ("clamp", 40),
    ("rebase", 10),
    ("before", 10),
];

/// Of the 512 bytes that a BPF program and all it calls have together.
const STACK_LIMIT_BYTES: u32 = 160;

fn clang_major(clang: &str) -> Option<u32> {
    let output = Command::new(clang).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("clang version ").nth(1)?;
    version.split('.').next()?.trim().parse().ok()
}

/// The clang to test with; `None` only outside CI.
fn clang() -> Option<String> {
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

/// Compiles C source for BPF and returns what clang wrote to its standard output.
fn compile(clang: &str, flags: &[&str], source: &str) -> Vec<u8> {
    let mut child = Command::new(clang)
        .args([
            "-target",
            "bpf",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-std=gnu11",
            "-x",
            "c",
            "-",
            "-o",
            "-",
        ])
        .arg("-I")
        .arg(include_dir())
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("clang answered --version before");
    child.stdin.take().expect("piped").write_all(source.as_bytes()).expect("clang reads its input");
    let output = child.wait_with_output().expect("clang ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{clang} {flags:?} on\n{source}\n{errors}");
    output.stdout
}

#[test]
fn every_header_compiles_alone() {
    let Some(clang) = clang() else { return };
    let mut headers = 0;
    for entry in fs::read_dir(include_dir()).expect("the include folder is part of the sources") {
        let name = entry.expect("a readable folder").file_name().into_string().expect("an ASCII name");
        if name.ends_with(".bpf.h") {
            // It calls the kernel, whose names only a scheduler's build has.
            continue;
        }
        // Twice, for the guard.
        let source = format!("{VMLINUX}\n#include \"{name}\"\n#include \"{name}\"\n");
        for cpu in ["-mcpu=v2", "-mcpu=v3", "-mcpu=v4"] {
            let object = compile(&clang, &["-g", "-c", cpu], &source);
            assert!(object.starts_with(b"\x7fELF"), "{name} {cpu}");
        }
        headers += 1;
    }
    assert!(headers >= 4, "only {headers} headers found");
}

/// The instructions of each function in an assembler listing.
fn functions(assembly: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut functions = BTreeMap::new();
    let mut current = None;
    for line in assembly.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':') {
            if !label.starts_with(['.', 'L']) {
                current = Some(label);
            }
        } else if code.starts_with(".section") {
            // Tables and debug information follow.
            current = None;
        } else if let Some(name) = current
            && !code.is_empty()
            && !code.starts_with('.')
        {
            functions.entry(name).or_insert_with(Vec::new).push(code);
        }
    }
    functions
}

/// How deep code reaches into the stack, bytes: `*(u64 *)(r10 - 16)`, or `r1 = r10` followed by `r1 += -16`.
fn stack_depth(code: &[&str]) -> u32 {
    let number = |text: &str| -> u32 {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    let direct = code.iter().filter_map(|instruction| Some(number(instruction.split_once("r10 - ")?.1)));
    let computed = code.windows(2).filter_map(|pair| {
        let register = pair[0].strip_suffix(" = r10")?;
        Some(number(pair[1].strip_prefix(register)?.strip_prefix(" += -")?))
    });
    direct.chain(computed).max().unwrap_or(0)
}

#[test]
fn code_is_small_and_calls_nothing() {
    let Some(clang) = clang() else { return };
    let source = format!("{VMLINUX}{ALL_FUNCTIONS}");
    for cpu in ["-mcpu=v3", "-mcpu=v4"] {
        let assembly = String::from_utf8(compile(&clang, &["-S", cpu], &source)).expect("assembly is text");
        let functions = functions(&assembly);
        for (name, limit) in INSTRUCTION_LIMITS {
            let code = functions.get(name).unwrap_or_else(|| panic!("no function {name} in\n{assembly}"));
            assert!(code.contains(&"exit"), "{name} is not read whole: {code:?}");
            let calls: Vec<_> = code.iter().filter(|instruction| instruction.starts_with("call")).collect();
            assert!(calls.is_empty(), "{name} {cpu} calls {calls:?}");
            let stack = stack_depth(code);
            assert!(stack <= STACK_LIMIT_BYTES, "{name} {cpu} uses {stack} bytes of stack");
            // A 64-bit immediate takes two slots, but the budget of the verifier counts it once.
            assert!(code.len() <= limit, "{name} {cpu} has {} instructions, at most {limit}", code.len());
            println!("{name} {cpu}: {} instructions, {stack} bytes of stack", code.len());
        }
    }
}

/// The check above must see what it looks for: code that does need the compiler's helpers and much stack.
#[test]
fn calls_and_stack_are_recognised() {
    let Some(clang) = clang() else { return };
    let source = format!(
        "{VMLINUX}
        extern void foreign(char *);
        u64 calls(u64 a) {{ char buffer[200]; foreign(buffer); return a + buffer[7]; }}"
    );
    let assembly = String::from_utf8(compile(&clang, &["-S"], &source)).expect("assembly is text");
    let functions = functions(&assembly);
    let code = &functions["calls"];
    assert!(code.iter().any(|instruction| instruction.starts_with("call")), "{code:?}");
    assert!(stack_depth(code) >= 200, "{code:?}");
}
