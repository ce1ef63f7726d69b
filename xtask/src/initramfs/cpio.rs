// SPDX-License-Identifier: GPL-2.0-only
//! Writes the archive format that the kernel unpacks as its first root ("newc" cpio).
//!
//! Every entry is a header of thirteen eight-digit hexadecimal fields, the name with a final NUL, and the contents; name
//! and contents are padded to four bytes. No root rights are needed, device nodes included, and the same input gives
//! the same bytes: entries are sorted, owned by root and dated 0.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// The kernel looks for the next archive at a multiple of this.
const ARCHIVE_ALIGNMENT: usize = 512;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File { mode: u32, data: Vec<u8> },
    CharDevice { major: u32, minor: u32 },
}

/// An archive in the making.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    entries: BTreeMap<String, Kind>,
}

impl Archive {
    /// Adds a directory and its parents.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        let path = relative(path);
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|&end| end > 0) {
            self.entries.entry(path[..end].to_owned()).or_insert(Kind::Directory);
        }
        self
    }

    /// Adds a file with its parents; `mode` holds the permission bits.
    pub fn file(&mut self, path: &str, mode: u32, data: Vec<u8>) -> &mut Self {
        self.add(path, Kind::File { mode, data })
    }

    /// Adds a character device with its parents.
    pub fn char_device(&mut self, path: &str, major: u32, minor: u32) -> &mut Self {
        self.add(path, Kind::CharDevice { major, minor })
    }

    fn add(&mut self, path: &str, kind: Kind) -> &mut Self {
        let path = relative(path);
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entries.insert(path.to_owned(), kind);
        self
    }

    /// The archive's bytes, padded so that another archive may follow.
    ///
    /// # Errors
    /// When a file is 4 GiB or larger, which the format cannot say.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (inode, (name, kind)) in (1..).zip(&self.entries) {
            entry(&mut out, inode, name, kind)?;
        }
        // The trailer ends the archive; it is an entry without type and mode.
        header(&mut out, Fields { links: 1, ..Fields::default() }, "TRAILER!!!");
        pad(&mut out, ARCHIVE_ALIGNMENT);
        Ok(out)
    }
}

fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

#[derive(Default)]
struct Fields {
    inode: u32,
    mode: u32,
    links: u32,
    size: u32,
    device: (u32, u32),
}

fn entry(out: &mut Vec<u8>, inode: u32, name: &str, kind: &Kind) -> Result<()> {
    const DIRECTORY: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const CHAR_DEVICE: u32 = 0o020_000;
    let mut fields = Fields { inode, links: 1, ..Fields::default() };
    let data: &[u8] = match kind {
        Kind::Directory => {
            (fields.mode, fields.links) = (DIRECTORY | 0o755, 2);
            &[]
        }
        Kind::File { mode, data } => {
            fields.mode = FILE | mode;
            data
        }
        Kind::CharDevice { major, minor } => {
            fields.mode = CHAR_DEVICE | 0o600;
            fields.device = (*major, *minor);
            &[]
        }
    };
    ensure!(u32::try_from(data.len()).is_ok(), "{name} is too large for an initramfs");
    fields.size = data.len() as u32;
    header(out, fields, name);
    out.extend_from_slice(data);
    pad(out, 4);
    Ok(())
}

fn header(out: &mut Vec<u8>, fields: Fields, name: &str) {
    let name_size = name.len() as u32 + 1;
    let Fields { inode, mode, links, size, device: (major, minor) } = fields;
    out.extend_from_slice(b"070701");
    // inode, mode, uid, gid, links, mtime, size, device of the file, device it stands for, name size, checksum
    for field in [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}
