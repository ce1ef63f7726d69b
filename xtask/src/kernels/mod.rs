// SPDX-License-Identifier: GPL-2.0-only
//! The kernels that a VM can boot: the matrix in `ci/kernels.toml`, and where an image comes from.

mod apt;
#[cfg(test)]
mod tests;
pub mod version;

use crate::progress::Step;
use crate::{paths, process, status};
use anyhow::{Context, Result};
use apt::Apt;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// `ci/kernels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    kernel: Vec<Entry>,
    debian: Debian,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    role: Role,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Debian {
    suites: Vec<Vec<String>>,
}

/// What a kernel is in the matrix for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The default of `run`, and the end of the supported range.
    Newest,
    /// The oldest supported kernel.
    Floor,
    /// A kernel that cannot run any sched_ext scheduler.
    WithoutSchedExt,
}

impl Matrix {
    /// Reads `ci/kernels.toml`.
    ///
    /// # Errors
    /// When it is missing, does not parse or names a kernel that cannot be understood.
    pub fn read() -> Result<Self> {
        let path = paths::root().join("ci/kernels.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is wrong", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let matrix: Self = toml::from_str(text)?;
        for role in [Role::Newest, Role::WithoutSchedExt] {
            anyhow::ensure!(
                matrix.kernel.iter().any(|entry| entry.role == role),
                "no kernel has the role {role:?}"
            );
        }
        Ok(matrix)
    }

    /// The kernels that every scenario runs on.
    pub fn supported(&self) -> Vec<&str> {
        self.kernel.iter().filter(|e| e.role != Role::WithoutSchedExt).map(|e| e.name.as_str()).collect()
    }

    /// The kernel with this role. [`Matrix::parse`] made sure that there is one.
    pub fn with_role(&self, role: Role) -> &str {
        self.kernel.iter().find(|entry| entry.role == role).map_or("host", |entry| entry.name.as_str())
    }

    fn known(&self) -> String {
        let names: Vec<&str> = self.kernel.iter().map(|entry| entry.name.as_str()).collect();
        format!("known: {}, any other debian:SERIES, host, or the path of an image", names.join(", "))
    }

    /// Reads what follows `--kernel`.
    ///
    /// # Errors
    /// One line with the known kernels, status 2.
    pub fn source(&self, text: &str) -> Result<Source> {
        let unknown = |why: &str| status::usage(format!("kernel '{text}': {why}; {}", self.known()));
        if let Some(series) = text.strip_prefix("debian:") {
            let numbers =
                version::parse_numbers(series).ok_or_else(|| unknown("the series is not like 7.3"))?;
            return Ok(Source::Debian(Series(numbers)));
        }
        if text == "host" {
            return Ok(Source::Host);
        }
        let path = PathBuf::from(text);
        if !path.is_file() {
            return Err(unknown("neither a known name nor a file"));
        }
        Ok(Source::Image(path))
    }

    /// Finds or fetches the image.
    ///
    /// # Errors
    /// When no image can be had (status 69), or the archive does not know the series (status 2).
    pub fn image(&self, source: &Source) -> Result<Kernel> {
        let kernel = match source {
            Source::Debian(series) => self.debian_image(series)?,
            Source::Host => host_image()?,
            Source::Image(path) => Kernel { name: path.display().to_string(), image: path.clone() },
        };
        check_image(&kernel.image)?;
        Ok(kernel)
    }

    fn debian_image(&self, series: &Series) -> Result<Kernel> {
        let cached = newest_cached(&cache_dir(), series);
        let mut reason = None;
        for suites in &self.debian.suites {
            match from_archive(suites, series) {
                Ok(Some(kernel)) => return Ok(kernel),
                Ok(None) => {}
                Err(error) => reason = Some(error),
            }
            // The other suites are on the same mirror, which just did not answer.
            if reason.is_some() && cached.is_none() {
                break;
            }
            // A point release that is here already needs no wider search.
            if let Some(kernel) = &cached {
                if let Some(error) = &reason {
                    eprintln!("note: {}; using {} from the cache", status::one_line(error), kernel.name);
                }
                return Ok(kernel.clone());
            }
        }
        match reason {
            Some(error) => {
                let what = format!(
                    "kernel debian:{series} is not in the cache and cannot be fetched (check the network, or give an \
                     image with --kernel PATH)"
                );
                Err(error.context(what))
            }
            None => {
                let none =
                    format!("kernel 'debian:{series}': the archive has no such series; {}", self.known());
                Err(status::usage(none))
            }
        }
    }
}

/// A series of kernels, such as 7.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series(Vec<u32>);

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl FromStr for Series {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        version::parse_numbers(text).map(Self).ok_or(())
    }
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Debian's archive: the newest point release of a series.
    Debian(Series),
    /// The image that this host booted.
    Host,
    /// A file.
    Image(PathBuf),
}

/// An image that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release, or its path.
    pub name: String,
    /// The file.
    pub image: PathBuf,
}

fn cache_dir() -> PathBuf {
    paths::cache().join("kernels")
}

/// The newest cached point release of a series. A folder in the cache is complete by construction.
fn newest_cached(cache: &Path, series: &Series) -> Option<Kernel> {
    let names = fs::read_dir(cache).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of_series = names.filter_map(|name| {
        let version = version::release_version(&name)?;
        let image = cache.join(&name).join("vmlinuz");
        (version::in_series(&version, &series.0) && image.is_file())
            .then_some((version, Kernel { name, image }))
    });
    of_series.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, kernel)| kernel)
}

/// The newest point release that these suites have, fetched if it is not in the cache; `None` when they have none.
fn from_archive(suites: &[String], series: &Series) -> Result<Option<Kernel>> {
    let apt = Apt::open(suites)?;
    if !apt.fresh() {
        apt.update()?;
    }
    let names = apt.kernel_packages()?;
    let Some(package) = version::newest(names.iter().map(String::as_str), &series.0) else { return Ok(None) };
    let cache = cache_dir();
    let kept = cache.join(&package.release);
    let kernel = Kernel { name: package.release.clone(), image: kept.join("vmlinuz") };
    if kernel.image.is_file() {
        return Ok(Some(kernel));
    }
    paths::create_dir(&cache)?;
    // The folder appears in the cache only when it is complete; an interrupted run leaves a temporary one behind,
    // which is cleared here.
    clear_leftovers(&cache);
    let work = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(&cache)
        .context("cannot write the kernel cache")?;
    let deb = match apt.download(&package.name, work.path()) {
        Ok(deb) => deb,
        // A newer point release may have replaced this one since the lists were fetched.
        Err(_) if apt.update().is_ok() => apt.download(&package.name, work.path())?,
        Err(error) => return Err(error),
    };
    unpack(&deb, &package.release, work.path())?;
    let ready = work.path().join("ready");
    if let Err(error) = fs::rename(&ready, &kept) {
        // Another process may have been faster; its folder is as good.
        if !kernel.image.is_file() {
            return Err(error).context("cannot write the kernel cache");
        }
    }
    Ok(Some(kernel))
}

/// How temporary folders in the cache begin.
const TEMPORARY: &str = ".partial-";

fn clear_leftovers(cache: &Path) {
    let hour = std::time::Duration::from_secs(3600);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        // A young one may belong to another process.
        if ours && age.is_some_and(|age| age > hour) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Takes the image out of a package into `work/ready/vmlinuz`.
fn unpack(deb: &Path, release: &str, work: &Path) -> Result<()> {
    let step = Step::new("kernel: unpacking", 0);
    let tree = work.join("tree");
    process::text(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&tree))?;
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("lib/modules/{release}/vmlinuz"),
    ];
    let image = places.iter().map(|place| tree.join(place)).find(|path| path.is_file());
    let image = image
        .ok_or_else(|| status::unavailable(format!("the package of {release} holds no kernel image")))?;
    let ready = work.join("ready");
    paths::create_dir(&ready)?;
    fs::rename(image, ready.join("vmlinuz")).context("cannot write the kernel cache")?;
    step.done(release);
    Ok(())
}

fn host_image() -> Result<Kernel> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the running kernel's release")?;
    let release = release.trim().to_owned();
    let places = [format!("/boot/vmlinuz-{release}"), format!("/lib/modules/{release}/vmlinuz")];
    let image = places.iter().map(PathBuf::from).find(|path| fs::File::open(path).is_ok());
    let image = image.ok_or_else(|| {
        status::unavailable(format!(
            "no readable image of the running kernel {release} (looked at {})",
            places.join(", ")
        ))
    })?;
    Ok(Kernel { name: release, image })
}

/// An x86 image says `HdrS` in its boot header.
fn check_image(image: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let mut header = [0; 4];
    let file =
        fs::File::open(image).with_context(|| format!("cannot open the kernel image {}", image.display()))?;
    if file.read_exact_at(&mut header, 0x202).is_err() || &header != b"HdrS" {
        return Err(status::usage(format!(
            "{} is not a bootable x86 kernel image (bzImage)",
            image.display()
        )));
    }
    Ok(())
}
