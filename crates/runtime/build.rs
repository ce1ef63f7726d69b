// SPDX-License-Identifier: GPL-2.0-only
//! Hands the commit and the target to the version text.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=RUNTIME_TARGET={}", std::env::var("TARGET").unwrap_or_default());

    // A source archive has no repository: then the version goes without the commit.
    let Some(directory) = git(&["rev-parse", "--absolute-git-dir"]) else { return };
    // The log of HEAD grows with every commit and checkout; HEAD itself changes only with the branch.
    for file in ["HEAD", "logs/HEAD"] {
        let path = Path::new(&directory).join(file);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo:rustc-env=RUNTIME_COMMIT={commit}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
