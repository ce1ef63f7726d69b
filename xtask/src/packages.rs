// SPDX-License-Identifier: GPL-2.0-only
//! What the host needs beside a Rust toolchain and a C compiler: how each thing is recognised, and which package of
//! Debian and its relatives brings it.

#[cfg(test)]
mod tests;

use crate::{process, vm};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// clang versions that can compile the BPF programs, best first: what Debian and its relatives package.
pub const CLANG_VERSIONS: [u32; 7] = [19, 20, 21, 22, 23, 24, 18];
/// The oldest clang that serves.
const CLANG_OLDEST: u32 = 18;

/// A thing that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Compiles the BPF programs.
    Clang,
    /// Reads C headers for the bindings generator; of the same version as clang.
    Libclang,
    /// Finds libelf and zlib.
    PkgConfig,
    /// Builds libbpf.
    Make,
    /// Headers that libbpf needs.
    Libelf,
    /// Headers that libbpf needs.
    Zlib,
    /// Boots the kernels.
    Qemu,
}

/// What `build` needs.
pub const FOR_BUILD: &[Need] =
    &[Need::Clang, Need::Libclang, Need::PkgConfig, Need::Make, Need::Libelf, Need::Zlib];
/// What `run`, `vmtest` and `test` need.
pub const FOR_ALL: &[Need] =
    &[Need::Clang, Need::Libclang, Need::PkgConfig, Need::Make, Need::Libelf, Need::Zlib, Need::Qemu];

impl Need {
    /// What the user is told that it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clang => "clang (18 or later)",
            Self::Libclang => "libclang",
            Self::PkgConfig => "pkg-config",
            Self::Make => "make",
            Self::Libelf => "libelf headers",
            Self::Zlib => "zlib headers",
            Self::Qemu => "QEMU for x86",
        }
    }

    /// The packages of Debian and its relatives that bring it, when clang is taken in this version.
    pub fn packages(self, clang: u32) -> Vec<String> {
        match self {
            Self::Clang => vec![format!("clang-{clang}")],
            Self::Libclang => vec![format!("libclang-{clang}-dev")],
            Self::PkgConfig => vec!["pkg-config".into()],
            Self::Make => vec!["make".into()],
            Self::Libelf => vec!["libelf-dev".into()],
            Self::Zlib => vec!["zlib1g-dev".into()],
            Self::Qemu => vec!["qemu-system-x86".into()],
        }
    }
}

/// A clang that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clang {
    /// The program.
    pub path: PathBuf,
    /// Its major version.
    pub version: u32,
}

/// The clang to compile BPF with: the one that `BPF_CLANG` names, else the best one found.
pub fn clang() -> Option<Clang> {
    let named = std::env::var("BPF_CLANG").ok();
    let versioned = CLANG_VERSIONS.iter().map(|version| format!("clang-{version}"));
    let names = named.into_iter().chain(versioned).chain(["clang".to_owned()]);
    names.filter_map(|name| probe_clang(&name)).find(|clang| clang.version >= CLANG_OLDEST)
}

fn probe_clang(name: &str) -> Option<Clang> {
    let path = process::find(name)?;
    let text = process::text(Command::new(&path).arg("--version")).ok()?;
    Some(Clang { path, version: parse_clang_version(&text)? })
}

/// The major version in what `clang --version` prints.
pub fn parse_clang_version(text: &str) -> Option<u32> {
    let after = text.split("version ").nth(1)?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The folder that holds `libclang.so`: of the version given first, else of any that serves.
pub fn libclang_dir(version: Option<u32>) -> Option<PathBuf> {
    let named = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from).filter(|dir| holds_libclang(dir));
    if named.is_some() {
        return named;
    }
    let versions = version.into_iter().chain(CLANG_VERSIONS);
    let packaged = versions.map(|version| PathBuf::from(format!("/usr/lib/llvm-{version}/lib")));
    let general = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(PathBuf::from);
    packaged.chain(general).find(|dir| holds_libclang(dir))
}

fn holds_libclang(dir: &Path) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| {
        let name = name.to_string_lossy();
        name == "libclang.so"
            || name.starts_with("libclang.so.")
            || (name.starts_with("libclang-") && !name.starts_with("libclang-cpp") && name.contains(".so"))
    })
}

/// Which of these are missing.
pub fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|&need| !present(need)).collect()
}

fn present(need: Need) -> bool {
    match need {
        Need::Clang => clang().is_some(),
        Need::Libclang => libclang_dir(clang().map(|clang| clang.version)).is_some(),
        Need::PkgConfig => process::find("pkg-config").is_some(),
        Need::Make => process::find("make").is_some(),
        Need::Libelf => library("libelf", &["/usr/include/libelf.h", "/usr/include/gelf.h"]),
        Need::Zlib => library("zlib", &["/usr/include/zlib.h"]),
        Need::Qemu => process::find(vm::QEMU).is_some(),
    }
}

/// Whether pkg-config knows the library, or its headers are where compilers look.
fn library(name: &str, headers: &[&str]) -> bool {
    let asked = process::output(Command::new("pkg-config").args(["--exists", name]));
    asked.is_ok_and(|output| output.status.success())
        || headers.iter().all(|header| Path::new(header).exists())
}

/// The environment that child builds get.
pub fn build_environment() -> Vec<(&'static str, PathBuf)> {
    let mut variables = Vec::new();
    let clang = clang();
    if let Some(dir) = libclang_dir(clang.as_ref().map(|clang| clang.version)) {
        variables.push(("LIBCLANG_PATH", dir));
    }
    if let Some(clang) = clang {
        variables.push(("BPF_CLANG", clang.path));
    }
    variables
}
