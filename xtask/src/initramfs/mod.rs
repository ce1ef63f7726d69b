// SPDX-License-Identifier: GPL-2.0-only
//! The first root of the VM: the guest program as `/init`, the scheduler with its shared libraries, and the plan.
//!
//! The large part is the same for every boot of a build and is packed once; the plan is a second, small archive that is
//! appended to it, which the kernel unpacks on top.

pub mod cpio;
#[cfg(test)]
mod tests;

use crate::process;
use anyhow::{Context, Result};
use cpio::Archive;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packs `/init`, the schedulers with their libraries, and the device nodes that a program needs before it mounts
/// anything.
///
/// # Errors
/// When a file cannot be read or a shared library is missing.
pub fn base(init: &Path, programs: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "root"] {
        archive.directory(folder);
    }
    archive.char_device("dev/console", 5, 1).char_device("dev/null", 1, 3).char_device("dev/kmsg", 1, 11);
    archive.char_device("dev/ttyS0", 4, 64).char_device("dev/ttyS1", 4, 65);
    archive.file("init", 0o755, stripped(init)?);
    for program in programs {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        archive.file(&format!("bin/{name}"), 0o755, stripped(program)?);
        for library in libraries(program)? {
            archive.file(&library.display().to_string(), 0o755, read(&library)?);
        }
    }
    archive.bytes()
}

/// The appended archive that holds `/plan.json`.
///
/// # Errors
/// Never for a plan of sane size.
pub fn plan(json: &str) -> Result<Vec<u8>> {
    Archive::default().file("plan.json", 0o644, json.as_bytes().to_vec()).bytes()
}

/// The program without its debugging information, which the VM would only unpack; as it is where `strip` is missing.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let Some(strip) = process::find("strip") else { return read(program) };
    let out = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let mut command = Command::new(strip);
    let done = process::output(command.arg("--strip-debug").arg("-o").arg(out.path()).arg(program))?;
    if done.status.success() { read(out.path()) } else { read(program) }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The shared libraries of a program with their paths, the dynamic loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = process::output(Command::new("ldd").arg(program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_ldd(&text).with_context(|| format!("cannot gather the libraries of {}", program.display()))
}

/// Reads what `ldd` prints: `NAME => PATH (address)` or `PATH (address)`; a static program has no libraries.
fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            anyhow::bail!("{}", line.trim());
        }
        let place = line.split_once("=>").map_or(line, |(_, place)| place);
        let path = place.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}
