// SPDX-License-Identifier: GPL-2.0-only
//! Versions of Debian's kernel packages.

/// A kernel package of the cloud flavour: its image has sched_ext and needs no modules to boot in a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The package's name, as in `linux-binary-7.3.4+deb13-cloud-amd64`.
    pub name: String,
    /// The kernel's release, as in `7.3.4+deb13-cloud-amd64`.
    pub release: String,
    /// The numbers of its version, as in `[7, 3, 4]`.
    pub version: Vec<u32>,
    /// From 6.19 on the image lives in `linux-binary-…`, and `linux-image-…` is a shell that depends on it.
    pub holds_image: bool,
}

/// The flavour that is used.
pub const FLAVOUR: &str = "-cloud-amd64";

/// Reads a package name; `None` for anything but a kernel of the cloud flavour.
pub fn parse_package(name: &str) -> Option<Package> {
    let (binary, release) = match name.strip_prefix("linux-binary-") {
        Some(release) => (true, release),
        None => (false, name.strip_prefix("linux-image-")?),
    };
    let version = release_version(release)?;
    let shell = version.as_slice() >= [6, 19].as_slice();
    Some(Package {
        name: name.to_owned(),
        release: release.to_owned(),
        version,
        holds_image: binary || !shell,
    })
}

/// The numbers of a kernel release of the cloud flavour.
pub fn release_version(release: &str) -> Option<Vec<u32>> {
    let version = release.strip_suffix(FLAVOUR)?;
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    parse_numbers(&version[..end])
}

/// Reads `7.3` or `7.3.4`: at least two numbers.
pub fn parse_numbers(text: &str) -> Option<Vec<u32>> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() >= 2)
}

/// Whether `version` belongs to `series`: 7.3.4 belongs to 7.3 and to 7.3.4, not to 7.
pub fn in_series(version: &[u32], series: &[u32]) -> bool {
    version.starts_with(series)
}

/// The newest package of a series that holds an image.
pub fn newest<'a>(names: impl Iterator<Item = &'a str>, series: &[u32]) -> Option<Package> {
    names
        .filter_map(parse_package)
        .filter(|package| package.holds_image && in_series(&package.version, series))
        .max_by(|a, b| a.version.cmp(&b.version).then_with(|| a.release.cmp(&b.release)))
}
