// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the native wrappers around the headers, so that tests can call the code that runs in the kernel.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let mut sources = Vec::new();
    for folder in ["include", "native"] {
        // The folder itself is watched too, so that a new file is noticed.
        println!("cargo:rerun-if-changed={folder}");
        for file in files_in(Path::new(folder)) {
            println!("cargo:rerun-if-changed={}", file.display());
            if file.extension().is_some_and(|extension| extension == "c") {
                sources.push(file);
            }
        }
    }

    cc::Build::new()
        .files(sources)
        .include("include")
        .std("c11")
        .extra_warnings(true)
        // Undefined behaviour (a shift too far, a signed overflow) must end the test, not pass by luck. The trap
        // variant needs no run-time library.
        .flag_if_supported("-fsanitize=undefined")
        .flag_if_supported("-fsanitize-undefined-trap-on-error")
        .compile("bpf_common_native");
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}
