// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the modelled kernel types to BPF type information.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=kernel/types.c");
    println!("cargo:rerun-if-env-changed=BPF_CLANG");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let Some(clang) = clang() else {
        eprintln!(
            "error: no clang 18 or later for BPF: install clang-19 or set BPF_CLANG; `cargo xtask setup` does it"
        );
        std::process::exit(1);
    };
    compile(&clang, "NEWEST_KERNEL", &Path::new(&out).join("kernel_types.o"));
    compile(&clang, "OLDEST_KERNEL", &Path::new(&out).join("oldest_kernel_types.o"));
}

/// The types as the kernel that the macro names has them.
fn compile(clang: &str, kernel: &str, object: &Path) {
    let arguments = ["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-std=gnu11", "-c", "kernel/types.c"];
    let status = Command::new(clang).args(arguments).args(["-D", kernel, "-o"]).arg(object).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("error: {clang} cannot compile kernel/types.c");
        std::process::exit(1);
    }
}

fn clang() -> Option<String> {
    let named = std::env::var("BPF_CLANG").ok();
    let usual = ["clang-19", "clang-20", "clang-21", "clang-22", "clang"].map(str::to_owned);
    named.into_iter().chain(usual).find(|clang| major(clang).is_some_and(|major| major >= 18))
}

fn major(clang: &str) -> Option<u32> {
    let output = Command::new(clang).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("clang version ").nth(1)?;
    version.split('.').next()?.trim().parse().ok()
}
