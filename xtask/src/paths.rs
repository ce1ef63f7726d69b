// SPDX-License-Identifier: GPL-2.0-only
//! Where things live: the workspace, the target directory and this program's own folders under it.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The workspace root.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let parent = manifest.parent().unwrap_or(manifest);
    parent.to_path_buf()
}

/// Cargo's target directory, as `CARGO_TARGET_DIR` or the default says.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => root().join("target"),
    }
}

/// This program's caches: kernels, the private apt directory.
pub fn cache() -> PathBuf {
    target().join("xtask")
}

/// Logs and results of VM runs.
pub fn vmtest() -> PathBuf {
    target().join("vmtest")
}

/// Creates a directory with its parents.
///
/// # Errors
/// One line naming the directory.
pub fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the directory {}", dir.display()))
}

/// A path as the user would type it: relative to the current directory where that is shorter.
pub fn shown(path: &Path) -> String {
    let relative =
        std::env::current_dir().ok().and_then(|dir| path.strip_prefix(dir).ok().map(Path::to_path_buf));
    relative.unwrap_or_else(|| path.to_path_buf()).display().to_string()
}
