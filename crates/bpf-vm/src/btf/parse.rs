// SPDX-License-Identifier: GPL-2.0-only
//! Reads `.BTF` bytes.

use std::collections::{BTreeMap, HashMap};

use super::{Btf, BtfError, Enumerator, Kind, Member, SectionVar, Type, essential_name};

const MAGIC: u16 = 0xeb9f;
/// Length of the header fields that are used.
const HEADER_LEN: usize = 24;

fn damaged(what: impl Into<String>) -> BtfError {
    BtfError::Damaged(what.into())
}

/// Reads little-endian words one after the other and says so when there are no more.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BtfError> {
        let end = self.at.checked_add(len).ok_or_else(|| damaged("a length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| damaged("it ends early"))?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BtfError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// `length` bytes at `offset` after the header, checked.
pub(super) fn part<'a>(
    bytes: &'a [u8],
    header_len: u32,
    offset: u32,
    length: u32,
    what: &str,
) -> Result<&'a [u8], BtfError> {
    let start = header_len as usize + offset as usize;
    bytes.get(start..start + length as usize).ok_or_else(|| damaged(format!("{what} lie outside of it")))
}

/// Magic number and header length of `.BTF` and `.BTF.ext`.
pub(super) fn header_len(bytes: &[u8]) -> Result<u32, BtfError> {
    let mut reader = Reader::new(bytes);
    let first = reader.u32()?;
    let magic = first & 0xffff;
    if magic == u32::from(MAGIC.swap_bytes()) {
        return Err(damaged("it is big-endian"));
    }
    if magic != u32::from(MAGIC) || (first >> 16) & 0xff != 1 {
        return Err(damaged("unknown magic number or version"));
    }
    reader.u32()
}

/// The text at `offset` of a string table.
pub(super) fn string(strings: &[u8], offset: u32) -> Result<String, BtfError> {
    let rest =
        strings.get(offset as usize..).ok_or_else(|| damaged("a name lies outside the string table"))?;
    let end = rest.iter().position(|&byte| byte == 0).ok_or_else(|| damaged("a name has no end"))?;
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

impl Btf {
    /// Reads raw type information, as in a `.BTF` section or `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// [`BtfError::Damaged`] when the bytes are not valid little-endian BTF.
    pub fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
        let header = header_len(bytes)?;
        if (header as usize) < HEADER_LEN {
            return Err(damaged("its header is too short"));
        }
        let mut reader = Reader::new(bytes);
        reader.take(8)?;
        let (type_off, type_len) = (reader.u32()?, reader.u32()?);
        let (str_off, str_len) = (reader.u32()?, reader.u32()?);
        let strings = part(bytes, header, str_off, str_len, "strings")?.to_vec();
        let mut types = vec![Type { name: String::new(), kind: Kind::Void, size: 0 }];
        let mut reader = Reader::new(part(bytes, header, type_off, type_len, "types")?);
        while !reader.is_empty() {
            types.push(read_type(&mut reader, &strings)?);
        }
        let mut btf = Btf { types, strings, by_name: HashMap::new(), enumerators: BTreeMap::new() };
        btf.check_references()?;
        btf.index();
        Ok(btf)
    }

    /// Reads the `.BTF` section of an ELF file.
    ///
    /// # Errors
    /// [`BtfError::Damaged`] when the file is no ELF file, or has no valid `.BTF` section.
    pub fn from_elf(bytes: &[u8]) -> Result<Btf, BtfError> {
        use object::{Object as _, ObjectSection as _};
        let file = object::File::parse(bytes).map_err(|error| damaged(format!("no ELF file: {error}")))?;
        let section = file.section_by_name(".BTF").ok_or_else(|| damaged("no .BTF section"))?;
        Btf::parse(section.data().map_err(|error| damaged(error.to_string()))?)
    }

    /// Every reference must name a type, so that later code can follow them without asking.
    fn check_references(&self) -> Result<(), BtfError> {
        let known = |id: u32| (id as usize) < self.types.len();
        for (id, ty) in self.types.iter().enumerate() {
            let fine = match &ty.kind {
                Kind::Void | Kind::Int { .. } | Kind::Enum { .. } | Kind::Fwd { .. } => true,
                Kind::Float | Kind::DeclTag => true,
                Kind::Ptr(target) | Kind::Typedef(target) | Kind::Modifier(target) => known(*target),
                Kind::Array { elem, .. } => known(*elem),
                Kind::Struct(members) | Kind::Union(members) => members.iter().all(|m| known(m.type_id)),
                Kind::Func { proto, .. } => known(*proto),
                Kind::FuncProto { result, params } => known(*result) && params.iter().all(|&p| known(p)),
                Kind::Var { type_id, .. } => known(*type_id),
                Kind::DataSec(vars) => vars.iter().all(|var| known(var.type_id)),
            };
            if !fine {
                return Err(damaged(format!("type {id} refers to a type that is not there")));
            }
        }
        Ok(())
    }

    fn index(&mut self) {
        for (id, ty) in (0u32..).zip(&self.types) {
            if !ty.name.is_empty() {
                self.by_name.entry(essential_name(&ty.name).to_owned()).or_default().push(id);
            }
            if let Kind::Enum { values, .. } = &ty.kind {
                for value in values {
                    self.enumerators.entry(value.name.clone()).or_insert(value.value);
                }
            }
        }
    }

    pub(crate) fn string(&self, offset: u32) -> Result<String, BtfError> {
        string(&self.strings, offset)
    }
}

fn read_type(reader: &mut Reader<'_>, strings: &[u8]) -> Result<Type, BtfError> {
    let (name_off, info, size_or_type) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let vlen = (info & 0xffff) as usize;
    let flag = info >> 31 != 0;
    let mut size = 0;
    let kind = match (info >> 24) & 0x1f {
        1 => {
            size = size_or_type;
            let extra = reader.u32()?;
            Kind::Int { bits: extra & 0xff, bit_offset: (extra >> 16) & 0xff, signed: (extra >> 24) & 1 != 0 }
        }
        2 => Kind::Ptr(size_or_type),
        3 => {
            let (elem, _index, len) = (reader.u32()?, reader.u32()?, reader.u32()?);
            Kind::Array { elem, len }
        }
        kind @ (4 | 5) => {
            size = size_or_type;
            let members = read_members(reader, strings, vlen, flag)?;
            if kind == 4 { Kind::Struct(members) } else { Kind::Union(members) }
        }
        kind @ (6 | 19) => {
            size = size_or_type;
            Kind::Enum { signed: flag, values: read_enumerators(reader, strings, vlen, flag, kind == 19)? }
        }
        7 => Kind::Fwd { union: flag },
        8 => Kind::Typedef(size_or_type),
        9..=11 | 18 => Kind::Modifier(size_or_type),
        12 => Kind::Func { proto: size_or_type, linkage: info & 0xffff },
        13 => {
            let mut params = Vec::with_capacity(vlen);
            for _ in 0..vlen {
                let (_name, param) = (reader.u32()?, reader.u32()?);
                params.push(param);
            }
            Kind::FuncProto { result: size_or_type, params }
        }
        14 => Kind::Var { type_id: size_or_type, linkage: reader.u32()? },
        15 => {
            size = size_or_type;
            let mut vars = Vec::with_capacity(vlen);
            for _ in 0..vlen {
                let (type_id, offset, size) = (reader.u32()?, reader.u32()?, reader.u32()?);
                vars.push(SectionVar { type_id, offset, size });
            }
            Kind::DataSec(vars)
        }
        16 => {
            size = size_or_type;
            Kind::Float
        }
        17 => {
            reader.u32()?;
            Kind::DeclTag
        }
        other => return Err(damaged(format!("unknown kind {other}"))),
    };
    Ok(Type { name: string(strings, name_off)?, kind, size })
}

fn read_members(
    reader: &mut Reader<'_>,
    strings: &[u8],
    count: usize,
    with_bit_fields: bool,
) -> Result<Vec<Member>, BtfError> {
    (0..count)
        .map(|_| {
            let (name_off, type_id, offset) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let (bit_offset, bit_size) =
                if with_bit_fields { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            Ok(Member { name: string(strings, name_off)?, type_id, bit_offset, bit_size })
        })
        .collect()
}

fn read_enumerators(
    reader: &mut Reader<'_>,
    strings: &[u8],
    count: usize,
    signed: bool,
    wide: bool,
) -> Result<Vec<Enumerator>, BtfError> {
    (0..count)
        .map(|_| {
            let (name_off, low) = (reader.u32()?, reader.u32()?);
            let value = if wide {
                (u64::from(reader.u32()?) << 32 | u64::from(low)).cast_signed()
            } else if signed {
                i64::from(low.cast_signed())
            } else {
                i64::from(low)
            };
            Ok(Enumerator { name: string(strings, name_off)?, value })
        })
        .collect()
}
