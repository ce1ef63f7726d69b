// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the BPF side and generates the skeleton and the bindings of `abi.h`; compiles the pure policy for its tests.

use std::path::Path;

fn main() {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf-common/include");
    let include = common.to_str().expect("the repository lies under a UTF-8 path");
    // The builder watches its own folder only.
    for folder in ["src/bpf", "native", include] {
        println!("cargo:rerun-if-changed={folder}");
    }
    println!("cargo:rerun-if-env-changed=BPF_CLANG");
    scx_cargo::BpfBuilder::new()
        .and_then(|mut builder| {
            builder
                .add_include_path(include)
                .add_include_path("src/bpf")
                .add_cflag("-Wall")
                .enable_intf("src/bpf/abi.h", "bpf_abi.rs")
                .enable_skel("src/bpf/main.bpf.c", "bpf")
                .compile_link_gen()
        })
        .unwrap_or_else(|error| {
            eprintln!(
                "error: cannot build the BPF side: {error:#}; `cargo xtask setup` installs what it needs"
            );
            std::process::exit(1);
        });
    cc::Build::new()
        .file("native/policy.c")
        .include(include)
        .include("src/bpf")
        .std("c11")
        .extra_warnings(true)
        // Undefined behaviour (a shift too far, a signed overflow) must end a test, not pass by luck.
        .flag_if_supported("-fsanitize=undefined")
        .flag_if_supported("-fsanitize-undefined-trap-on-error")
        .compile("active_push_policy");
}
