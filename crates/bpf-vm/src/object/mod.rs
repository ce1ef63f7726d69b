// SPDX-License-Identifier: GPL-2.0-only
//! An opened object: what it contains, and what may be changed before it is loaded.

use std::collections::BTreeMap;

use crate::btf::{Btf, BtfExt, Kind};
use crate::error::{LoadError, UsageError};
use crate::memory::MapDef;

mod elf;
mod maps;

use elf::Elf;
pub(crate) use elf::{Section, Symbol, SymbolType};

/// A value of the kernel's build configuration (`extern … __kconfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KconfigValue {
    /// `=y`
    Yes,
    /// `=m`
    Module,
    /// Not set.
    No,
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// How to load an object.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// As `LINUX_KERNEL_VERSION`: major << 16 | minor << 8 | patch.
    pub kernel_version: u32,
    /// CPUs that per-CPU maps have room for.
    pub nr_cpus: u32,
    /// Build configuration: value by name (`CONFIG_…`). A weak option that is not here reads as zero.
    pub kconfig: BTreeMap<String, KconfigValue>,
    /// Kernel variables (`extern … __ksym`): name → target type; one zeroed object is made for each that is used.
    pub ksyms: BTreeMap<String, String>,
    /// Programs to load beyond the usual: by default those of `struct_ops` maps, `syscall` programs and others that
    /// need no attaching to a kernel function.
    pub programs: Vec<String>,
    /// Refuse to load when an instruction that cannot work may be reached: a field or function that does not exist.
    /// Off, such an instruction is a fault when it runs.
    pub strict: bool,
    /// Reads through a NULL pointer (plus less than a page) give zero, as reads through pointers between kernel objects
    /// do in a kernel. Off, they are faults.
    pub null_reads_zero: bool,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            kernel_version: 6 << 16 | 18 << 8,
            nr_cpus: 1,
            kconfig: BTreeMap::new(),
            ksyms: BTreeMap::new(),
            programs: Vec::new(),
            strict: true,
            null_reads_zero: false,
        }
    }
}

/// A table of callbacks for the kernel (`SEC(".struct_ops.link")`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructOps {
    /// Name of the variable.
    pub name: String,
    /// Its type, for example `sched_ext_ops`.
    pub type_name: String,
    /// Program by member, in the order of the struct.
    pub programs: Vec<(String, String)>,
}

/// A data section: global variables.
#[derive(Debug, Clone)]
pub(crate) struct DataSection {
    /// Index of the ELF section.
    pub section: usize,
    pub name: String,
    pub data: Vec<u8>,
    pub read_only: bool,
}

/// A global variable: index into the data sections, offset and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable {
    pub data: usize,
    pub offset: u32,
    pub size: u32,
}

/// A function of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Code {
    pub name: String,
    pub section: usize,
    /// Bytes from the start of the section.
    pub offset: u32,
    pub size: u32,
}

/// A compiled BPF object, opened but not loaded.
#[derive(Debug)]
pub struct Object {
    pub(crate) btf: Btf,
    pub(crate) ext: BtfExt,
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) functions: Vec<Code>,
    /// Offset in `.maps` and definition.
    pub(crate) maps: Vec<(u32, MapDef)>,
    pub(crate) data: Vec<DataSection>,
    variables: BTreeMap<String, Variable>,
    struct_ops: Vec<StructOps>,
    /// Section and offset of each `struct_ops` variable, with its type in the object's own BTF.
    ops_places: Vec<(Variable, u32)>,
}

fn is_data(name: &str) -> bool {
    let starts =
        |prefix: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    starts(".data")
        || starts(".rodata")
        || starts(".bss")
        || name == ".struct_ops.link"
        || name == ".struct_ops"
}

impl Object {
    /// Reads a compiled object.
    ///
    /// # Errors
    /// When the bytes are no BPF object with type information, or need something that is not supported.
    pub fn parse(bytes: &[u8]) -> Result<Object, LoadError> {
        let elf = Elf::parse(bytes)?;
        let section = |name| elf.section(name).map(|section| section.data.as_slice());
        let btf =
            Btf::parse(section(".BTF").ok_or_else(|| LoadError::NotBpf("no .BTF section".to_owned()))?)?;
        let ext = match section(".BTF.ext") {
            Some(bytes) => BtfExt::parse(bytes, &btf)?,
            None => BtfExt::default(),
        };
        let mut functions = Vec::new();
        for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == SymbolType::Function) {
            if let Some(section) = symbol.section.filter(|&section| elf.sections[section].is_code) {
                let (offset, size) = (symbol.value, symbol.size);
                let end = u64::from(offset) + u64::from(size);
                if end > elf.sections[section].data.len() as u64
                    || offset % 8 != 0
                    || size % 8 != 0
                    || size == 0
                {
                    return Err(LoadError::Damaged(format!("function '{}' has no valid place", symbol.name)));
                }
                functions.push(Code { name: symbol.name.clone(), section, offset, size });
            }
        }
        let mut data = Vec::new();
        for (index, section) in elf.sections.iter().enumerate().filter(|(_, section)| is_data(&section.name))
        {
            let read_only = section.name.starts_with(".rodata");
            data.push(DataSection {
                section: index,
                name: section.name.clone(),
                data: section.data.clone(),
                read_only,
            });
        }
        let maps = maps::definitions(&btf, &elf)?;
        let Elf { sections, symbols } = elf;
        let mut object = Object {
            btf,
            ext,
            sections,
            symbols,
            functions,
            maps,
            data,
            variables: BTreeMap::new(),
            struct_ops: Vec::new(),
            ops_places: Vec::new(),
        };
        object.find_variables()?;
        object.find_struct_ops();
        Ok(object)
    }

    fn find_variables(&mut self) -> Result<(), LoadError> {
        for symbol in self.symbols.iter().filter(|symbol| symbol.kind == SymbolType::Variable) {
            let Some(data) = self.data.iter().position(|data| Some(data.section) == symbol.section) else {
                continue;
            };
            if u64::from(symbol.value) + u64::from(symbol.size) > self.data[data].data.len() as u64 {
                return Err(LoadError::Damaged(format!(
                    "variable '{}' lies outside its section",
                    symbol.name
                )));
            }
            let variable = Variable { data, offset: symbol.value, size: symbol.size };
            self.variables.insert(symbol.name.clone(), variable);
        }
        Ok(())
    }

    fn find_struct_ops(&mut self) {
        for (_, ty) in self.btf.types() {
            let Kind::Var { type_id, .. } = ty.kind else { continue };
            let Some(place) = self.variables.get(&ty.name).copied() else { continue };
            let data = &self.data[place.data];
            let struct_type = self.btf.resolved(type_id);
            let Some(members) = struct_type.kind.members().filter(|_| data.name.starts_with(".struct_ops"))
            else {
                continue;
            };
            let mut programs = Vec::new();
            for member in members {
                let at = place.offset.saturating_add(member.bit_offset / 8);
                let symbol = self.sections[data.section].relocations.get(&at);
                if let Some(symbol) = symbol.and_then(|&symbol| self.symbols.get(symbol)) {
                    programs.push((member.name.clone(), symbol.name.clone()));
                }
            }
            let (name, type_name) = (ty.name.clone(), struct_type.name.clone());
            self.struct_ops.push(StructOps { name, type_name, programs });
            self.ops_places.push((place, type_id));
        }
    }

    /// The object's own type information.
    #[must_use]
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// The callback tables.
    #[must_use]
    pub fn struct_ops(&self) -> &[StructOps] {
        &self.struct_ops
    }

    /// Names of all global variables, sorted.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Names of the functions and variables that the object expects from the kernel, each with whether it is weak.
    pub fn externs(&self) -> impl Iterator<Item = (&str, bool)> {
        let undefined =
            self.symbols.iter().filter(|symbol| symbol.section.is_none() && !symbol.name.is_empty());
        undefined.map(|symbol| (symbol.name.as_str(), symbol.weak))
    }

    pub(crate) fn variable(&self, name: &str) -> Result<Variable, UsageError> {
        let variable = self.variables.get(name).copied();
        variable.ok_or_else(|| UsageError::Missing { kind: "variable", name: name.to_owned() })
    }

    pub(crate) fn all_variables(&self) -> &BTreeMap<String, Variable> {
        &self.variables
    }

    /// The bytes of a global variable, as they will be when the object is loaded.
    ///
    /// # Errors
    /// Unknown variable.
    pub fn global(&self, name: &str) -> Result<&[u8], UsageError> {
        let Variable { data, offset, size } = self.variable(name)?;
        Ok(&self.data[data].data[offset as usize..(offset + size) as usize])
    }

    /// Sets a global variable, read-only ones included.
    ///
    /// # Errors
    /// Unknown variable, or bytes of another length.
    pub fn set_global(&mut self, name: &str, bytes: &[u8]) -> Result<(), UsageError> {
        let Variable { data, offset, size } = self.variable(name)?;
        if bytes.len() != size as usize {
            let expected = size as usize;
            return Err(UsageError::Size { name: name.to_owned(), expected, found: bytes.len() });
        }
        self.data[data].data[offset as usize..(offset + size) as usize].copy_from_slice(bytes);
        Ok(())
    }

    /// Where a member (by path) of a global variable of struct type lies, in the object's own types.
    ///
    /// # Errors
    /// Unknown variable or member.
    pub fn set_global_field(&mut self, name: &str, path: &str, value: u64) -> Result<(), UsageError> {
        let place = self.variable(name)?;
        let ty = self.btf.types().find_map(|(_, ty)| match ty.kind {
            Kind::Var { type_id, .. } if ty.name == name => Some(type_id),
            _ => None,
        });
        let ty =
            ty.ok_or_else(|| UsageError::Missing { kind: "variable with a type", name: name.to_owned() })?;
        self.set_field(place, ty, name, path, value)
    }

    fn set_field(
        &mut self,
        place: Variable,
        ty: u32,
        name: &str,
        path: &str,
        value: u64,
    ) -> Result<(), UsageError> {
        let missing = || UsageError::Missing { kind: "member", name: format!("{name}.{path}") };
        let field = self.btf.field_of(ty, path).filter(|field| field.bit_size == 0 && field.size <= 8);
        let field = field.ok_or_else(missing)?;
        let (start, size) = (place.offset as usize + field.offset as usize, field.size as usize);
        let bytes = self.data[place.data].data.get_mut(start..start + size).ok_or_else(missing)?;
        bytes.copy_from_slice(&value.to_le_bytes()[..size]);
        Ok(())
    }

    /// Sets a number in a callback table, such as `flags` of `sched_ext_ops`.
    ///
    /// # Errors
    /// Unknown table or member.
    pub fn set_ops_field(&mut self, ops: &str, path: &str, value: u64) -> Result<(), UsageError> {
        let index = self.ops_index(ops)?;
        let (place, ty) = self.ops_places[index];
        self.set_field(place, ty, ops, path, value)
    }

    /// Reads a number from a callback table.
    ///
    /// # Errors
    /// Unknown table or member.
    pub fn ops_field(&self, ops: &str, path: &str) -> Result<u64, UsageError> {
        let bytes = self.ops_bytes(ops, path)?;
        let mut value = [0; 8];
        let len = bytes.len().min(8);
        value[..len].copy_from_slice(&bytes[..len]);
        Ok(u64::from_le_bytes(value))
    }

    /// Reads the bytes of a member of a callback table, such as `name` of `sched_ext_ops`.
    ///
    /// # Errors
    /// Unknown table or member.
    pub fn ops_bytes(&self, ops: &str, path: &str) -> Result<&[u8], UsageError> {
        let (place, ty) = self.ops_places[self.ops_index(ops)?];
        let missing = || UsageError::Missing { kind: "member", name: format!("{ops}.{path}") };
        let field = self.btf.field_of(ty, path).ok_or_else(missing)?;
        let start = place.offset as usize + field.offset as usize;
        self.data[place.data].data.get(start..start + field.size as usize).ok_or_else(missing)
    }

    /// Takes a member out of a callback table; its program is not loaded then, unless something else needs it.
    ///
    /// # Errors
    /// Unknown table.
    pub fn clear_ops_member(&mut self, ops: &str, member: &str) -> Result<(), UsageError> {
        let index = self.ops_index(ops)?;
        self.struct_ops[index].programs.retain(|(name, _)| name != member);
        Ok(())
    }

    fn ops_index(&self, name: &str) -> Result<usize, UsageError> {
        let index = self.struct_ops.iter().position(|ops| ops.name == name);
        index.ok_or_else(|| UsageError::Missing { kind: "callback table", name: name.to_owned() })
    }

    /// Sets the number of elements of a map.
    ///
    /// # Errors
    /// Unknown map.
    pub fn set_max_entries(&mut self, map: &str, max_entries: u32) -> Result<(), UsageError> {
        let found = self.maps.iter_mut().find(|(_, def)| def.name == map);
        let (_, def) = found.ok_or_else(|| UsageError::Missing { kind: "map", name: map.to_owned() })?;
        def.max_entries = max_entries;
        Ok(())
    }

    /// Makes a variable that is alone in its section (`RESIZABLE_ARRAY` of the scx headers) `bytes` long.
    ///
    /// # Errors
    /// Unknown variable, or one that shares its section.
    pub fn resize_global(&mut self, name: &str, bytes: u32) -> Result<(), UsageError> {
        let place = self.variable(name)?;
        let alone = self.variables.values().filter(|other| other.data == place.data).count() == 1;
        if !alone || place.offset != 0 {
            return Err(UsageError::Refused {
                operation: "resizing",
                name: name.to_owned(),
                errno: 22,
                reason: "it shares its section with other variables".to_owned(),
            });
        }
        self.data[place.data].data.resize(bytes as usize, 0);
        self.variables.insert(name.to_owned(), Variable { size: bytes, ..place });
        Ok(())
    }
}
