// SPDX-License-Identifier: GPL-2.0-only
//! BPF type format: types with names, sizes and member offsets, as the compiler writes them into `.BTF`.
//!
//! The layout is that of the kernel's `Documentation/bpf/btf.rst`. Only little-endian data is read.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

mod ext;
mod parse;
mod query;

pub(crate) use ext::{BtfExt, CoreRelo};
pub use query::Field;
pub(crate) use query::essential_name;

#[cfg(test)]
mod tests;

/// What is wrong with type information, or what it does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The bytes are not type information.
    #[error("the type information (BTF) is damaged: {0}; compile the object with -g")]
    Damaged(String),
    /// There is no type of that name.
    #[error("the target kernel types have no '{0}'; add it to the model or change the program")]
    NoType(String),
    /// A type has no such member.
    #[error(
        "the target kernel type '{type_name}' has no field '{field}'; add it to the model or change the program"
    )]
    NoField {
        /// The struct or union.
        type_name: String,
        /// The path that was looked for.
        field: String,
    },
}

/// A member of a struct or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    pub type_id: u32,
    pub bit_offset: u32,
    /// Width of a bit field; 0 for an ordinary member.
    pub bit_size: u32,
}

/// A name and value of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enumerator {
    pub name: String,
    pub value: i64,
}

/// A variable in a data section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SectionVar {
    pub type_id: u32,
    pub offset: u32,
    pub size: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Void,
    Int {
        bits: u32,
        bit_offset: u32,
        signed: bool,
    },
    Ptr(u32),
    Array {
        elem: u32,
        len: u32,
    },
    Struct(Vec<Member>),
    Union(Vec<Member>),
    /// 32-bit and 64-bit enumerations alike.
    Enum {
        signed: bool,
        values: Vec<Enumerator>,
    },
    Fwd {
        union: bool,
    },
    Typedef(u32),
    /// const, volatile, restrict, type tag: the same thing for layout.
    Modifier(u32),
    Func {
        proto: u32,
        linkage: u32,
    },
    FuncProto {
        result: u32,
        params: Vec<u32>,
    },
    Var {
        type_id: u32,
        linkage: u32,
    },
    DataSec(Vec<SectionVar>),
    Float,
    DeclTag,
}

impl Kind {
    pub(crate) fn members(&self) -> Option<&[Member]> {
        match self {
            Kind::Struct(members) | Kind::Union(members) => Some(members),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    pub name: String,
    pub kind: Kind,
    /// Bytes, for kinds that have a size of their own.
    pub size: u32,
}

/// Parsed type information.
#[derive(Debug, Clone)]
pub struct Btf {
    /// Index = type id; entry 0 is void.
    types: Vec<Type>,
    strings: Vec<u8>,
    /// Type ids by name without flavour suffix.
    by_name: HashMap<String, Vec<u32>>,
    enumerators: BTreeMap<String, i64>,
}
