// SPDX-License-Identifier: GPL-2.0-only
//! What a symbol stands for.

use super::{Addr, Kind, Linker, LoadError, are_compatible, essential_name, no_memory};
use crate::memory::MapKind;
use crate::object::Symbol;
use crate::registry::Known;
use crate::run::Extern;

/// What a relocated 64-bit immediate becomes.
pub(super) enum Referred {
    Address(Addr),
    /// A BPF function, by index.
    Callback(u32),
}

impl<S> Linker<'_, S> {
    /// Address of a BPF function.
    pub(super) fn callback_addr(&self, function: u32) -> Addr {
        self.code_base.offset(u64::from(function) * super::Program::<S>::CODE_STEP)
    }

    pub(super) fn symbol(&self, index: usize) -> Result<&Symbol, LoadError> {
        let symbol = self.object.symbols.get(index);
        symbol.ok_or_else(|| {
            LoadError::Damaged(format!("a relocation names symbol {index}, which is not there"))
        })
    }

    /// What a 64-bit immediate with a relocation against symbol `index` means; `addend` is what the instruction holds.
    pub(super) fn refer(&mut self, index: usize, addend: u64) -> Result<Referred, LoadError> {
        let symbol = self.symbol(index)?.clone();
        let Some(section) = symbol.section else { return self.refer_extern(&symbol) };
        let place = &self.object.sections[section];
        if let Some(data) = self.object.data.iter().position(|data| data.section == section) {
            let base = self.data[data];
            if base.is_null() {
                return Err(LoadError::Unsupported(format!(
                    "a program that reads callback table '{}'",
                    symbol.name
                )));
            }
            return Ok(Referred::Address(base.offset(u64::from(symbol.value).wrapping_add(addend))));
        }
        if place.name == ".maps" {
            let at = u64::from(symbol.value).wrapping_add(addend);
            let map = self.object.maps.iter().position(|(offset, _)| u64::from(*offset) == at);
            let map = map.ok_or_else(|| LoadError::Damaged(format!("no map at offset {at} of .maps")))?;
            let def = &self.object.maps[map].1;
            if let MapKind::Unsupported(number) = def.kind {
                return Err(LoadError::Unsupported(format!("map '{}' of type {number}", def.name)));
            }
            return Ok(Referred::Address(self.memory.map_handle(map as u32)));
        }
        let at = u64::from(symbol.value).wrapping_add(addend);
        let function = u32::try_from(at).ok().and_then(|at| self.places.get(&(section, at)));
        match function {
            Some(function) if place.is_code => Ok(Referred::Callback(*function)),
            _ => Err(LoadError::Unsupported(format!(
                "reference to '{}' in section '{}'",
                symbol.name, place.name
            ))),
        }
    }

    fn refer_extern(&mut self, symbol: &Symbol) -> Result<Referred, LoadError> {
        let name = symbol.name.as_str();
        if let Some(addr) = self.kconfig.get(name).or_else(|| self.ksyms.get(name)) {
            return Ok(Referred::Address(*addr));
        }
        if let Some(index) = self.extern_function(name) {
            return Ok(Referred::Address(self.extern_base.offset(index as u64 * 8)));
        }
        if let Some(type_name) = self.options.ksyms.get(name) {
            let addr = self.memory.alloc(type_name).map_err(no_memory)?;
            self.ksyms.insert(name.to_owned(), addr);
            return Ok(Referred::Address(addr));
        }
        if symbol.weak {
            return Ok(Referred::Address(Addr::NULL));
        }
        Err(LoadError::MissingSymbol(name.to_owned()))
    }

    /// Index of the registered function for an extern of the object, if there is one.
    pub(super) fn extern_function(&mut self, name: &str) -> Option<usize> {
        if let Some(&index) = self.extern_index.get(name) {
            return Some(index);
        }
        let function = self.find_function(name)?;
        Some(self.add_extern(name, function))
    }

    pub(super) fn add_extern(&mut self, name: &str, function: Known<S>) -> usize {
        if let Some(&index) = self.extern_index.get(name) {
            return index;
        }
        let index = self.program.externs.len();
        let Known { function, builtin } = function;
        self.program.externs.push(Extern { name: name.to_owned(), function, builtin });
        self.extern_index.insert(name.to_owned(), index);
        index
    }

    /// A function fits by its full name, or by its name without flavour; if the target types declare it, the
    /// signatures must agree, which is how programs tell versions of a function apart.
    fn find_function(&self, name: &str) -> Option<Known<S>> {
        let (known_as, function) = match self.registry.function(name) {
            Some(function) => (name, function),
            None => (essential_name(name), self.registry.function(essential_name(name))?),
        };
        let object = &self.object.btf;
        let is_function = |kind: &Kind| matches!(kind, Kind::Func { .. });
        let own = object.types().find(|(_, ty)| ty.name == name && is_function(&ty.kind));
        let declared = self.target.types().find(|(_, ty)| ty.name == known_as && is_function(&ty.kind));
        let fits = match (own, declared) {
            (Some((own, _)), Some((declared, _))) => are_compatible(object, own, self.target, declared),
            _ => true,
        };
        fits.then_some(function)
    }

    /// The BPF function that a call with a relocation against symbol `index` goes to, or the name of an extern one.
    pub(super) fn callee(&self, index: usize, imm: i32) -> Result<Result<u32, Symbol>, LoadError> {
        let symbol = self.symbol(index)?;
        let Some(section) = symbol.section else { return Ok(Err(symbol.clone())) };
        // Relative to the next instruction, counted from the symbol.
        let at = i64::from(symbol.value) + (i64::from(imm) + 1) * 8;
        let function = u32::try_from(at).ok().and_then(|at| self.places.get(&(section, at)));
        function.map(|&function| Ok(function)).ok_or_else(|| {
            LoadError::Damaged(format!("a call to '{}' plus {at}, which is no function", symbol.name))
        })
    }
}
