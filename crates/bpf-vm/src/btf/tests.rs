// SPDX-License-Identifier: GPL-2.0-only
//! Hand-written type information: layout, names, damage and types that contain themselves.

use super::*;

/// Writes type information by hand.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn ty(&mut self, name: &str, kind: u32, vlen: u32, flag: bool, size: u32, extra: &[u32]) {
        let name = self.name(name);
        for word in [name, u32::from(flag) << 31 | kind << 24 | vlen, size].iter().chain(extra) {
            self.types.extend(word.to_le_bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// 1 u32, 2 anonymous struct { u32 inside; u32 low:5, high:3 }, 3 struct outer { u32 first; <2>; u32 list[3] }, 4 array
fn sample() -> Writer {
    let mut writer = Writer::default();
    writer.ty("u32", 1, 0, false, 4, &[32]);
    let [inside, low, high] = ["inside", "low", "high"].map(|name| writer.name(name));
    writer.ty("", 4, 3, true, 8, &[inside, 1, 0, low, 1, 5 << 24 | 32, high, 1, 3 << 24 | 37]);
    let (first, nothing, list) = (writer.name("first"), writer.name(""), writer.name("list"));
    writer.ty("outer", 4, 3, false, 24, &[first, 1, 0, nothing, 2, 32, list, 4, 96]);
    writer.ty("", 3, 0, false, 0, &[1, 1, 3]);
    writer
}

#[test]
fn fields_by_path() {
    let btf = Btf::parse(&sample().bytes()).unwrap();
    let plain = |offset| Field { offset, size: 4, bit_shift: 0, bit_size: 0, signed: false };
    assert_eq!(btf.field("outer", "first"), Ok(plain(0)));
    assert_eq!(btf.field("outer", "inside"), Ok(plain(4)));
    assert_eq!(btf.field("outer", "list[2]"), Ok(plain(20)));
    assert_eq!(btf.field("outer", "list").unwrap().size, 12);
    assert_eq!(
        btf.field("outer", "high"),
        Ok(Field { offset: 8, size: 4, bit_shift: 5, bit_size: 3, signed: false })
    );
    assert_eq!(btf.struct_size("outer"), Ok(24));
    assert_eq!(btf.member_at(3, 8), "high", "the last of several bit fields");
    assert_eq!(btf.member_at(3, 30), "");
}

#[test]
fn names_without_flavour() {
    for (name, essential) in [
        ("task_struct", "task_struct"),
        ("task_struct___new", "task_struct"),
        ("insert___v2___compat", "insert___v2"),
        ("___x", "___x"),
        ("x____y", "x____y"),
        ("x___", "x___"),
        ("a___b", "a"),
        ("ä___b", "ä"),
        ("", ""),
    ] {
        assert_eq!(essential_name(name), essential, "{name}");
    }
}

#[test]
fn damage_is_reported() {
    let whole = sample().bytes();
    for len in 0..whole.len() {
        assert!(matches!(Btf::parse(&whole[..len]), Err(BtfError::Damaged(_))), "cut to {len} bytes");
    }
    let mut big = whole.clone();
    big[..2].swap(0, 1);
    assert!(Btf::parse(&big).unwrap_err().to_string().contains("big-endian"));
    let mut writer = sample();
    writer.ty("bad", 2, 0, false, 99, &[]);
    assert!(Btf::parse(&writer.bytes()).unwrap_err().to_string().contains("type 5 refers"));
    let mut writer = sample();
    writer.ty("bad", 31, 0, false, 0, &[]);
    assert!(Btf::parse(&writer.bytes()).unwrap_err().to_string().contains("unknown kind 31"));
}

#[test]
fn types_that_contain_themselves_end() {
    // 1: a typedef of itself; 2: a struct with two anonymous members of itself; 3: an array of itself.
    let mut writer = Writer::default();
    writer.ty("loop", 8, 0, false, 1, &[]);
    let nothing = writer.name("");
    writer.ty("nest", 4, 2, false, 8, &[nothing, 2, 0, nothing, 2, 0]);
    writer.ty("", 3, 0, false, 0, &[3, 3, 2]);
    let btf = Btf::parse(&writer.bytes()).unwrap();
    assert_eq!(btf.skip_modifiers(1), 0);
    assert_eq!(
        btf.field("nest", "x"),
        Err(BtfError::NoField { type_name: "nest".into(), field: "x".into() })
    );
    assert_eq!(btf.size_of(3), None);
    assert_eq!(btf.member_at(2, 0), "");
}
