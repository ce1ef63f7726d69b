// SPDX-License-Identifier: GPL-2.0-only
//! Map definitions: structs in `.maps` whose member types carry the numbers.

use super::elf::{Elf, SymbolType};
use crate::btf::{Btf, Kind};
use crate::error::LoadError;
use crate::memory::{MapDef, MapKind, Special};

/// Special structs in map values: their contents are the kernel's, not data.
const SPECIAL_STRUCTS: [&str; 9] = [
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_refcount",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
];

/// Deepest nesting of structs in a value that is searched for special parts.
const MAX_NESTING: u32 = 8;
/// Most special parts a value may have; the kernel allows fewer.
const MAX_SPECIAL: usize = 1024;
/// Most members looked at; damaged types may contain themselves.
const MAX_STEPS: u32 = 1 << 16;

/// Offset in `.maps` and definition of every map, in the order of the section.
pub(super) fn definitions(btf: &Btf, elf: &Elf) -> Result<Vec<(u32, MapDef)>, LoadError> {
    let mut maps = Vec::new();
    for (_, ty) in btf.types() {
        let Kind::DataSec(vars) = &ty.kind else { continue };
        if ty.name != ".maps" {
            continue;
        }
        for var in vars {
            let name = &btf.get(var.type_id).name;
            let symbol = elf.symbols.iter().find(|symbol| {
                symbol.kind == SymbolType::Variable
                    && symbol.name == *name
                    && symbol.section.is_some_and(|section| elf.sections[section].name == ".maps")
            });
            let symbol =
                symbol.ok_or_else(|| LoadError::Damaged(format!("map '{name}' has no symbol in .maps")))?;
            let Kind::Var { type_id, .. } = btf.get(var.type_id).kind else {
                return Err(LoadError::Damaged(format!("map '{name}' is no variable")));
            };
            maps.push((symbol.value, definition(btf, name, type_id)?));
        }
    }
    maps.sort_by_key(|(offset, _)| *offset);
    Ok(maps)
}

/// A number written as the length of an array behind a pointer: `int (*max_entries)[64]`.
fn number(btf: &Btf, type_id: u32) -> Option<u32> {
    let Kind::Ptr(target) = btf.resolved(type_id).kind else { return None };
    match btf.resolved(target).kind {
        Kind::Array { len, .. } => Some(len),
        _ => None,
    }
}

fn definition(btf: &Btf, name: &str, type_id: u32) -> Result<MapDef, LoadError> {
    let damaged = |what: &str| LoadError::Damaged(format!("map '{name}': {what}"));
    let members =
        btf.resolved(type_id).kind.members().ok_or_else(|| damaged("its definition is no struct"))?;
    let (mut kind, mut max_entries, mut value_type) = (None, 0, None);
    let (mut key_size, mut value_size) = (None, None);
    for member in members {
        let pointed = || match btf.resolved(member.type_id).kind {
            Kind::Ptr(target) => btf.size_of(target).map(|size| (target, size)),
            _ => None,
        };
        let wrong = || damaged(&format!("cannot read its '{}'", member.name));
        match member.name.as_str() {
            "type" => kind = Some(number(btf, member.type_id).ok_or_else(wrong)?),
            "max_entries" => max_entries = number(btf, member.type_id).ok_or_else(wrong)?,
            "key_size" => key_size = Some(number(btf, member.type_id).ok_or_else(wrong)?),
            "value_size" => value_size = Some(number(btf, member.type_id).ok_or_else(wrong)?),
            "key" => key_size = Some(pointed().ok_or_else(wrong)?.1),
            "value" => {
                let (id, size) = pointed().ok_or_else(wrong)?;
                value_type = Some(id);
                value_size = Some(size);
            }
            // How a kernel allocates, shares or names it: nothing that changes what programs see.
            "map_flags" | "map_extra" | "numa_node" | "pinning" => {}
            // Of maps in maps, which are not supported; the type says so.
            "values" => {}
            other => return Err(LoadError::Unsupported(format!("map '{name}': attribute '{other}'"))),
        }
    }
    let kind = match kind.ok_or_else(|| damaged("it has no type"))? {
        1 => MapKind::Hash,
        2 => MapKind::Array,
        5 | 10 => MapKind::PerCpuHash,
        6 => MapKind::PerCpuArray,
        9 => MapKind::LruHash,
        29 => MapKind::TaskStorage,
        32 => MapKind::CgroupStorage,
        other => MapKind::Unsupported(other),
    };
    if let MapKind::Unsupported(_) = kind {
        let name = name.to_owned();
        return Ok(MapDef { name, kind, key_size: 0, value_size: 0, max_entries: 0, special: Vec::new() });
    }
    let key_size = key_size.ok_or_else(|| damaged("it has no key"))?;
    let value_size = value_size.filter(|&size| size > 0).ok_or_else(|| damaged("it has no value"))?;
    let index_key = !matches!(kind, MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash);
    if (index_key && key_size != 4) || key_size == 0 {
        return Err(damaged("its key has a wrong size"));
    }
    let mut special = Vec::new();
    if let Some(value_type) = value_type {
        Search { btf, found: &mut special, steps: MAX_STEPS }.parts(value_type, 0, MAX_NESTING);
    }
    Ok(MapDef { name: name.to_owned(), kind, key_size, value_size, max_entries, special })
}

/// Collects the special parts of a value.
struct Search<'a> {
    btf: &'a Btf,
    found: &'a mut Vec<Special>,
    steps: u32,
}

impl Search<'_> {
    /// Those of type `id` at `offset`.
    fn parts(&mut self, id: u32, offset: u32, depth: u32) {
        if depth == 0 || self.steps == 0 || self.found.len() >= MAX_SPECIAL {
            return;
        }
        self.steps -= 1;
        let btf = self.btf;
        let ty = btf.resolved(id);
        match &ty.kind {
            Kind::Struct(_) if SPECIAL_STRUCTS.contains(&ty.name.as_str()) => {
                self.found.push(Special { offset, len: ty.size, is_kptr: false });
            }
            Kind::Struct(members) | Kind::Union(members) => {
                for member in members {
                    self.parts(member.type_id, offset.saturating_add(member.bit_offset / 8), depth - 1);
                }
            }
            Kind::Array { elem, len } => {
                let size = btf.size_of(*elem).unwrap_or(0);
                let before = self.found.len();
                for index in 0..*len {
                    self.parts(*elem, offset.saturating_add(size.saturating_mul(index)), depth - 1);
                    // Nothing special in the first element: nothing in the others.
                    if self.found.len() == before || self.found.len() >= MAX_SPECIAL || self.steps == 0 {
                        break;
                    }
                }
            }
            Kind::Ptr(target) if btf.is_kptr(*target) => {
                self.found.push(Special { offset, len: 8, is_kptr: true });
            }
            _ => {}
        }
    }
}
