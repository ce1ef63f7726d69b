// SPDX-License-Identifier: GPL-2.0-only
//! Reads the ELF file into plain sections, symbols and relocations.

use std::collections::BTreeMap;

use object::{Architecture, Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{RelocationTarget, SectionKind, SymbolKind};

use crate::error::LoadError;

/// Largest section: a damaged header must not make us reserve all memory there is.
const MAX_SECTION_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub name: String,
    pub data: Vec<u8>,
    pub is_code: bool,
    /// Symbol index by byte offset.
    pub relocations: BTreeMap<u32, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymbolType {
    Function,
    Variable,
    Section,
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Symbol {
    pub name: String,
    /// `None` for undefined symbols.
    pub section: Option<usize>,
    pub value: u32,
    pub size: u32,
    pub kind: SymbolType,
    pub weak: bool,
}

#[derive(Debug)]
pub(crate) struct Elf {
    pub sections: Vec<Section>,
    pub symbols: Vec<Symbol>,
}

fn damaged(error: object::Error) -> LoadError {
    LoadError::NotBpf(error.to_string())
}

fn short(value: u64, what: &str) -> Result<u32, LoadError> {
    u32::try_from(value).map_err(|_| LoadError::Damaged(format!("{what} {value:#x} is too large")))
}

impl Elf {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Elf, LoadError> {
        let file = object::File::parse(bytes).map_err(damaged)?;
        if file.architecture() != Architecture::Bpf || !file.is_little_endian() {
            return Err(LoadError::NotBpf(
                "the file is for another machine than little-endian BPF".to_owned(),
            ));
        }
        let mut sections = Vec::new();
        let mut position = BTreeMap::new();
        for section in file.sections() {
            let name = section.name().map_err(damaged)?.to_owned();
            if section.size() > MAX_SECTION_BYTES {
                return Err(LoadError::Unsupported(format!("section '{name}' of {} bytes", section.size())));
            }
            let data = match section.kind() {
                SectionKind::UninitializedData => vec![0; section.size() as usize],
                _ => section.data().map_err(damaged)?.to_vec(),
            };
            let mut relocations = BTreeMap::new();
            for (offset, relocation) in section.relocations() {
                if let RelocationTarget::Symbol(symbol) = relocation.target() {
                    relocations.insert(short(offset, "relocation offset")?, symbol.0);
                }
            }
            position.insert(section.index().0, sections.len());
            let is_code = section.kind() == SectionKind::Text;
            sections.push(Section { name, data, is_code, relocations });
        }
        let mut symbols: Vec<Symbol> = Vec::new();
        for symbol in file.symbols() {
            let index = symbol.index().0;
            // Relocations name symbols by index; the null symbol and unreadable ones keep their place.
            while symbols.len() < index {
                symbols.push(Symbol::nothing());
            }
            if symbol.kind() == SymbolKind::File {
                symbols.push(Symbol::nothing());
                continue;
            }
            symbols.push(Symbol {
                name: symbol.name().map_err(damaged)?.to_owned(),
                section: symbol.section_index().and_then(|index| position.get(&index.0).copied()),
                value: short(symbol.address(), "symbol value")?,
                size: short(symbol.size(), "symbol size")?,
                kind: match symbol.kind() {
                    SymbolKind::Text => SymbolType::Function,
                    SymbolKind::Data => SymbolType::Variable,
                    SymbolKind::Section => SymbolType::Section,
                    _ => SymbolType::Other,
                },
                weak: symbol.is_weak(),
            });
        }
        Ok(Elf { sections, symbols })
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Symbol {
    fn nothing() -> Symbol {
        let name = String::new();
        Symbol { name, section: None, value: 0, size: 0, kind: SymbolType::Other, weak: false }
    }
}
