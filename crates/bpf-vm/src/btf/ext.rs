// SPDX-License-Identifier: GPL-2.0-only
//! `.BTF.ext`: source lines and CO-RE relocations, per section and instruction.

use std::collections::HashMap;

use super::parse::{Reader, header_len, part};
use super::{Btf, BtfError};

/// One source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Byte offset of the first instruction it belongs to, in its section.
    pub offset: u32,
    pub file: u32,
    pub text: u32,
    pub line: u32,
}

/// One CO-RE relocation as the compiler recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoreRelo {
    /// Byte offset of the instruction in its section.
    pub offset: u32,
    pub type_id: u32,
    /// Access string, for example `0:1:2`.
    pub access: String,
    pub kind: u32,
}

/// What `.BTF.ext` says, by section name.
#[derive(Debug, Clone, Default)]
pub(crate) struct BtfExt {
    pub lines: HashMap<String, Vec<Line>>,
    pub relocations: HashMap<String, Vec<CoreRelo>>,
}

impl BtfExt {
    pub(crate) fn parse(bytes: &[u8], btf: &Btf) -> Result<BtfExt, BtfError> {
        let header = header_len(bytes)?;
        let mut reader = Reader::new(bytes);
        reader.take(8)?;
        let _functions = (reader.u32()?, reader.u32()?);
        let lines = (reader.u32()?, reader.u32()?);
        // Objects without CO-RE relocations may have the shorter header of the first version.
        let relocations = if header >= 32 { (reader.u32()?, reader.u32()?) } else { (0, 0) };
        let mut ext = BtfExt::default();
        records(part(bytes, header, lines.0, lines.1, "lines")?, btf, |section, record| {
            let mut record = Reader::new(record);
            let line = Line {
                offset: record.u32()?,
                file: record.u32()?,
                text: record.u32()?,
                line: record.u32()? >> 10,
            };
            ext.lines.entry(section.to_owned()).or_default().push(line);
            Ok(())
        })?;
        records(
            part(bytes, header, relocations.0, relocations.1, "relocations")?,
            btf,
            |section, record| {
                let mut record = Reader::new(record);
                let (offset, type_id) = (record.u32()?, record.u32()?);
                let access = btf.string(record.u32()?)?;
                let relocation = CoreRelo { offset, type_id, access, kind: record.u32()? };
                ext.relocations.entry(section.to_owned()).or_default().push(relocation);
                Ok(())
            },
        )?;
        for lines in ext.lines.values_mut() {
            lines.sort_by_key(|line| line.offset);
        }
        Ok(ext)
    }

    /// The line that covers the instruction at `offset` bytes of `section`.
    pub(crate) fn line(&self, section: &str, offset: u32) -> Option<&Line> {
        let lines = self.lines.get(section)?;
        let after = lines.partition_point(|line| line.offset <= offset);
        lines.get(after.checked_sub(1)?)
    }
}

/// Calls `each` with section name and record for every record of a sub-section.
fn records(
    bytes: &[u8],
    btf: &Btf,
    mut each: impl FnMut(&str, &[u8]) -> Result<(), BtfError>,
) -> Result<(), BtfError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(bytes);
    let record_len = reader.u32()? as usize;
    if record_len < 16 {
        return Err(BtfError::Damaged("its records are too short".to_owned()));
    }
    while !reader.is_empty() {
        let section = btf.string(reader.u32()?)?;
        for _ in 0..reader.u32()? {
            each(&section, reader.take(record_len)?)?;
        }
    }
    Ok(())
}
