// SPDX-License-Identifier: GPL-2.0-only
//! The workspace as the rules see it: its files and its packages, as plain data.

use crate::{paths, process};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 2] = [".git", "target"];

/// A text file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// Its path from the workspace's root, with `/`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tests only.
    Dev,
    /// The build script.
    Build,
}

/// A dependency of a package.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// The package depended on.
    pub name: String,
    /// What for; `None` for an ordinary one.
    pub kind: Option<Kind>,
}

/// A package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder from the workspace's root.
    pub folder: String,
    /// What it depends on directly.
    pub dependencies: Vec<Dependency>,
}

/// The workspace.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// All text files.
    pub files: Vec<File>,
    /// All packages.
    pub packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

impl Tree {
    /// Reads the workspace.
    ///
    /// # Errors
    /// When a folder cannot be read or cargo cannot describe the workspace.
    pub fn read() -> Result<Self> {
        let root = paths::root();
        let mut files = Vec::new();
        walk(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut command = crate::commands::build::cargo_program();
        command.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(&root);
        let packages = packages(&mut command, &root)?;
        Ok(Self { files, packages })
    }

    /// The file at this path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn packages(command: &mut Command, root: &Path) -> Result<Vec<Package>> {
    let metadata: Metadata =
        serde_json::from_str(&process::text(command)?).context("cannot read the output of cargo metadata")?;
    let folder = |manifest: &str| {
        let folder = Path::new(manifest).parent().unwrap_or(root);
        folder.strip_prefix(root).unwrap_or(folder).display().to_string()
    };
    let packages = metadata.packages.into_iter();
    Ok(packages
        .map(|raw| Package {
            folder: folder(&raw.manifest_path),
            name: raw.name,
            dependencies: raw.dependencies,
        })
        .collect())
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() {
            // What is not text is no business of the rules.
            if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}
