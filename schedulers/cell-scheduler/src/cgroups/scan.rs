// SPDX-License-Identifier: GPL-2.0-only
//! Reading cgroup directories.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use topology::CpuSet;

use super::CgroupError;
use crate::config::{Glob, GlobError};

/// What a cgroup without a `cpu.weight` file counts as: the kernel's default.
pub const DEFAULT_WEIGHT: u32 = 100;

/// How deep a walk goes: far beyond any sensible hierarchy.
const MAX_DEPTH: usize = 32;

/// A cgroup below the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its path below the parent, without a slash at the beginning.
    pub path: String,
    /// Its inode, which is its cgroup id.
    pub inode: u64,
    /// Its `cpu.weight`; [`DEFAULT_WEIGHT`] where the cpu controller is off or the file cannot be read.
    pub weight: u32,
    /// Its effective cpuset; `None` where the cpuset controller is off or the file cannot be read.
    pub cpuset: Option<CpuSet>,
    /// Whether `weight` stands for one that could not be read.
    pub weight_unread: bool,
    /// Whether `cpuset` stands for one that could not be read.
    pub cpuset_unread: bool,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The cgroups by path.
    pub children: Vec<Child>,
    /// Paths of cgroups that could not be looked at, or not at what lies below them.
    pub unseen: Vec<String>,
    /// What could not be read; each is worth a line in the log.
    pub warnings: Vec<CgroupError>,
}

/// Names that never become cells.
#[derive(Debug, Clone, Default)]
pub struct Exclude {
    globs: Vec<Glob>,
}

impl Exclude {
    /// From names or globs. They are matched against a cgroup's path below the parent and against its last part.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Result<Self, GlobError> {
        let globs = patterns.iter().map(|pattern| Glob::new(pattern.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { globs })
    }

    /// Whether a cgroup of that path is left out.
    pub fn matches(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.globs.iter().any(|glob| glob.matches(path) || glob.matches(name))
    }
}

/// The cgroup whose children become cells.
#[derive(Debug, Clone)]
pub struct Parent {
    path: PathBuf,
}

impl Parent {
    /// A directory of a cgroup2 filesystem.
    ///
    /// # Errors
    /// It does not exist, is no directory, or is elsewhere.
    pub fn open(path: &Path) -> Result<Self, CgroupError> {
        let parent = Self::open_anywhere(path)?;
        let filesystem = statfs(path)
            .map_err(|errno| CgroupError::Unreadable { path: path.to_owned(), source: errno.into() })?;
        if filesystem.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(CgroupError::NotCgroup2 { path: path.to_owned() });
        }
        Ok(parent)
    }

    /// A directory of any filesystem, for tests and simulations.
    ///
    /// # Errors
    /// It does not exist or is no directory.
    pub fn open_anywhere(path: &Path) -> Result<Self, CgroupError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(Self { path: path.to_owned() }),
            Ok(_) => Err(CgroupError::NotADirectory { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CgroupError::Missing { path: path.to_owned() })
            }
            Err(source) => Err(CgroupError::Unreadable { path: path.to_owned(), source }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The direct children.
    ///
    /// # Errors
    /// The parent has vanished or cannot be read.
    pub fn scan(&self, exclude: &Exclude) -> Result<Scan, CgroupError> {
        self.collect(exclude, 1)
    }

    /// All cgroups below. What is excluded is excluded with everything below it.
    ///
    /// # Errors
    /// As [`Parent::scan`].
    pub fn walk(&self, exclude: &Exclude) -> Result<Scan, CgroupError> {
        self.collect(exclude, MAX_DEPTH)
    }

    fn collect(&self, exclude: &Exclude, depth: usize) -> Result<Scan, CgroupError> {
        let mut scan = Scan::default();
        let mut level = subdirectories(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CgroupError::Vanished { path: self.path.clone() },
            _ => CgroupError::Unreadable { path: self.path.clone(), source },
        })?;
        for at in 1..=depth {
            let mut below = Vec::new();
            for name in std::mem::take(&mut level) {
                if exclude.matches(&name) {
                    continue;
                }
                let Some(child) = self.child(&name, &mut scan) else { continue };
                scan.children.push(child);
                if at < depth {
                    let path = self.path.join(&name);
                    match subdirectories(&path) {
                        Ok(names) => below.extend(names.into_iter().map(|inner| format!("{name}/{inner}"))),
                        Err(source) => scan.not_seen(name, path, source),
                    }
                }
            }
            level = below;
        }
        scan.children.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(scan)
    }

    /// One cgroup; none if it has vanished or cannot be looked at.
    fn child(&self, path: &str, scan: &mut Scan) -> Option<Child> {
        let directory = self.path.join(path);
        let inode = self.inode(path, scan)?;
        let weight = value(directory.join("cpu.weight"), "weight", |text| text.trim().parse::<u32>().ok());
        let cpuset = value(directory.join("cpuset.cpus.effective"), "list of CPUs", |text| {
            CpuSet::parse_list(text).ok()
        });
        let (weight_unread, cpuset_unread) = (weight.is_err(), cpuset.is_err());
        let weight = weight.map_err(|error| scan.warnings.push(error)).ok().flatten();
        let cpuset = cpuset.map_err(|error| scan.warnings.push(error)).ok().flatten();
        // Removed and made again in between: the next scan finds the new one.
        (self.inode(path, scan)? == inode).then(|| Child {
            path: path.to_owned(),
            inode,
            weight: weight.unwrap_or(DEFAULT_WEIGHT),
            cpuset,
            weight_unread,
            cpuset_unread,
        })
    }

    fn inode(&self, path: &str, scan: &mut Scan) -> Option<u64> {
        let directory = self.path.join(path);
        match fs::metadata(&directory) {
            Ok(found) => Some(found.ino()),
            Err(source) => {
                scan.not_seen(path.to_owned(), directory, source);
                None
            }
        }
    }
}

impl Scan {
    /// Notes that a cgroup's directory could not be looked at, unless it is only gone.
    fn not_seen(&mut self, cgroup: String, path: PathBuf, source: io::Error) {
        if !is_gone(&source) {
            self.unseen.push(cgroup);
            self.warnings.push(CgroupError::Unreadable { path, source });
        }
    }
}

/// What a file of a cgroup holds; `None` if the controller is off or the cgroup is being removed.
fn value<T>(
    path: PathBuf,
    what: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, CgroupError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(source) => return Err(CgroupError::Unreadable { path, source }),
    };
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => {
            let text = text.trim().chars().take(40).collect();
            Err(CgroupError::Malformed { path, text, what })
        }
    }
}

/// Whether there is nothing any more that could be read, which is no trouble.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ENODEV)
}

/// What reading a file of a cgroup that is being removed gives.
const ENODEV: i32 = nix::libc::ENODEV;

/// Names of the directories in a directory, sorted; names that are no text are left out.
fn subdirectories(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
