// SPDX-License-Identifier: GPL-2.0-only
//! The archive is read back by an independent reader, and where there is one by the system's own tool.

use super::cpio::Archive;
use super::*;
use proptest::prelude::*;
use std::io::Write;

/// One entry as read back: name, mode, device, contents.
type Entry = (String, u32, (u32, u32), Vec<u8>);

/// Reads an archive; panics when anything in it is not as the format says.
fn read_back(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!(&bytes[at..at + 6], b"070701", "no header at {at}");
        let field = |index: usize| {
            let start = at + 6 + index * 8;
            u32::from_str_radix(std::str::from_utf8(&bytes[start..start + 8]).unwrap(), 16).unwrap()
        };
        let (mode, mtime, size, name_size) = (field(1), field(5), field(6) as usize, field(11) as usize);
        let device = (field(9), field(10));
        assert_eq!((field(2), field(3), mtime), (0, 0, 0), "owner and date");
        let name_at = at + 110;
        let name = std::str::from_utf8(&bytes[name_at..name_at + name_size - 1]).unwrap().to_owned();
        assert_eq!(bytes[name_at + name_size - 1], 0);
        let data_at = (name_at + name_size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(bytes.len() % 512, 0);
            assert!(bytes[data_at..].iter().all(|&byte| byte == 0));
            return entries;
        }
        entries.push((name, mode, device, bytes[data_at..data_at + size].to_vec()));
        at = (data_at + size).next_multiple_of(4);
    }
}

#[test]
fn every_kind_of_entry_is_read_back() {
    let mut archive = Archive::default();
    archive.file("/bin/tool", 0o755, b"abc".to_vec());
    archive.char_device("dev/console", 5, 1).directory("a/b/c");
    let entries = read_back(&archive.bytes().unwrap());
    let names: Vec<(&str, u32)> = entries.iter().map(|entry| (entry.0.as_str(), entry.1)).collect();
    let expected = [
        ("a", 0o040_755),
        ("a/b", 0o040_755),
        ("a/b/c", 0o040_755),
        ("bin", 0o040_755),
        ("bin/tool", 0o100_755),
        ("dev", 0o040_755),
        ("dev/console", 0o020_600),
    ];
    assert_eq!(names, expected);
    assert_eq!(entries[4].3, b"abc");
    assert_eq!(entries[6].2, (5, 1));
}

#[test]
fn the_order_of_adding_does_not_matter() {
    let mut one = Archive::default();
    one.file("b", 0o644, vec![1]).file("a/x", 0o644, vec![2]);
    let mut other = Archive::default();
    other.file("a/x", 0o644, vec![2]).file("b", 0o644, vec![1]);
    assert_eq!(one.bytes().unwrap(), other.bytes().unwrap());
}

#[test]
fn the_systems_own_tool_reads_it() {
    let Some(cpio) = process::find("cpio") else { return };
    let mut archive = Archive::default();
    archive.file("x/one", 0o644, b"1234567".to_vec()).file("x/two", 0o600, Vec::new());
    let mut child = Command::new(cpio)
        .arg("-t")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&archive.bytes().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "x\nx/one\nx/two\n");
}

#[test]
fn ldd_output_gives_paths() {
    let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
    let expected = ["/lib/x86_64-linux-gnu/libelf.so.1", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
    assert_eq!(parse_ldd(text).unwrap(), expected);
    assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
    let missing = parse_ldd("\tlibx.so.1 => not found\n").unwrap_err();
    assert_eq!(missing.to_string(), "libx.so.1 => not found");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_files_are_read_back(files in prop::collection::btree_map("[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let mut archive = Archive::default();
        for (name, data) in &files {
            archive.file(name, 0o644, data.clone());
        }
        let expected: Vec<Entry> = files.into_iter().map(|(name, data)| (name, 0o100_644, (0, 0), data)).collect();
        prop_assert_eq!(read_back(&archive.bytes().unwrap()), expected);
    }
}
